//! Requests that no browser sends: broken framing, smuggling, and clients that never finish a sentence.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::client::{Stream, Visitor, origin};
use crate::rig::edge::Setup;
use crate::rig::journey::Person;
use crate::rig::process::within;
use crate::rig::scene::{Scene, TUNNEL};

/// Sends bytes as they are; returns everything that comes back until the edge closes.
pub(crate) async fn say(visitor: &Visitor, url: &Url, bytes: &[u8]) -> String {
    let mut stream = visitor.dial(url, None).await.expect("a connection");
    // The edge may have said no and closed before it was all sent.
    let _ = stream.write_all(bytes).await;
    hear(&mut stream).await
}

/// Sends a whole request on a connection that stays open; returns the answer to it, by its length.
pub(crate) async fn answer(stream: &mut Box<dyn Stream>, request: &[u8]) -> String {
    stream.write_all(request).await.expect("written");
    let mut heard = Vec::new();
    loop {
        let read = within("an answer", stream.read_buf(&mut heard)).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&heard).into_owned();
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            length.is_some_and(|length: usize| body.len() >= length)
        });
        if read == 0 || whole {
            return text;
        }
    }
}

async fn hear(stream: &mut Box<dyn Stream>) -> String {
    let mut heard = Vec::new();
    let _ = within("the edge to close", stream.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// The status of the first answer in `answer`.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn broken_framing_is_refused_and_nothing_reaches_the_app() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let host = &page[url::Position::BeforeHost..url::Position::AfterPort];
    let cookies = scene.ada.browser.cookies.header(&page).expect("cookies");
    let same = format!("Cookie: {cookies}\r\nOrigin: {}\r\nConnection: close\r\n", origin(&page));
    let before = scene.app.count();
    let h = format!("Host: {host}\r\n{same}");
    let broken = [
        ("no host", format!("GET / HTTP/1.1\r\n{same}\r\n")),
        ("two hosts", format!("GET / HTTP/1.1\r\nHost: {host}\r\n{h}\r\n")),
        ("two other hosts", format!("GET / HTTP/1.1\r\nHost: evil.test\r\n{h}\r\n")),
        ("two lengths", format!("POST / HTTP/1.1\r\n{h}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("odd chunks", format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("a folded header", format!("GET / HTTP/1.1\r\n{h}X-A: b\r\n c\r\n\r\n")),
        ("a space before the colon", format!("GET / HTTP/1.1\r\n{h}X-A : b\r\n\r\n")),
        ("NUL in a header", format!("GET / HTTP/1.1\r\n{h}X-A: b\0c\r\n\r\n")),
        (
            "bare line feeds",
            format!("GET / HTTP/1.1\nHost: {host}\nConnection: close\nCookie: {cookies}\n\n"),
        ),
        ("a negative length", format!("POST / HTTP/1.1\r\n{h}Content-Length: -1\r\n\r\n")),
        ("a signed length", format!("POST / HTTP/1.1\r\n{h}Content-Length: +1\r\n\r\na")),
        ("tracing", format!("TRACE / HTTP/1.1\r\n{h}\r\n")),
        ("a proxy's request", format!("CONNECT evil.test:443 HTTP/1.1\r\n{h}\r\n")),
        ("another host in the target", format!("GET https://evil.test/ HTTP/1.1\r\n{h}\r\n")),
        ("no words at all", "\x16\x03\x01\x02".into()),
        ("a huge header", format!("GET / HTTP/1.1\r\n{h}X-A: {}\r\n\r\n", "a".repeat(200_000))),
        ("a huge target", format!("GET /{} HTTP/1.1\r\n{h}\r\n", "a".repeat(200_000))),
        ("many headers", format!("GET / HTTP/1.1\r\n{h}{}\r\n", "X-A: b\r\n".repeat(5000))),
    ];
    for (what, bytes) in broken {
        let answer = say(&scene.ada.browser, &page, bytes.as_bytes()).await;
        // A connection closed without a word is an answer too.
        assert!(answer.is_empty() || (400..=505).contains(&status(&answer)), "{what}: {answer}");
    }
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
    scene.echo().await;
}

#[tokio::test]
async fn a_second_request_hidden_in_a_body_stays_a_body() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let host = &page[url::Position::BeforeHost..url::Position::AfterPort];
    let cookies = scene.ada.browser.cookies.header(&page).expect("cookies");
    let h = format!("Host: {host}\r\nCookie: {cookies}\r\nOrigin: {}\r\n", origin(&page));
    let hidden = format!("GET /hidden HTTP/1.1\r\n{h}\r\n");
    let (short, long) = (5, 5 + hidden.len());
    for framing in [
        format!("Content-Length: {short}\r\nTransfer-Encoding: chunked"),
        format!("Content-Length: {long}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {long}"),
        format!("Transfer-Encoding: identity, chunked\r\nContent-Length: {long}"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {long}"),
        format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\nContent-Length: {long}"),
    ] {
        let request = format!("POST /shown HTTP/1.1\r\n{h}{framing}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = say(&scene.ada.browser, &page, request.as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{framing}: {answer}");
    }
    assert!(scene.app.seen().iter().all(|one| one.target != "/hidden"), "{:?}", scene.app.seen());
}

/// Offers of HTTP/2 and of what nobody knows, with and without `Connection`: whatever the app may see of them.
const OFFERS: &[&[(&str, &str)]] = &[
    &[("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")],
    &[("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")],
    &[("connection", "Upgrade"), ("upgrade", "h2c, websocket")],
    &[("connection", "Upgrade"), ("upgrade", "h2/evil")],
];

#[tokio::test]
async fn an_offer_of_another_protocol_is_ignored() {
    let app = App::start("ada's app").await;
    let edge = Setup::default().upstream(TUNNEL, "ada", &app.url()).start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let desktop = Desktop::linked(&edge, "ada").await;
    let _agent = desktop.run(&app.url()).await;
    for tunnel in [TUNNEL, &desktop.tunnel] {
        let page = edge.tunnel(tunnel, "/echo");
        ada.open(&page).await.must_be(200);
        for offer in OFFERS {
            let request = ada.browser.fetch(Method::GET, &page);
            let request = offer.iter().fold(request, |request, (name, value)| request.header(name, value));
            let told = request.await.must_be(200).json();
            for gone in ["upgrade", "http2-settings", "connection"] {
                let value = told["headers"][gone].as_str().unwrap_or_default().to_ascii_lowercase();
                assert!(
                    !value.contains("h2") && !value.contains("upgrade"),
                    "{tunnel} {offer:?}: {gone}: {value}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_authority_and_a_host_that_differ_are_misdirected() {
    let scene = Scene::signed_in().await;
    let request = scene.ada.browser.h2().fetch(Method::GET, &scene.page("/echo"));
    let answer = request.header("host", "evil.test").await;
    assert!(matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::MISDIRECTED_REQUEST), "{answer:?}");
}

#[tokio::test]
async fn those_who_never_greet_do_not_keep_others_out() {
    let scene = Scene::start().await;
    let page = scene.page("/");
    let port = page.port().expect("a port");
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("a connection"));
    }
    // The best of a few: this machine may have other things to do.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        scene.ada.browser.stranger().curl(&page).await.must_be(401);
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}
