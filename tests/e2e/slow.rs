//! Visitors who take their time: each wait for one of them has an end, and nobody who waits for somebody else is ended.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::client::{Stream, Visitor, origin};
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::Person;
use crate::rig::process::within;
use crate::rig::raw_http2::kind::{CONTINUATION, DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use crate::rig::raw_http2::{
    END_HEADERS, END_STREAM, Frames, PREFACE, authority, fields, frame, whole_frames,
};
use crate::rig::scene::Scene;

const ENHANCE_YOUR_CALM: u32 = 0xb;

/// An edge with little patience. A byte every tenth of a second is far below its least rate.
fn impatient() -> Setup {
    Setup::default().with(
        "[limits]\nhandshake = \"3s\"\nheader = \"3s\"\nidle = \"3s\"\nstall = \"3s\"\nleast_rate = 1000\n",
    )
}

async fn impatient_scene() -> Scene {
    let mut scene = Scene::with(impatient()).await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
    scene
}

/// Sends `piece` again and again until the edge closes. Gives what the edge said meanwhile.
async fn dribble(stream: Box<dyn Stream>, piece: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let drops = async {
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            beat.tick().await;
            if writer.write_all(piece).await.is_err() || writer.flush().await.is_err() {
                // What the edge said before is heard all the same.
                return std::future::pending().await;
            }
        }
    };
    let mut heard = Vec::new();
    within("the edge to end who dribbles", async {
        tokio::select! {
            () = drops => {}
            _ = reader.read_to_end(&mut heard) => {}
        }
    })
    .await;
    heard
}

/// The head of a request by Ada's page, up to its last line's end.
fn head(browser: &Visitor, page: &Url, method: &str, path: &str) -> String {
    let cookies = browser.cookies.header(page).expect("cookies");
    let host = authority(page);
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nOrigin: {}\r\n", origin(page))
}

/// The same for HTTP/2.
fn h2_head(browser: &Visitor, page: &Url, method: &str, path: &str) -> Vec<u8> {
    let cookies = browser.cookies.header(page).expect("cookies");
    fields(&[
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", authority(page)),
        ("cookie", &cookies),
        ("sec-fetch-site", "same-origin"),
    ])
}

#[tokio::test]
async fn a_handshake_that_dribbles_in_or_never_begins_is_ended() {
    let scene = impatient_scene().await;
    let port = scene.page("/").port().expect("a port");
    let connect =
        || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("a connection") };
    let mut silent = connect().await;
    let mut heard = Vec::new();
    let _ = within("the silent one to be closed", silent.read_to_end(&mut heard)).await;
    // A record of a ClientHello that will be long.
    let mut dribbling = connect().await;
    dribbling.write_all(b"\x16\x03\x01\x20\x00\x01\x00\x1f\xfc\x03\x03").await.expect("written");
    dribble(Box::new(dribbling), b"a").await;
    assert_eq!(scene.edge.counted("tls_handshakes_total{result=\"timeout\"}").await, 2);
    scene.echo().await;
}

#[tokio::test]
async fn a_head_that_dribbles_in_is_ended_by_a_total_deadline() {
    let scene = impatient_scene().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/"));
    let before = scene.app.count();
    let start = format!("{}X-Slow: ", head(browser, &page, "GET", "/"));
    let mut first = browser.dial(&page, None).await.expect("a connection");
    first.write_all(start.as_bytes()).await.expect("written");
    assert!(dribble(first, b"a").await.is_empty(), "a first request");

    let mut kept = browser.dial(&page, None).await.expect("a connection");
    kept.write_all(format!("{}\r\n", head(browser, &page, "HEAD", "/")).as_bytes()).await.expect("written");
    let mut answer = [0; 12];
    within("an answer", kept.read_exact(&mut answer)).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    kept.write_all(start.as_bytes()).await.expect("written");
    dribble(kept, b"a").await;

    let lines = browser.dial(&page, None).await.expect("a connection");
    assert!(dribble(lines, b"\r\n").await.is_empty(), "nothing but empty lines");
    assert_eq!(scene.edge.counted("limited_total{limit=\"head_time\"}").await, 3);
    assert_eq!(scene.app.count(), before + 1, "nothing but the whole one reaches the app");
    scene.echo().await;
}

#[tokio::test]
async fn a_head_of_http2_that_dribbles_in_is_ended_by_a_total_deadline() {
    // Idle it may be for longer, or that would end it as soon.
    let mut scene = Scene::with(Setup::default().with("[limits]\nheader = \"3s\"\n")).await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
    let (browser, before) = (&scene.ada.browser, scene.app.count());
    let block = h2_head(browser, &page, "GET", "/");
    let begun = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_STREAM, 1, &block)].concat();
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block);
    let half = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &whole[..20]].concat();
    // Whole frames of a field, which is one byte, and of none, that never end the head; and one frame, a byte at a time.
    for (what, first, piece) in [
        ("fields", &begun, frame(CONTINUATION, 0, 1, &[0x90])),
        ("nothing", &begun, frame(CONTINUATION, 0, 1, &[])),
        ("a frame", &half, b"a".to_vec()),
    ] {
        let mut stream = browser.h2().dial(&page, None).await.expect("a connection");
        stream.write_all(first).await.expect("written");
        let heard = dribble(stream, &piece).await;
        let goaway = whole_frames(&heard).find(|frame| frame.kind == GOAWAY);
        assert_eq!(goaway.and_then(|frame| frame.reason()), Some(ENHANCE_YOUR_CALM), "{what}");
        assert!(whole_frames(&heard).all(|frame| frame.kind != HEADERS), "{what} is no request");
    }
    assert_eq!(scene.edge.counted("limited_total{limit=\"head_time\"}").await, 3);
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
    scene.echo().await;
}

#[tokio::test]
async fn whoever_asks_nothing_is_not_kept() {
    let scene = impatient_scene().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/"));
    let mut kept = browser.dial(&page, None).await.expect("a connection");
    let mut fresh = browser.dial(&page, None).await.expect("a connection");
    kept.write_all(format!("{}\r\n", head(browser, &page, "HEAD", "/")).as_bytes()).await.expect("written");
    for stream in [&mut kept, &mut fresh] {
        let mut heard = Vec::new();
        let _ = within("an idle connection to be closed", stream.read_to_end(&mut heard)).await;
    }
    let mut silent = Frames::silent(browser, &page).await;
    assert!(silent.until(|frame| frame.kind == HEADERS).await.is_none(), "without a word of HTTP/2");
    let mut open = Frames::open(browser, &page).await;
    let goaway = open.until(|frame| frame.kind == GOAWAY).await.expect("a word");
    assert_eq!(goaway.reason(), Some(0));
    let dribbling = browser.h2().dial(&page, None).await.expect("a connection");
    dribble(dribbling, b"P").await;
}

/// Uploads that owe the next byte, over both kinds of HTTP.
async fn slow_uploads_end(edge: &Edge, app: &App, browser: &Visitor, page: &Url) {
    let mut one = browser.dial(page, None).await.expect("a connection");
    let start = head(browser, page, "POST", "/hash?one") + "Content-Length: 1000000\r\n\r\nbegun";
    one.write_all(start.as_bytes()).await.expect("written");
    let mut two = Frames::open(browser, page).await;
    two.say(&frame(HEADERS, END_HEADERS, 1, &h2_head(browser, page, "POST", "/hash?two"))).await;
    two.say(&frame(DATA, 0, 1, b"begun")).await;
    for way in ["one", "two"] {
        app.reached(&format!("/hash?{way}")).await;
    }
    let answer = String::from_utf8_lossy(&dribble(one, b"a").await).into_owned();
    assert!(!answer.contains(" 200 "), "{answer}");
    let ended = two.until(|frame| frame.stream == 1 && frame.kind == RST_STREAM).await;
    assert!(ended.is_some(), "the stream is ended");
    assert!(two.lives().await, "and its connection is not");
    assert!(edge.counted("limited_total{limit=\"sending_rate\"}").await >= 2);
}

#[tokio::test]
async fn a_body_that_dribbles_in_is_ended_on_the_way_to_a_fixed_upstream() {
    let scene = impatient_scene().await;
    slow_uploads_end(&scene.edge, &scene.app, &scene.ada.browser, &scene.page("/")).await;
    scene.echo().await;
}

#[tokio::test]
async fn a_body_that_dribbles_in_is_ended_on_the_way_to_an_agent() {
    let app = App::start("ada's app").await;
    let edge = impatient().start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let desktop = Desktop::linked(&edge, "ada").await;
    let _agent = desktop.run(&app.url()).await;
    let page = edge.tunnel(&desktop.tunnel, "/");
    ada.open(&page).await.must_be(200);
    slow_uploads_end(&edge, &app, &ada.browser, &page).await;
}

#[tokio::test]
async fn who_takes_no_answer_is_ended_and_the_app_is_told() {
    let scene = impatient_scene().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/"));
    let big = "/big/1000000000000";
    let mut one = browser.dial(&page, None).await.expect("a connection");
    one.write_all(format!("{}\r\n", head(browser, &page, "GET", big)).as_bytes()).await.expect("written");
    // Over HTTP/2 everything is read, but no window is ever given back.
    let mut two = Frames::open(browser, &page).await;
    two.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &h2_head(browser, &page, "GET", big))).await;
    let ended = two.until(|frame| frame.stream == 1 && frame.kind == RST_STREAM).await;
    assert!(ended.is_some(), "the stream is ended");
    assert!(two.lives().await, "and its connection is not");
    scene.app.left(big).await;

    // A connection of HTTP/2 on which nothing is read at all, whatever its windows.
    let mut three = Frames::silent(browser, &page).await;
    let window = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let grown = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    let asked = frame(HEADERS, END_HEADERS | END_STREAM, 1, &h2_head(browser, &page, "GET", big));
    three.say(&[PREFACE, &window, &grown, &asked].concat()).await;
    scene.app.gone(big, 3).await;
    // The app may hear of it first.
    let taking = "limited_total{limit=\"taking_rate\"}";
    within("both to be counted", async { while scene.edge.counted(taking).await < 2 {} }).await;
    let mut rest = Vec::new();
    let whole = within("the end", one.read_to_end(&mut rest)).await;
    assert!(whole.is_err() || rest.len() < 1_000_000_000, "it was ended");
}

#[tokio::test]
async fn who_waits_for_somebody_else_may_wait() {
    let scene = impatient_scene().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/"));
    let mut socket = browser.websocket(&scene.page("/ws")).await.expect("a socket");
    assert_eq!(socket.ask("hello").await, "hello");
    let mut events = Vec::new();
    for (name, browser) in [("one", browser.clone()), ("two", browser.h2())] {
        let target = scene.page(&format!("/events/{name}"));
        events.push((name, browser.fetch(Method::GET, &target).open().await.expect("an answer")));
        scene.app.streaming(name).await;
    }
    // Of these the app neither reads the body nor answers: the visitor has sent what there was room for.
    let uploads: Vec<_> = [("one", browser.clone()), ("two", browser.h2())]
        .into_iter()
        .map(|(name, browser)| {
            let target = scene.page(&format!("/hangs?{name}"));
            let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 16_384])));
            tokio::spawn(browser.fetch(Method::POST, &target).stream(endless).open())
        })
        .collect();
    let polling = tokio::spawn(browser.fetch(Method::GET, &scene.page("/hangs?long")).open());
    for name in ["one", "two", "long"] {
        scene.app.reached(&format!("/hangs?{name}")).await;
    }

    // Somebody who began after all of them runs out of patience twice.
    for _ in 0..2 {
        let mut slow = browser.dial(&page, None).await.expect("a connection");
        let start = head(browser, &page, "POST", "/hash?slow") + "Content-Length: 1000000\r\n\r\nbegun";
        slow.write_all(start.as_bytes()).await.expect("written");
        dribble(slow, b"a").await;
    }
    assert_eq!(socket.ask("still here").await, "still here");
    for (name, live) in &mut events {
        scene.app.tick(name, "late");
        assert_eq!(live.text().await, "data: late\n\n", "{name}");
    }
    assert!(!polling.is_finished(), "a long poll goes on");
    assert!(
        uploads.iter().all(|upload| !upload.is_finished()),
        "an upload that the app does not read goes on"
    );
    let _ = stream::iter(uploads).map(|upload| upload.abort()).count().await;
}
