//! Access tokens from the settings, and the keys that apps check assertions with.

use std::time::Duration;

use super::*;
use crate::access::Former;
use crate::names::DeviceId;
use crate::secret::SecretText;

const YEAR_ON: &str = "2028-01-15T08:00:00Z";

impl House {
    fn admits(&self, tunnel: &TunnelId, token: &str) -> bool {
        let facts = Facts {
            tunnel,
            asking: Asking::Script,
            provenance: Provenance::Own,
            session: None,
            access_token: Some(SecretText::new(token.to_owned())),
            tokens: &[],
        };
        matches!(Gate::new(Arc::clone(&self.sessions)).admit(&facts, self.clock.now()), Verdict::Admit(_))
    }
}

impl Person<'_> {
    async fn make(&self, tunnel: &Tunnel) -> (String, String) {
        let body = json!({"name": "Nightly backup", "tunnel": tunnel.id, "expires_at": YEAR_ON});
        let made = self.browser.post("/access-tokens", &body).await.must_be(StatusCode::CREATED).json();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        (text("id"), text("token"))
    }
}

#[tokio::test]
async fn an_access_token_is_shown_once_listed_without_its_text_and_revoked_by_whose_it_is() {
    let house = House::new().await;
    let (ada, bob) = (house.person("ada").await, house.person("bob").await);
    let tunnel = house.tunnel(&ada.user).await;
    let (id, token) = ada.make(&tunnel).await;
    assert!(token.starts_with("patapim_"));
    let listed = ada.browser.get("/access-tokens").await.must_be(StatusCode::OK);
    assert!(!String::from_utf8_lossy(&listed.body).contains(&token["patapim_".len()..]));
    let expected = json!([{
        "id": id, "name": "Nightly backup", "tunnel": tunnel.id,
        "device": DeviceId::of_credential(&ada.key.id),
        "created_at": "2027-01-15T08:00:00Z", "expires_at": YEAR_ON, "last_used_at": null,
    }]);
    assert_eq!(listed.json(), expected);
    house.clock.advance(Duration::from_secs(5));
    assert!(house.admits(&tunnel.id, &token));
    let listed = ada.browser.get("/access-tokens").await.json();
    assert_eq!(listed[0]["last_used_at"], "2027-01-15T08:00:05Z");
    assert_eq!(ada.browser.get("/sessions").await.json().as_array().map(Vec::len), Some(1));
    assert_eq!(bob.browser.get("/access-tokens").await.json(), json!([]));

    let path = format!("/access-tokens/{id}");
    bob.browser.delete(&path).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    ada.browser.delete(&format!("/sessions/{id}")).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    assert!(house.admits(&tunnel.id, &token));
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
    assert!(!house.admits(&tunnel.id, &token));
    assert_eq!(ada.browser.get("/access-tokens").await.json(), json!([]));
    ada.browser.delete(&path).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
}

#[tokio::test]
async fn access_tokens_change_only_after_a_fresh_sign_in() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let (id, _) = ada.make(&tunnel).await;
    house.clock.advance(Duration::from_secs(10 * 60 + 1));
    let body = json!({"name": "x", "tunnel": tunnel.id, "expires_at": YEAR_ON});
    let path = format!("/access-tokens/{id}");
    for answer in [ada.browser.post("/access-tokens", &body).await, ada.browser.delete(&path).await] {
        answer.must_be_problem(StatusCode::FORBIDDEN, "step-up-required");
    }
    ada.browser.get("/access-tokens").await.must_be(StatusCode::OK);
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
    let stranger = house.browser();
    stranger.get("/access-tokens").await.must_be(StatusCode::UNAUTHORIZED);
    stranger.post("/access-tokens", &body).await.must_be(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_access_token_is_for_a_tunnel_of_ones_own_with_a_name_and_an_end_within_a_year() {
    let house = House::new().await;
    let (ada, bob) = (house.person("ada").await, house.person("bob").await);
    let (tunnel, theirs) = (house.tunnel(&ada.user).await, house.tunnel(&bob.user).await);
    let ask = async |field: &str, value: Value| {
        let mut body = json!({"name": "x", "tunnel": tunnel.id, "expires_at": YEAR_ON});
        body[field] = value;
        ada.browser.post("/access-tokens", &body).await
    };
    for other in [theirs.id.as_str(), "nobody-abc234"] {
        ask("tunnel", json!(other)).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    }
    for (field, bad) in [
        ("name", json!("")),
        ("name", json!("x".repeat(65))),
        ("name", Value::Null),
        ("tunnel", json!("Not A Label")),
        ("expires_at", json!("tomorrow")),
        ("expires_at", json!("2027-01-15T08:00:00Z")),
        ("expires_at", json!("1969-01-15T08:00:00Z")),
        ("expires_at", json!("2028-01-16T08:00:01Z")),
        ("expires_at", json!(1_900_000_000)),
    ] {
        let problem = ask(field, bad.clone()).await.must_be_problem(StatusCode::BAD_REQUEST, "malformed");
        let problem = problem.json();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(field)), "{bad}: {problem}");
    }
    assert_eq!(ada.browser.get("/access-tokens").await.json(), json!([]));
    ask("expires_at", json!("2028-01-16T10:00:00+02:00")).await.must_be(StatusCode::CREATED);
    ask("name", json!("x".repeat(64))).await.must_be(StatusCode::CREATED);
}

#[tokio::test]
async fn an_access_token_goes_with_its_passkey_its_tunnel_and_its_person_but_not_with_the_sessions() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (first, second) = (house.tunnel(&ada.user).await, house.tunnel(&ada.user).await);
    let ((_, one), (_, other)) = (ada.make(&first).await, ada.make(&second).await);
    ada.browser.delete("/sessions").await.must_be(StatusCode::NO_CONTENT);
    assert!(house.admits(&first.id, &one) && house.admits(&second.id, &other));

    house.clock.advance(Duration::from_secs(1));
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
    ada.browser.delete(&format!("/tunnels/{}", first.id)).await.must_be(StatusCode::NO_CONTENT);
    assert!(!house.admits(&first.id, &one) && house.admits(&second.id, &other));

    let begun = ada.browser.post("/passkeys/registration", &json!({"name": "Second key"})).await.json();
    let mut spare = Key::new();
    let made = spare.create(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    ada.finish_registration(&begun, &made).await.must_be(StatusCode::CREATED);
    let passkeys = ada.browser.get("/passkeys").await.json();
    let passkeys = passkeys.as_array().expect("a list");
    let old = passkeys.iter().find(|one| one["name"] == "First key").expect("the first");
    let path = format!("/passkeys/{}", old["id"].as_str().expect("an id"));
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
    assert!(!house.admits(&second.id, &other), "it was made with that passkey");
}

#[tokio::test]
async fn the_key_set_is_public_and_current_after_a_rotation() {
    let house = House::new().await;
    let fetch = async || house.browser().open("/.well-known/jwks.json").await.must_be(StatusCode::OK);
    let set = fetch().await;
    assert_eq!(set.headers["cache-control"], "public, max-age=300");
    assert_eq!(set.headers[CONTENT_TYPE], "application/json");
    assert!(set.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    let key = &set.json()["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    assert!(key.get("d").is_none(), "the public half only");

    let rotated = house.sessions.rotate_keys(&house.assertor, Former::Kept).await.expect("rotated");
    let keys = fetch().await.json()["keys"].clone();
    assert_eq!(keys.as_array().map(Vec::len), Some(2));
    assert_eq!((&keys[0]["kid"], &keys[1]["kid"]), (&json!(&*rotated.assertion_kid), &key["kid"]));
    house.clock.advance(Duration::from_secs(600));
    assert_eq!(fetch().await.json()["keys"].as_array().map(Vec::len), Some(1));
}
