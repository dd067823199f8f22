//! TLS, as far as strangers can bend it: the versions of former years, and words that come before it is over.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::edge::Edge;
use crate::rig::process::within;

const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

/// A number of two bytes, and then so many bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat()
}

/// A ClientHello (RFC 5246 §7.4.1.2) that says `version`, and with nothing else wrong with it; with `more` extensions.
fn hello(version: u16, host: &str, more: &[u8]) -> Vec<u8> {
    let name = counted(&[&[0][..], &counted(host.as_bytes())].concat());
    let extensions = [
        [&[0, 0][..], &counted(&name)].concat(),
        // Groups, formats of points, signatures.
        b"\x00\x0a\x00\x06\x00\x04\x00\x1d\x00\x17".to_vec(),
        b"\x00\x0b\x00\x02\x01\x00".to_vec(),
        b"\x00\x0d\x00\x08\x00\x06\x04\x03\x08\x04\x04\x01".to_vec(),
        more.to_vec(),
    ]
    .concat();
    // ECDHE with ECDSA and AES-GCM, and what was there before it.
    let suites = b"\xc0\x2b\xc0\x2f\xc0\x09\xc0\x13\x00\x2f\x00\x35";
    let body = [&version.to_be_bytes()[..], &[7; 32], &[0], &counted(suites), &[1, 0], &counted(&extensions)]
        .concat();
    let message = [&[1, 0][..], &counted(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &counted(&message)].concat()
}

/// What kind of record answers it; none where the edge just closes.
async fn answered(edge: &Edge, hello: &[u8]) -> Option<u8> {
    let mut tcp = TcpStream::connect(("127.0.0.1", edge.port())).await.expect("a connection");
    tcp.write_all(hello).await.expect("written");
    within("an answer or the end", tcp.read_u8()).await.ok()
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_spoken_and_with_agents_nothing_older_than_1_3() {
    let edge = Edge::start().await;
    let deployer = edge.deployer("/");
    let host = deployer.host_str().expect("a host");
    assert_eq!(answered(&edge, &hello(0x303, host, &[])).await, Some(HANDSHAKE), "1.2");
    // SSL 3.0, TLS 1.0, TLS 1.1; and the last two as the list of a client that knows of later ones.
    for version in [0x300, 0x301, 0x302] {
        let said = answered(&edge, &hello(version, host, &[])).await;
        assert!(matches!(said, Some(ALERT) | None), "{version:#x}: {said:?}");
    }
    let said = answered(&edge, &hello(0x303, host, b"\x00\x2b\x00\x05\x04\x03\x02\x03\x01")).await;
    assert!(matches!(said, Some(ALERT) | None), "a list of old ones: {said:?}");
    let alpn = counted(&counted(&[&[16][..], b"patapim-tunnel/1"].concat()));
    let said = answered(&edge, &hello(0x303, host, &[&[0, 16][..], &alpn].concat())).await;
    assert!(matches!(said, Some(ALERT) | None), "an agent: {said:?}");
}

#[tokio::test]
async fn a_handshake_is_resumed_and_nothing_is_heard_before_its_end() {
    let edge = Edge::start().await;
    let deployer = edge.deployer("/auth");
    let name = ServerName::try_from(deployer.host_str().expect("a host").to_owned()).expect("a name");
    let mut config = ClientConfig::clone(&edge.ca.client(&["http/1.1"]));
    config.enable_early_data = true;
    let config = Arc::new(config);
    for visit in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let next = ClientConnection::new(Arc::clone(&config), name.clone());
        assert!(
            next.expect("a connection").early_data().is_none(),
            "{visit:?}: it may speak before its time"
        );
        let tcp = TcpStream::connect(("127.0.0.1", edge.port())).await.expect("a connection");
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name.clone(), tcp).await;
        let mut tls = tls.expect("a handshake");
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(visit));
        let asked =
            format!("GET /auth HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host_and_port(&deployer));
        tls.write_all(asked.as_bytes()).await.expect("written");
        let mut heard = Vec::new();
        // With the answer come the tickets.
        let _ = within("the answer", tls.read_to_end(&mut heard)).await;
        assert!(heard.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&heard));
    }
}

fn host_and_port(url: &url::Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}
