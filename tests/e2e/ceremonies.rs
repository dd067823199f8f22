//! Passkey ceremonies that must not work: a dishonest page, authenticator, neighbour or thief (threats, "Ceremonies").

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::rig::answer::Answer;
use crate::rig::authenticator::{Authenticator, BE, BS, Draft, UP, UV};
use crate::rig::client::origin;
use crate::rig::edge::Edge;
use crate::rig::journey::{DEPLOYER, Person, query};
use crate::rig::process::within;

/// Origins that look like the deployer's and are not it.
fn wrong_origins(edge: &Edge) -> Vec<String> {
    let right = origin(&edge.deployer("/"));
    let (host, port) = (format!("deployer.{}", edge.base()), edge.port());
    vec![
        format!("https://{host}.evil.test:{port}"),
        format!("https://evil-{host}:{port}"),
        format!("https://{host}:{}", port ^ 1),
        format!("https://{host}"),
        format!("http://{host}:{port}"),
        format!("https://{}:{port}", host.to_uppercase()),
        format!("HTTPS://{host}:{port}"),
        format!("https://{host}.:{port}"),
        format!("{right}/"),
        format!(" {right}"),
        format!("https://ada@{host}:{port}"),
        origin(&edge.tunnel("ada-abc234", "/")),
        format!("https://{}:{port}", edge.base()),
        "null".into(),
        String::new(),
    ]
}

async fn bent_sign_in(ada: &mut Person, bend: impl FnOnce(&mut Draft)) -> Answer {
    let begun = ada.begin_sign_in(&json!({})).await;
    let asserted = ada.key.assert_bent(&begun["publicKey"], bend);
    ada.finish_sign_in(&begun, &asserted).await
}

/// Refused, nobody signed in.
#[track_caller]
fn must_be_refused(answer: &Answer, what: &str) {
    assert!(matches!(answer.status.as_u16(), 400..=422), "{what}: {answer:?}");
    assert!(answer.sets(DEPLOYER).is_none(), "{what}: {answer:?}");
    answer.problem();
}

#[tokio::test]
async fn only_the_deployers_very_origin_signs_anybody_in() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    for wrong in wrong_origins(&edge) {
        let answer = bent_sign_in(&mut ada, |draft| draft.claim("origin", wrong.as_str())).await;
        must_be_refused(&answer, &wrong);
    }
    bent_sign_in(&mut ada, |_| {}).await.must_be(200);
}

#[tokio::test]
async fn a_ceremony_of_another_kind_or_in_a_frame_is_refused() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let right = origin(&edge.deployer("/"));
    let claims = [
        ("type", json!("webauthn.create")),
        ("type", json!("payment.get")),
        ("crossOrigin", json!(true)),
        ("topOrigin", json!(right)),
        ("topOrigin", json!("https://evil.test")),
        ("challenge", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("challenge", json!("")),
    ];
    for (member, value) in claims {
        let answer = bent_sign_in(&mut ada, |draft| draft.claim(member, value.clone())).await;
        must_be_refused(&answer, &format!("{member} {value}"));
    }
}

#[tokio::test]
async fn what_the_authenticator_vouches_for_must_be_whole() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let eve = Person::enrolled(&edge, "eve").await;
    let base = edge.base().to_owned();
    type Bend = Box<dyn FnOnce(&mut Draft)>;
    let bends: Vec<(&str, Bend)> = vec![
        ("nobody there", Box::new(|draft| draft.flags &= !UP)),
        ("nobody verified", Box::new(|draft| draft.flags &= !UV)),
        ("backed up but not eligible", Box::new(|draft| draft.flags = UP | UV | BS)),
        ("eligibility changed", Box::new(|draft| draft.flags = UP | UV)),
        ("no flags at all", Box::new(|draft| draft.flags = 0)),
        ("a parent's RP", Box::new(move |draft| draft.rp_id = base)),
        ("another RP", Box::new(|draft| draft.rp_id = "evil.test".into())),
        ("a spoiled signature", Box::new(|draft| draft.spoil_signature = true)),
        ("a stranger's handle", Box::new(|draft| draft.user_handle = b"someone".to_vec())),
        ("an empty handle", Box::new(|draft| draft.user_handle.clear())),
        ("an unknown credential", Box::new(|draft| draft.credential = vec![7; 32])),
        ("another user's credential", {
            let credential = eve.key.credential();
            Box::new(move |draft| draft.credential = credential)
        }),
    ];
    for (what, bend) in bends {
        let answer = bent_sign_in(&mut ada, bend).await;
        must_be_refused(&answer, what);
    }
    bent_sign_in(&mut ada, |draft| draft.flags = UP | UV | BE | BS).await.must_be(200);
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_written_down() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    bent_sign_in(&mut ada, |draft| draft.counter = 7).await.must_be(200);
    for copied in [7, 6, 0] {
        let answer = bent_sign_in(&mut ada, |draft| draft.counter = copied).await;
        must_be_refused(&answer, &format!("a counter of {copied}"));
    }
    let trail = within("the refusal's line", async {
        loop {
            let trail = edge.trail();
            if trail.contains("counter went back") {
                return trail;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(trail.await.contains("\"sign-in-refused\""));
    bent_sign_in(&mut ada, |draft| draft.counter = 8).await.must_be(200);
}

#[tokio::test]
async fn a_ceremony_is_used_once_even_by_twenty_at_a_time() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let begun = ada.begin_sign_in(&json!({})).await;
    let asserted = ada.key.assert(&begun["publicKey"]);
    let all = join_all((0..20).map(|_| ada.finish_sign_in(&begun, &asserted))).await;
    let good = all.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1);
    must_be_refused(&ada.finish_sign_in(&begun, &asserted).await, "once more");
}

#[tokio::test]
async fn an_answer_to_one_ceremony_does_for_no_other() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let (one, two) = (ada.begin_sign_in(&json!({})).await, ada.begin_sign_in(&json!({})).await);
    assert_ne!(one["publicKey"]["challenge"], two["publicKey"]["challenge"]);
    let answer = ada.key.assert(&one["publicKey"]);
    must_be_refused(&ada.finish_sign_in(&two, &answer).await, "the other's challenge");

    let id = one["ceremony"].as_str().expect("an id");
    for forged in [format!("{id}A"), id[1..].to_owned(), "x".into(), ".".into(), id.replacen('.', "..", 1)] {
        let begun = json!({"ceremony": forged});
        must_be_refused(&ada.finish_sign_in(&begun, &answer).await, &forged);
    }
    let registration = ada.api_post(&format!("/passkeys/registration/{id}"), &answer).await;
    must_be_refused(&registration, "a sign-in finished as a registration");
}

#[tokio::test]
async fn a_ceremony_belongs_to_the_browser_that_began_it() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let begun = ada.begin_sign_in(&json!({})).await;
    let asserted = ada.key.assert(&begun["publicKey"]);
    let home = ada.browser.clone();
    ada.browser = ada.browser.stranger();
    must_be_refused(&ada.finish_sign_in(&begun, &asserted).await, "in another browser");
    ada.browser = home;
    ada.finish_sign_in(&begun, &asserted).await.must_be(200);
}

#[tokio::test]
async fn a_sign_in_names_no_credential_and_asks_for_verification() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let begun = ada.begin_sign_in(&json!({})).await;
    let options = &begun["publicKey"];
    assert!(options["allowCredentials"].as_array().is_none_or(Vec::is_empty), "{options}");
    assert_eq!(options["userVerification"], "required");
    assert_eq!(options["rpId"], format!("deployer.{}", edge.base()));
    assert!(begun.get("mediation").is_none(), "{begun}");
}

#[tokio::test]
async fn an_invitation_works_once_and_asks_for_a_discoverable_verified_passkey() {
    let edge = Edge::start().await;
    let link = edge.invite("ada").await;
    let ticket = query(&link, "ticket").expect("a ticket");
    let mut ada = Person::with_nothing(&edge, "ada");
    let begun = ada.begin_registration(&json!({"name": "Laptop", "ticket": ticket})).await;
    let chosen = &begun["publicKey"]["authenticatorSelection"];
    assert_eq!(chosen["residentKey"], "required", "{begun}");
    assert_eq!(chosen["userVerification"], "required", "{begun}");
    assert_eq!(begun["publicKey"]["rp"]["id"], format!("deployer.{}", edge.base()));

    ada.enrol(&link).await.must_be(201);
    assert!(ada.browser.cookies.get(&edge.deployer("/"), DEPLOYER).is_some(), "signed in as well");
    let mut eve = Person::with_nothing(&edge, "eve");
    let again = eve.api_post("/passkeys/registration", &json!({"name": "x", "ticket": ticket})).await;
    let again = if again.status == 200 {
        let begun = again.json();
        let made = eve.key.register(&begun["publicKey"]);
        let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
        eve.api_post(&path, &made).await
    } else {
        again
    };
    must_be_refused(&again, "a used invitation");
    let forged = eve.api_post("/passkeys/registration", &json!({"name": "x", "ticket": "AAAA"})).await;
    must_be_refused(&forged, "a made-up invitation");
    let none = eve.api_post("/passkeys/registration", &json!({"name": "x"})).await;
    must_be_refused(&none, "no invitation and nobody signed in");
}

#[tokio::test]
async fn a_registration_is_checked_like_a_sign_in() {
    let edge = Edge::start().await;
    let link = edge.invite("ada").await;
    let ticket = query(&link, "ticket").expect("a ticket");
    let mut ada = Person::with_nothing(&edge, "ada");
    type Bend = Box<dyn FnOnce(&mut Draft)>;
    let mut bends: Vec<(String, Bend)> = vec![
        ("another type".into(), Box::new(|draft| draft.claim("type", "webauthn.get"))),
        ("in a frame".into(), Box::new(|draft| draft.claim("crossOrigin", true))),
        ("under another page".into(), Box::new(|draft| draft.claim("topOrigin", "https://evil.test"))),
        ("another challenge".into(), Box::new(|draft| draft.claim("challenge", "AAAA"))),
        ("nobody there".into(), Box::new(|draft| draft.flags &= !UP)),
        ("nobody verified".into(), Box::new(|draft| draft.flags &= !UV)),
        ("backed up but not eligible".into(), Box::new(|draft| draft.flags = UP | UV | BS)),
        ("another RP".into(), Box::new(|draft| draft.rp_id = "evil.test".into())),
    ];
    for wrong in wrong_origins(&edge) {
        bends.push((wrong.clone(), Box::new(move |draft| draft.claim("origin", wrong))));
    }
    for (what, bend) in bends {
        let begun = ada.begin_registration(&json!({"name": "Laptop", "ticket": ticket})).await;
        let made = ada.key.register_bent(&begun["publicKey"], bend);
        let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
        must_be_refused(&ada.api_post(&path, &made).await, &what);
    }
    ada.enrol(&link).await.must_be(201);
}

#[tokio::test]
async fn a_passkey_that_somebody_registered_is_nobody_elses() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let ticket = query(&edge.invite("eve").await, "ticket").expect("a ticket");
    let mut eve = Person::with_nothing(&edge, "eve");
    let begun = eve.begin_registration(&json!({"name": "Stolen", "ticket": ticket})).await;
    let credential = ada.key.credential();
    let made = eve.key.register_bent(&begun["publicKey"], |draft| draft.credential = credential);
    let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
    must_be_refused(&eve.api_post(&path, &made).await, "ada's credential id");
}

#[tokio::test]
async fn a_second_passkey_signs_in_too_and_the_last_one_cannot_be_revoked() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let listed = ada.api_get("/passkeys").await.must_be(200).json();
    let first = listed[0].clone();
    assert_eq!(first["fingerprint"], ada.key.fingerprint());
    assert_eq!(
        (first["name"].as_str(), first["synced"].as_bool()),
        (Some("Test key"), Some(true)),
        "{first}"
    );
    let first = format!("/passkeys/{}", first["id"].as_str().expect("an id"));
    let kept = ada.api_delete(&first).await.must_be(409);
    kept.problem();

    let begun = ada.begin_registration(&json!({"name": "Second"})).await;
    assert!(!begun["publicKey"]["excludeCredentials"].as_array().expect("a list").is_empty(), "{begun}");
    let mut other = Authenticator::at(&origin(&edge.deployer("/")));
    let made = other.register(&begun["publicKey"]);
    let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
    ada.api_post(&path, &made).await.must_be(201);
    let renamed = ada.browser.fetch(Method::PATCH, &ada.api(&first)).json(&json!({"name": "Old"})).await;
    assert!(renamed.status.is_success(), "{renamed:?}");

    let revoked = ada.api_delete(&first).await;
    assert!(revoked.status.is_success(), "{revoked:?}");
    must_be_refused(&bent_sign_in(&mut ada, |_| {}).await, "a revoked passkey");
    ada.key = other;
    bent_sign_in(&mut ada, |_| {}).await.must_be(200);
}

#[tokio::test]
async fn only_the_deployers_own_pages_change_anything() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let url = ada.api("/sign-in/passkey");
    let bare = || ada.browser.send(Method::POST, &url).json(&json!({}));
    // Blanks around a header's value are no part of it.
    for wrong in wrong_origins(&edge).into_iter().filter(|wrong| wrong.trim() == wrong) {
        let answer = bare().header("origin", &wrong).header("sec-fetch-site", "same-origin").await;
        assert_eq!(answer.status, 403, "{wrong}");
    }
    let right = origin(&edge.deployer("/"));
    bare().await.must_be(403);
    bare().header("sec-fetch-site", "same-site").await.must_be(403);
    bare().header("sec-fetch-site", "none").await.must_be(403);
    bare().header("sec-fetch-site", "same-origin").await.must_be(200);
    bare().header("origin", &right).await.must_be(200);
    let preflight = ada.browser.send(Method::OPTIONS, &url).header("origin", "https://evil.test");
    let preflight = preflight.header("access-control-request-method", "POST").await;
    assert!(preflight.headers.get("access-control-allow-origin").is_none(), "{preflight:?}");
    assert!(ada.browser.navigate(&url).await.status.is_client_error(), "GET changes nothing");
}

#[tokio::test]
async fn malformed_answers_are_refused_and_the_server_goes_on() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let begun = ada.begin_sign_in(&json!({})).await;
    let good = ada.key.assert(&begun["publicKey"]);
    let mut bad: Vec<Value> = vec![json!({}), json!(null), json!([]), json!("x"), json!({"id": 1})];
    for member in ["clientDataJSON", "authenticatorData", "signature"] {
        for value in [json!(null), json!(""), json!("!!!"), json!("AA"), json!({"deep": [[[[]]]]})] {
            let mut spoiled = good.clone();
            spoiled["response"][member] = value;
            bad.push(spoiled);
        }
    }
    for answer in bad {
        must_be_refused(&ada.finish_sign_in(&begun, &answer).await, &answer.to_string());
    }
    // It need not be read to its end before it is refused.
    let huge = json!({"id": "A".repeat(2_000_000)});
    let path = format!("/sign-in/passkey/{}", begun["ceremony"].as_str().expect("an id"));
    if let Ok(answer) = ada.browser.post(&ada.api(&path), &huge).whole().await {
        assert!(answer.status.is_client_error(), "{}", answer.status);
    }
    bent_sign_in(&mut ada, |_| {}).await.must_be(200);
}
