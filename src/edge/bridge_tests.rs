//! By sockets: an axum router behind Pingora, in both versions of HTTP.

use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::Extension;
use axum::response::IntoResponse as _;
use axum::routing::{get as on_get, post};
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use pingora::proxy::ProxyHttp;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::test_listener::{HOST, Listening, get, listen, request, whole};
use super::*;

struct Behind(Router);

#[async_trait]
impl ProxyHttp for Behind {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> Result<bool> {
        let mut extensions = Extensions::new();
        extensions.insert("from the edge");
        serve(session, self.0.clone(), extensions).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Err(Error::new(ErrorType::InternalError))
    }
}

fn bridge() -> Listening {
    let ticking = async || {
        let ticks = futures_util::stream::unfold(0, |count| async move {
            Some((Ok::<_, Infallible>(Bytes::from(format!("data: {count}\n\n"))), count + 1))
        });
        let slow = futures_util::StreamExt::take(ticks, 3);
        let endless = futures_util::StreamExt::chain(slow, futures_util::stream::pending());
        Body::from_stream(endless)
    };
    let broken = async || {
        let pieces = [Ok(Bytes::from("half")), Err(std::io::Error::other("broken"))];
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    listen(Behind(
        Router::new()
            .route("/hello", on_get(async |Extension(from): Extension<&'static str>| from))
            .route("/echo", post(async |body: Bytes| body))
            .route("/duplex", post(async |body: Body| body))
            .route("/ignored", post(async || "not read"))
            .route("/nothing", on_get(async || StatusCode::NO_CONTENT.into_response()))
            .route("/ticks", on_get(ticking))
            .route("/broken", on_get(broken)),
    ))
}

#[tokio::test]
async fn bodies_come_back_byte_for_byte_in_both_versions() {
    let edge = bridge();
    let (mut h1, mut h2) = (edge.h1().await, edge.h2().await);
    let bytes: Bytes = (0..700_000u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
    for path in ["/echo", "/duplex"] {
        let sent = request(Version::HTTP_11, "POST", path, Full::new(bytes.clone()));
        let response = h1.send_request(sent).await.expect("answered");
        assert_eq!(whole(response.into_body()).await.expect("whole"), bytes, "{path}");
        let sent = request(Version::HTTP_2, "POST", path, Full::new(bytes.clone()));
        let response = h2.send_request(sent).await.expect("answered");
        assert_eq!(whole(response.into_body()).await.expect("whole"), bytes, "{path}");
    }
}

#[tokio::test]
async fn what_the_edge_knows_comes_along_and_head_has_no_body() {
    let edge = bridge();
    let (mut h1, mut h2) = (edge.h1().await, edge.h2().await);
    let response = h1.send_request(get(Version::HTTP_11, "/hello")).await.expect("answered");
    assert_eq!(whole(response.into_body()).await.expect("whole"), "from the edge");
    for _ in 0..2 {
        let head = request(Version::HTTP_11, "HEAD", "/hello", Empty::new());
        let response = h1.send_request(head).await.expect("answered");
        assert_eq!(response.headers()["content-length"], "13");
        assert_eq!(whole(response.into_body()).await.expect("none"), "");
        let response = h1.send_request(get(Version::HTTP_11, "/nothing")).await.expect("answered");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let response = h2.send_request(get(Version::HTTP_2, "/nothing")).await.expect("answered");
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn events_arrive_one_by_one_and_a_broken_answer_is_seen_to_be_broken() {
    let edge = bridge();
    let (mut h1, mut h2) = (edge.h1().await, edge.h2().await);
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut ticks = if version == Version::HTTP_2 {
            h2.send_request(get(version, "/ticks")).await.expect("answered").into_body()
        } else {
            edge.h1().await.send_request(get(version, "/ticks")).await.expect("answered").into_body()
        };
        let mut seen = Vec::new();
        while seen.len() < 27 {
            seen.extend(ticks.frame().await.expect("a frame").expect("well").into_data().expect("data"));
        }
        assert_eq!(seen, b"data: 0\n\ndata: 1\n\ndata: 2\n\n");
    }
    let response = h2.send_request(get(Version::HTTP_2, "/broken")).await.expect("answered");
    assert!(whole(response.into_body()).await.is_err());
    let response = h1.send_request(get(Version::HTTP_11, "/broken")).await.expect("answered");
    assert!(whole(response.into_body()).await.is_err());
}

#[tokio::test]
async fn the_handler_answers_while_the_body_still_comes() {
    let edge = bridge();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let (send, pieces) = mpsc::channel::<Bytes>(1);
        let pieces = futures_util::stream::unfold(pieces, |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(piece)), pieces))
        });
        let sent = request(version, "POST", "/duplex", Box::pin(StreamBody::new(pieces)));
        let answered = if version == Version::HTTP_2 {
            let mut visitor = edge.h2().await;
            tokio::spawn(async move { visitor.send_request(sent).await })
        } else {
            let mut visitor = edge.h1().await;
            tokio::spawn(async move { visitor.send_request(sent).await })
        };
        send.send(Bytes::from("one")).await.expect("taken");
        let mut body = answered.await.expect("ran").expect("answered").into_body();
        for word in ["one", "two", "three"] {
            let got = body.frame().await.expect("a frame").expect("well").into_data().expect("data");
            assert_eq!(got, word);
            let _ = send.send(Bytes::from(if word == "one" { "two" } else { "three" })).await;
            if word == "three" {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_hang_its_sender() {
    let edge = bridge();
    let (mut h1, mut h2) = (edge.h1().await, edge.h2().await);
    let large = Bytes::from(vec![7; 4 << 20]);
    let sent = request(Version::HTTP_2, "POST", "/ignored", Full::new(large));
    let answered =
        tokio::time::timeout(Duration::from_secs(10), h2.send_request(sent)).await.expect("in time");
    assert_eq!(whole(answered.expect("answered").into_body()).await.expect("whole"), "not read");
    for _ in 0..2 {
        let sent = request(Version::HTTP_11, "POST", "/ignored", Full::new(Bytes::from(vec![7; 100_000])));
        let answered = h1.send_request(sent).await.expect("answered");
        assert_eq!(whole(answered.into_body()).await.expect("whole"), "not read");
        h1.ready().await.expect("kept alive");
    }
}

#[tokio::test]
async fn a_body_larger_than_any_of_ours_is_refused() {
    let edge = bridge();
    let mut h2 = edge.h2().await;
    let sent = request(Version::HTTP_2, "POST", "/echo", Full::new(Bytes::from(vec![7; LARGEST_BODY + 1])));
    let answered = h2.send_request(sent).await.expect("answered");
    assert_eq!(answered.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn who_waits_for_100_continue_gets_it_once_the_body_is_wanted() {
    let edge = bridge();
    let mut socket = edge.connect(b"http/1.1").await;
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("written");
    let mut said = [0; 25];
    socket.read_exact(&mut said).await.expect("read");
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"ok").await.expect("written");
    let mut said = vec![0; 15];
    socket.read_exact(&mut said).await.expect("read");
    assert_eq!(said, b"HTTP/1.1 200 OK");

    let mut socket = edge.connect(b"http/1.1").await;
    let head = format!(
        "POST /ignored HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("written");
    socket.read_exact(&mut said).await.expect("read");
    assert_eq!(said, b"HTTP/1.1 200 OK", "no 100 for a body that nobody wants");
}
