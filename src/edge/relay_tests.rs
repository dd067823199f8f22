//! By sockets: visitors of both versions, through Pingora, to an agent that does as it is told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use h2::server::SendResponse;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use pingora::proxy::ProxyHttp;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::super::test_agent::{self, Answer, TestAgent};
use super::super::test_listener::{HOST, Listening, get, listen, request, whole};
use super::*;
use crate::names::TunnelId;
use crate::tunnel::{Approved, Registry};

/// Sends everybody to one tunnel: for tests of what lies below any decision.
struct ToTunnel(Arc<Registry>);

fn tunnel() -> TunnelId {
    TunnelId::parse("ada-abc234").expect("a label")
}

#[async_trait]
impl ProxyHttp for ToTunnel {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> Result<bool> {
        let link = self.0.find(&tunnel()).ok_or_else(|| Failure::Offline.into_error())?;
        let request = request_of(session)?;
        if let Some(socket) = relay(session, request, &Approved::unasked(link), &mut |_| Ok(())).await? {
            let life = Life::current().expect("a life");
            match life.leave(Box::new(|visitor| socket.run(visitor).boxed())).await {}
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Err(Error::new(ErrorType::InternalError))
    }
}

struct Edge {
    listening: Listening,
    _agent: TestAgent,
}

async fn edge(answer: Answer) -> Edge {
    let registry = Registry::new();
    let listening = listen(ToTunnel(Arc::clone(&registry)));
    let agent = test_agent::connect(&registry, &tunnel(), answer).await;
    Edge { listening, _agent: agent }
}

fn answering<F>(
    answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |request, respond| answer(request, respond).boxed())
}

/// Sends back what comes, piece by piece, then trailers.
async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut from = request.into_body();
    let mut to = respond.send_response(Response::new(()), false).expect("sent");
    while let Some(piece) = http2::receive(&mut from).await {
        let Ok(mut piece) = piece else { return };
        if http2::send(&mut to, &mut piece, false).await.is_err() {
            return;
        }
    }
    let trailers = HeaderMap::from_iter([("x-done".parse().expect("a name"), "1".parse().expect("a value"))]);
    let _ = to.send_trailers(trailers);
}

#[tokio::test]
async fn the_agent_sees_the_visitors_request_and_nothing_of_his_connection() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let edge = edge(answering(move |request, mut respond| {
        seen.send(request).expect("kept");
        async move {
            respond.send_response(Response::new(()), true).expect("sent");
        }
    }))
    .await;
    let mut h1 = edge.listening.h1().await;
    let mut sent = get(Version::HTTP_11, "/a?b=%20&c");
    sent.headers_mut().insert(CONNECTION, "x-hop".parse().expect("a value"));
    sent.headers_mut().insert("x-hop", "1".parse().expect("a value"));
    let answer = h1.send_request(sent).await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut h2 = edge.listening.h2().await;
    h2.send_request(get(Version::HTTP_2, "/a?b=%20&c")).await.expect("answered");
    for _ in 0..2 {
        let request = requests.recv().await.expect("a request");
        assert_eq!(request.uri().to_string(), format!("https://{HOST}/a?b=%20&c"));
        let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["x-patapim-session"], "what the agent must know");
        assert!(request.body().is_end_stream(), "no body was sent");
    }
}

#[tokio::test]
async fn bodies_of_any_size_pass_both_ways_at_once() {
    let edge = edge(answering(echo)).await;
    let bytes: Bytes = (0..5_000_000u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
    let mut h1 = edge.listening.h1().await;
    let answer = h1.send_request(request(Version::HTTP_11, "POST", "/", Full::new(bytes.clone()))).await;
    assert_eq!(whole(answer.expect("answered").into_body()).await.expect("whole"), bytes);
    let mut h2 = edge.listening.h2().await;
    let answer = h2.send_request(request(Version::HTTP_2, "POST", "/", Full::new(bytes.clone()))).await;
    assert_eq!(whole(answer.expect("answered").into_body()).await.expect("whole"), bytes);
}

#[tokio::test]
async fn trailers_reach_who_can_have_them() {
    let edge = edge(answering(|_, mut respond| async move {
        let mut body = respond.send_response(Response::new(()), false).expect("sent");
        body.send_data("x".into(), false).expect("sent");
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
        body.send_trailers(trailers).expect("sent");
    }))
    .await;
    let mut h2 = edge.listening.h2().await;
    let answer = h2.send_request(get(Version::HTTP_2, "/")).await.expect("answered");
    let collected = answer.into_body().collect().await.expect("whole");
    assert_eq!(collected.trailers().expect("trailers")["grpc-status"], "0");
    let mut h1 = edge.listening.h1().await;
    let answer = h1.send_request(get(Version::HTTP_11, "/")).await.expect("answered");
    assert_eq!(whole(answer.into_body()).await.expect("whole"), "x");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_be_broken() {
    let edge = edge(answering(|_, mut respond| async move {
        let mut body = respond.send_response(Response::new(()), false).expect("sent");
        body.send_data("half".into(), false).expect("sent");
        body.send_reset(Reason::INTERNAL_ERROR);
    }))
    .await;
    let mut h1 = edge.listening.h1().await;
    if let Ok(answer) = h1.send_request(get(Version::HTTP_11, "/")).await {
        assert!(answer.status().is_server_error() || whole(answer.into_body()).await.is_err());
    }
    let mut h2 = edge.listening.h2().await;
    if let Ok(answer) = h2.send_request(get(Version::HTTP_2, "/")).await {
        assert!(answer.status().is_server_error() || whole(answer.into_body()).await.is_err());
    }
}

#[tokio::test]
async fn a_visitor_who_leaves_takes_the_request_along() {
    let (left, mut reasons) = mpsc::unbounded_channel();
    let edge = edge(answering(move |_, mut respond| {
        let left = left.clone();
        async move {
            let mut body = respond.send_response(Response::new(()), false).expect("sent");
            body.send_data("first".into(), false).expect("sent");
            let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            left.send(reason.expect("a reason")).expect("kept");
        }
    }))
    .await;
    let mut h2 = edge.listening.h2().await;
    let mut body = h2.send_request(get(Version::HTTP_2, "/")).await.expect("answered").into_body();
    body.frame().await.expect("a frame").expect("well");
    drop(body);
    assert_eq!(reasons.recv().await, Some(Reason::CANCEL));
    let mut h1 = edge.listening.h1::<Empty<Bytes>>().await;
    let mut body = h1.send_request(get(Version::HTTP_11, "/")).await.expect("answered").into_body();
    body.frame().await.expect("a frame").expect("well");
    drop((body, h1));
    assert_eq!(reasons.recv().await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_visitor_who_does_not_read_stops_the_agent_within_the_window() {
    let (sent, mut progress) = mpsc::unbounded_channel();
    let edge = edge(answering(move |_, mut respond| {
        let sent = sent.clone();
        async move {
            let mut body = respond.send_response(Response::new(()), false).expect("sent");
            loop {
                let mut piece = Bytes::from_static(&[7; 16 * 1024]);
                if http2::send(&mut body, &mut piece, false).await.is_err() {
                    return;
                }
                sent.send(16 * 1024).expect("counted");
            }
        }
    }))
    .await;
    let mut h2 = edge.listening.h2::<Empty<Bytes>>().await;
    let body = h2.send_request(get(Version::HTTP_2, "/")).await.expect("answered").into_body();
    let mut total = 0;
    while let Ok(Some(more)) = tokio::time::timeout(Duration::from_millis(500), progress.recv()).await {
        total += more;
        assert!(total < 16 << 20, "buffered without end");
    }
    drop(body);
}

#[tokio::test]
async fn an_app_that_answers_before_it_has_read_all_is_heard() {
    let edge = edge(answering(|request, mut respond| async move {
        let response = Response::builder().status(413).body(()).expect("a response");
        respond.send_response(response, true).expect("sent");
        drop(request);
    }))
    .await;
    let large = Bytes::from(vec![7; 900_000]);
    let mut h1 = edge.listening.h1().await;
    let answer = h1.send_request(request(Version::HTTP_11, "POST", "/", Full::new(large.clone()))).await;
    assert_eq!(answer.expect("answered").status(), 413);
    let mut h2 = edge.listening.h2().await;
    let answer = h2.send_request(request(Version::HTTP_2, "POST", "/", Full::new(large))).await;
    assert_eq!(answer.expect("answered").status(), 413);
}

#[tokio::test]
async fn what_the_agent_never_took_is_sent_once_more_and_nothing_else_is() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let edge = edge(answering(move |request, mut respond| {
        seen.send(request.uri().path().to_owned()).expect("kept");
        let first = request.headers().get("x-refuse").is_some();
        async move {
            if first {
                respond.send_reset(Reason::INTERNAL_ERROR);
            } else {
                respond.send_response(Response::new(()), true).expect("sent");
            }
        }
    }))
    .await;
    let mut h2 = edge.listening.h2().await;
    let mut sent = get(Version::HTTP_2, "/broken");
    sent.headers_mut().insert("x-refuse", "1".parse().expect("a value"));
    let answer = h2.send_request(sent).await.expect("answered");
    assert_eq!(answer.status(), 502);
    assert_eq!(requests.recv().await.as_deref(), Some("/broken"));
    h2.send_request(get(Version::HTTP_2, "/next")).await.expect("answered");
    assert_eq!(requests.recv().await.as_deref(), Some("/next"), "the broken one was not sent twice");
}

#[tokio::test]
async fn who_asks_again_before_the_agent_has_said_that_it_is_done_is_answered() {
    let (asked, mut requests) = mpsc::unbounded_channel();
    let edge = edge(answering(move |_, mut respond| {
        let asked = asked.clone();
        async move {
            let response = Response::builder().header("content-length", "2").body(()).expect("a response");
            let mut body = respond.send_response(response, false).expect("sent");
            body.send_data("ok".into(), false).expect("sent");
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            asked.send(end).expect("kept");
            let _ = ended.await;
            body.send_data(Bytes::new(), true).expect("sent");
        }
    }))
    .await;
    let mut socket = edge.listening.connect(b"http/1.1").await;
    let mut end_before: Option<tokio::sync::oneshot::Sender<()>> = None;
    for _ in 0..3 {
        let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.expect("written");
        // Only now does the agent end the answer before, all of which was read long ago.
        if let Some(end) = end_before.take() {
            end.send(()).expect("the stream is still open");
        }
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            answer.push(socket.read_u8().await.expect("an answer"));
        }
        end_before = requests.recv().await;
    }
}

#[tokio::test]
async fn websockets_open_echo_and_end_from_either_side() {
    let edge = edge(answering(|request, mut respond| async move {
        let protocol =
            request.extensions().get::<h2::ext::Protocol>().expect("extended CONNECT").as_str().to_owned();
        assert_eq!((request.method(), protocol.as_str()), (&Method::CONNECT, "websocket"));
        assert!(!request.headers().contains_key(SEC_WEBSOCKET_KEY));
        match request.uri().path() {
            "/declined" => {
                let response = Response::builder().status(403).body(()).expect("a response");
                respond.send_response(response, true).expect("sent");
            }
            "/closes" => {
                let mut to = respond.send_response(Response::new(()), false).expect("sent");
                to.send_data("bye".into(), true).expect("sent");
            }
            "/dies" => {
                let mut to = respond.send_response(Response::new(()), false).expect("sent");
                http2::receive(&mut request.into_body()).await;
                to.send_reset(Reason::INTERNAL_ERROR);
            }
            _ => {
                let mut from = request.into_body();
                let mut to = respond.send_response(Response::new(()), false).expect("sent");
                while let Some(Ok(mut piece)) = http2::receive(&mut from).await {
                    http2::send(&mut to, &mut piece, false).await.expect("sent");
                }
                to.send_data("end".into(), true).expect("sent");
            }
        }
    }))
    .await;
    let open_saying = async |path: &str, early: &str| {
        let mut socket = edge.listening.connect(b"http/1.1").await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{early}"
        );
        socket.write_all(head.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.expect("a head"));
        }
        (socket, String::from_utf8(answer).expect("text").to_ascii_lowercase())
    };
    let open = async |path: &str| open_saying(path, "").await;
    for early in ["", "zero"].into_iter().cycle().take(20) {
        let (mut socket, answer) = open_saying("/echo", early).await;
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        let mut heard = vec![0; early.len()];
        socket.read_exact(&mut heard).await.expect("echoed");
        assert_eq!(heard, early.as_bytes(), "said before the answer to the handshake");
        assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{answer}");
        assert!(
            answer.contains("upgrade: websocket\r\n") && answer.contains("connection: upgrade\r\n"),
            "{answer}"
        );
        for word in [b"one", b"two"] {
            socket.write_all(word).await.expect("written");
            let mut heard = [0; 3];
            socket.read_exact(&mut heard).await.expect("echoed");
            assert_eq!(&heard, word);
        }
        socket.shutdown().await.expect("said");
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert_eq!(rest, b"end");
    }
    let (_, answer) = open("/declined").await;
    assert!(answer.starts_with("http/1.1 403 "), "{answer}");
    for (path, said) in [("/closes", &b"bye"[..]), ("/dies", b"")] {
        let (mut socket, answer) = open(path).await;
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        socket.write_all(b"x").await.expect("written");
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut rest))
            .await
            .expect("it ends");
        assert_eq!(rest, said, "{path}");
    }
}
