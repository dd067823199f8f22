//! What is good for one thing, shown for another: each secret of ours, and each text that we signed, opens what it was made
//! for and nothing else; and a text that names where its key is to be had sends nobody there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::rig::journey::{BIND, DEPLOYER, SESSION, jwt_parts, query};
use crate::rig::scene::{Scene, with_parameter};

/// Everything that Ada has been given, by name.
async fn belongings(scene: &mut Scene) -> Vec<(&'static str, String)> {
    let page = scene.page("/");
    let browser = scene.ada.browser.clone();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let assertion = text(&scene.echo().await["headers"]["x-patapim-assertion"]);
    let sessions = scene.ada.api_get("/sessions").await.must_be(200).json();
    let year: u32 = text(&sessions[0]["since"])[..4].parse().expect("a year");
    let wanted = json!({"name": "CI", "tunnel": crate::rig::scene::TUNNEL, "expires_at": format!("{}-01-01T00:00:00Z", year + 1)});
    let access = text(&scene.ada.api_post("/access-tokens", &wanted).await.must_be(201).json()["token"]);
    let desktop = text(&scene.edge.admin(&["agent", "token", "--user", "ada"]).await["token"]);
    let invited = text(&scene.edge.admin(&["user", "invite", "ada"]).await["enrol_url"]);
    let ticket = query(&url::Url::parse(&invited).expect("a link"), "ticket").expect("a ticket");
    let session = browser.cookies.get(&page, SESSION).expect("a session");
    let bind = browser.cookies.get(&page, BIND).expect("a bind cookie");
    let site = browser.cookies.get(&scene.edge.deployer("/"), DEPLOYER).expect("a session there");
    scene.ada.browser.cookies.forget(&page, SESSION);
    let token = query(&scene.ada.token_for(&page).await, "token").expect("a token");
    vec![
        ("an assertion", assertion),
        ("an access token", access),
        ("a desktop's token", desktop),
        ("an invitation", ticket),
        ("a session", session),
        ("a bind cookie", bind),
        ("a session of the sign-in site", site),
        ("a token", token),
    ]
}

#[tokio::test]
async fn what_was_made_for_one_thing_is_good_for_no_other() {
    let mut scene = Scene::signed_in().await;
    let page = scene.page("/");
    let belongings = belongings(&mut scene).await;
    let (stranger, before) = (scene.edge.visitor(), scene.app.count());
    for (what, secret) in &belongings {
        // In her own browser, so that nothing is missing but the right kind.
        if *what != "a token" {
            let answer = scene.ada.browser.navigate(&with_parameter(&page, "token", secret)).await;
            assert!(matches!(answer.status.as_u16(), 303 | 401), "{what} as a token: {answer:?}");
            assert!(answer.sets(SESSION).is_none(), "{what} as a token: {answer:?}");
        }
        if *what != "a session" {
            let answer = stranger.with(&page, SESSION, secret).fetch(Method::GET, &page).await;
            assert_eq!(answer.status, 401, "{what} as a session");
        }
        if *what != "an access token" {
            let bearer = format!("Bearer {secret}");
            for (name, value) in [("x-patapim-token", secret), ("authorization", &bearer)] {
                let answer = stranger.curl(&page).header(name, value).await;
                assert_eq!(answer.status, 401, "{what} as {name}");
            }
        }
        let site = scene.edge.deployer("/api/v1/sessions");
        if *what != "a session of the sign-in site" {
            let answer = stranger.with(&site, DEPLOYER, secret).fetch(Method::GET, &site).await;
            assert_eq!(answer.status, 401, "{what} as a session of the sign-in site");
        }
        if *what != "an invitation" {
            let begun = stranger
                .post(&scene.ada.api("/passkeys/registration"), &json!({"name": "Mine", "ticket": secret}));
            let status = begun.await.status;
            assert!(status.is_client_error(), "{what} as an invitation: {status}");
        }
        for (path, member) in [("/sign-in/magic-link/redeem", "token"), ("/link/poll", "device_code")] {
            let status = stranger.post(&scene.ada.api(path), &json!({member: secret})).await.status;
            assert!(status.is_client_error(), "{what} at {path}: {status}");
        }
        if *what != "a desktop's token" {
            let linked = crate::rig::agent::Desktop::blank().link(&scene.edge, secret).await;
            assert_ne!(linked.code, 0, "{what} as a desktop's token: {}", linked.out);
        }
    }
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
    let token = &belongings.last().expect("the token").1;
    scene.ada.browser.navigate(&with_parameter(&page, "token", token)).await.must_be(303);
    scene.echo().await;
}

#[tokio::test]
async fn nobody_is_asked_for_a_key_that_a_token_or_a_proof_names() {
    let canary = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = format!("http://{}/keys", canary.local_addr().expect("bound"));
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let token = query(&scene.ada.token_for(&page).await, "token").expect("a token");
    let (header, _, _) = jwt_parts(&token);
    let rest = token.split_once('.').expect("parts").1;
    for name in ["jku", "x5u", "kid", "iss", "jwk"] {
        let mut named = header.clone();
        named[name] = if name == "jwk" { json!({"kty": "oct", "x5u": place}) } else { json!(place) };
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(named.to_string()));
        scene.ada.browser.navigate(&with_parameter(&page, "token", &forged)).await.must_be(401);
    }
    scene.ada.browser.navigate(&with_parameter(&page, "token", &token)).await.must_be(303);
    let called = tokio::time::timeout(std::time::Duration::from_millis(1), canary.accept()).await;
    assert!(called.is_err(), "somebody called: {called:?}");
}
