//! Ways to sign in for whoever has no passkey at hand.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Browser, House, Person};
use crate::access::cookies::DEPLOYER;

const PASSWORD: &str = "four words and a bird";
const LINK: &str = "Your sign-in link";

impl Person<'_> {
    async fn backup_codes(&self) -> Vec<String> {
        let made =
            self.browser.post("/fallbacks/backup-codes", &json!({})).await.must_be(StatusCode::CREATED);
        serde_json::from_value(made.json()["codes"].clone()).expect("codes")
    }

    async fn set_password(&self, password: &str) {
        self.browser.put("/fallbacks/password", &json!({ "new": password })).await.must_be(StatusCode::OK);
    }

    async fn switch_links_on(&self) {
        let on = json!({ "enabled": true });
        self.browser.put("/fallbacks/magic-link", &on).await.must_be(StatusCode::OK);
    }
}

impl Browser<'_> {
    async fn try_code(&self, user: &str, code: &str) -> super::Answer {
        self.post("/sign-in/backup-code", &json!({ "user": user, "code": code })).await
    }

    async fn try_password(&self, user: &str, password: &str) -> super::Answer {
        self.post("/sign-in/password", &json!({ "user": user, "password": password })).await
    }

    async fn ask_for_link(&self, email: &str) {
        let answer = self.post("/sign-in/magic-link", &json!({ "email": email })).await;
        answer.must_be(StatusCode::ACCEPTED);
    }

    async fn redeem_link(&self, token: &str) -> super::Answer {
        self.post("/sign-in/magic-link/redeem", &json!({ "token": token })).await
    }

    fn is_signed_in(&self) -> bool {
        self.cookie(DEPLOYER).is_some()
    }
}

/// What stands after the `#` of the link in a mail.
fn token_in(text: &str) -> String {
    let link = text.lines().find(|line| line.starts_with("https://")).expect("a link");
    link.strip_prefix("https://deployer.patapim.test/auth/email#").expect("our own page").to_owned()
}

#[tokio::test]
async fn each_fallback_is_off_until_it_is_set_up_and_says_how_it_stands() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let shown = ada.browser.get("/fallbacks").await.must_be(StatusCode::OK).json();
    for kind in ["backup_codes", "magic_link", "password"] {
        assert_eq!(shown[kind]["enabled"], false, "{shown}");
    }
    let codes = ada.backup_codes().await;
    ada.set_password(PASSWORD).await;
    ada.switch_links_on().await;
    let shown = ada.browser.get("/fallbacks").await.json();
    assert_eq!((codes.len(), &shown["backup_codes"]["left"]), (10, &json!(10)), "{shown}");
    assert_eq!(shown["magic_link"]["email"], "ada@mail.test");
    assert_eq!(shown["password"]["set_up"], true);
    for kind in ["backup_codes", "magic_link", "password"] {
        assert_eq!(shown[kind]["enabled"], true, "{shown}");
    }
}

#[tokio::test]
async fn a_backup_code_signs_in_once_and_new_codes_end_what_it_opened() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let codes = ada.backup_codes().await;
    let phone = house.browser();
    phone.try_code(" Ada ", &codes[0].to_uppercase()).await.must_be(StatusCode::OK);
    assert!(phone.is_signed_in());
    house
        .browser()
        .try_code("ada", &codes[0])
        .await
        .must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused");

    ada.backup_codes().await;
    phone.get("/sessions").await.must_be(StatusCode::UNAUTHORIZED);
    house.browser().try_code("ada", &codes[1]).await.must_be(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn fifty_at_once_with_one_code_are_one_sign_in() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let codes = ada.backup_codes().await;
    let browsers: Vec<_> = (0..50).map(|_| house.browser()).collect();
    let all = join_all(browsers.iter().map(|browser| browser.try_code("ada", &codes[0]))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    assert_eq!(browsers.iter().filter(|browser| browser.is_signed_in()).count(), 1);
    assert!(all.iter().all(|answer| [200, 401, 429].contains(&answer.status.as_u16())));
}

#[tokio::test]
async fn known_and_unknown_names_are_answered_alike_and_counted_alike() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.set_password(PASSWORD).await;
    ada.backup_codes().await;
    house.person("off").await;
    let mut answers: Vec<Vec<(StatusCode, Value)>> = Vec::new();
    for name in ["ada", "off", "nobody", "Not A Name!"] {
        let browser = house.browser();
        let mut told = Vec::new();
        for _ in 0..12 {
            for answer in
                [browser.try_password(name, "wrong as it can be").await, browser.try_code(name, "aaaa").await]
            {
                told.push((answer.status, answer.json()));
            }
        }
        answers.push(told);
        // Of one network there may be only so many.
        house.clock.advance(Duration::from_secs(15 * 60));
    }
    assert!(answers.iter().all(|told| *told == answers[0]), "{answers:?}");
    let refused = answers[0].iter().filter(|(status, _)| *status == StatusCode::UNAUTHORIZED).count();
    let throttled = answers[0].iter().filter(|(status, _)| *status == StatusCode::TOO_MANY_REQUESTS).count();
    assert_eq!((refused, throttled), (20, 4));
}

#[tokio::test]
async fn guessing_locks_nobody_out_of_their_passkey_nor_of_another_fallback() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    ada.set_password(PASSWORD).await;
    let codes = ada.backup_codes().await;
    for _ in 0..10 {
        house.browser().try_password("ada", "wrong as it can be").await.must_be(StatusCode::UNAUTHORIZED);
    }
    let throttled = house.browser().try_password("ada", PASSWORD).await;
    throttled.must_be_problem(StatusCode::TOO_MANY_REQUESTS, "try-later");
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
    house.browser().try_code("ada", &codes[0]).await.must_be(StatusCode::OK);
    house.clock.advance(Duration::from_secs(15 * 60));
    house.browser().try_password("ada", PASSWORD).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_fallback_that_is_switched_off_is_refused_like_a_wrong_one_and_its_sessions_end() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.set_password(PASSWORD).await;
    let phone = house.browser();
    phone.try_password("ada", PASSWORD).await.must_be(StatusCode::OK);
    let wrong = house.browser().try_password("ada", "wrong as it can be").await.json();
    let off = json!({ "enabled": false });
    ada.browser.put("/fallbacks/password", &off).await.must_be(StatusCode::OK);
    phone.get("/sessions").await.must_be(StatusCode::UNAUTHORIZED);
    let refused = house.browser().try_password("ada", PASSWORD).await.must_be(StatusCode::UNAUTHORIZED);
    assert_eq!(refused.json(), wrong);
}

#[tokio::test]
async fn a_changed_password_ends_what_the_old_one_opened() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.set_password(PASSWORD).await;
    let phone = house.browser();
    phone.try_password("ada", PASSWORD).await.must_be(StatusCode::OK);
    let change = |current: &str, new: &str| json!({ "current": current, "new": new });
    let wrong =
        ada.browser.put("/fallbacks/password", &change("not the current one", "another good long one")).await;
    wrong.must_be_problem(StatusCode::FORBIDDEN, "wrong-password");
    let weak = ada.browser.put("/fallbacks/password", &change(PASSWORD, "passwordpassword")).await;
    weak.must_be_problem(StatusCode::UNPROCESSABLE_ENTITY, "weak-password");
    phone.get("/sessions").await.must_be(StatusCode::OK);
    ada.browser
        .put("/fallbacks/password", &change(PASSWORD, "another good long one"))
        .await
        .must_be(StatusCode::OK);
    phone.get("/sessions").await.must_be(StatusCode::UNAUTHORIZED);
    ada.browser.get("/sessions").await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_fallback_session_changes_no_factor_and_registers_a_passkey_only_once_its_desktop_approved() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let codes = ada.backup_codes().await;
    let passkey = ada.browser.get("/passkeys").await.json()[0]["id"].as_str().expect("an id").to_owned();
    let phone = house.browser();
    phone.try_code("ada", &codes[0]).await.must_be(StatusCode::OK);
    let refused = [
        phone.delete(&format!("/passkeys/{passkey}")).await,
        phone.call(http::Method::PATCH, &format!("/passkeys/{passkey}"), Some(&json!({ "name": "x" }))).await,
        phone
            .call(http::Method::PATCH, &format!("/tunnels/{}", tunnel.id), Some(&json!({ "name": "x" })))
            .await,
        phone.delete(&format!("/tunnels/{}", tunnel.id)).await,
        phone.post("/fallbacks/backup-codes", &json!({})).await,
        phone.put("/fallbacks/backup-codes", &json!({ "enabled": false })).await,
        phone.put("/fallbacks/magic-link", &json!({ "enabled": true })).await,
        phone.put("/fallbacks/password", &json!({ "new": PASSWORD })).await,
        phone.post("/link/approve", &json!({ "user_code": "BCDF-GHJK" })).await,
        phone
            .post(
                "/access-tokens",
                &json!({ "name": "x", "tunnel": tunnel.id, "expires_at": "2027-01-20T00:00:00Z" }),
            )
            .await,
    ];
    for answer in refused {
        answer.must_be_problem(StatusCode::FORBIDDEN, "passkey-required");
    }
    let begin = json!({ "name": "Phone" });
    let early = phone.post("/passkeys/registration", &begin).await;
    early.must_be_problem(StatusCode::FORBIDDEN, "approval-required");

    let sessions = house.sessions.all();
    let device = sessions.iter().find(|session| session.method().is_fallback()).expect("a session").device();
    house.sessions.approve_device(device).await.expect("approved");
    let begun = phone.post("/passkeys/registration", &begin).await.must_be(StatusCode::OK).json();
    let made = super::Key::new().create(&begun["publicKey"], super::ORIGIN_OF_OURS, |_| ());
    let ceremony = begun["ceremony"].as_str().expect("a ceremony");
    phone.post(&format!("/passkeys/registration/{ceremony}"), &made).await.must_be(StatusCode::CREATED);
    house.mails.about("A passkey was registered for your account", 2).await;
}

#[tokio::test]
async fn the_last_passkey_is_kept_whatever_fallbacks_there_are() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.set_password(PASSWORD).await;
    let passkey = ada.browser.get("/passkeys").await.json()[0]["id"].as_str().expect("an id").to_owned();
    let kept = ada.browser.delete(&format!("/passkeys/{passkey}")).await;
    kept.must_be_problem(StatusCode::CONFLICT, "last-factor");
}

#[tokio::test]
async fn changes_to_fallbacks_need_a_fresh_sign_in() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    house.clock.advance(Duration::from_secs(10 * 60 + 1));
    let stale = [
        ada.browser.post("/fallbacks/backup-codes", &json!({})).await,
        ada.browser.put("/fallbacks/backup-codes", &json!({ "enabled": true })).await,
        ada.browser.put("/fallbacks/magic-link", &json!({ "enabled": true })).await,
        ada.browser.put("/fallbacks/password", &json!({ "new": PASSWORD })).await,
    ];
    for answer in stale {
        answer.must_be_problem(StatusCode::FORBIDDEN, "step-up-required");
    }
}

#[tokio::test]
async fn a_mailed_link_is_redeemed_once_in_the_browser_that_asked_within_ten_minutes() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.switch_links_on().await;
    let phone = house.browser();
    phone.ask_for_link("Ada@Mail.test").await;
    let mails = house.mails.about(LINK, 1).await;
    assert_eq!(mails[0].to.as_str(), "ada@mail.test");
    let token = token_in(&mails[0].text);
    assert!(mails[0].html.contains(&format!("/auth/email#{token}")), "{}", mails[0].html);

    let elsewhere = house.browser();
    elsewhere.redeem_link(&token).await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused");
    elsewhere.ask_for_link("eve@mail.test").await;
    elsewhere.redeem_link(&token).await.must_be(StatusCode::UNAUTHORIZED);
    phone.redeem_link(&token).await.must_be(StatusCode::OK);
    assert!(phone.is_signed_in());
    phone.redeem_link(&token).await.must_be(StatusCode::UNAUTHORIZED);

    phone.ask_for_link("ada@mail.test").await;
    let late = token_in(&house.mails.about(LINK, 2).await[1].text);
    house.clock.advance(Duration::from_secs(10 * 60));
    phone.redeem_link(&late).await.must_be(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_the_newest_link_is_good_and_there_are_three_in_a_quarter_of_an_hour() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.switch_links_on().await;
    let phone = house.browser();
    for count in 1..=3 {
        phone.ask_for_link("ada@mail.test").await;
        house.mails.about(LINK, count).await;
    }
    let tokens: Vec<_> = house.mails.about(LINK, 3).await.iter().map(|mail| token_in(&mail.text)).collect();
    phone.ask_for_link("ada@mail.test").await;
    phone.redeem_link(&tokens[0]).await.must_be(StatusCode::UNAUTHORIZED);
    phone.redeem_link(&tokens[1]).await.must_be(StatusCode::UNAUTHORIZED);
    phone.redeem_link(&tokens[2]).await.must_be(StatusCode::OK);

    house.clock.advance(Duration::from_secs(15 * 60));
    phone.ask_for_link("ada@mail.test").await;
    let all = house.mails.about(LINK, 4).await;
    assert_eq!(all.len(), 4, "the fourth in the quarter was not sent, or it would be among these");
}

#[tokio::test]
async fn whoever_asks_for_a_link_hears_the_same_whoever_there_is() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    house.person("bob").await;
    ada.switch_links_on().await;
    let mut told = Vec::new();
    for email in ["ada@mail.test", "bob@mail.test", "nobody@mail.test", "not an address"] {
        let answer = house.browser().post("/sign-in/magic-link", &json!({ "email": email })).await;
        let cookies = answer.headers.get_all("set-cookie").iter().count();
        told.push((answer.status, answer.body.clone(), cookies));
    }
    assert!(told.iter().all(|one| *one == told[0]) && told[0].0 == StatusCode::ACCEPTED, "{told:?}");
    let mails = house.mails.about(LINK, 1).await;
    assert_eq!(mails.len(), 1);
}

#[tokio::test]
async fn the_person_is_told_of_a_sign_in_without_a_passkey_and_of_changes() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    ada.set_password(PASSWORD).await;
    house.mails.about("The password of your account was set", 1).await;
    house.browser().try_password("ada", PASSWORD).await.must_be(StatusCode::OK);
    let told = house.mails.about("Somebody signed in to your account", 1).await;
    assert!(
        told[0].text.contains("with your password") && told[0].text.contains("192.0.2.7"),
        "{}",
        told[0].text
    );
    let off = json!({ "enabled": false });
    ada.browser.put("/fallbacks/password", &off).await.must_be(StatusCode::OK);
    house.mails.about("The password of your account was switched off", 1).await;
    assert!(house.mails.so_far().iter().all(|mail| !mail.text.contains(PASSWORD)));
}

#[tokio::test]
async fn a_disabled_person_is_nobody_and_their_code_is_not_used_up() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let codes = ada.backup_codes().await;
    let state = |state| house.accounts.set_user_state(&ada.user.id, state);
    state(crate::accounts::UserState::Disabled).await.expect("disabled");
    house.browser().try_code("ada", &codes[0]).await.must_be(StatusCode::UNAUTHORIZED);
    state(crate::accounts::UserState::Active).await.expect("enabled");
    house.browser().try_code("ada", &codes[0]).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_fallback_leads_to_the_tunnel_that_was_asked_for() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let codes = ada.backup_codes().await;
    let bind = house.bind();
    let body = json!({
        "user": "ada", "code": codes[0], "tunnel": tunnel.id, "bind": bind.hash().as_str(), "return_to": "/notes",
    });
    let entered =
        house.browser().post("/sign-in/backup-code", &body).await.must_be(StatusCode::OK).redirect();
    let redeemed = house.redeem(&tunnel.id, &entered, &bind).await.expect("a session");
    assert!(redeemed.session.method().is_fallback());
    assert_eq!(redeemed.session.device_name(), "Backup code");
}
