//! Agents and desktops that begin an answer and do not end it: they freeze, take it back, or refuse it. The visitor sees
//! that it is not whole, and what it took of the edge is given back.

use futures_util::future::join_all;
use http::{Method, StatusCode};

use super::Beside;
use crate::rig::answer::Live;
use crate::rig::client::Visitor;
use crate::rig::edge::Setup;
use crate::rig::fake_agent::{Asked, FakeAgent, Manners};
use crate::rig::process::within;
use crate::rig::raw_http2::kind::{DATA, RST_STREAM, SETTINGS};
use crate::rig::raw_http2::{fields, frame, head};
use crate::tunnel::Linked;

fn both(browser: &Visitor) -> [Visitor; 2] {
    [browser.clone(), browser.h2()]
}

#[tokio::test]
async fn a_desktop_frozen_in_the_middle_of_answers_is_an_error_never_a_short_body() {
    let linked = Linked::start().await;
    let mut halves: Vec<Live> = Vec::new();
    for (name, browser) in ["one", "two"].into_iter().zip(both(&linked.ada.browser)) {
        for path in ["/big/10000000000".to_owned(), format!("/events/{name}")] {
            halves.push(browser.fetch(Method::GET, &linked.page(&path)).open().await.expect("an answer"));
        }
        linked.app.streaming(name).await;
        linked.app.tick(name, "before");
    }
    // One of them without a body, which could be sent again in full.
    let posts = join_all(both(&linked.ada.browser).into_iter().zip(["once", ""]).map(|(browser, body)| {
        let page = linked.page("/hangs");
        browser.fetch(Method::POST, &page).body(body).whole()
    }));
    let frozen = async {
        linked.app.arrived("/hangs", 2).await;
        linked.agent.signal("STOP");
        for half in &mut halves {
            assert!(half.broke_off().await, "{} ended as if it were whole", half.url);
        }
    };
    let (answers, ()) = tokio::join!(posts, frozen);
    for answer in answers {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status.is_server_error()));
    }
    linked.agent.signal("CONT");
    linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
    let posts = linked.app.seen().into_iter().filter(|one| one.method == "POST").count();
    assert_eq!(posts, 2, "none was sent again");
}

/// "well" at `/`; elsewhere half an answer, and then nothing for ever.
fn half_an_answer() -> Manners {
    Manners::default().app(|mut asked: Asked| async move {
        if asked.path() == "/" {
            return asked.say("well");
        }
        let mut response = http::Response::new(());
        if asked.path() == "/measured" {
            response.headers_mut().insert("content-length", 100.into());
        }
        let Ok(mut body) = asked.respond.send_response(response, false) else { return };
        let _ = body.send_data("half".into(), false);
        let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
    })
}

#[tokio::test]
async fn a_stream_that_stands_still_is_given_back_when_its_visitor_leaves() {
    const STREAMS: usize = 4;
    let beside = Beside::with(Setup::default().with("[tunnel]\nstreams = 4\n"), half_an_answer()).await;
    for _ in 0..3 {
        let mut halves = Vec::new();
        for (number, browser) in both(&beside.eve.browser).into_iter().cycle().take(STREAMS).enumerate() {
            let page = beside.page(["/measured", "/endless"][number / 2]);
            let mut half =
                within("half an answer", browser.fetch(Method::GET, &page).open()).await.expect("an answer");
            assert_eq!(half.text().await, "half");
            halves.push(half);
        }
        beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(503);
        drop(halves);
        // All of them, or the next round would not find as many.
        within("the streams to be given back", async { while beside.streams().await > 0 {} }).await;
        beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
    }
    assert!(!beside.agent.is_over(), "the connection itself is as it was");
}

/// Takes its answer back at `/STAGE/REASON`: before it, after its head, or in the middle.
fn taken_back() -> Manners {
    Manners::default().app(|asked: Asked| async move {
        let path = asked.path().to_owned();
        let words: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let [stage, reason] = words[..] else { return asked.say("well") };
        let (stream, reason) = (asked.stream(), reason.parse::<u32>().expect("a number"));
        let answer =
            |more: &[(&str, &str)]| head(stream, 0, &fields(&[&[(":status", "200")][..], more].concat()));
        let begun = match stage {
            "nothing" => Vec::new(),
            "head" => answer(&[]),
            "some" => [answer(&[]), frame(DATA, 0, stream, b"half")].concat(),
            _ => [answer(&[("content-length", "100")]), frame(DATA, 0, stream, b"half")].concat(),
        };
        asked.wire.write([begun, frame(RST_STREAM, 0, stream, &reason.to_be_bytes())].concat());
        std::future::pending::<()>().await;
    })
}

#[tokio::test]
async fn an_answer_that_is_taken_back_is_an_error_whatever_the_reason() {
    const REFUSED_STREAM: u32 = 7;
    const TRIES: usize = 3;
    let beside = Beside::start(taken_back()).await;
    for browser in both(&beside.eve.browser) {
        for stage in ["nothing", "head", "some", "measured"] {
            // NO_ERROR among them, and one that nobody has named yet.
            let answers = join_all((0..15).map(|reason| {
                let page = beside.page(&format!("/{stage}/{reason}"));
                browser.fetch(Method::GET, &page).whole()
            }));
            for (reason, answer) in within("answers", answers).await.into_iter().enumerate() {
                let told = answer.as_ref().map(|answer| (answer.status, answer.text()));
                let refused = told.as_ref().is_ok_and(|(status, _)| *status == StatusCode::BAD_GATEWAY);
                assert!(refused || told.is_err() && stage != "nothing", "{stage}, reason {reason}: {told:?}");
            }
        }
    }
    within("the streams to be given back", async { while beside.streams().await > 0 {} }).await;
    // What is refused unread may be asked for again, but not for ever, and never with a body that has gone.
    for reason in 0..15 {
        let tries = if reason == REFUSED_STREAM { TRIES } else { 1 };
        assert_eq!(beside.agent.asked(&format!("/nothing/{reason}")), 2 * tries, "reason {reason}");
    }
    let refused = format!("/nothing/{REFUSED_STREAM}");
    let page = beside.page(&refused);
    beside.eve.browser.fetch(Method::POST, &page).body("once").await.must_be(502);
    assert!(beside.agent.asked(&refused) <= 3 * TRIES);
    beside.ada_is_well().await;
}

#[tokio::test]
async fn resets_without_end_cost_their_agent_the_connection_and_no_memory() {
    let beside = Beside::start(Manners::default().app(|asked: Asked| async move {
        if asked.path() == "/" {
            return asked.say("well");
        }
        asked.wire.write(frame(RST_STREAM, 0, asked.stream(), &[0, 0, 0, 8]).repeat(200_000));
        std::future::pending::<()>().await;
    }))
    .await;
    let before = beside.linked.edge.process.resident_kib();
    let answer = beside.eve.browser.fetch(Method::GET, &beside.page("/flood")).whole().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == StatusCode::BAD_GATEWAY));
    beside.agent.cut().await;
    let grown = beside.linked.edge.process.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "the edge grew by {grown} KiB");
    assert_eq!(beside.linked.edge.counted("limited_total{limit=\"agent_frames\"}").await, 1);
    beside.ada_is_well().await;
}

#[tokio::test]
async fn an_agent_that_takes_no_streams_is_as_good_as_none() {
    let beside = Beside::start(Manners::default()).await;
    let agent = beside.dials(Manners::default()).await;
    // SETTINGS_MAX_CONCURRENT_STREAMS is none at all.
    agent.wire.write(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]));
    let waiting = both(&beside.eve.browser).map(|browser| {
        let page = beside.page("/");
        async move { browser.fetch(Method::GET, &page).await.status }
    });
    for status in join_all(waiting).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let _next: FakeAgent = beside.dials(Manners::default()).await;
    beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.must_be(200);
    beside.ada_is_well().await;
}
