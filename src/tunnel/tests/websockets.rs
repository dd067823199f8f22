//! WebSockets, from extended CONNECT to the app's upgrade and back.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::*;

/// An app that echoes every message.
async fn echo_app() -> (String, AbortOnDropHandle<()>) {
    raw_app(|tcp| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                break;
            }
        }
    })
    .await
}

fn connect(path: &str) -> Request<()> {
    let mut request = get(path);
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    request.headers_mut().insert("sec-websocket-version", "13".parse().expect("a value"));
    request
}

/// The visitor's end, for a WebSocket client to speak through.
async fn splice(opened: Opened) -> (StatusCode, tokio::io::DuplexStream, JoinHandle<()>) {
    let Opened { response, mut body, permit } = opened;
    let (head, mut stream) = soon(response).await.expect("an answer").into_parts();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let moving = tokio::spawn(async move {
        let _permit = permit;
        let (mut read, mut write) = tokio::io::split(far);
        let inwards = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(size @ 1..) = read.read(&mut buffer).await {
                let mut piece = Bytes::copy_from_slice(&buffer[..size]);
                if http2::send(&mut body, &mut piece, false).await.is_err() {
                    break;
                }
            }
        };
        let outwards = async {
            while let Some(Ok(piece)) = http2::receive(&mut stream).await {
                if write.write_all(&piece).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! { () = inwards => {}, () = outwards => {} }
    });
    (head.status, near, moving)
}

#[tokio::test]
async fn two_hundred_websockets_in_a_row_echo_and_leave_nothing_behind() {
    let (app, _app) = echo_app().await;
    let (_edge, _agent, link) = connected(&app).await;
    for number in 0..200 {
        let (status, io, moving) = splice(link.open(connect("/ws"), false).expect("a stream")).await;
        assert_eq!(status, StatusCode::OK);
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, None).await;
        socket.send(Message::text(format!("hello {number}"))).await.expect("sent");
        let echo = soon(socket.next()).await.expect("an echo").expect("whole");
        assert_eq!(echo.into_text().expect("text"), format!("hello {number}"));
        socket.close(None).await.expect("closed");
        soon(async { while let Some(Ok(_)) = socket.next().await {} }).await;
        drop(socket);
        soon(moving).await.expect("ended");
    }
    assert_eq!(link.streams_open(), 0);
}

#[tokio::test]
async fn a_big_message_comes_back_whole() {
    let (app, _app) = echo_app().await;
    let (_edge, _agent, link) = connected(&app).await;
    let (_, io, _moving) = splice(link.open(connect("/ws"), false).expect("a stream")).await;
    let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, None).await;
    let big = Bytes::from(vec![7; 5_000_000]);
    let (mut to, mut from) = StreamExt::split(&mut socket);
    let (sent, echo) = tokio::join!(to.send(Message::Binary(big.clone())), soon(from.next()));
    sent.expect("sent");
    assert_eq!(echo.expect("an echo").expect("whole").into_data(), big);
}

#[tokio::test]
async fn an_app_that_declines_is_quoted() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let opened = link.open(connect("/nothing-here"), false).expect("a stream");
    let answer = soon(read(opened)).await.expect("an answer");
    assert_eq!((answer.head.status(), answer.fault()), (StatusCode::NOT_FOUND, None));
}

#[tokio::test]
async fn a_handshake_that_proves_nothing_is_a_bad_answer() {
    for said in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (app, _app) = raw_app(move |mut tcp| async move {
            tcp.write_all(said.as_bytes()).await.expect("written");
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let (_edge, _agent, link) = connected(&app).await;
        let opened = link.open(connect("/ws"), false).expect("a stream");
        let answer = soon(read(opened)).await.expect("an answer");
        assert_eq!(
            (answer.head.status(), answer.fault()),
            (StatusCode::BAD_GATEWAY, Some("bad-answer")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_visitor_who_hangs_up_closes_the_apps_socket() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (app, _app) = raw_app(move |tcp| {
        let tell = tell.clone();
        async move {
            let mut socket = tokio_tungstenite::accept_async(tcp).await.expect("a socket");
            while let Some(Ok(_)) = socket.next().await {}
            tell.send(()).expect("heard");
        }
    })
    .await;
    let (_edge, _agent, link) = connected(&app).await;
    let (_, io, moving) = splice(link.open(connect("/ws"), false).expect("a stream")).await;
    drop(io);
    soon(moving).await.expect("ended");
    soon(told.recv()).await.expect("the app heard of it");
}
