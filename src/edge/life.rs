//! The life of one request, as seen from outside Pingora: the connection it came on, and the switch that ends it.
//!
//! `ProxyHttp` has no way to end a request that is under way, so each runs inside a scope that whoever handles it can
//! reach (a task-local) and that ends it when the session it was admitted under is cut. Whoever handles it also says how
//! far it has come, so that the connection below knows what its visitor is waited for ([`Course`]).

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::proxied_body::overdue;
use super::upgrade::Afterwards;
use super::visitor_stream::Course;

/// What is known of a connection before its first request.
#[derive(Debug)]
pub(super) struct Connection {
    /// The other end.
    pub(super) peer: SocketAddr,
    /// The host named in the TLS handshake.
    pub(super) server_name: Option<String>,
    /// Where its request stands, over HTTP/1.1.
    pub(super) course: Arc<Course>,
    /// How long its visitor may take for what.
    pub(super) limits: Limits,
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
    /// None over HTTP/2, where a connection has no one course.
    course: Option<Arc<Course>>,
    settled: AtomicBool,
    end: OnceLock<CancellationToken>,
    /// Its HTTP is over, and the rest goes on without.
    left: AtomicBool,
    due: OnceLock<Due>,
}

/// How many requests a connection carries at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// One after the other: HTTP/1.1.
    Alone,
    /// As many as there are: HTTP/2.
    Many,
}

/// When the next piece of something has to be there, if it has to.
pub(super) type Due = watch::Receiver<Option<Instant>>;

tokio::task_local! {
    static CURRENT: Arc<Life>;
}

impl Life {
    /// Runs `request`, the only one on its connection at a time or one of many; `None` when it was ended before it was done.
    pub(super) async fn run<T>(
        connection: &Arc<Connection>,
        sharing: Sharing,
        request: impl Future<Output = Option<T>>,
    ) -> Option<T> {
        let course = match sharing {
            Sharing::Alone => Some(Arc::clone(&connection.course)),
            Sharing::Many => None,
        };
        if let Some(course) = &course {
            course.await_head();
        }
        let life = Arc::new(Self {
            connection: Arc::clone(connection),
            course,
            settled: AtomicBool::new(false),
            end: OnceLock::new(),
            left: AtomicBool::new(false),
            due: OnceLock::new(),
        });
        let (mut request, mut ended, mut late) = (pin!(request), pin!(None), pin!(None));
        let mut to_its_end = |cx: &mut Context<'_>| {
            // A request that is over gets no further turn.
            if is_over(ended.as_mut(), cx) || is_over(late.as_mut(), cx) {
                return Poll::Ready(None);
            }
            let polled = request.as_mut().poll(cx);
            if polled.is_ready() {
                return polled;
            }
            // It says during its own turn how it can end. To be woken for that would cost another turn, often on
            // another thread.
            if ended.is_none()
                && let Some(end) = life.end.get()
            {
                ended.set(Some(end.cancelled()));
            }
            if late.is_none()
                && let Some(due) = life.due.get()
            {
                late.set(Some(overdue(due.clone())));
            }
            let left = life.left.load(Ordering::Relaxed);
            if left || is_over(ended.as_mut(), cx) || is_over(late.as_mut(), cx) {
                return Poll::Ready(None);
            }
            Poll::Pending
        };
        CURRENT.scope(Arc::clone(&life), poll_fn(|cx| to_its_end(cx))).await
    }

    async fn cut(&self) {
        match self.end.get() {
            Some(end) => end.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Runs what is left of the request once it is no longer HTTP's.
    pub(super) async fn until_cut(&self, rest: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.cut() => {}
            () = rest => {}
        }
    }

    /// Ends the request's HTTP, and everything of it: from now on its connection, which must be its alone, is for `afterwards`. To
    /// be said by the request itself.
    pub(super) async fn leave(self: Arc<Self>, afterwards: Afterwards) -> Infallible {
        self.connection.course.exit.open(Arc::clone(&self), afterwards);
        self.left.store(true, Ordering::Relaxed);
        std::future::pending().await
    }

    /// The life that the calling code is part of.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The request's head is there, and perhaps a body is to follow.
    pub(super) fn arrived(&self, has_body: bool) {
        match &self.course {
            Some(course) if has_body => course.await_body(),
            Some(course) => course.await_nothing(),
            None => {}
        }
    }

    /// From now on the visitor may be as slow as the app lets him be: the request has come as a whole, or its answer has begun.
    pub(super) fn settled() {
        // Outside a request, nobody waits.
        let _ = CURRENT.try_with(|life| {
            life.settled.store(true, Ordering::Relaxed);
            if let Some(course) = &life.course {
                course.await_nothing();
            }
        });
    }

    /// From now on it ends as well when what is due does not come. To be said by the request itself.
    pub(super) fn ends_unless(&self, due: Due) {
        // A request has one body.
        let _ = self.due.set(due);
    }

    /// Whether [`Self::settled`] was said.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// From now on it ends when `end` is cancelled, at once if it is already. To be said by the request itself.
    pub(super) fn ends_with(&self, end: CancellationToken) {
        // A request is admitted once; a second admission would be of the same session.
        let _ = self.end.set(end);
    }
}

/// Polls `end`, if there is one.
fn is_over(end: Pin<&mut Option<impl Future<Output = ()>>>, cx: &mut Context<'_>) -> bool {
    end.as_pin_mut().is_some_and(|end| end.poll(cx).is_ready())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Arc<Connection> {
        Arc::new(Connection {
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            server_name: None,
            course: Arc::default(),
            limits: Limits::default(),
        })
    }

    #[tokio::test]
    async fn a_request_that_is_not_cut_runs_to_its_end() {
        let request = async {
            Life::current().expect("a life").ends_with(CancellationToken::new());
            Some(7)
        };
        assert_eq!(Life::run(&connection(), Sharing::Alone, request).await, Some(7));
    }

    #[tokio::test]
    async fn a_cut_ends_a_request_that_would_never_end() {
        let cut = CancellationToken::new();
        let request = async {
            let life = Life::current().expect("a life");
            life.arrived(true);
            life.ends_with(cut.clone());
            cut.cancel();
            std::future::pending::<Option<()>>().await
        };
        assert_eq!(Life::run(&connection(), Sharing::Alone, request).await, None);
    }
}
