//! The life of one request, as seen from outside Pingora: the connection it came on, and the switch that ends it.
//!
//! `ProxyHttp` has no way to end a request that is under way, so each runs inside a scope that whoever handles it can
//! reach (a task-local) and that ends it when the session it was admitted under is cut.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::SetOnce;
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
    end: SetOnce<CancellationToken>,
}

tokio::task_local! {
    static CURRENT: Arc<Life>;
}

impl Life {
    /// Runs `request`; `None` when it was ended before it was done.
    pub(super) async fn run<T>(
        connection: &Arc<Connection>,
        request: impl Future<Output = Option<T>>,
    ) -> Option<T> {
        let life = Arc::new(Self { connection: Arc::clone(connection), end: SetOnce::new() });
        let ended = async {
            life.end.wait().await.cancelled().await;
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
            Life::current().expect("a life").ends_with(cut.clone());
            cut.cancel();
            std::future::pending::<Option<()>>().await
        };
        assert_eq!(Life::run(&connection(), request).await, None);
    }
}
