//! Registering and signing in, honestly and not.

use std::time::Duration;

use super::authenticator::{BE, BS, UP, UV};
use super::*;
use crate::accounts::UserState;
use crate::names::DeviceId;
use crate::secret::{base64url, sha256};

const NOW: Value = Value::Null;

fn anywhere() -> Value {
    json!({})
}

/// Every refusal of a sign-in is this one, to the byte.
#[track_caller]
fn must_be_refused(answer: Answer) {
    let answer = answer.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused");
    assert!(answer.headers.get(SET_COOKIE).is_none());
    let plain = "This passkey is not known here, or the attempt took too long. Please try again.";
    assert_eq!(answer.json()["detail"], plain);
}

#[tokio::test]
async fn an_invitation_makes_a_passkey_and_signs_its_person_in() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let keys = ada.browser.get("/passkeys").await.must_be(StatusCode::OK).json();
    let key = &keys[0];
    assert_eq!(key["id"], DeviceId::of_credential(&ada.key.id).as_str());
    assert_eq!(key["name"], "First key");
    let hash =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, sha256(ada.key.cose()));
    assert_eq!(key["fingerprint"], format!("SHA256:{hash}"));
    assert_eq!((&key["synced"], &key["last_used_at"], &key["provider"]), (&json!(false), &NOW, &NOW));
    assert_eq!(key["registered_at"], "2027-01-15T08:00:00Z");
    let kept = house.accounts.passkeys_of(&ada.user.id).await.expect("read");
    assert_eq!(kept[0].public_key, base64url(ada.key.cose()));
    assert_eq!((&*kept[0].aaguid, &*kept[0].rp_id), (&*"aa".repeat(16), "deployer.patapim.test"));
}

#[tokio::test]
async fn the_options_ask_for_what_we_check() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let begun = ada.browser.post("/passkeys/registration", &json!({"name": "Second"})).await.json();
    let options = &begun["publicKey"];
    assert_eq!(options["rp"]["id"], "deployer.patapim.test");
    assert_eq!(options["user"]["name"], "ada");
    let selection = &options["authenticatorSelection"];
    assert_eq!(
        (&selection["residentKey"], &selection["userVerification"]),
        (&json!("required"), &json!("required"))
    );
    assert_eq!(selection["requireResidentKey"], true);
    assert_eq!(options["attestation"], "none");
    let algorithms: Vec<_> = options["pubKeyCredParams"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["alg"].clone())
        .collect();
    assert_eq!(algorithms, [json!(-7), json!(-257)]);
    assert_eq!(options["excludeCredentials"][0]["id"], base64url(&ada.key.id));

    let begun = ada.begin(&anywhere()).await;
    let options = &begun["publicKey"];
    assert_eq!(
        (&options["rpId"], &options["userVerification"]),
        (&json!("deployer.patapim.test"), &json!("required"))
    );
    assert!(options.get("allowCredentials").is_none() && begun.get("mediation").is_none());
}

#[tokio::test]
async fn an_invitation_is_good_for_one_passkey() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let ticket = house.accounts.invite(&ada.user.id).await.expect("invited");
    let body = json!({"name": "Second", "ticket": ticket.reveal()});
    let first = ada.browser.post("/passkeys/registration", &body).await.json();
    let second = ada.browser.post("/passkeys/registration", &body).await.json();
    let (mut one, mut two) = (Key::new(), Key::new());
    let made = one.create(&first["publicKey"], ORIGIN_OF_OURS, |_| ());
    ada.finish_registration(&first, &made).await.must_be(StatusCode::CREATED);
    let made = two.create(&second["publicKey"], ORIGIN_OF_OURS, |_| ());
    ada.finish_registration(&second, &made)
        .await
        .must_be_problem(StatusCode::FORBIDDEN, "invitation-refused");
    ada.browser
        .post("/passkeys/registration", &body)
        .await
        .must_be_problem(StatusCode::FORBIDDEN, "invitation-refused");
    let body = json!({"name": "Third", "ticket": "made up"});
    ada.browser
        .post("/passkeys/registration", &body)
        .await
        .must_be_problem(StatusCode::FORBIDDEN, "invitation-refused");
    house.accounts.set_user_state(&ada.user.id, UserState::Disabled).await.expect("disabled");
    let ticket = house.accounts.invite(&ada.user.id).await.expect("invited");
    let body = json!({"name": "Fourth", "ticket": ticket.reveal()});
    ada.browser
        .post("/passkeys/registration", &body)
        .await
        .must_be_problem(StatusCode::FORBIDDEN, "invitation-refused");
    ada.key = one;
    must_be_refused(ada.sign_in(&anywhere()).await);
}

#[tokio::test]
async fn the_ticket_is_not_in_the_ceremony() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let ticket = house.accounts.invite(&ada.user.id).await.expect("invited");
    let body = json!({"name": "Second", "ticket": ticket.reveal()});
    let begun = ada.browser.post("/passkeys/registration", &body).await.json();
    let note = begun["ceremony"].as_str().and_then(|id| id.split('.').next()).expect("a note");
    let note = crate::secret::from_base64url(note).expect("base64url");
    assert!(!String::from_utf8_lossy(&note).contains(ticket.reveal()));
}

#[tokio::test]
async fn a_passkey_signs_in_without_a_name() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let before = ada.browser.copy();
    house.clock.advance(Duration::from_secs(60));
    ada.key.counter = 1;
    let answer = ada.sign_in(&anywhere()).await.must_be(StatusCode::OK);
    assert_eq!(answer.redirect(), "/", "no tunnel yet");
    let cookie = answer.sets(DEPLOYER).expect("a session");
    for part in ["Path=/", "Max-Age=43200", "Secure", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let keys = ada.browser.get("/passkeys").await.json();
    assert_eq!(keys[0]["last_used_at"], "2027-01-15T08:01:00Z");
    before.get("/passkeys").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
}

#[tokio::test]
async fn a_bent_assertion_is_refused_and_all_refusals_are_alike() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let bob = house.person("bob").await;
    let (bobs_handle, bobs_id) = (bob.user.id.as_str().as_bytes().to_vec(), bob.key.id.clone());
    type Bend = Box<dyn FnOnce(&mut Draft)>;
    let claim =
        |name: &'static str, value: Value| -> Bend { Box::new(move |draft| draft.client_data[name] = value) };
    let flags = |flags: u8| -> Bend { Box::new(move |draft| draft.flags = flags) };
    let bends: Vec<(&str, Bend)> = vec![
        ("origin: a sibling", claim("origin", "https://ada.tunnel.patapim.test".into())),
        ("origin: the base", claim("origin", "https://patapim.test".into())),
        ("origin: a suffix", claim("origin", "https://deployer.patapim.test.evil.test".into())),
        ("origin: a port", claim("origin", "https://deployer.patapim.test:443".into())),
        ("origin: a path", claim("origin", "https://deployer.patapim.test/".into())),
        ("origin: the scheme", claim("origin", "http://deployer.patapim.test".into())),
        ("origin: the case", claim("origin", "https://Deployer.patapim.test".into())),
        ("origin: a dot", claim("origin", "https://deployer.patapim.test.".into())),
        ("type", claim("type", "webauthn.create".into())),
        ("crossOrigin", claim("crossOrigin", true.into())),
        ("topOrigin", claim("topOrigin", ORIGIN_OF_OURS.into())),
        ("challenge", claim("challenge", base64url([0; 32]).into())),
        ("no user present", flags(UV)),
        ("user not verified", flags(UP)),
        ("backed up without eligibility", flags(UP | UV | BS)),
        ("eligibility changed", flags(UP | UV | BE)),
        ("another RP ID", Box::new(|draft| draft.rp_id = "patapim.test".to_owned())),
        ("a handle of somebody else", Box::new(|draft| draft.user_handle = Some(bobs_handle))),
        ("no handle", Box::new(|draft| draft.user_handle = None)),
        ("a credential of somebody else", Box::new(|draft| draft.credential = bobs_id)),
        ("an unknown credential", Box::new(|draft| draft.credential = vec![1; 24])),
        ("signature", Box::new(|draft| draft.spoil_signature = true)),
        ("bytes after the end", Box::new(|draft| draft.trailing = &[0])),
    ];
    for (what, bend) in bends {
        let begun = ada.begin(&anywhere()).await;
        let answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, bend);
        println!("{what}");
        must_be_refused(ada.finish(&begun, &answer).await);
        // A refusal spends nothing.
        let answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
        ada.finish(&begun, &answer).await.must_be(StatusCode::OK);
    }
}

#[tokio::test]
async fn an_id_that_is_not_the_credentials_own_is_refused() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let begun = ada.begin(&anywhere()).await;
    let mut answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    answer["response"].as_object_mut().expect("an object").remove("userHandle");
    must_be_refused(ada.finish(&begun, &answer).await);
    for (name, value) in [("id", json!("AAAA")), ("type", json!("password"))] {
        let begun = ada.begin(&anywhere()).await;
        let mut answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
        answer[name] = value;
        must_be_refused(ada.finish(&begun, &answer).await);
    }
}

#[tokio::test]
async fn a_ceremony_is_good_for_five_minutes_in_its_browser_once() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let begun = ada.begin(&anywhere()).await;
    let answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    let path = format!("/sign-in/passkey/{}", begun["ceremony"].as_str().expect("a ceremony"));

    must_be_refused(house.browser().post(&path, &answer).await);
    let other = house.browser();
    other.post("/sign-in/passkey", &anywhere()).await.must_be(StatusCode::OK);
    must_be_refused(other.post(&path, &answer).await);

    ada.finish(&begun, &answer).await.must_be(StatusCode::OK);
    must_be_refused(ada.finish(&begun, &answer).await);

    let begun = ada.begin(&anywhere()).await;
    let late = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    let another = ada.begin(&anywhere()).await;
    must_be_refused(ada.finish(&another, &late).await);
    house.clock.advance(Duration::from_secs(5 * 60));
    must_be_refused(ada.finish(&begun, &late).await);
}

#[tokio::test]
async fn a_ceremony_does_not_stand_for_one_of_another_kind() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let registration = ada.browser.post("/passkeys/registration", &json!({"name": "Second"})).await.json();
    let answer = ada.key.get(
        &json!({"challenge": registration["publicKey"]["challenge"],
        "rpId": "deployer.patapim.test"}),
        ORIGIN_OF_OURS,
        |_| (),
    );
    must_be_refused(ada.finish(&registration, &answer).await);
    let sign_in = ada.begin(&anywhere()).await;
    let made = Key::new().create(
        &json!({"challenge": sign_in["publicKey"]["challenge"],
        "rp": {"id": "deployer.patapim.test"}, "user": {"id": "AAAA"}}),
        ORIGIN_OF_OURS,
        |_| (),
    );
    ada.finish_registration(&sign_in, &made)
        .await
        .must_be_problem(StatusCode::FORBIDDEN, "registration-refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_of_one_ceremony_at_once_one_passes() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let begun = ada.begin(&anywhere()).await;
    let answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    let tries = futures_util::future::join_all((0..20).map(|_| ada.finish(&begun, &answer))).await;
    assert_eq!(tries.iter().filter(|answer| answer.status == StatusCode::OK).count(), 1);
    tries.into_iter().filter(|answer| answer.status != StatusCode::OK).for_each(must_be_refused);
}

#[tokio::test]
async fn a_counter_that_does_not_grow_is_refused() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    ada.key.counter = 7;
    ada.sign_in(&anywhere()).await.must_be(StatusCode::OK);
    must_be_refused(ada.sign_in(&anywhere()).await);
    ada.key.counter = 6;
    must_be_refused(ada.sign_in(&anywhere()).await);
    ada.key.counter = 0;
    must_be_refused(ada.sign_in(&anywhere()).await);
    ada.key.counter = 8;
    ada.sign_in(&anywhere()).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_synced_passkey_may_move_in_and_out_of_backup() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let begun = ada.browser.post("/passkeys/registration", &json!({"name": "Synced"})).await.json();
    let made = ada.key.create(&begun["publicKey"], ORIGIN_OF_OURS, |draft| draft.flags = UP | UV | BE);
    ada.finish_registration(&begun, &made).await.must_be_problem(StatusCode::CONFLICT, "taken");

    let begun = ada.browser.post("/passkeys/registration", &json!({"name": "Synced"})).await.json();
    ada.key = Key::new();
    let made = ada.key.create(&begun["publicKey"], ORIGIN_OF_OURS, |draft| draft.flags = UP | UV | BE);
    let passkey = ada.finish_registration(&begun, &made).await.must_be(StatusCode::CREATED).json();
    assert_eq!(passkey["synced"], true);
    ada.sign_in_bent(&anywhere(), |draft| draft.flags = UP | UV | BE | BS).await.must_be(StatusCode::OK);
    ada.sign_in_bent(&anywhere(), |draft| draft.flags = UP | UV | BE).await.must_be(StatusCode::OK);
    must_be_refused(ada.sign_in(&anywhere()).await);
}

#[tokio::test]
async fn a_bent_registration_is_refused() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    type Bend = Box<dyn FnOnce(&mut Draft)>;
    let claim =
        |name: &'static str, value: Value| -> Bend { Box::new(move |draft| draft.client_data[name] = value) };
    let bends: Vec<(&str, Bend)> = vec![
        ("origin", claim("origin", "https://patapim.test".into())),
        ("type", claim("type", "webauthn.get".into())),
        ("crossOrigin", claim("crossOrigin", true.into())),
        ("topOrigin", claim("topOrigin", ORIGIN_OF_OURS.into())),
        ("challenge", claim("challenge", base64url([0; 32]).into())),
        ("no user present", Box::new(|draft| draft.flags = UV)),
        ("user not verified", Box::new(|draft| draft.flags = UP)),
        ("backed up without eligibility", Box::new(|draft| draft.flags = UP | UV | BS)),
        ("another RP ID", Box::new(|draft| draft.rp_id = "patapim.test".to_owned())),
        ("ids that differ", Box::new(|draft| draft.credential = vec![1; 24])),
        ("bytes after the end", Box::new(|draft| draft.trailing = &[0])),
    ];
    for (what, bend) in bends {
        let begun = ada.browser.post("/passkeys/registration", &json!({"name": "Second"})).await.json();
        let made = Key::new().create(&begun["publicKey"], ORIGIN_OF_OURS, bend);
        println!("{what}");
        ada.finish_registration(&begun, &made)
            .await
            .must_be_problem(StatusCode::FORBIDDEN, "registration-refused");
    }
    assert_eq!(ada.browser.get("/passkeys").await.json().as_array().expect("a list").len(), 1);
}

#[tokio::test]
async fn a_passkey_of_anyone_is_not_registered_again() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let bob = house.person("bob").await;
    let begun = bob.browser.post("/passkeys/registration", &json!({"name": "Stolen"})).await.json();
    let made = ada.key.create(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    bob.finish_registration(&begun, &made).await.must_be_problem(StatusCode::CONFLICT, "taken");
}

#[tokio::test]
async fn a_registration_needs_somebody_signed_in_from_its_beginning_to_its_end() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let body = json!({"name": "Second"});
    house
        .browser()
        .post("/passkeys/registration", &body)
        .await
        .must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");

    let begun = ada.browser.post("/passkeys/registration", &body).await.json();
    ada.browser.call(Method::POST, "/sign-out", None).await.must_be(StatusCode::NO_CONTENT);
    assert!(!ada.is_signed_in());
    let made = Key::new().create(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    ada.finish_registration(&begun, &made)
        .await
        .must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
}

#[tokio::test]
async fn an_rp_id_that_orphans_passkeys_is_refused() {
    let house = House::new().await;
    assert!(
        crate::deployer::check_rp_id(&house.accounts, "patapim.test").await.is_ok(),
        "there is none to lose"
    );
    house.person("ada").await;
    assert!(crate::deployer::check_rp_id(&house.accounts, "deployer.patapim.test").await.is_ok());
    let error = crate::deployer::check_rp_id(&house.accounts, "patapim.test").await.expect_err("refused");
    assert!(error.to_string().contains("1 of 1 passkeys"), "{error}");
}
