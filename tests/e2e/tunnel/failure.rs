//! Agents and edges that go away, come back, or are told to.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;

use super::Linked;
use crate::rig::agent::Desktop;
use crate::rig::journey::SESSION;

#[tokio::test]
async fn an_agent_killed_in_the_middle_of_an_answer_is_an_error_never_a_short_body() {
    let mut linked = Linked::start().await;
    for browser in [linked.ada.browser.clone(), linked.ada.browser.h2()] {
        let mut download =
            browser.fetch(Method::GET, &linked.page("/big/10000000000")).open().await.expect("a download");
        let mut events =
            browser.fetch(Method::GET, &linked.page("/events/x")).open().await.expect("a stream");
        download.piece().await.expect("a piece").expect("whole");
        linked.app.streaming("x").await;
        linked.app.tick("x", "before");
        events.text().await;

        linked.agent.kill().await;
        assert!(download.broke_off().await, "a length was promised");
        assert!(events.broke_off().await, "an unfinished stream must not end well");
        linked.agent = linked.desktop.run(&linked.app.url()).await;
        browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
    }
}

#[tokio::test]
async fn a_post_is_not_sent_twice_when_the_agent_dies() {
    let linked = Linked::start().await;
    let browser = linked.ada.browser.clone();
    // One without a body could be sent again in full.
    let hanging = join_all(["once", ""].map(|body| {
        let page = linked.page("/hangs");
        browser.fetch(Method::POST, &page).body(body).whole()
    }));
    let killed = async {
        linked.app.arrived("/hangs", 2).await;
        linked.agent.kill().await;
        linked.desktop.run(&linked.app.url()).await
    };
    let (answers, _agent) = tokio::join!(hanging, killed);
    for answer in answers {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status.is_server_error()));
    }
    let posts = linked.app.seen().into_iter().filter(|one| one.method == "POST").count();
    assert_eq!(posts, 2);
}

#[tokio::test]
async fn a_request_waits_for_an_agent_that_comes_back() {
    let linked = Linked::start().await;
    linked.agent.kill().await;
    let page = linked.page("/echo");
    let request = linked.ada.browser.fetch(Method::GET, &page).whole();
    let app = linked.app.url();
    let (answer, _agent) = tokio::join!(request, linked.desktop.run(&app));
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn an_offline_tunnel_says_so_after_a_while_and_only_to_those_who_may_know() {
    let linked = Linked::start().await;
    linked.agent.kill().await;
    let began = Instant::now();
    let (page, script) = (linked.page("/x"), linked.page("/y"));
    let (page, script) = tokio::join!(
        linked.ada.browser.navigate(&page).into_future(),
        linked.ada.browser.curl(&script).into_future()
    );
    assert!(began.elapsed() >= Duration::from_secs(4), "the agent is given time: {:?}", began.elapsed());
    let page = page.must_be(503);
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(page.text().contains("refresh") || !page.header("refresh").is_empty(), "a page that tries again");
    script.must_be(503).problem();

    let stranger = linked.ada.browser.stranger();
    let began = Instant::now();
    stranger.curl(&linked.page("/x")).await.must_be(401);
    assert!(began.elapsed() < Duration::from_secs(4), "strangers are not held");
}

#[tokio::test]
async fn an_edge_killed_and_back_keeps_sessions_alive_and_spent_tokens_spent() {
    let mut linked = Linked::start().await;
    linked.ada.browser.cookies.forget(&linked.page("/"), SESSION);
    let link = linked.ada.token_for(&linked.page("/")).await;
    linked.ada.browser.navigate(&link).await.must_be(303);
    linked.edge.kill().await;
    linked.edge.start_again().await;

    let answer = linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await;
    assert_eq!(answer.must_be(200).header("x-app"), "ada's app", "the agent came back by itself");
    linked.ada.browser.stranger().navigate(&link).await.must_be(401);
}

#[tokio::test]
async fn a_newer_connection_of_the_same_agent_replaces_the_older_which_does_not_come_back() {
    let linked = Linked::start().await;
    let mut events =
        linked.ada.browser.fetch(Method::GET, &linked.page("/events/old")).open().await.expect("a stream");
    linked.app.streaming("old").await;
    let newer = linked.desktop.run(&linked.app.url()).await;
    let told = |line: &str| line.contains("replaced").then_some(());
    linked.agent.says("its word that it was replaced", told).await;

    linked.app.tick("old", "still here");
    assert_eq!(events.text().await, "data: still here\n\n", "what is in flight is not dropped");
    linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
    drop(events);
    linked.agent.end().await;
    linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
    drop(newer);
}

#[tokio::test]
async fn an_unlinked_desktop_is_cut_and_cannot_come_back() {
    let linked = Linked::start().await;
    let mut socket = linked.ada.browser.websocket(&linked.page("/ws")).await.expect("a socket");
    assert_eq!(socket.ask("hello").await, "hello");
    linked.edge.admin(&["tunnel", "remove", &linked.desktop.tunnel]).await;
    let answered = Instant::now();
    socket.cut().await;
    assert!(answered.elapsed() < Duration::from_secs(1), "{:?}", answered.elapsed());
    let status = linked.agent.end().await;
    assert!(!status.success());
    let told = linked.agent.all_printed();
    assert!(told.contains("unlinked"), "{told}");
    let again = linked.desktop.dial(&linked.app.url());
    assert!(!again.end().await.success());
    assert!(again.all_printed().contains("unlinked"), "{}", again.all_printed());
}

#[tokio::test]
async fn a_link_token_works_once_and_only_if_it_is_genuine() {
    let linked = Linked::start().await;
    let told = linked.edge.admin(&["agent", "token", "--user", "ada"]).await;
    let token = told["token"].as_str().expect("a token");
    let (first, second) = (Desktop::blank(), Desktop::blank());
    let first = first.link(&linked.edge, token).await;
    assert_eq!(first.code, 0, "{}", first.err);
    let used = second.link(&linked.edge, token).await;
    assert_eq!(used.code, 1, "{}{}", used.out, used.err);
    let forged = second.link(&linked.edge, "patapim-forged").await;
    assert_eq!(forged.code, 1, "{}{}", forged.out, forged.err);
}

#[tokio::test]
async fn an_agent_without_a_link_says_what_to_do() {
    let desktop = Desktop::blank();
    let agent = desktop.dial("http://127.0.0.1:9");
    assert!(!agent.end().await.success());
    let told = agent.all_printed();
    assert!(told.contains("patapim-agent link"), "{told}");
}

#[tokio::test]
async fn an_app_that_is_not_running_is_a_502_that_names_no_address() {
    let linked = Linked::start().await;
    linked.agent.kill().await;
    let _agent = linked.desktop.run("http://127.0.0.1:9").await;
    let page = linked.ada.browser.navigate(&linked.page("/x")).await.must_be(502);
    assert!(!page.text().contains("127.0.0.1"), "{}", page.text());
    linked.ada.browser.curl(&linked.page("/x")).await.must_be(502).problem();
}

#[tokio::test]
async fn an_agent_tells_its_status_and_lets_go_of_its_link() {
    let linked = Linked::start().await;
    let status = linked.desktop.command(&["status", "--json"]).await.json();
    assert_eq!(status["tunnel"], linked.desktop.tunnel, "{status}");
    let unlinked = linked.desktop.command(&["unlink"]).await;
    assert_eq!(unlinked.code, 0, "{}", unlinked.err);
    let again = linked.desktop.dial(&linked.app.url());
    assert!(!again.end().await.success());
    assert!(again.all_printed().contains("patapim-agent link"), "{}", again.all_printed());
}
