//! A visitor's connection of HTTP/2: its requests, and its end.
//!
//! Pingora has such a loop, which nobody outside can end. This one ends, with GOAWAY, when the visitor only keeps it
//! busy ([`Calm`]), sends one malformed request after the other, or falls silent; and it goes gently when the server
//! stops.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use h2::Reason;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, handshake};
use pingora::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, Ssl, Stream, UniqueID,
    UniqueIDType,
};
use pingora::server::ShutdownWatch;
use tokio::time::{interval, timeout};

use super::Limits;
use crate::metrics::{Limit, metrics};
use crate::wire::Calm;

/// How often it is looked whether a connection is idle before it has been for too long.
const LOOKS: u32 = 4;
/// How long the last words may take to be sent.
const GOODBYE: Duration = Duration::from_secs(1);
/// Malformed requests before a connection ends. A browser sends none.
const MALFORMED: usize = 32;

type Connection = h2::server::Connection<Stream, Bytes>;

/// Has `answer` answer each request that comes over `stream`, until its end.
pub(super) async fn serve<F>(
    options: H2Options,
    answer: impl Fn(ServerSession) -> F,
    stream: Stream,
    limits: &Limits,
    shutdown: &ShutdownWatch,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let (stream, overdrawn) = Calm::with_client(stream, limits.header);
    let begun = timeout(limits.header, handshake(Box::new(stream), Some(options)));
    let Ok(Ok(mut connection)) = begun.await else { return };

    let mut told = std::pin::pin!(overdrawn.told());
    let mut stopping = shutdown.clone();
    // An error means that whoever could stop it is gone.
    let mut stops = std::pin::pin!(async { drop(stopping.wait_for(|down| *down).await) });
    let (mut goes, mut malformed) = (false, 0);
    // One handle for each request under way, and ours.
    let open = Arc::new(());
    let (mut requests, mut requests_before, mut silent) = (0_u64, 0, 0);
    let mut look = interval(limits.idle / LOOKS);
    look.tick().await;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut told => {
                metrics().limited(if overdrawn.was_slow() { Limit::HeadTime } else { Limit::Frames });
                return end(connection, Reason::ENHANCE_YOUR_CALM).await;
            }
            () = &mut stops, if !goes => {
                goes = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            _ = look.tick() => {
                let busy = Arc::strong_count(&open) > 1 || requests != requests_before;
                silent = if busy { 0 } else { silent + 1 };
                requests_before = requests;
                if silent == LOOKS {
                    return end(connection, Reason::NO_ERROR).await;
                }
                continue;
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                requests += 1;
                let (answered, open) = (answer(ServerSession::new_http2(session)), Arc::clone(&open));
                tokio::spawn(async move {
                    let _open = open;
                    answered.await;
                });
            }
            Ok(Some(H2Accept::Rejected)) => {
                malformed += 1;
                if malformed == MALFORMED {
                    metrics().limited(Limit::Frames);
                    return end(connection, Reason::ENHANCE_YOUR_CALM).await;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// Says why, if it is heard, and closes.
async fn end(mut connection: Connection, reason: Reason) {
    connection.abrupt_shutdown(reason);
    let _ = timeout(GOODBYE, async { while let Some(Ok(_)) = connection.accept().await {} }).await;
}

// What Pingora asks of a connection. Its facts were taken from the one below.

#[async_trait]
impl Shutdown for Calm<Stream> {
    async fn shutdown(&mut self) {
        self.get_mut().shutdown().await;
    }
}

impl UniqueID for Calm<Stream> {
    fn id(&self) -> UniqueIDType {
        self.get_ref().id()
    }
}

impl Ssl for Calm<Stream> {}
impl GetProxyDigest for Calm<Stream> {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        None
    }
}
impl GetTimingDigest for Calm<Stream> {
    fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
        Vec::new()
    }
}
impl GetSocketDigest for Calm<Stream> {
    fn get_socket_digest(&self) -> Option<Arc<pingora::protocols::SocketDigest>> {
        None
    }
}
impl Peek for Calm<Stream> {}
