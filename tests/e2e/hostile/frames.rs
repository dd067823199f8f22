//! Agents that break the rules of HTTP/2, or keep to them without end: it costs them their own connection.

use http::{Method, Response};

use super::Beside;
use crate::rig::fake_agent::{Asked, Manners};
use crate::rig::raw_http2::kind::{
    CONTINUATION, DATA, GOAWAY, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::rig::raw_http2::{END_HEADERS, END_STREAM, fields, frame};

/// None of these may be sent by the server of a connection, and least of all unasked.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let get = fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")]);
    let promise = [&2u32.to_be_bytes(), &get[..]].concat();
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    vec![
        ("a stream of its own", frame(HEADERS, END_HEADERS | END_STREAM, 2, &get)),
        ("a stream that the edge never opened", frame(HEADERS, END_HEADERS, 1001, &get)),
        ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &promise)),
        ("data of no stream", frame(DATA, 0, 0, b"x")),
        ("data of a stream that is not there yet", frame(DATA, 0, 1001, b"x")),
        ("a reset of no stream", frame(RST_STREAM, 0, 0, &[0; 4])),
        ("a reset of a stream that is not there yet", frame(RST_STREAM, 0, 1001, &[0; 4])),
        ("a reset that is too short", frame(RST_STREAM, 0, 1, &[0; 3])),
        ("a ping that is too short", frame(PING, 0, 0, &[0; 7])),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8])),
        ("settings that are cut off", frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("an agreement to nothing", frame(SETTINGS, 1, 0, &[]).repeat(3)),
        ("leave to push", frame(SETTINGS, 0, 0, &setting(2, 7))),
        ("a window of four gigabytes", frame(SETTINGS, 0, 0, &setting(4, u32::MAX))),
        ("frames of a byte", frame(SETTINGS, 0, 0, &setting(5, 1))),
        ("a window that does not move", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window that runs over", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffffu32.to_be_bytes()).repeat(2)),
        ("a head that goes on from nowhere", frame(CONTINUATION, END_HEADERS, 1, &get)),
        ("a frame of 40 KB", frame(DATA, 0, 1, &[0; 40_000])),
        ("goodbye, cut off", frame(GOAWAY, 0, 0, &[0; 3])),
        ("another protocol", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".repeat(4)),
        ("nothing but ones", vec![0xff; 64]),
    ]
}

#[tokio::test]
async fn broken_frames_cost_their_agent_the_connection_and_nobody_else_anything() {
    let beside = Beside::start(Manners::default()).await;
    let ada = &beside.linked.ada.browser;
    let mut socket = ada.websocket(&beside.linked.page("/ws")).await.expect("a socket");
    for (what, bytes) in broken() {
        let agent = beside.dials(Manners::default()).await;
        agent.wire.write(bytes);
        agent.cut().await;
        assert_eq!(socket.ask(what).await, what);
    }
    let _agent = beside.dials(Manners::default()).await;
    beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
}

#[tokio::test]
async fn frames_of_a_kind_that_is_not_known_are_let_pass() {
    let beside = Beside::start(Manners::default()).await;
    beside.agent.wire.write(frame(0xbb, 0xff, 1, b"of a later age"));
    beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
    assert!(!beside.agent.is_over());
}

#[tokio::test]
async fn floods_of_frames_cost_their_agent_the_connection_and_no_memory() {
    let ping = frame(PING, 0, 0, &[7; 8]);
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    let window = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let beside = Beside::start(Manners::default()).await;
    let before = beside.linked.edge.process.resident_kib();
    let floods = [
        ("pings", ping),
        ("settings", settings),
        ("windows", window),
        ("unknown frames", frame(0xbb, 0, 0, b"?")),
    ];
    for (what, one) in floods {
        let agent = beside.dials(Manners::default()).await;
        agent.wire.write(one.repeat(200_000));
        agent.cut().await;
        beside.ada_is_well().await;
        let grown = beside.linked.edge.process.resident_kib().saturating_sub(before);
        assert!(grown < 32 * 1024, "{what}: the edge grew by {grown} KiB");
    }
    let counted = beside.linked.edge.counted("limited_total{limit=\"agent_frames\"}").await;
    assert_eq!(counted, 4);
}

#[tokio::test]
async fn who_says_without_end_what_happens_is_not_listened_to() {
    let beside = Beside::start(Manners::default()).await;
    for event in [r#"{"event":"yawning"}"#, r#"{"event":"denied","session":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}"#] {
        let agent = beside.dials(Manners::default()).await;
        for _ in 0..2_000 {
            agent.say(event);
        }
        agent.cut().await;
    }
    let agent = beside.dials(Manners::default()).await;
    agent.say(&"x".repeat(100_000));
    agent.cut().await;
    beside.ada_is_well().await;
    assert_eq!(beside.linked.edge.counted("limited_total{limit=\"agent_events\"}").await, 2);
}

#[tokio::test]
async fn an_agent_that_reads_nothing_costs_little_and_is_given_up() {
    let beside = Beside::start(Manners::default().app(|asked: Asked| async move {
        if asked.path() == "/" {
            return asked.say("well");
        }
        let mut respond = asked.respond;
        let _held = respond.send_response(Response::new(()), false);
        std::future::pending().await
    }))
    .await;
    let before = beside.linked.edge.process.resident_kib();
    beside.agent.wire.stop_reading();
    let uploads = (0..40).map(|number| {
        let page = beside.page(&format!("/upload/{number}"));
        beside.eve.browser.h2().fetch(Method::POST, &page).body(vec![7; 8 << 20]).whole()
    });
    let ended = futures_util::future::join_all(uploads);
    let answers = crate::rig::process::within("the edge to give the agent up", ended).await;
    for answer in answers {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status.is_server_error()));
    }
    let grown = beside.linked.edge.process.peak_kib().saturating_sub(before);
    assert!(grown < 40 * 4 * 1024, "the edge grew by {grown} KiB");
    beside.ada_is_well().await;
}
