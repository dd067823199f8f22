//! The life of one request, as seen from outside Pingora: the connection it came on, and the switch that ends it.
//!
//! `ProxyHttp` has no way to end a request that is under way, so each runs inside a scope that whoever handles it can
//! reach (a task-local) and that ends it when the session it was admitted under is cut. A request that does not arrive
//! in time ends as well: Pingora's own limit begins anew with each byte of its head.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SetOnce;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What is known of a connection before its first request.
#[derive(Debug)]
pub(super) struct Connection {
    /// The other end.
    pub(super) peer: SocketAddr,
    /// The host named in the TLS handshake.
    pub(super) server_name: Option<String>,
}

impl Connection {
    /// The visitor's address; an IPv4 one that came through an IPv6 socket is shown as what it is.
    pub(super) fn client(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}

/// One request's life.
#[derive(Debug)]
pub(super) struct Life {
    /// The connection it came on.
    pub(super) connection: Arc<Connection>,
    arrived: SetOnce<()>,
    end: SetOnce<CancellationToken>,
}

/// From the wait for a request, on a connection that may be kept alive for a minute, to the end of its head.
const HEAD_DEADLINE: Duration = Duration::from_secs(75);

tokio::task_local! {
    static CURRENT: Arc<Life>;
}

impl Life {
    /// Runs `request`; `None` when it was ended before it was done.
    pub(super) async fn run<T>(
        connection: &Arc<Connection>,
        request: impl Future<Output = Option<T>>,
    ) -> Option<T> {
        let life = Arc::new(Self {
            connection: Arc::clone(connection),
            arrived: SetOnce::new(),
            end: SetOnce::new(),
        });
        let ended = async {
            if timeout(HEAD_DEADLINE, life.arrived.wait()).await.is_ok() {
                life.end.wait().await.cancelled().await;
            }
        };
        CURRENT
            .scope(Arc::clone(&life), async {
                tokio::select! {
                    biased;
                    () = ended => None,
                    done = request => done,
                }
            })
            .await
    }

    /// The life that the calling code is part of.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The request's head is there.
    pub(super) fn arrived(&self) {
        // It arrives once; a second word changes nothing.
        let _ = self.arrived.set(());
    }

    /// From now on it ends when `end` is cancelled, at once if it is already.
    pub(super) fn ends_with(&self, end: CancellationToken) {
        // A request is admitted once; a second admission would be of the same session.
        let _ = self.end.set(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Arc<Connection> {
        Arc::new(Connection { peer: SocketAddr::from(([127, 0, 0, 1], 1)), server_name: None })
    }

    #[tokio::test]
    async fn a_request_that_is_not_cut_runs_to_its_end() {
        let request = async {
            Life::current().expect("a life").ends_with(CancellationToken::new());
            Some(7)
        };
        assert_eq!(Life::run(&connection(), request).await, Some(7));
    }

    #[tokio::test]
    async fn a_cut_ends_a_request_that_would_never_end() {
        let cut = CancellationToken::new();
        let request = async {
            let life = Life::current().expect("a life");
            life.arrived();
            life.ends_with(cut.clone());
            cut.cancel();
            std::future::pending::<Option<()>>().await
        };
        assert_eq!(Life::run(&connection(), request).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_arrive_ends_and_one_that_did_may_take_its_time() {
        assert_eq!(Life::run(&connection(), std::future::pending::<Option<()>>()).await, None);
        let request = async {
            Life::current().expect("a life").arrived();
            tokio::time::sleep(HEAD_DEADLINE * 100).await;
            Some(7)
        };
        assert_eq!(Life::run(&connection(), request).await, Some(7));
    }
}
