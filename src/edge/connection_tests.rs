//! By sockets: TLS in front, the split by ALPN, both versions of HTTP, an ended life.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pingora::Result;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::super::test_listener::{Listening, TUNNEL_ALPN, get, listen, whole};
use super::*;

/// Admits everybody: for tests of what lies below any decision.
struct Open {
    upstream: SocketAddr,
    cut: CancellationToken,
}

#[async_trait]
impl ProxyHttp for Open {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, _: &mut Session, _: &mut ()) -> Result<bool> {
        let life = Life::current().expect("a life");
        life.arrived(false);
        life.ends_with(self.cut.clone());
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// An app that says hello, and under `/wait` begins and never ends.
async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = service_fn(|request: Request<Incoming>| async move {
                let body = if request.uri().path() == "/wait" {
                    let begun =
                        futures_util::stream::iter([Ok(hyper::body::Frame::data(Bytes::from("begun")))]);
                    let endless = futures_util::StreamExt::chain(begun, futures_util::stream::pending());
                    http_body_util::StreamBody::new(endless).boxed()
                } else {
                    Full::new(Bytes::from("hello")).boxed()
                };
                Ok::<_, Infallible>(Response::new(body))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer),
            );
        }
    });
    address
}

async fn edge() -> (Listening, CancellationToken) {
    let cut = CancellationToken::new();
    (listen(Open { upstream: app().await, cut: cut.clone() }), cut)
}

#[tokio::test]
async fn visitors_are_served_in_both_versions_and_keep_their_connection() {
    let (edge, _) = edge().await;
    let mut h1 = edge.h1().await;
    for _ in 0..2 {
        let response = h1.send_request(get(Version::HTTP_11, "/")).await.expect("answered");
        assert_eq!(whole(response.into_body()).await.expect("whole"), "hello");
        h1.ready().await.expect("kept alive");
    }
    let mut h2 = edge.h2().await;
    for _ in 0..2 {
        let response = h2.send_request(get(Version::HTTP_2, "/")).await.expect("answered");
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(whole(response.into_body()).await.expect("whole"), "hello");
    }
}

#[tokio::test]
async fn an_agent_is_known_by_its_alpn_and_never_meets_the_proxy() {
    let (mut edge, _) = edge().await;
    let mut agent = edge.connect(TUNNEL_ALPN).await;
    assert_eq!(agent.get_ref().1.alpn_protocol(), Some(TUNNEL_ALPN));
    agent.write_all(b"hello").await.expect("written");
    assert_eq!(edge.agents.recv().await, Some(5));
}

#[tokio::test]
async fn what_is_not_tls_is_told_so_and_closed() {
    let (edge, _) = edge().await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.expect("closed");
    assert_eq!(said.first(), Some(&21), "a TLS alert");
}

#[tokio::test]
async fn a_cut_ends_what_is_under_way_and_not_its_neighbour() {
    let (edge, cut) = edge().await;
    let (mut h1, mut h2) = (edge.h1().await, edge.h2().await);
    let mut over_h2 = h2.send_request(get(Version::HTTP_2, "/wait")).await.expect("answered").into_body();
    let mut over_h1 = h1.send_request(get(Version::HTTP_11, "/wait")).await.expect("answered").into_body();
    for body in [&mut over_h1, &mut over_h2] {
        let first = body.frame().await.expect("a frame").expect("well");
        assert_eq!(first.into_data().expect("data"), "begun");
    }
    cut.cancel();
    for body in [&mut over_h1, &mut over_h2] {
        assert!(body.frame().await.expect("an end that is seen").is_err());
    }
    assert!(h2.ready().await.is_ok(), "the connection lives on");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let (edge, _) = edge().await;
    let mut h1 = edge.h1::<Empty<Bytes>>().await;
    let response = h1.send_request(get(Version::HTTP_11, "/")).await.expect("answered");
    whole(response.into_body()).await.expect("whole");
    edge.shutdown.send(true).expect("heard");
    assert_eq!(edge.in_flight.drained(Duration::from_secs(30)).await, 0);
    assert!(TcpStream::connect(edge.address).await.is_err(), "nobody listens any more");
}
