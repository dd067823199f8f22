//! Linking a desktop by a code that a person approves.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::*;
use crate::secret::{base64url, from_base64url, sha256};
use crate::wire::SpkiPin;

/// A desktop that asks to be linked.
struct Desk<'h> {
    api: Browser<'h>,
    pin: SpkiPin,
    begun: Value,
}

impl<'h> Desk<'h> {
    async fn asking(house: &'h House) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let api = house.browser();
        let asked = json!({"name": "Work laptop", "public_key": base64url(&spki)});
        let begun = api.post("/link", &asked).await.must_be(StatusCode::OK).json();
        Self { api, pin: SpkiPin::of_spki(&spki), begun }
    }

    fn code(&self) -> &str {
        self.begun["user_code"].as_str().expect("a code")
    }

    async fn poll(&self) -> Answer {
        self.api.house.clock.advance(Duration::from_secs(2));
        self.api.post("/link/poll", &json!({"device_code": self.begun["device_code"]})).await
    }

    async fn must_hear(&self, slug: &str) {
        let problem = self.poll().await.must_be_problem(StatusCode::BAD_REQUEST, slug).json();
        assert_eq!(problem["error"], slug.replace('-', "_"), "as RFC 8628 spells it");
    }
}

impl Person<'_> {
    async fn about(&self, path: &str, code: &str) -> Answer {
        self.browser.post(path, &json!({"user_code": code})).await
    }
}

#[tokio::test]
async fn a_person_sees_who_asks_and_approves() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let desk = Desk::asking(&house).await;
    assert_eq!((&desk.begun["interval"], &desk.begun["expires_in"]), (&json!(2), &json!(900)));
    let url = format!("https://deployer.patapim.test/link?code={}", desk.code());
    assert_eq!(desk.begun["verification_url"], url);
    ada.browser.open(&url).await.must_be(StatusCode::OK);
    desk.must_hear("authorization-pending").await;

    let shown = ada.about("/link/lookup", desk.code()).await.must_be(StatusCode::OK).json();
    assert_eq!((&shown["name"], &shown["address"]), (&json!("Work laptop"), &json!("192.0.2.7")));
    assert_eq!(shown["fingerprint"], desk.pin.fingerprint());
    assert_eq!(shown["tunnels"], json!([]));

    let approved = ada.about("/link/approve", desk.code()).await.must_be(StatusCode::OK).json();
    let heard = desk.poll().await.must_be(StatusCode::OK).json();
    assert_eq!(heard, approved);
    let approver = &heard["approved_by"];
    let tunnel = heard["tunnel"].as_str().expect("a tunnel");
    assert_eq!(heard["user"], "ada");
    assert_eq!(heard["tunnel_url"], format!("https://{tunnel}.tunnel.patapim.test"));
    let agent = house.accounts.agent(&desk.pin.to_string()).await.expect("pinned");
    let passkey = &ada.browser.get("/passkeys").await.json()[0];
    assert_eq!(agent.approved_by.expect("somebody").as_str(), passkey["id"].as_str().expect("an id"));
    for fact in ["id", "name", "fingerprint"] {
        assert_eq!(approver[fact], passkey[fact], "the desktop is told whom to trust");
    }
    let key = from_base64url(approver["public_key"].as_str().expect("text")).expect("base64url");
    assert_eq!(approver["fingerprint"], format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(key))));
    assert!(house.desktops.unlinked.lock().expect("a lock").is_empty(), "nobody was replaced");

    house.clock.advance(Duration::from_secs(60));
    desk.must_hear("expired-token").await;
    ada.about("/link/approve", desk.code()).await.must_be_problem(StatusCode::FORBIDDEN, "link-code-refused");
}

#[tokio::test]
async fn a_denied_or_forgotten_desktop_hears_so() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let (denied, late) = (Desk::asking(&house).await, Desk::asking(&house).await);
    ada.about("/link/deny", denied.code()).await.must_be(StatusCode::NO_CONTENT);
    denied.must_hear("access-denied").await;
    house.clock.advance(Duration::from_secs(15 * 60));
    late.must_hear("expired-token").await;
    let never = json!({"device_code": "made up"});
    house
        .browser()
        .post("/link/poll", &never)
        .await
        .must_be_problem(StatusCode::BAD_REQUEST, "expired-token");
}

#[tokio::test]
async fn whoever_sees_the_code_cannot_poll_and_whoever_polls_cannot_approve() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let desk = Desk::asking(&house).await;
    for seen in
        [json!(desk.code()), desk.begun["verification_url"].clone(), json!(desk.code().replace('-', ""))]
    {
        let answer = ada.browser.post("/link/poll", &json!({"device_code": seen})).await;
        answer.must_be_problem(StatusCode::BAD_REQUEST, "expired-token");
    }
    let device_code = desk.begun["device_code"].as_str().expect("a code");
    assert_eq!(crate::secret::from_base64url(device_code).expect("base64url").len(), 32);
    ada.about("/link/approve", device_code).await.must_be_problem(StatusCode::FORBIDDEN, "link-code-refused");
    for path in ["/link/lookup", "/link/approve", "/link/deny"] {
        let stranger = house.browser();
        let answer = stranger.post(path, &json!({"user_code": desk.code()})).await;
        answer.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
    }
    desk.must_hear("authorization-pending").await;
}

#[tokio::test]
async fn approving_needs_a_fresh_sign_in_and_denying_does_not() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    house.clock.advance(Duration::from_secs(10 * 60 + 1));
    let (desk, other) = (Desk::asking(&house).await, Desk::asking(&house).await);
    ada.about("/link/lookup", desk.code()).await.must_be(StatusCode::OK);
    let stale = ada.about("/link/approve", desk.code()).await;
    stale.must_be_problem(StatusCode::FORBIDDEN, "step-up-required");
    desk.must_hear("authorization-pending").await;
    ada.about("/link/deny", other.code()).await.must_be(StatusCode::NO_CONTENT);
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
    ada.about("/link/approve", desk.code()).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn taking_over_is_a_choice_by_name_and_hangs_up_on_the_former_desktop() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let bob = house.person("bob").await;
    let tunnel = house.tunnel(&ada.user).await;
    house.desktops.online.lock().expect("a lock").push(tunnel.id.clone());
    let desk = Desk::asking(&house).await;
    let shown = ada.about("/link/lookup", desk.code()).await.json();
    let offered = json!([{"id": tunnel.id, "name": null, "desktop": "the desktop itself", "online": true}]);
    assert_eq!(shown["tunnels"], offered);
    assert_eq!(bob.about("/link/lookup", desk.code()).await.json()["tunnels"], json!([]), "not bob's");

    let take_over = json!({"user_code": desk.code(), "tunnel": tunnel.id});
    let foreign = bob.browser.post("/link/approve", &take_over).await;
    foreign.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    let approved = ada.browser.post("/link/approve", &take_over).await.must_be(StatusCode::OK).json();
    assert_eq!(approved["tunnel"], tunnel.id.as_str());
    assert_eq!(*house.desktops.unlinked.lock().expect("a lock"), [tunnel.id]);
    assert_eq!(desk.poll().await.must_be(StatusCode::OK).json()["tunnel"], approved["tunnel"]);
}

#[tokio::test]
async fn guessing_is_throttled_for_the_person_and_their_network_and_every_wrong_code_looks_alike() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let bob = house.person("bob").await;
    let desk = Desk::asking(&house).await;
    let used = Desk::asking(&house).await;
    ada.about("/link/deny", used.code()).await.must_be(StatusCode::NO_CONTENT);

    let mut bodies = Vec::new();
    for n in 0..10 {
        let path = ["/link/lookup", "/link/approve", "/link/deny"][n % 3];
        let code = ["BCDF-2345", used.code(), "not a code"][n / 3 % 3];
        let answer = ada.about(path, code).await.must_be_problem(StatusCode::FORBIDDEN, "link-code-refused");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    for code in ["BCDF-2345", desk.code()] {
        let answer = ada.about("/link/approve", code).await;
        let answer = answer.must_be_problem(StatusCode::TOO_MANY_REQUESTS, "try-later");
        assert_eq!(answer.headers["retry-after"], "900");
    }
    bob.about("/link/lookup", desk.code()).await.must_be(StatusCode::OK);

    for name in ["cyd", "dot"] {
        let guest = house.person(name).await;
        for _ in 0..10 {
            guest.about("/link/lookup", "BCDF-2345").await.must_be(StatusCode::FORBIDDEN);
        }
    }
    bob.about("/link/lookup", desk.code()).await.must_be(StatusCode::TOO_MANY_REQUESTS);
    house.clock.advance(Duration::from_secs(15 * 60));
    let late = Desk::asking(&house).await;
    ada.about("/link/lookup", late.code()).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_right_code_is_never_counted_as_a_guess() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let desk = Desk::asking(&house).await;
    for _ in 0..40 {
        ada.about("/link/lookup", &desk.code().to_lowercase()).await.must_be(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_desktop_that_asks_too_often_is_told_to_slow_down() {
    let house = House::new().await;
    let (hasty, other) = (Desk::asking(&house).await, Desk::asking(&house).await);
    hasty.must_hear("authorization-pending").await;
    let again = json!({"device_code": hasty.begun["device_code"]});
    hasty.api.post("/link/poll", &again).await.must_be_problem(StatusCode::BAD_REQUEST, "slow-down");
    let others = json!({"device_code": other.begun["device_code"]});
    other
        .api
        .post("/link/poll", &others)
        .await
        .must_be_problem(StatusCode::BAD_REQUEST, "authorization-pending");
    hasty.must_hear("authorization-pending").await;
}

#[tokio::test]
async fn of_one_network_only_so_many_desktops_wait() {
    let house = House::new().await;
    for _ in 0..8 {
        Desk::asking(&house).await;
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    let asked = json!({"name": "One more", "public_key": base64url(spki)});
    let answer = house.browser().post("/link", &asked).await;
    answer.must_be_problem(StatusCode::TOO_MANY_REQUESTS, "try-later");
}

#[tokio::test]
async fn a_desktop_that_waits_no_longer_cannot_be_approved() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let desk = Desk::asking(&house).await;
    for _ in 0..2 {
        let body = json!({"device_code": desk.begun["device_code"]});
        desk.api.post("/link/withdraw", &body).await.must_be(StatusCode::NO_CONTENT);
    }
    let refused = ada.about("/link/approve", desk.code()).await;
    refused.must_be_problem(StatusCode::FORBIDDEN, "link-code-refused");
}
