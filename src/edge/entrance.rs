//! What every public listener asks of a connection before anything else: whether there is a place for it, and whose it
//! really is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::caps::{Caps, Place};
use super::proxies::ProxySettings;
use super::proxy_protocol;
use crate::metrics::{Limit, metrics};

/// What is waited when no socket can be had, for others to close theirs.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(200);
/// A balancer says at once whom it speaks for.
const PROXY_DEADLINE: Duration = Duration::from_secs(5);

/// The way in.
pub(super) struct Entrance {
    pub(super) caps: Arc<Caps>,
    pub(super) proxies: ProxySettings,
}

/// A connection that has a place.
pub(super) struct Arrived {
    tcp: TcpStream,
    peer: SocketAddr,
    place: Place,
}

impl Entrance {
    /// The next connection that there is a place for. One that there is none for is closed: to say why would cost what
    /// is short, and to leave it waiting would keep those behind it out.
    pub(super) async fn accept(&self, listener: &TcpListener) -> Arrived {
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => match self.placed(&tcp, peer) {
                    Ok(place) => return Arrived { tcp, peer, place },
                    Err(limit) => {
                        tracing::debug!(%peer, limit = limit.as_str(), "a connection was not taken")
                    }
                },
                Err(error) => {
                    metrics().limited(Limit::Descriptors);
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(OUT_OF_SOCKETS).await;
                }
            }
        }
    }

    fn placed(&self, tcp: &TcpStream, peer: SocketAddr) -> Result<Place, Limit> {
        let mut place = self.caps.place(tcp)?;
        if !self.proxies.speaks_proxy_protocol(peer) {
            self.charge(&mut place, peer)?;
        }
        Ok(place)
    }

    fn charge(&self, place: &mut Place, visitor: SocketAddr) -> Result<(), Limit> {
        if self.proxies.carries_many(visitor.ip()) { Ok(()) } else { place.belongs_to(visitor.ip()) }
    }

    /// The connection, its other end, and its place; none if its balancer said something odd, or speaks for somebody who
    /// has too many already.
    pub(super) async fn introduced(&self, arrived: Arrived) -> Option<(TcpStream, SocketAddr, Place)> {
        let Arrived { mut tcp, peer, mut place } = arrived;
        if !self.proxies.speaks_proxy_protocol(peer) {
            return Some((tcp, peer, place));
        }
        let visitor = match timeout(PROXY_DEADLINE, proxy_protocol::read(&mut tcp)).await {
            Ok(Ok(proxied)) => proxied.unwrap_or(peer),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "no PROXY header");
                return None;
            }
            Err(_) => return None,
        };
        self.charge(&mut place, visitor).ok()?;
        Some((tcp, visitor, place))
    }
}
