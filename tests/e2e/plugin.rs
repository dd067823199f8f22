//! The gate in front of somebody's own Pingora proxy: the example program, as its operator and its visitors meet it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::rig::app::App;
use crate::rig::edge::Setup;
use crate::rig::journey::{Person, SESSION};
use crate::rig::process::Process;
use crate::rig::scene::{NOT_OURS, Scene, TUNNEL, with_parameter};

/// The example that cargo built beside the tests.
fn program() -> Command {
    let here = std::env::current_exe().expect("a test program");
    let built: Option<PathBuf> = here.ancestors().nth(2).map(|profile| profile.join("examples/gated_proxy"));
    let program = built.filter(|path| path.exists());
    Command::new(program.expect("`cargo build --example gated_proxy`; `make e2e` does it by itself"))
}

/// An app behind the example's proxy, and its owner.
async fn gated() -> Scene {
    let app = App::start("ada's app").await;
    let plan = Setup::default().upstream(TUNNEL, "ada", &app.url()).plan();
    let mut command = program();
    command.arg(plan.config());
    let edge = plan.start_as(command).await;
    let ada = Person::enrolled(&edge, "ada").await;
    Scene { edge, app, ada }
}

#[tokio::test]
async fn a_stranger_reaches_neither_the_proxy_nor_its_app_and_who_signs_in_reaches_both() {
    let mut scene = gated().await;
    let (page, whoami) = (scene.page("/echo?of=mine&token=app"), scene.page("/whoami"));
    let stranger = scene.edge.visitor();
    assert_eq!(stranger.navigate(&page).await.must_be(303).location().path(), "/auth");
    stranger.curl(&whoami).await.must_be(401).problem();
    stranger.curl(&with_parameter(&page, "token", NOT_OURS)).await.must_be(401);
    assert_eq!(scene.app.seen().len(), 0);

    let link = scene.ada.token_for(&page).await;
    let (_, token) = link.query_pairs().filter(|(name, _)| name == "token").last().expect("a token");
    scene.ada.browser.navigate(&link).await.must_be(303);
    let answer = scene.ada.browser.fetch(Method::GET, &page).await.must_be(200);
    assert_eq!(answer.header("x-served-by"), "wikis", "the proxy's own hooks run");
    assert_eq!(scene.ada.browser.fetch(Method::GET, &whoami).await.must_be(200).text(), "ada");
    assert_eq!(scene.ada.browser.h2().fetch(Method::GET, &whoami).await.must_be(200).text(), "ada");

    let told = answer.json();
    let headers = &told["headers"];
    assert_eq!(headers["x-patapim-user"], "ada", "{told}");
    assert_eq!(headers["x-wiki-editor"], "ada", "{told}");
    assert!(headers["x-patapim-assertion"].is_string(), "{told}");
    assert!(headers["cookie"].is_null(), "{told}");
    assert_eq!(told["target"], "/echo?of=mine&token=app");
    assert!(!scene.edge.process.all_printed().contains(&*token), "in the log");
}

#[tokio::test]
async fn nobody_speaks_to_the_app_in_the_gates_name() {
    let scene = signed_in().await;
    let request = scene.ada.browser.fetch(Method::GET, &scene.page("/echo"));
    let request = request
        .header("x-patapim-user", "eve")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-wiki-editor", "eve")
        .header("connection", "x-patapim-user, x-patapim-session, x-patapim-assertion");
    let told = request.await.must_be(200).json();
    let headers = &told["headers"];
    assert_eq!(
        (&headers["x-patapim-user"], &headers["x-wiki-editor"]),
        (&json!("ada"), &json!("ada")),
        "{told}"
    );
    assert!(headers["x-patapim-session"].is_string() && headers["x-patapim-assertion"].is_string(), "{told}");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1", "{told}");

    let foreign =
        scene.ada.browser.fetch(Method::POST, &scene.page("/echo")).header("sec-fetch-site", "cross-site");
    foreign.await.must_be(403);
    let elsewhere = scene.ada.browser.curl(&scene.page("/whoami")).header("host", "wiki.example");
    assert_eq!(elsewhere.await.status, 421);
}

#[tokio::test]
async fn a_logout_ends_the_visit() {
    let scene = signed_in().await;
    let whoami = scene.page("/whoami");
    let kept = scene.session_cookie();
    scene.ada.browser.fetch(Method::POST, &scene.page("/.patapim/logout")).await.must_be(204);
    scene.ada.browser.curl(&whoami).await.must_be(401);
    scene.ada.browser.with(&whoami, SESSION, &kept).curl(&whoami).await.must_be(401);
}

#[tokio::test]
async fn a_revocation_cuts_what_is_open_through_the_proxy_and_a_neighbour_goes_on() {
    let scene = signed_in().await;
    let (one, two) = (scene.ada.browser.clone(), scene.ada.browser.h2());
    let mut socket = one.websocket(&scene.page("/ws")).await.expect("a socket");
    assert_eq!(socket.ask("hello").await, "hello");
    let mut events = one.fetch(Method::GET, &scene.page("/events/one")).open().await.expect("a stream");
    let mut events_two = two.fetch(Method::GET, &scene.page("/events/two")).open().await.expect("a stream");
    for (name, events) in [("one", &mut events), ("two", &mut events_two)] {
        scene.app.streaming(name).await;
        scene.app.tick(name, "before");
        assert_eq!(events.text().await, "data: before\n\n");
    }
    let mut download =
        two.fetch(Method::GET, &scene.page("/big/10000000000")).open().await.expect("a download");
    download.piece().await.expect("a piece").expect("whole");

    let id = scene.sessions().await.pop().expect("a session");
    let mut other = Person { browser: one.stranger(), ..scene.ada };
    let page = scene.edge.tunnel(TUNNEL, "/whoami");
    other.open(&page).await.must_be(200);
    scene.edge.admin(&["session", "revoke", &id]).await;
    let answered = Instant::now();
    socket.cut().await;
    events.cut().await;
    events_two.cut().await;
    download.cut().await;
    assert!(answered.elapsed() < Duration::from_secs(1), "{:?}", answered.elapsed());
    scene.app.left("/ws").await;
    scene.app.left("/events/two").await;
    one.curl(&page).await.must_be(401);
    other.browser.fetch(Method::GET, &page).await.must_be(200);
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_serves() {
    let first = gated().await;
    let plan = Setup::default().plan();
    plan.rewrite("https = [", &format!("https = [\"127.0.0.1:{}\", ", first.edge.port()));
    let refused = Process::start(program().arg(plan.config()));
    assert!(!refused.end().await.success());
    assert!(refused.all_printed().contains("has it already"), "{}", refused.all_printed());
}

#[tokio::test]
async fn a_polite_end_says_so_to_who_asks_whether_it_is_ready() {
    let scene = signed_in().await;
    let mut events =
        scene.ada.browser.fetch(Method::GET, &scene.page("/events/last")).open().await.expect("open");
    scene.app.streaming("last").await;
    let ready = scene.edge.operator("/readyz");
    let operator = scene.edge.visitor();
    operator.curl(&ready).await.must_be(200);
    scene.edge.process.signal("TERM");
    crate::rig::process::within("readyz to say that it drains", async {
        while operator.curl(&ready).await.status == 200 {}
    })
    .await;
    scene.app.tick("last", "still served");
    assert_eq!(events.text().await, "data: still served\n\n");
}

async fn signed_in() -> Scene {
    let mut scene = gated().await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
    scene
}
