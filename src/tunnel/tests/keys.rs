//! Whom the edge believes, and what the agent says when it is not let in.

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;

use super::*;
use crate::agent::{DialError, Dialer};
use crate::wire::ALPN;

/// Shows one desktop's certificate and signs with another's key.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesClientCert for Impostor {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn roots(ca: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM");
    roots.add(certificate).expect("an authority");
    roots
}

/// What a server that was asked for nothing says first, or why it does not.
async fn first_byte(edge: &Edge, mut config: ClientConfig) -> std::io::Result<u8> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", edge.port)).await.expect("connected");
    let name = EDGE_HOST.try_into().expect("a name");
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    soon(tls.read_u8()).await
}

fn builder(edge: &Edge) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(&edge.ca))
}

#[tokio::test]
async fn the_right_certificate_with_the_wrong_key_is_refused() {
    let edge = Edge::start().await;
    let linked = edge.link();
    let (certificate, own_key) = linked.key.certificate().expect("a certificate");
    let sign = |key: &rustls::pki_types::PrivateKeyDer<'static>| {
        let key = rustls::crypto::ring::sign::any_ecdsa_type(key).expect("a key");
        let certified = CertifiedKey::new(vec![certificate.clone()], key);
        builder(&edge).with_client_cert_resolver(Arc::new(Impostor(Arc::new(certified))))
    };
    let (_, other_key) = DesktopKey::generate().expect("a key").certificate().expect("a certificate");
    first_byte(&edge, sign(&own_key)).await.expect("the rightful owner is let in");
    let refused = first_byte(&edge, sign(&other_key)).await.expect_err("refused");
    assert!(refused.to_string().contains("DecryptError"), "{refused}");
    assert!(
        first_byte(&edge, builder(&edge).with_no_client_auth()).await.is_err(),
        "and so is no key at all"
    );
}

#[tokio::test]
async fn a_key_that_is_not_linked_is_told_so_and_gives_up() {
    let edge = Edge::start().await;
    let link = edge.link();
    edge.known.lock().expect("whole").clear();
    let ended = Running::start(link, "http://127.0.0.1:1").ended().await.expect_err("unlinked");
    assert!(ended.to_string().starts_with("unlinked: "), "{ended}");
}

async fn dial_error(edge: &str, ca: Option<&str>) -> DialError {
    let edge = EdgeAddress::parse(edge).expect("an address");
    let key = DesktopKey::generate().expect("a key");
    let dialer = Dialer::for_tunnel(edge, ca, &key).expect("a dialer");
    soon(dialer.dial()).await.expect_err("not reached")
}

#[tokio::test]
async fn each_way_of_not_reaching_the_edge_has_its_own_line() {
    let edge = Edge::start().await;
    let (_, other_ca) = certificates(EDGE_HOST);
    let address = format!("https://{EDGE_HOST}:{}", edge.port);

    let untrusted = dial_error(&address, Some(&other_ca)).await.to_string();
    assert!(untrusted.starts_with("certificate not trusted: ") && untrusted.contains("--ca"), "{untrusted}");

    let misnamed =
        dial_error(&format!("https://other.localhost:{}", edge.port), Some(&edge.ca)).await.to_string();
    assert!(
        misnamed.starts_with("certificate not trusted: ") && misnamed.contains("another name"),
        "{misnamed}"
    );

    let (_unused, port) = port_without_listener();
    let refused = dial_error(&format!("https://localhost:{port}"), Some(&edge.ca)).await.to_string();
    assert!(refused.starts_with("connection refused by localhost:"), "{refused}");

    let unresolved = dial_error("https://deployer.patapim.invalid", Some(&edge.ca)).await.to_string();
    assert!(unresolved.starts_with("cannot resolve deployer.patapim.invalid"), "{unresolved}");
    for sentence in [untrusted, misnamed, refused, unresolved] {
        assert_eq!(sentence.lines().count(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_no_edge_is_told_from_one_that_is() {
    let (certificates, ca) = certificates(EDGE_HOST);
    for protocols in [vec![b"h2".to_vec()], Vec::new()] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates));
        config.alpn_protocols = protocols;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("https://{EDGE_HOST}:{}", listener.local_addr().expect("bound").port());
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.expect("a connection");
            let _ = TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
        });
        let error = dial_error(&address, Some(&ca)).await;
        assert!(matches!(error, DialError::NotAnEdge { .. }), "{error}");
    }
}
