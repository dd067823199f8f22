//! What a person sees and changes of their own.

use std::time::Duration;

use super::*;

impl Person<'_> {
    /// Registers another passkey; gives it and its id.
    async fn second_key(&self) -> (Key, String) {
        let begun = self.browser.post("/passkeys/registration", &json!({"name": "Second key"})).await.json();
        let mut key = Key::new();
        let made = key.create(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
        let passkey = self.finish_registration(&begun, &made).await.must_be(StatusCode::CREATED);
        assert!(passkey.headers.get(SET_COOKIE).is_none(), "signed in already");
        (key, passkey.json()["id"].as_str().expect("an id").to_owned())
    }
}

#[tokio::test]
async fn the_last_passkey_is_kept() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let id = ada.browser.get("/passkeys").await.json()[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/passkeys/{id}");
    ada.browser.delete(&path).await.must_be_problem(StatusCode::CONFLICT, "last-factor");
    ada.second_key().await;
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_removed_passkey_takes_its_sessions_with_it() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let (second, id) = ada.second_key().await;
    let mut thief = Person { user: ada.user.clone(), browser: house.browser(), key: second };
    let bind = house.bind();
    let wanted = json!({"tunnel": tunnel.id, "bind": bind.hash().as_str()});
    let to = thief.sign_in(&wanted).await.redirect();
    let visit = house.redeem(&tunnel.id, &to, &bind).await.expect("a session").session;

    ada.browser.delete(&format!("/passkeys/{id}")).await.must_be(StatusCode::NO_CONTENT);
    assert!(visit.is_over());
    thief.browser.get("/passkeys").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
    thief.sign_in(&json!({})).await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused");
    ada.browser.get("/passkeys").await.must_be(StatusCode::OK);
    ada.browser.delete(&format!("/passkeys/{id}")).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn the_browser_is_told_to_forget_a_passkey_only_when_no_account_holds_it() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (second, id) = ada.second_key().await;
    let mut other = Person { user: ada.user.clone(), browser: house.browser(), key: second };
    let told = async |person: &mut Person<'_>| {
        let refused = person.sign_in(&json!({})).await;
        refused.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused").json()["unknown_credential"]
            .clone()
    };

    let bent = other.sign_in_bent(&json!({}), |draft| draft.spoil_signature = true).await;
    let problem = bent.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused").json();
    assert_eq!(problem["unknown_credential"], Value::Null);
    house
        .accounts
        .set_user_state(&ada.user.id, crate::accounts::UserState::Disabled)
        .await
        .expect("disabled");
    assert_eq!(told(&mut other).await, Value::Null, "a disabled person's passkey is held");
    house.accounts.set_user_state(&ada.user.id, crate::accounts::UserState::Active).await.expect("enabled");
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
    ada.browser.delete(&format!("/passkeys/{id}")).await.must_be(StatusCode::NO_CONTENT);
    assert_eq!(told(&mut other).await, true);
}

#[tokio::test]
async fn a_passkey_that_was_made_and_refused_may_be_forgotten_too() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let begun = ada.browser.post("/passkeys/registration", &json!({"name": "New"})).await.json();
    let made = Key::new().create(&begun["publicKey"], "https://elsewhere.test", |_| ());
    let refused = ada.finish_registration(&begun, &made).await;
    let problem = refused.must_be_problem(StatusCode::FORBIDDEN, "registration-refused").json();
    assert_eq!(problem["unknown_credential"], true);
}

#[tokio::test]
async fn a_revoked_passkey_can_be_registered_anew() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let (key, id) = ada.second_key().await;
    ada.browser.delete(&format!("/passkeys/{id}")).await.must_be(StatusCode::NO_CONTENT);
    house.clock.advance(Duration::from_secs(1));

    let mut again = Person { user: ada.user.clone(), browser: house.browser(), key };
    let begun = ada.browser.post("/passkeys/registration", &json!({"name": "Again"})).await.json();
    let made = again.key.create(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    ada.finish_registration(&begun, &made).await.must_be(StatusCode::CREATED);
    again.sign_in(&json!({})).await.must_be(StatusCode::OK);
    again.browser.get("/passkeys").await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_browser_learns_which_passkeys_are_accepted_and_whose_they_are() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    house.clock.advance(Duration::from_secs(1));
    let (second, _) = ada.second_key().await;
    let accepted = ada.browser.get("/passkeys/accepted").await.must_be(StatusCode::OK).json();
    let ids = [&ada.key.id, &second.id].map(crate::secret::base64url);
    assert_eq!(
        accepted,
        json!({
            "rpId": "deployer.patapim.test", "userId": crate::secret::base64url(ada.user.id.as_str()),
            "name": "ada", "displayName": "ada", "allAcceptedCredentialIds": ids,
        })
    );
    house.browser().get("/passkeys/accepted").await.must_be(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn factors_change_only_after_a_fresh_sign_in() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (_, id) = ada.second_key().await;
    let tunnel = house.tunnel(&ada.user).await;
    house.clock.advance(Duration::from_secs(10 * 60));
    ada.browser.post("/passkeys/registration", &json!({"name": "x"})).await.must_be(StatusCode::OK);
    house.clock.advance(Duration::from_secs(1));
    let (key, name) = (format!("/passkeys/{id}"), json!({"name": "x"}));
    for answer in [
        ada.browser.post("/passkeys/registration", &name).await,
        ada.browser.delete(&key).await,
        ada.browser.call(Method::PATCH, &key, Some(&name)).await,
        ada.browser.delete(&format!("/tunnels/{}", tunnel.id)).await,
    ] {
        answer.must_be_problem(StatusCode::FORBIDDEN, "step-up-required");
    }
    ada.browser.get("/passkeys").await.must_be(StatusCode::OK);
    ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
    ada.browser.delete(&key).await.must_be(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_passkey_is_renamed_by_its_owner_only() {
    let house = House::new().await;
    let (ada, bob) = (house.person("ada").await, house.person("bob").await);
    let id = ada.browser.get("/passkeys").await.json()[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/passkeys/{id}");
    let body = json!({"name": "  Laptop <b>&  "});
    let renamed = ada.browser.call(Method::PATCH, &path, Some(&body)).await.must_be(StatusCode::OK).json();
    assert_eq!(renamed["name"], "Laptop <b>&");
    for body in [json!({"name": ""}), json!({"name": "a\nb"}), json!({"name": 5}), json!({})] {
        let answer = ada.browser.call(Method::PATCH, &path, Some(&body)).await;
        let problem = answer.must_be_problem(StatusCode::BAD_REQUEST, "malformed").json();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("name")), "{problem}");
    }
    bob.browser
        .call(Method::PATCH, &path, Some(&body))
        .await
        .must_be_problem(StatusCode::NOT_FOUND, "not-found");
    bob.second_key().await;
    bob.browser.delete(&path).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_whose_they_are() {
    let house = House::new().await;
    let (mut ada, bob) = (house.person("ada").await, house.person("bob").await);
    let tunnel = house.tunnel(&ada.user).await;
    let bind = house.bind();
    let to = ada.sign_in(&json!({"tunnel": tunnel.id, "bind": bind.hash().as_str()})).await.redirect();
    let visit = house.redeem(&tunnel.id, &to, &bind).await.expect("a session").session;

    let sessions = ada.browser.get("/sessions").await.must_be(StatusCode::OK).json();
    let sessions = sessions.as_array().expect("a list");
    assert_eq!(sessions.len(), 2);
    let own = sessions.iter().find(|session| session["current"] == true).expect("this one");
    assert_eq!(
        (&own["user"], &own["tunnel"], &own["address"]),
        (&json!("ada"), &Value::Null, &json!("192.0.2.7"))
    );
    assert_eq!((&own["since"], &own["device_name"]), (&json!("2027-01-15T08:00:00Z"), &json!("First key")));
    let there = sessions.iter().find(|session| session["tunnel"] == tunnel.id.as_str()).expect("the visit");
    let path = format!("/sessions/{}", there["id"].as_str().expect("an id"));

    bob.browser.delete(&path).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    assert!(!visit.is_over());
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
    assert!(visit.is_over());
    assert!(ada.is_signed_in());

    let path = format!("/sessions/{}", own["id"].as_str().expect("an id"));
    let kept = ada.browser.copy();
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
    assert!(!ada.is_signed_in());
    kept.get("/sessions").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
}

#[tokio::test]
async fn signing_out_ends_this_session_and_ending_all_ends_all() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let elsewhere = ada.browser.copy();
    ada.sign_in(&json!({})).await;
    elsewhere.get("/sessions").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
    let kept = ada.browser.copy();
    let out = ada.browser.call(Method::POST, "/sign-out", None).await.must_be(StatusCode::NO_CONTENT);
    assert!(out.sets(DEPLOYER).is_some_and(|set| set.contains("Max-Age=0")));
    kept.get("/sessions").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
    kept.call(Method::POST, "/sign-out", None).await.must_be(StatusCode::NO_CONTENT);

    house.clock.advance(Duration::from_secs(1));
    let (laptop, phone) = (house.browser(), house.browser());
    for browser in [&laptop, &phone] {
        std::mem::swap(
            &mut *ada.browser.cookies.lock().expect("a lock"),
            &mut *browser.cookies.lock().expect("a lock"),
        );
        ada.sign_in(&json!({})).await.must_be(StatusCode::OK);
        std::mem::swap(
            &mut *ada.browser.cookies.lock().expect("a lock"),
            &mut *browser.cookies.lock().expect("a lock"),
        );
    }
    laptop.delete("/sessions").await.must_be(StatusCode::NO_CONTENT);
    phone.get("/sessions").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
}

#[tokio::test]
async fn a_session_lasts_twelve_hours() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    house.clock.advance(Duration::from_secs(12 * 3600 - 1));
    ada.browser.get("/passkeys").await.must_be(StatusCode::OK);
    house.clock.advance(Duration::from_secs(1));
    ada.browser.get("/passkeys").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
}

#[tokio::test]
async fn tunnels_are_listed_changed_and_removed_by_their_owner() {
    let house = House::new().await;
    let (ada, bob) = (house.person("ada").await, house.person("bob").await);
    let tunnel = house.tunnel(&ada.user).await;
    assert_eq!(bob.browser.get("/tunnels").await.json(), json!([]));
    let listed = ada.browser.get("/tunnels").await.must_be(StatusCode::OK).json();
    assert_eq!(listed[0]["id"], tunnel.id.as_str());
    assert_eq!((&listed[0]["user"], &listed[0]["online"]), (&json!("ada"), &json!(false)));
    assert_eq!((&listed[0]["desktop"], &listed[0]["last_seen"]), (&json!("Work laptop"), &Value::Null));
    house.desktops.online.lock().expect("a lock").push(tunnel.id.clone());
    let listed = ada.browser.get("/tunnels").await.json();
    assert_eq!((&listed[0]["online"], &listed[0]["desktop"]), (&json!(true), &json!("the desktop itself")));
    assert_eq!(listed[0]["last_seen"], "2027-01-15T08:00:00Z");

    let path = format!("/tunnels/{}", tunnel.id);
    let body = json!({"name": "Home", "allowed_origins": ["https://app.example.com"]});
    bob.browser
        .call(Method::PATCH, &path, Some(&body))
        .await
        .must_be_problem(StatusCode::NOT_FOUND, "not-found");
    let changed = ada.browser.call(Method::PATCH, &path, Some(&body)).await.must_be(StatusCode::OK).json();
    assert_eq!((&changed["name"], &changed["allowed_origins"]), (&body["name"], &body["allowed_origins"]));
    let bad = json!({"allowed_origins": ["*"]});
    let problem = ada.browser.call(Method::PATCH, &path, Some(&bad)).await;
    let problem = problem.must_be_problem(StatusCode::BAD_REQUEST, "malformed").json();
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.starts_with("allowed_origins: ")),
        "{problem}"
    );

    bob.browser.delete(&path).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    assert!(house.desktops.unlinked.lock().expect("a lock").iter().all(|id| *id != tunnel.id));
    ada.browser.delete(&path).await.must_be(StatusCode::NO_CONTENT);
    assert_eq!(*house.desktops.unlinked.lock().expect("a lock"), std::slice::from_ref(&tunnel.id));
    assert_eq!(ada.browser.get("/tunnels").await.json(), json!([]));
}
