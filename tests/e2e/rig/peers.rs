//! Edges and agents of other versions than ours: they speak the wire's HTTP/2, and say hello in their own way.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::agent::Desktop;
use super::edge::Edge;
use super::process::within;

const ALPN: &[u8] = b"patapim-tunnel/1";
const CONTROL: &str = "https://control.patapim.invalid";

/// Dials `edge` with the link of `desktop`, answers its hello by `hello`, and returns the notice that the edge gives
/// next: its path and its sentence.
pub(crate) async fn notice_for_agent(edge: &Edge, desktop: &Desktop, hello: Value) -> (String, String) {
    within("the edge's notice", async {
        let (config, name) = (as_desktop(edge, desktop), format!("deployer.{}", edge.base()));
        let tcp = TcpStream::connect(("127.0.0.1", edge.port())).await.expect("a listening edge");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = connector.connect(ServerName::try_from(name).expect("a name"), tcp).await.expect("trusted");
        let mut builder = h2::server::Builder::new();
        let mut connection =
            builder.enable_connect_protocol().handshake::<_, Bytes>(tls).await.expect("HTTP/2");
        let mut streams = Vec::new();
        let mut heard = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let (request, mut respond) = accepted.expect("a notice before the end").expect("HTTP/2");
                    if request.uri().path() == "/hello" {
                        let mut events = respond.send_response(Response::new(()), false).expect("open");
                        events.send_data(format!("{hello}\n").into(), false).expect("open");
                        // Its end would be the connection's.
                        streams.push(events);
                    } else {
                        let path = request.uri().path().to_owned();
                        heard.spawn(async move {
                            let said: Value = serde_json::from_slice(&whole(request.into_body()).await).expect("JSON");
                            respond.send_response(no_content(), true).expect("open");
                            (path, said["sentence"].as_str().expect("a sentence").to_owned())
                        });
                    }
                }
                Some(notice) = heard.join_next() => return notice.expect("understood"),
            }
        }
    })
    .await
}

/// Stands in for `edge` on its port, greets the agent that dials with `hello`, and returns its answer: the status, and
/// what it says.
pub(crate) async fn answer_to_edge(edge: &Edge, hello: Value) -> (StatusCode, Value) {
    within("the agent's answer", async {
        let listener = TcpListener::bind(("127.0.0.1", edge.port())).await.expect("the edge's port");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(as_edge(edge)));
        let (tcp, _) = listener.accept().await.expect("an agent");
        let tls = acceptor.accept(tcp).await.expect("an agent that trusts us");
        let (requests, connection) = h2::client::handshake(tls).await.expect("HTTP/2");
        let driver = tokio::spawn(connection);
        let mut requests = requests.ready().await.expect("open");
        let request = Request::post(format!("{CONTROL}/hello")).body(()).expect("a request");
        let (response, mut body) = requests.send_request(request, false).expect("open");
        body.send_data(hello.to_string().into(), true).expect("open");
        let (head, body) = response.await.expect("an answer").into_parts();
        let said = serde_json::from_slice(&whole(body).await).expect("JSON");
        driver.abort();
        (head.status, said)
    })
    .await
}

/// The hello of an edge.
pub(crate) fn edge_hello(version: u32, tunnel: &str) -> Value {
    json!({"version": version, "tunnel": tunnel, "url": "https://t.test", "software": "patapim-edge/other"})
}

fn as_desktop(edge: &Edge, desktop: &Desktop) -> rustls::ClientConfig {
    as_key(edge, &key_of(desktop))
}

/// The key that a desktop was linked with.
pub(crate) fn key_of(desktop: &Desktop) -> KeyPair {
    let link = std::fs::read(desktop.link_file()).expect("a linked desktop");
    let link: Value = serde_json::from_slice(&link).expect("JSON");
    KeyPair::from_pem(link["key"].as_str().expect("a key")).expect("a key")
}

/// TLS as an agent speaks it that has `key`.
pub(crate) fn as_key(edge: &Edge, key: &KeyPair) -> rustls::ClientConfig {
    let certificate = CertificateParams::default().self_signed(key).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_file(&edge.ca.root_file).expect("the test's root");
    roots.add(root).expect("the test's root");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider's versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate.der().clone()], key)
        .expect("a matching key");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

fn as_edge(edge: &Edge) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_file_iter(&edge.ca.cert_file).expect("the edge's certificate");
    let chain = chain.collect::<Result<_, _>>().expect("the edge's certificate");
    let key = PrivateKeyDer::from_pem_file(&edge.ca.key_file).expect("the edge's key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a matching key");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// All of a message.
pub(crate) async fn whole(mut body: h2::RecvStream) -> Bytes {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("a whole message");
        body.flow_control().release_capacity(piece.len()).expect("what came");
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

fn no_content() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
