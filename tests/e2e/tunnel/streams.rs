//! Streaming both ways, WebSockets, cancellation, and 100-continue.

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Linked;
use crate::rig::process::within;

#[tokio::test]
async fn events_arrive_one_by_one_over_both_kinds_of_http() {
    let linked = Linked::start().await;
    for (name, browser) in [("one", linked.ada.browser.clone()), ("two", linked.ada.browser.h2())] {
        let request = browser.fetch(Method::GET, &linked.page(&format!("/events/{name}")));
        let mut events = request.open().await.expect("a stream");
        assert_eq!(events.headers["content-type"], "text/event-stream");
        linked.app.streaming(name).await;
        for number in 0..100 {
            // The next one is sent only after this one arrived.
            linked.app.tick(name, &format!("tick {number}"));
            assert_eq!(events.text().await, format!("data: tick {number}\n\n"));
        }
        drop(events);
        linked.app.left(&format!("/events/{name}")).await;
    }
}

#[tokio::test]
async fn an_upload_reaches_the_app_piece_by_piece() {
    let linked = Linked::start().await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece: Option<std::io::Result<bytes::Bytes>> = receiver.recv().await;
        piece.map(|piece| (piece, receiver))
    });
    let request = linked.ada.browser.fetch(Method::POST, &linked.page("/mirror")).stream(pieces);
    let opened = request.open();
    let told = async {
        sender.send(Ok("first".into())).expect("wanted");
        linked.app.reached("/mirror").await;
    };
    let (mirror, ()) = tokio::join!(opened, told);
    let mut mirror = mirror.expect("an answer before the end of the request");
    assert_eq!(mirror.text().await, "first");
    for text in ["second", "third"] {
        sender.send(Ok(text.into())).expect("wanted");
        assert_eq!(mirror.text().await, text);
    }
    drop(sender);
    assert!(mirror.piece().await.is_none(), "a proper end");
}

#[tokio::test]
async fn two_hundred_websockets_in_a_row_all_echo_and_all_end() {
    let linked = Linked::start().await;
    for number in 0..200 {
        let mut socket = linked.ada.browser.websocket(&linked.page("/ws")).await.expect("a socket");
        let text = format!("number {number}");
        assert_eq!(socket.ask(&text).await, text);
        socket.close().await;
    }
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(linked.ada.browser.websocket(&linked.page("/ws")).await.expect("a socket"));
    }
    for (number, socket) in held.iter_mut().enumerate() {
        let long = format!("{number} {}", "x".repeat(100_000));
        assert_eq!(socket.ask(&long).await, long);
    }
}

#[tokio::test]
async fn a_visitor_who_leaves_ends_the_apps_work() {
    let linked = Linked::start().await;
    for browser in [linked.ada.browser.clone(), linked.ada.browser.h2()] {
        let gone = linked.app.left("/hangs");
        let hanging = browser.fetch(Method::GET, &linked.page("/hangs")).open();
        tokio::select! {
            _ = hanging => panic!("it never answers"),
            () = async { linked.app.reached("/hangs").await; } => {}
        }
        gone.await;
        linked.app.forget();
    }
}

#[tokio::test]
async fn an_app_that_breaks_off_is_not_taken_for_one_that_finished() {
    let linked = Linked::start().await;
    for browser in [linked.ada.browser.clone(), linked.ada.browser.h2()] {
        for path in ["/dies/0", "/dies/100000", "/dies-chunked/100000"] {
            let answer = browser.fetch(Method::GET, &linked.page(path)).whole().await;
            match answer {
                Err(_) => {}
                Ok(answer) => assert_eq!(answer.status, 502, "{path}: {} bytes", answer.body.len()),
            }
        }
        browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
    }
}

#[tokio::test]
async fn a_body_that_waits_for_leave_is_given_it() {
    let linked = Linked::start().await;
    let page = linked.page("/hash");
    let mut stream = linked.ada.browser.dial(&page, None).await.expect("a connection");
    let host = &page[url::Position::BeforeHost..url::Position::AfterPort];
    let cookies = linked.ada.browser.cookies.header(&page).expect("cookies");
    let origin = page.origin().ascii_serialization();
    let head = format!(
        "POST /hash HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nOrigin: {origin}\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut leave = [0; 25];
    within("100 Continue", stream.read_exact(&mut leave)).await.expect("an answer");
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.expect("sent");
    let mut rest = Vec::new();
    // A peer that closes without saying so in TLS is an error here, after all was read.
    let _ = within("the answer", stream.read_to_end(&mut rest)).await;
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
    // SHA-256 of "hello".
    assert!(rest.contains("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"), "{rest}");
}

#[tokio::test]
async fn the_app_sees_the_visitors_request_as_through_a_fixed_upstream() {
    let linked = Linked::start().await;
    let page = linked.page("/echo?a=%41&&b");
    let request =
        linked.ada.browser.fetch(Method::GET, &page).header("connection", "x-hop").header("x-hop", "gone");
    let told = request.header("te", "gzip").header("x-own", "kept").await.must_be(200).json();
    let headers = &told["headers"];
    assert_eq!(told["target"], "/echo?a=%41&&b");
    assert_eq!(headers["host"], page[url::Position::BeforeHost..url::Position::AfterPort]);
    assert_eq!(headers["x-patapim-user"], "ada");
    assert_eq!(headers["x-own"], "kept");
    assert!(headers["x-hop"].is_null() && headers["cookie"].is_null(), "{headers}");
    let head = linked.ada.browser.fetch(Method::HEAD, &linked.page("/big/1000")).await.must_be(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("1000", 0));
}
