//! A TLS listener around any proxy, and browsers to visit it, for tests by socket.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora::proxy::ProxyHttp;
use pingora::server::configuration::ServerConf;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

use super::Limits;
use super::caps::Caps;
use super::connection::{AgentDoor, Door, Front, TlsFront};
use super::drain::InFlight;
use super::entrance::Entrance;
use super::listen::Bound;
use super::test_certificate::{self, Written};
use super::tls::{CertificateFiles, CertificateStore, for_visitors};
use super::{CapSettings, ProxySettings};
use crate::names::{BaseDomain, PublicHosts, Scheme};

pub(super) const TUNNEL_ALPN: &[u8] = b"test-tunnel/1";
pub(super) const HOST: &str = "deployer.patapim.test";

pub(super) fn hosts() -> PublicHosts {
    let base = BaseDomain::parse("patapim.test").expect("a domain");
    PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("hosts")
}

/// Without proxies, and with the usual limits.
pub(super) fn entrance() -> Arc<Entrance> {
    let caps = Arc::new(Caps::new(CapSettings::default()));
    Arc::new(Entrance { caps, proxies: ProxySettings::default() })
}

/// A listener that runs until the test ends.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) in_flight: InFlight,
    /// How many bytes each agent said first.
    pub(super) agents: mpsc::Receiver<usize>,
    certificate: Written,
}

/// Serves `proxy` on a free port.
pub(super) fn listen<SV>(proxy: SV) -> Listening
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync + 'static,
{
    let certificate = test_certificate::write(&[HOST, "*.tunnel.patapim.test"]);
    let files = CertificateFiles { cert: certificate.cert.clone(), key: certificate.key.clone() };
    let store = CertificateStore::open(files, &hosts()).expect("a certificate");
    let visitors = for_visitors(store).expect("a configuration");
    let mut for_agents = ServerConfig::clone(&visitors);
    for_agents.alpn_protocols = vec![TUNNEL_ALPN.to_vec()];

    let (seen, agents) = mpsc::channel(1);
    let door: AgentDoor = Box::new(move |mut stream, _| {
        let seen = seen.clone();
        Box::pin(async move {
            let mut said = Vec::new();
            let _ = stream.read_buf(&mut said).await;
            let _ = seen.send(said.len()).await;
        })
    });
    let front = Front::Tls(TlsFront::new(visitors, Arc::new(for_agents), TUNNEL_ALPN, door, Arc::default()));
    let in_flight = InFlight::new();
    let conf = Arc::new(ServerConf { max_retries: 2, ..ServerConf::default() });
    let door = Door::new(&conf, proxy, front, entrance(), in_flight.clone(), Limits::default());
    let socket = Bound::to(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = socket.address;
    let (shutdown, watch) = watch::channel(false);
    tokio::spawn(door.open(socket.listener().expect("a listener"), watch));
    Listening { address, shutdown, in_flight, agents, certificate }
}

/// A TLS connection to `address` for `name`, trusting `root`.
pub(super) async fn dial(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    name: &str,
    alpn: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let socket = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a handshake")
}

impl Listening {
    pub(super) async fn connect(&self, alpn: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
        dial(self.address, &self.certificate.der, HOST, alpn).await
    }

    pub(super) async fn h1<B>(&self) -> http1::SendRequest<B>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let (visitor, connection) =
            http1::handshake(TokioIo::new(self.connect(b"http/1.1").await)).await.expect("h1");
        tokio::spawn(connection.with_upgrades());
        visitor
    }

    pub(super) async fn h2<B>(&self) -> http2::SendRequest<B>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static,
    {
        let io = TokioIo::new(self.connect(b"h2").await);
        let (visitor, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("h2");
        tokio::spawn(connection);
        visitor
    }
}

/// A request in the form that `version` wants.
pub(super) fn request<B>(version: Version, method: &str, path: &str, body: B) -> Request<B> {
    let builder = Request::builder().version(version).method(method);
    let builder = match version {
        Version::HTTP_2 => builder.uri(format!("https://{HOST}{path}")),
        _ => builder.uri(path).header("host", HOST),
    };
    builder.body(body).expect("a request")
}

pub(super) fn get(version: Version, path: &str) -> Request<Empty<Bytes>> {
    request(version, "GET", path, Empty::new())
}

/// The whole body, or the error that broke it off.
pub(super) async fn whole(body: Incoming) -> Result<Bytes, hyper::Error> {
    use http_body_util::BodyExt as _;
    Ok(body.collect().await?.to_bytes())
}
