//! What one tunnel may take of the edge: so many streams, so much memory; and that nobody else has less for it.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, Response};
use tokio::sync::watch;

use super::Beside;
use crate::rig::agent::Desktop;
use crate::rig::edge::Setup;
use crate::rig::fake_agent::{Asked, FakeAgent, Manners};
use crate::rig::journey::Person;
use crate::rig::process::within;
use crate::rig::raw_http2::kind::DATA;
use crate::rig::raw_http2::{fields, frame, head};
use crate::tunnel::Linked;

/// "well" at `/`; elsewhere bytes for as long as anybody takes them.
fn endless(sent: watch::Sender<u64>) -> Manners {
    Manners::default().app(move |mut asked: Asked| {
        let sent = sent.clone();
        async move {
            if asked.path() == "/" {
                return asked.say("well");
            }
            let Ok(mut body) = asked.respond.send_response(Response::new(()), false) else { return };
            loop {
                body.reserve_capacity(64 * 1024);
                while body.capacity() == 0 {
                    let Some(Ok(_)) = std::future::poll_fn(|cx| body.poll_capacity(cx)).await else { return };
                }
                let piece = vec![7; body.capacity().min(64 * 1024)];
                sent.send_modify(|sent| *sent += piece.len() as u64);
                if body.send_data(piece.into(), false).is_err() {
                    return;
                }
            }
        }
    })
}

#[tokio::test]
async fn a_tunnel_has_so_many_streams_and_beyond_them_a_503() {
    let linked = Linked::with(Setup::default().with("[tunnel]\nstreams = 5\n")).await;
    let browser = linked.ada.browser.h2();
    let mut connection = browser.connect(&linked.page("/"), None).await.expect("a connection");
    let mut streams = Vec::new();
    for number in 0..5 {
        let request = browser.fetch(Method::GET, &linked.page(&format!("/events/{number}")));
        streams.push(connection.open(request).await);
    }
    let busy = linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(503);
    assert_eq!(busy.header("retry-after"), "5");
    busy.problem();
    assert_eq!(linked.edge.counted("limited_total{limit=\"agent_streams\"}").await, 1);
    streams.pop();
    within("a stream to be given back", async {
        while linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.status != 200 {}
    })
    .await;
}

#[tokio::test]
async fn readers_who_stall_take_no_more_than_their_tunnels_memory_all_together() {
    const READERS: usize = 200;
    let edge = Setup::default().with("[tunnel]\nmemory_mib = 8\n").start().await;
    let mut eve = Person::enrolled(&edge, "eve").await;
    let desktop = Desktop::linked(&edge, "eve").await;
    let (sent, sending) = watch::channel(0);
    let agent = FakeAgent::dial(&edge, &desktop, endless(sent)).await;
    let page = edge.tunnel(&desktop.tunnel, "/");
    eve.open(&page).await.must_be(200);
    let before = edge.process.resident_kib();
    let browser = eve.browser.h2();
    let endless = edge.tunnel(&desktop.tunnel, "/endless");
    let mut stalled = Vec::new();
    for _ in 0..READERS / 50 {
        let mut connection = browser.connect(&page, None).await.expect("a connection");
        for _ in 0..50 {
            stalled.push(connection.open(browser.fetch(Method::GET, &endless)).await);
        }
        stalled.push(connection.open(browser.fetch(Method::GET, &page)).await);
    }
    quiet(sending).await;
    let grown = edge.process.peak_kib().saturating_sub(before);
    // Thrice the tunnel's, and what HTTP/2 holds on the visitors' side.
    assert!(grown < 3 * 8 * 1024 + READERS as u64 * 160, "the edge grew by {grown} KiB");
    assert_eq!(
        eve.browser.fetch(Method::GET, &page).await.must_be(200).text(),
        "well",
        "who reads is served"
    );
    assert!(!agent.is_over());
}

#[tokio::test]
async fn crumbs_that_nobody_reads_cost_their_agent_the_connection_and_no_more_memory_than_it_may_have() {
    const READERS: usize = 4;
    const CRUMBS: usize = 150_000;
    let edge = Setup::default().with("[tunnel]\nmemory_mib = 8\n").start().await;
    let mut eve = Person::enrolled(&edge, "eve").await;
    let desktop = Desktop::linked(&edge, "eve").await;
    let manners = Manners::default().app(|asked: Asked| async move {
        if asked.path() == "/" {
            return asked.say("well");
        }
        // Far less than a window in bytes.
        let crumbs = frame(DATA, 0, asked.stream(), b"x").repeat(CRUMBS);
        asked.wire.write([head(asked.stream(), 0, &fields(&[(":status", "200")])), crumbs].concat());
        std::future::pending::<()>().await;
    });
    let agent = FakeAgent::dial(&edge, &desktop, manners).await;
    let page = edge.tunnel(&desktop.tunnel, "/");
    eve.open(&page).await.must_be(200);
    let before = edge.process.resident_kib();
    let mut stalled = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let crumbs = edge.tunnel(&desktop.tunnel, &format!("/crumbs/{reader}"));
        let asked = eve.browser.h2().fetch(Method::GET, &crumbs);
        stalled.spawn(async move {
            let _unread = asked.open().await;
            std::future::pending::<()>().await;
        });
    }
    agent.cut().await;
    let grown = edge.process.peak_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "the edge grew by {grown} KiB");
}

/// Waits until the agent can send no more: what is under way has come to rest.
async fn quiet(mut sent: watch::Receiver<u64>) {
    within("the agent to be held up", async {
        while tokio::time::timeout(Duration::from_secs(1), sent.changed()).await.is_ok() {}
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_agrees_to_nothing_is_ended() {
    let edge = Setup::default().with("[tunnel]\nmemory_mib = 1\n").start().await;
    let mut eve = Person::enrolled(&edge, "eve").await;
    let desktop = Desktop::linked(&edge, "eve").await;
    let agent = FakeAgent::dial(
        &edge,
        &desktop,
        Manners::default().app(|asked: Asked| async move {
            match asked.path() {
                "/" => asked.say("well"),
                _ => std::future::pending().await,
            }
        }),
    )
    .await;
    let page = edge.tunnel(&desktop.tunnel, "/");
    eve.open(&page).await.must_be(200);
    agent.wire.agree_to_nothing();
    let browser = eve.browser.h2();
    let mut connection = browser.connect(&page, None).await.expect("a connection");
    let waiting = (0..3).map(|_| browser.fetch(Method::GET, &edge.tunnel(&desktop.tunnel, "/waits")));
    for request in waiting {
        connection.begin(request).await;
    }
    agent.cut().await;
    assert_eq!(edge.counted("limited_total{limit=\"agent_memory\"}").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_full_leaves_the_others_alone() {
    let beside = Beside::start(endless(watch::Sender::new(0))).await;
    let busy = join_all((0..40).map(|number| {
        let browser = if number % 2 == 0 { beside.eve.browser.clone() } else { beside.eve.browser.h2() };
        let page = beside.page("/endless");
        async move { browser.fetch(Method::GET, &page).open().await.expect("an answer") }
    }))
    .await;
    let reading = join_all(busy.into_iter().enumerate().map(|(number, mut live)| async move {
        // Half of them read, half have fallen asleep.
        match number % 4 {
            0 | 1 => while live.piece().await.is_some() {},
            _ => std::future::pending().await,
        }
    }));
    let ada = async {
        let mut socket =
            beside.linked.ada.browser.websocket(&beside.linked.page("/ws")).await.expect("a socket");
        for number in 0..20 {
            beside.ada_is_well().await;
            let text = number.to_string();
            assert_eq!(socket.ask(&text).await, text);
        }
    };
    tokio::select! {
        _ = reading => unreachable!("it goes on for ever"),
        () = ada => {}
    }
}
