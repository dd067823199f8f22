//! The first bytes of a TLS connection: who is it that comes?
//!
//! The ClientHello is read and understood; what was read goes into the handshake as if nobody had looked.

use std::io;

use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a ClientHello says, as far as it matters before the handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The host that the client thinks it talks to, in lower case.
    pub(super) server_name: Option<String>,
    /// Whether the agents' protocol is among those it offers.
    pub(super) offers_tunnel: bool,
    /// All that was read.
    pub(super) bytes: Vec<u8>,
}

/// A ClientHello with a chain of extensions longer than this is an attack.
const LONGEST: usize = 64 * 1024;

/// Reads the ClientHello off `stream`.
pub(super) async fn read(stream: &mut TcpStream, tunnel_alpn: &[u8]) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut seen = Vec::with_capacity(2048);
    loop {
        let known = seen.len();
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if seen.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a ClientHello without end"));
        }
        let mut news = &seen[known..];
        while !news.is_empty() {
            acceptor.read_tls(&mut news)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let offers_tunnel =
                        hello.alpn().is_some_and(|mut names| names.any(|name| name == tunnel_alpn));
                    let server_name = hello.server_name().map(str::to_ascii_lowercase);
                    return Ok(Hello { server_name, offers_tunnel, bytes: seen });
                }
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    alert.write_all(&mut bytes)?;
                    // Telling the client why is a courtesy; it may be gone.
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.flush().await;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }
}
