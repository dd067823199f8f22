//! What lies between a socket and TLS, and between TLS and HTTP: [`Buffered`] on both sides, sized for what each carries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::server::TlsStream;

use crate::wire::Buffered;

/// An agent's connection.
pub(super) type AgentStream = TlsStream<Buffered<L4Stream>>;

/// An answer's head and its body, where they are no longer than this together, become one record.
const SHORT_ANSWER: usize = 4 * 1024;
/// Records of a long answer leave several at a time.
const RECORDS: usize = 64 * 1024;

/// A socket below TLS.
pub(super) fn records(socket: L4Stream) -> Buffered<L4Stream> {
    Buffered::new(socket, RECORDS)
}

/// What HTTP is spoken on.
pub(super) fn short_answers<S: IO>(stream: S) -> Buffered<S> {
    Buffered::new(stream, SHORT_ANSWER)
}

// What Pingora asks of a connection, answered by the one inside.

#[async_trait]
impl<S: IO> Shutdown for Buffered<S> {
    async fn shutdown(&mut self) {
        // Whoever is gone hears no last words.
        let _ = self.flush().await;
        Shutdown::shutdown(self.get_mut()).await;
    }
}

impl<S: IO> UniqueID for Buffered<S> {
    fn id(&self) -> UniqueIDType {
        self.get_ref().id()
    }
}

impl<S: IO> Ssl for Buffered<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.get_ref().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.get_ref().selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for Buffered<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.get_ref().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.get_ref().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.get_ref().get_write_pending_time()
    }
}

impl<S: IO> GetProxyDigest for Buffered<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.get_ref().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.get_mut().set_proxy_digest(digest);
    }
}

impl<S: IO> GetSocketDigest for Buffered<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.get_mut().set_socket_digest(digest);
    }
}

#[async_trait]
impl<S: IO> Peek for Buffered<S> {}
