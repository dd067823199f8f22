//! Who leaves takes the other along, and what fails says so.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::*;

/// Reads up to the end of a request's head.
async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

/// An app that says `first` to each request and reports when its connection ends.
async fn watched_app(
    first: &'static [u8],
) -> (String, AbortOnDropHandle<()>, mpsc::UnboundedReceiver<&'static str>) {
    let (tell, told) = mpsc::unbounded_channel();
    let (address, serving) = raw_app(move |mut tcp| {
        let tell = tell.clone();
        async move {
            read_head(&mut tcp).await;
            tell.send("asked").expect("heard");
            tcp.write_all(first).await.expect("written");
            let mut rest = Vec::new();
            let _ = tcp.read_to_end(&mut rest).await;
            let _ = tell.send("closed");
        }
    })
    .await;
    (address, serving, told)
}

#[tokio::test]
async fn a_visitor_who_leaves_before_the_answer_ends_the_apps_request() {
    let (app, _app, mut told) = watched_app(b"").await;
    let (_edge, _agent, link) = connected(&app).await;
    let opened = link.open(get("/"), true).expect("a stream");
    assert_eq!(soon(told.recv()).await, Some("asked"));
    drop(opened);
    assert_eq!(soon(told.recv()).await, Some("closed"));
    assert_eq!(link.streams_open(), 0);
}

#[tokio::test]
async fn a_visitor_who_leaves_within_the_answer_ends_the_apps_request() {
    let (app, _app, mut told) =
        watched_app(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await;
    let (_edge, _agent, link) = connected(&app).await;
    let Opened { response, body, permit } = link.open(get("/"), true).expect("a stream");
    let mut events = soon(response).await.expect("an answer").into_body();
    assert_eq!(soon(http2::receive(&mut events)).await.expect("a piece").expect("whole"), "data: 1\n\n");
    drop((events, body, permit));
    assert_eq!(soon(told.recv()).await, Some("asked"));
    assert_eq!(soon(told.recv()).await, Some("closed"));
}

#[tokio::test]
async fn a_visitor_who_leaves_within_an_upload_ends_the_apps_request() {
    let (app, _app, mut told) = watched_app(b"").await;
    let (_edge, _agent, link) = connected(&app).await;
    let mut opened = link.open(post("/"), false).expect("a stream");
    http2::send(&mut opened.body, &mut Bytes::from("half"), false).await.expect("sent");
    assert_eq!(soon(told.recv()).await, Some("asked"));
    opened.body.send_reset(h2::Reason::CANCEL);
    assert_eq!(soon(told.recv()).await, Some("closed"));
}

#[tokio::test]
async fn an_app_that_dies_within_its_answer_never_looks_finished() {
    for head in ["content-length: 100\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let (app, _app) = raw_app(move |mut tcp| async move {
            read_head(&mut tcp).await;
            tcp.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await.expect("written");
        })
        .await;
        let (_edge, _agent, link) = connected(&app).await;
        let broken = ask(&link, get("/")).await;
        assert!(broken.is_err_and(|error| error.is_reset()), "{head:?}");
    }
}

#[tokio::test]
async fn an_agent_that_dies_within_an_answer_never_looks_finished() {
    let (app, _app, mut told) = watched_app(b"HTTP/1.1 200 OK\r\n\r\nhalf").await;
    let (_edge, agent, link) = connected(&app).await;
    let Opened { response, body: _body, permit: _permit } = link.open(get("/"), true).expect("a stream");
    let mut stream = soon(response).await.expect("an answer").into_body();
    assert_eq!(soon(http2::receive(&mut stream)).await.expect("a piece").expect("whole"), "half");
    agent.ended.abort();
    assert!(soon(http2::receive(&mut stream)).await.expect("not the end").is_err());
    soon(link.closed().cancelled()).await;
    assert_eq!(soon(told.recv()).await, Some("asked"));
    assert_eq!(soon(told.recv()).await, Some("closed"), "and the app hears of it");
}

#[tokio::test]
async fn an_app_that_is_not_there_is_told_from_one_that_fails() {
    let (_unused, port) = port_without_listener();
    let address = format!("http://127.0.0.1:{port}");
    let (_edge, _agent, link) = connected(&address).await;
    let answer = ask(&link, get("/")).await.expect("an answer");
    assert_eq!((answer.head.status(), answer.fault()), (StatusCode::BAD_GATEWAY, Some("unreachable")));
}

#[tokio::test]
async fn what_is_not_an_answer_is_not_passed_on() {
    for (said, fault) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nsmuggled",
            "bad-answer",
        ),
        ("SSH-2.0-OpenSSH_9.9\r\n", "bad-answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "bad-answer"),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", "bad-answer"),
        ("", "no-answer"),
    ] {
        let (app, _app) = raw_app(move |mut tcp| async move {
            read_head(&mut tcp).await;
            tcp.write_all(said.as_bytes()).await.expect("written");
        })
        .await;
        let (_edge, _agent, link) = connected(&app).await;
        let answer = ask(&link, get("/")).await.expect("an answer");
        assert_eq!(
            (answer.head.status(), answer.fault()),
            (StatusCode::BAD_GATEWAY, Some(fault)),
            "{said:?}"
        );
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_head_without_end_is_not_passed_on() {
    let (app, _app) = raw_app(|mut tcp| async move {
        read_head(&mut tcp).await;
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while tcp.write_all(b"x-more: and more and more and more and more and more\r\n").await.is_ok() {}
    })
    .await;
    let (_edge, _agent, link) = connected(&app).await;
    let answer = ask(&link, get("/")).await.expect("an answer");
    assert_eq!(answer.fault(), Some("bad-answer"));
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    // Answers the first request on a connection, takes the second one and hangs up.
    let (app, _app) = raw_app(move |mut tcp| {
        let counted = Arc::clone(&counted);
        async move {
            read_head(&mut tcp).await;
            tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
            read_head(&mut tcp).await;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let (_edge, _agent, link) = connected(&app).await;
    assert_eq!(ask(&link, get("/")).await.expect("an answer").head.status(), StatusCode::NO_CONTENT);
    let answer = ask(&link, post("/")).await.expect("an answer");
    assert_eq!((answer.fault(), asked.load(Ordering::SeqCst)), (Some("no-answer"), 1));

    // A GET may be asked again, and is: on a new connection it is the first one.
    assert_eq!(ask(&link, get("/")).await.expect("an answer").head.status(), StatusCode::NO_CONTENT);
    assert_eq!(ask(&link, get("/")).await.expect("an answer").head.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_app_that_answers_early_and_hangs_up_is_still_heard() {
    let (app, _app) = raw_app(|mut tcp| async move {
        read_head(&mut tcp).await;
        let answer = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nmuch";
        tcp.write_all(answer).await.expect("written");
    })
    .await;
    let (_edge, _agent, link) = connected(&app).await;
    for _ in 0..20 {
        let Opened { response, mut body, permit } = link.open(post("/"), false).expect("a stream");
        let uploading = tokio::spawn(async move {
            let piece = Bytes::from(vec![0; 64 * 1024]);
            while http2::send(&mut body, &mut piece.clone(), false).await.is_ok() {}
        });
        let (head, mut stream) = soon(response).await.expect("an answer").into_parts();
        assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(soon(http2::receive(&mut stream)).await.expect("a piece").expect("whole"), "much");
        assert!(soon(http2::receive(&mut stream)).await.is_none());
        uploading.abort();
        drop(permit);
    }
}

#[tokio::test]
async fn an_old_app_that_ends_by_closing_is_understood() {
    let (app, _app) = raw_app(|mut tcp| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.0 200 OK\r\n\r\nall there is").await.expect("written");
    })
    .await;
    let (_edge, _agent, link) = connected(&app).await;
    assert_eq!(ask(&link, get("/")).await.expect("an answer").text(), "all there is");
}
