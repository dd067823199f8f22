//! Ending sessions: at once, for good, and in the middle of whatever they were doing (contract, section 5).

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::rig::authenticator::Authenticator;
use crate::rig::client::origin;
use crate::rig::journey::{BIND, DEPLOYER, Person, SESSION};
use crate::rig::scene::{Scene, TUNNEL};

/// From the order to the last stream closed.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_revoked_session_is_cut_in_a_websocket_an_event_stream_and_a_download_within_a_second() {
    let scene = Scene::signed_in().await;
    let (one, two) = (scene.ada.browser.clone(), scene.ada.browser.h2());
    let mut socket = one.websocket(&scene.page("/ws")).await.expect("a socket");
    assert_eq!(socket.ask("hello").await, "hello");
    let mut events = one.fetch(Method::GET, &scene.page("/events/one")).open().await.expect("a stream");
    let mut events_two = two.fetch(Method::GET, &scene.page("/events/two")).open().await.expect("a stream");
    for name in ["one", "two"] {
        scene.app.streaming(name).await;
        scene.app.tick(name, "before");
    }
    assert_eq!(
        (events.text().await, events_two.text().await),
        ("data: before\n\n".into(), "data: before\n\n".into())
    );
    let mut download =
        one.fetch(Method::GET, &scene.page("/big/10000000000")).open().await.expect("a download");
    download.piece().await.expect("a piece").expect("whole");

    let id = scene.sessions().await.pop().expect("a session");
    scene.edge.admin(&["session", "revoke", &id]).await;
    let answered = Instant::now();
    socket.cut().await;
    events.cut().await;
    events_two.cut().await;
    download.cut().await;
    assert!(answered.elapsed() < AT_ONCE, "{:?}", answered.elapsed());
    scene.app.left("/ws").await;
    scene.app.left("/events/one").await;
    scene.ada.browser.curl(&scene.page("/")).await.must_be(401);
}

#[tokio::test]
async fn what_was_revoked_stays_revoked_over_a_kill_and_restart() {
    let mut scene = Scene::signed_in().await;
    scene.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    scene.edge.kill().await;
    scene.edge.start_again().await;
    scene.ada.browser.curl(&scene.page("/")).await.must_be(401);
    assert_eq!(scene.sessions().await.len(), 0);
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_stays_out_until_enabled() {
    let mut scene = Scene::signed_in().await;
    scene.edge.admin(&["user", "disable", "ada"]).await;
    scene.ada.browser.curl(&scene.page("/")).await.must_be(401);
    let begun = scene.ada.begin_sign_in(&json!({})).await;
    let asserted = scene.ada.key.assert(&begun["publicKey"]);
    let refused = scene.ada.finish_sign_in(&begun, &asserted).await;
    assert!(refused.status.is_client_error() && refused.sets(DEPLOYER).is_none(), "{refused:?}");

    scene.edge.admin(&["user", "enable", "ada"]).await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
}

#[tokio::test]
async fn revoking_a_passkey_ends_every_session_that_came_from_it_and_no_other() {
    let scene = Scene::signed_in().await;
    let begun = scene.ada.begin_registration(&json!({"name": "Phone"})).await;
    let mut phone = Person::with_nothing(&scene.edge, "ada");
    phone.key = Authenticator::at(&origin(&scene.edge.deployer("/")));
    let made = phone.key.register(&begun["publicKey"]);
    let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
    let added = scene.ada.api_post(&path, &made).await.must_be(201).json();
    let page = scene.page("/");
    phone.open(&page).await.must_be(200);
    let mut socket = phone.browser.websocket(&scene.page("/ws")).await.expect("a socket");

    let path = format!("/passkeys/{}", added["id"].as_str().expect("an id"));
    let revoked = scene.ada.api_delete(&path).await;
    assert!(revoked.status.is_success(), "{revoked:?}");
    socket.cut().await;
    phone.browser.curl(&page).await.must_be(401);
    let deployer = phone.api_get("/sessions").await;
    assert_eq!(deployer.status, 401, "its sign-in is over too");
    scene.echo().await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_owner() {
    let scene = Scene::signed_in().await;
    let listed = scene.ada.api_get("/sessions").await.must_be(200).json();
    let here = of_tunnel(&listed);
    for member in ["id", "user", "tunnel", "device", "since", "last_seen", "address"] {
        assert!(here.get(member).is_some(), "{member} in {here}");
    }
    assert_eq!((here["user"].as_str(), here["address"].as_str()), (Some("ada"), Some("127.0.0.1")));
    let path = format!("/sessions/{}", here["id"].as_str().expect("an id"));

    let eve = Person::enrolled(&scene.edge, "eve").await;
    assert!(eve.api_delete(&path).await.status.is_client_error(), "not hers to end");
    let eves = eve.api_get("/sessions").await.must_be(200).json();
    assert!(eves.as_array().expect("a list").iter().all(|session| session["user"] == "eve"), "{eves}");
    scene.echo().await;

    assert!(scene.ada.api_delete(&path).await.status.is_success());
    scene.ada.browser.curl(&scene.page("/")).await.must_be(401);
}

#[tokio::test]
async fn another_persons_sign_in_in_the_same_browser_replaces_and_ends_the_session() {
    let mut scene = Scene::signed_in().await;
    let before = scene.sessions().await;
    let old = scene.session_cookie();
    // A second passkey of the same owner is another device, so the session is not joined.
    let begun = scene.ada.begin_registration(&json!({"name": "Second"})).await;
    let mut other = Authenticator::at(&origin(&scene.edge.deployer("/")));
    let made = other.register(&begun["publicKey"]);
    let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
    scene.ada.api_post(&path, &made).await.must_be(201);
    scene.ada.key = other;

    let page = scene.page("/");
    let bind = scene.ada.browser.cookies.get(&page, BIND).expect("a bind cookie");
    let hash = crate::rig::journey::bind_hash(&bind);
    let link = scene.ada.tap(&json!({"tunnel": TUNNEL, "bind": hash, "return_to": "/"})).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
    let after = scene.sessions().await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    let stale = scene.ada.browser.with(&page, SESSION, &old);
    stale.curl(&page).await.must_be(401);
    scene.echo().await;
}

#[tokio::test]
async fn an_ended_user_and_an_ended_tunnel_let_nobody_in() {
    let scene = Scene::signed_in().await;
    scene.edge.admin(&["user", "remove", "ada"]).await;
    scene.ada.browser.curl(&scene.page("/")).await.must_be(401);
    let users = scene.edge.admin(&["user", "list"]).await;
    assert_eq!(users, json!([]));
}

fn of_tunnel(listed: &Value) -> &Value {
    let mut all = listed.as_array().expect("a list").iter();
    all.find(|session| session["tunnel"] == TUNNEL).unwrap_or_else(|| panic!("none on the tunnel: {listed}"))
}
