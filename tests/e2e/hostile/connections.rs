//! How an agent's connection begins, and how many there may be: whoever is long in saying hello, says something else, or
//! comes without end, costs little and stands in nobody's way.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Beside;
use crate::rig::edge::Setup;
use crate::rig::fake_agent::{FakeAgent, Manners, dial};
use crate::rig::peers::key_of;
use crate::rig::process::within;
use crate::rig::raw_http2::frame;
use crate::rig::raw_http2::kind::SETTINGS;

#[tokio::test]
async fn hellos_that_are_none_end_their_own_connection() {
    let beside = Beside::start(Manners::default()).await;
    for hello in [
        "\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "[]\n".to_owned(),
        r#"{"version":"1"}"#.to_owned() + "\n",
        format!("{{\"version\":1,\"name\":\"{}\"}}\n", "x".repeat(1 << 20)),
        "[".repeat(16_000) + "\n",
        r#"{"version":1,"name":["#.to_owned(),
    ] {
        let begun: String = hello.chars().take(40).collect();
        let agent =
            FakeAgent::dial(&beside.linked.edge, &beside.desktop, Manners::default().hello(hello)).await;
        if begun.ends_with('\n') || begun.len() == 40 {
            agent.cut().await;
        }
        let answer = beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
        assert_eq!(answer.text(), "well", "the one before serves on, whatever {begun:?} is");
    }
}

#[tokio::test]
async fn one_key_gets_a_few_connections_and_the_last_that_greets_serves() {
    const MANY: usize = 60;
    const ALLOWED: usize = 8;
    let beside = Beside::start(Manners::default()).await;
    let key = key_of(&beside.desktop);
    let mut silent = FuturesUnordered::new();
    for _ in 0..MANY {
        let mut tls = dial(&beside.linked.edge, &key).await.expect("a handshake");
        silent.push(async move { while tls.read_u8().await.is_ok() {} });
    }
    for _ in 0..MANY - ALLOWED {
        within("the edge to turn away those that are too many", silent.next()).await;
    }
    let refused = beside.linked.edge.counted("limited_total{limit=\"agent_connections\"}").await;
    assert!(refused >= (MANY - ALLOWED) as u64, "{refused} were counted");
    drop(silent);
    let answer = beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
    assert_eq!(answer.text(), "well", "the one that served before serves on");
    beside.ada_is_well().await;
}

/// How long it is until the next piece of what dribbles in.
const BEAT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_hello_that_dribbles_in_or_never_begins_is_ended() {
    let beside =
        Beside::with(Setup::default().with("[limits]\nhandshake = \"3s\"\n"), Manners::default()).await;
    let key = key_of(&beside.desktop);

    // After its handshake this one says nothing, and these say it a byte at a time: the frames, or what is in them.
    let mut silent = dial(&beside.linked.edge, &key).await.expect("a handshake");
    let silence = within("the silent one to be ended", async { while silent.read_u8().await.is_ok() {} });
    let frames = dial(&beside.linked.edge, &key).await.expect("a handshake");
    let (mut hears, mut says) = tokio::io::split(frames);
    let settings = frame(SETTINGS, 0, 0, &[0u8, 4, 0, 1, 0, 0].repeat(1000));
    let dribbled = async {
        let mut beat = tokio::time::interval(BEAT);
        for byte in settings {
            beat.tick().await;
            if says.write_u8(byte).await.is_err() || says.flush().await.is_err() {
                return;
            }
        }
    };
    let frames = within("who dribbles frames to be ended", async {
        tokio::select! {
            () = dribbled => {}
            () = async { while hears.read_u8().await.is_ok() {} } => {}
        }
    });
    let words = FakeAgent::begin(&beside.linked.edge, &key, Manners::default().hello("{".to_owned())).await;
    let mumbled = async {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
            words.mumble(" ");
        }
    };
    let words = async {
        tokio::select! {
            () = mumbled => {}
            () = words.cut() => {}
        }
    };
    tokio::join!(silence, frames, words);
    let answer = beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
    assert_eq!(answer.text(), "well", "the one that greeted serves on");
}

#[tokio::test]
async fn of_two_hundred_that_greet_with_one_key_one_is_left() {
    const MANY: usize = 200;
    let beside = Beside::start(Manners::default()).await;
    let key = key_of(&beside.desktop);
    let before = beside.linked.edge.process.resident_kib();
    let all =
        join_all((0..MANY).map(|_| FakeAgent::begin(&beside.linked.edge, &key, Manners::default()))).await;
    let over = || all.iter().filter(|agent| agent.is_over()).count();
    let mut ends = all.iter().map(FakeAgent::cut).collect::<FuturesUnordered<_>>();
    while over() < MANY - 1 {
        ends.next().await.expect("one more to end");
    }
    let grown = beside.linked.edge.process.peak_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "the edge grew by {grown} KiB");
    let answer = beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
    assert_eq!(answer.text(), "well");
    assert!(over() < MANY, "the last stays");
    beside.ada_is_well().await;
}
