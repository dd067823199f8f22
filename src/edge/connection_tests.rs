//! By sockets: TLS in front, the split by ALPN, both versions of HTTP, an ended life.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora::Result;
use pingora::proxy::Session;
use pingora::services::Service as _;
use pingora::upstreams::peer::HttpPeer;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::super::listen::{bind, hand_over};
use super::super::test_certificate::{self, Written};
use super::super::tls::{CertificateFiles, CertificateStore, for_visitors};
use super::*;
use crate::names::{BaseDomain, PublicHosts, Scheme};

const TUNNEL_ALPN: &[u8] = b"test-tunnel/1";
const HOST: &str = "deployer.patapim.test";

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
        Life::current().expect("a life").ends_with(self.cut.clone());
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

struct Running {
    address: SocketAddr,
    certificate: Written,
    cut: CancellationToken,
    agents: mpsc::Receiver<usize>,
    shutdown: watch::Sender<bool>,
    in_flight: InFlight,
}

/// An app that answers with the version it was asked in, and under `/wait` never ends.
async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = service_fn(|request: Request<Incoming>| async move {
                if request.uri().path() == "/wait" {
                    let (frames, body) = mpsc::channel::<Result<_, Infallible>>(1);
                    let _ = frames.send(Ok(hyper::body::Frame::data(Bytes::from_static(b"begun")))).await;
                    tokio::spawn(async move { frames.closed().await });
                    let body = http_body_util::StreamBody::new(futures_util::stream::unfold(body, |mut body| async {
                        body.recv().await.map(|frame| (frame, body))
                    }));
                    return Ok::<_, Infallible>(Response::new(BodyExt::boxed(body)));
                }
                Ok(Response::new(Full::new(Bytes::from_static(b"hello")).boxed()))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
        }
    });
    address
}

async fn run() -> Running {
    let certificate = test_certificate::write(&[HOST, "*.tunnel.patapim.test"]);
    let base = BaseDomain::parse("patapim.test").expect("a domain");
    let hosts = PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("hosts");
    let files = CertificateFiles { cert: certificate.cert.clone(), key: certificate.key.clone() };
    let store = CertificateStore::open(files, &hosts).expect("a certificate");
    let visitors = for_visitors(store).expect("a configuration");
    let mut agents = ServerConfig::clone(&visitors);
    agents.alpn_protocols = vec![TUNNEL_ALPN.to_vec()];

    let (seen, agents_seen) = mpsc::channel(1);
    let door: AgentDoor = Box::new(move |mut stream, _| {
        let seen = seen.clone();
        Box::pin(async move {
            let mut said = Vec::new();
            let _ = stream.read_buf(&mut said).await;
            let _ = seen.send(said.len()).await;
        })
    });
    let front = TlsFront::new(visitors, Arc::new(agents), TUNNEL_ALPN, door);
    let (cut, in_flight) = (CancellationToken::new(), InFlight::new());
    let conf = Arc::new(ServerConf::default());
    let proxy = Open { upstream: app().await, cut: cut.clone() };
    let mut service = service(&conf, proxy, (), Front::Tls(front), in_flight.clone());
    let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = socket.address;
    let handed = hand_over(vec![socket]);
    service.add_tcp(&handed.keys[0]);
    let (shutdown, watch) = watch::channel(false);
    tokio::spawn(async move { service.start_service(Some(handed.table), watch, 1).await });
    Running { address, certificate, cut, agents: agents_seen, shutdown, in_flight }
}

impl Running {
    async fn connect(&self, alpn: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der.clone()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let socket = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from(HOST).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake")
    }
}

fn get(path: &str, version: Version) -> Request<Empty<Bytes>> {
    let builder = Request::builder().version(version);
    let builder = match version {
        Version::HTTP_2 => builder.uri(format!("https://{HOST}{path}")),
        _ => builder.uri(path).header("host", HOST),
    };
    builder.body(Empty::new()).expect("a request")
}

async fn answer(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.expect("a whole body").to_bytes()
}

#[tokio::test]
async fn visitors_are_served_in_both_versions_and_keep_their_connection() {
    let edge = run().await;
    let (mut h1, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(edge.connect(b"http/1.1").await)).await.expect("h1");
    tokio::spawn(connection);
    for _ in 0..2 {
        let response = h1.send_request(get("/", Version::HTTP_11)).await.expect("answered");
        assert_eq!(answer(response).await, "hello");
        h1.ready().await.expect("kept alive");
    }
    let io = TokioIo::new(edge.connect(b"h2").await);
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("h2");
    tokio::spawn(connection);
    for _ in 0..2 {
        let response = h2.send_request(get("/", Version::HTTP_2)).await.expect("answered");
        assert_eq!((response.version(), answer(response).await), (Version::HTTP_2, Bytes::from("hello")));
    }
}

#[tokio::test]
async fn an_agent_is_known_by_its_alpn_and_never_meets_the_proxy() {
    let mut edge = run().await;
    let mut agent = edge.connect(TUNNEL_ALPN).await;
    assert_eq!(agent.get_ref().1.alpn_protocol(), Some(TUNNEL_ALPN));
    agent.write_all(b"hello").await.expect("written");
    assert_eq!(edge.agents.recv().await, Some(5));
}

#[tokio::test]
async fn what_is_not_tls_is_told_so_and_closed() {
    let edge = run().await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.expect("closed");
    assert_eq!(said.first(), Some(&21), "a TLS alert");
}

#[tokio::test]
async fn a_cut_ends_what_is_under_way_and_not_its_neighbour() {
    let edge = run().await;
    let io = TokioIo::new(edge.connect(b"h2").await);
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("h2");
    tokio::spawn(connection);
    let (mut h1, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(edge.connect(b"http/1.1").await)).await.expect("h1");
    tokio::spawn(connection);

    let mut over_h2 = h2.send_request(get("/wait", Version::HTTP_2)).await.expect("answered").into_body();
    let mut over_h1 = h1.send_request(get("/wait", Version::HTTP_11)).await.expect("answered").into_body();
    for body in [&mut over_h1, &mut over_h2] {
        let first = body.frame().await.expect("a frame").expect("well");
        assert_eq!(first.into_data().expect("data"), "begun");
    }
    edge.cut.cancel();
    for body in [&mut over_h1, &mut over_h2] {
        assert!(body.frame().await.expect("an end that is seen").is_err());
    }
    assert!(h2.ready().await.is_ok(), "the connection lives on");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let edge = run().await;
    let (mut h1, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(edge.connect(b"http/1.1").await)).await.expect("h1");
    tokio::spawn(connection);
    answer(h1.send_request(get("/", Version::HTTP_11)).await.expect("answered")).await;
    edge.shutdown.send(true).expect("heard");
    assert_eq!(edge.in_flight.drained(Duration::from_secs(30)).await, 0);
    assert!(TcpStream::connect(edge.address).await.is_err(), "nobody listens any more");
}
