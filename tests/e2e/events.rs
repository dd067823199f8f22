//! The news that a person's open pages hear: of what is theirs, from whoever changed it, for as long as they are signed in.

use http::Method;
use serde_json::json;

use crate::rig::answer::Live;
use crate::rig::edge::Setup;
use crate::rig::journey::{Person, ceremony};
use crate::rig::process::within;
use crate::rig::scene::{Scene, TUNNEL};

/// Listens as a page does, once the server has greeted.
async fn listen(person: &Person) -> Live {
    let events =
        person.browser.fetch(Method::GET, &person.api("/events")).header("accept", "text/event-stream");
    let mut live = within("the events", events.open()).await.expect("a stream");
    assert_eq!(
        (live.status.as_u16(), &live.headers["content-type"]),
        (200, &"text/event-stream".parse().expect("a value"))
    );
    assert_eq!(live.headers["cache-control"], "no-store");
    assert!(live.text().await.starts_with("retry: "));
    live
}

/// Waits for a change to be told.
async fn told(live: &mut Live) {
    let word = async { while !live.text().await.contains("event: changed") {} };
    within("a change to be told", word).await;
}

#[tokio::test]
async fn an_open_page_hears_what_others_change() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
    let mut page = listen(&scene.ada).await;
    let begun = scene.ada.begin_registration(&json!({"name": "Second"})).await;
    let made = scene.ada.key.register(&begun["publicKey"]);
    scene.ada.api_post(&format!("/passkeys/registration/{}", ceremony(&begun)), &made).await.must_be(201);
    told(&mut page).await;
    scene.edge.admin(&["session", "revoke", &scene.sessions().await[0]]).await;
    told(&mut page).await;
    let call = scene.ada.browser.fetch(Method::PATCH, &scene.ada.api(&format!("/tunnels/{TUNNEL}")));
    call.json(&json!({"name": "Notes"})).await.must_be(200);
    told(&mut page).await;
}

#[tokio::test]
async fn the_news_end_with_the_session() {
    let scene = Scene::start().await;
    let stranger = scene.edge.visitor();
    let refused = stranger.fetch(Method::GET, &scene.ada.api("/events")).await.must_be(401);
    assert!(refused.problem().ends_with("/sign-in-required"));
    let mut page = listen(&scene.ada).await;
    scene.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    page.cut().await;
}

#[tokio::test]
async fn an_open_page_does_not_hold_up_a_server_that_is_told_to_stop() {
    let scene = Scene::with(Setup::default().with("[shutdown]\ngrace = \"10m\"")).await;
    let mut page = listen(&scene.ada).await;
    scene.edge.process.signal("TERM");
    while let Some(piece) = page.piece().await {
        piece.expect("a proper end");
    }
    drop(page);
    assert!(scene.edge.process.end().await.success());
}
