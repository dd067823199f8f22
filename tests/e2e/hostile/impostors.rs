//! Agents that would be somebody else, and those that would have the edge go where they say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::Beside;
use crate::rig::fake_agent::{Asked, Manners};
use crate::rig::peers::{as_key, key_of};
use crate::rig::process::within;
use crate::tunnel::Linked;

/// Shows one desktop's certificate and signs with another key.
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

/// Shows none.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// What the edge says first to whoever dials like this, or why it says nothing.
async fn first_byte(linked: &Linked, config: ClientConfig, name: String) -> std::io::Result<u8> {
    let tcp = TcpStream::connect(("127.0.0.1", linked.edge.port())).await?;
    let name = ServerName::try_from(name).expect("a name");
    let mut tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    within("the edge's first word", tls.read_u8()).await
}

#[tokio::test]
async fn who_shows_a_desktops_certificate_without_its_key_is_refused() {
    let linked = Linked::start().await;
    let host = format!("deployer.{}", linked.edge.base());
    let own = key_of(&linked.desktop);
    let certificate = CertificateParams::default().self_signed(&own).expect("a certificate");
    let signed_by = |key: &KeyPair| {
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).expect("a key");
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        let mut config = as_key(&linked.edge, &own);
        config.client_auth_cert_resolver = Arc::new(Impostor(Arc::new(certified)));
        config
    };
    let other = KeyPair::generate().expect("a key");
    first_byte(&linked, signed_by(&other), host.clone()).await.expect_err("the wrong key");
    let mut nobody = as_key(&linked.edge, &own);
    nobody.client_auth_cert_resolver = Arc::new(NoCertificate);
    first_byte(&linked, nobody, host.clone()).await.expect_err("no key at all");
    first_byte(&linked, signed_by(&own), host).await.expect("its own");
}

#[tokio::test]
async fn whatever_an_agent_calls_itself_it_serves_the_tunnel_of_its_key() {
    let beside = Beside::start(Manners::default()).await;
    let adas = &beside.linked.desktop.tunnel;
    let hello =
        format!(r#"{{"version":1,"name":"{adas}","tunnel":"{adas}","url":"https://{adas}","user":"ada"}}"#);
    let _agent = beside.dials(Manners::default().hello(hello + "\n")).await;
    beside.ada_is_well().await;

    // The name in the TLS greeting is nobody's word either.
    let config = as_key(&beside.linked.edge, &key_of(&beside.desktop));
    let name = format!("{adas}.tunnel.{}", beside.linked.edge.base());
    let _ = first_byte(&beside.linked, config, name).await;
    beside.ada_is_well().await;
}

#[tokio::test]
async fn a_desktop_that_is_unlinked_is_cut_though_it_listens_to_nobody() {
    let beside = Beside::start(Manners::default().app(|asked: Asked| async move {
        match asked.path() {
            "/" => asked.say("well"),
            _ => {
                let mut respond = asked.respond;
                let mut body = respond.send_response(Response::new(()), false).expect("open");
                let _ = body.send_data("first".into(), false);
                std::future::pending().await
            }
        }
    }))
    .await;
    let stream = beside.eve.browser.fetch(Method::GET, &beside.page("/stream")).open();
    let mut stream = stream.await.expect("a stream");
    assert_eq!(stream.text().await, "first");
    beside.agent.wire.stop_reading();
    let ordered = Instant::now();
    beside.linked.edge.admin(&["tunnel", "remove", &beside.desktop.tunnel]).await;
    assert!(stream.broke_off().await, "it was not over");
    assert!(ordered.elapsed() < Duration::from_secs(1), "{:?}", ordered.elapsed());
    beside.ada_is_well().await;
}

#[tokio::test]
async fn the_edge_goes_nowhere_on_anybodys_word() {
    let canary = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = canary.local_addr().expect("bound").to_string();
    let told = place.clone();
    let hello =
        format!(r#"{{"version":1,"name":"http://{place}/","url":"http://{place}/","edge":"{place}"}}"#);
    let manners = Manners::default().hello(hello + "\n").app(move |mut asked: Asked| {
        let place = told.clone();
        async move {
            if asked.path() == "/" {
                return asked.say("well");
            }
            let answer = Response::builder()
                .status(305)
                .header("location", format!("http://{place}/"))
                .header("alt-svc", format!("h2=\"{place}\""))
                .header("link", format!("<http://{place}/>; rel=preconnect"))
                .header("x-accel-redirect", format!("http://{place}/"))
                .header("refresh", format!("0; url=http://{place}/"));
            let _ = asked.respond.send_response(answer.body(()).expect("an answer"), true);
        }
    });
    let beside = Beside::start(manners).await;
    for event in ["redirect", "moved", "connect"] {
        beside.agent.say(&format!(r#"{{"event":"{event}","to":"{place}","url":"http://{place}/"}}"#));
    }
    let page = beside.page("/away");
    let browser = &beside.eve.browser;
    let asked = browser.fetch(Method::GET, &page);
    let asked = asked.header("x-forwarded-host", &place).header("forwarded", &format!("host={place}"));
    let asked =
        asked.header("x-patapim-tunnel", &place).header("x-original-url", &format!("http://{place}/"));
    assert_eq!(asked.await.status, 305);
    for method in ["CONNECT", "GET"] {
        let absolute = browser.fetch(Method::from_bytes(method.as_bytes()).expect("a method"), &page);
        drop(absolute.header("host", &place).whole().await);
    }
    beside.ada_is_well().await;
    let called = tokio::time::timeout(Duration::from_millis(1), canary.accept()).await;
    assert!(called.is_err(), "somebody called: {called:?}");
}
