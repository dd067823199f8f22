//! One agent's connection, as those see it who send requests over it.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, watch};
use tokio_util::sync::CancellationToken;

use super::TunnelSettings;
use super::approval::Standings;
use super::driver::{self, Agreements};
use super::line::Line;
use crate::clock::Timestamp;
use crate::metrics::{Limit, metrics};
use crate::names::{TunnelId, UserId};
use crate::wire::SpkiPin;
use crate::wire::http2::{AGENT_STREAM_LIMIT, STREAM_WINDOW};

/// Whom an agent's key belongs to. Made by whoever keeps the accounts, from the pin of a verified certificate.
#[derive(Clone, Debug)]
pub struct AgentIdentity {
    /// The tunnel it serves.
    pub tunnel: TunnelId,
    /// The tunnel's owner.
    pub user: UserId,
    /// The key it proved to have.
    pub pin: SpkiPin,
    /// Where visitors find the tunnel, for the agent to print.
    pub public_url: String,
}

/// What is to become of a connection. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    /// It serves.
    Serving,
    /// It serves, and the agent has been asked to dial anew because this edge is about to stop.
    Draining,
    /// A newer connection of the same agent took its place; it ends with its last stream.
    Replaced,
    /// Too many replaced connections of the same agent are still at work; this one is the oldest and ends now.
    Crowded,
    /// Its tunnel is not to be served for now (its owner was disabled); it ends now.
    Suspended,
    /// Its key is no longer good for the tunnel; it ends now.
    Unlinked,
}

/// A piece that waits for no turn, however long the stream.
const SMALL: usize = 4 * 1024;

/// No stream could be opened; nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// As many streams as allowed are open on this tunnel.
    #[error("the tunnel has as many streams open as it may")]
    Busy,
    /// The connection is over, or about to be. Another may have taken its place.
    #[error("the agent's connection is closed")]
    Gone,
    /// The agent does not take extended CONNECT.
    #[error("the agent takes no WebSockets")]
    NoUpgrade,
    /// The request cannot be put on the wire.
    #[error("the request cannot be sent: {0}")]
    Unsendable(#[source] h2::Error),
}

/// A stream that was opened.
pub struct Opened {
    /// The answer's head, and through it its body.
    pub response: ResponseFuture,
    /// Takes the request's body: see [`crate::wire::http2::send`].
    pub body: SendStream<Bytes>,
    /// To be kept for as long as either half is in use.
    pub permit: StreamPermit,
}

/// The right to one of a tunnel's streams, given back when dropped.
#[derive(Debug)]
pub struct StreamPermit {
    _permit: OwnedSemaphorePermit,
    /// The tunnel's one turn at moving much.
    turn: Arc<Semaphore>,
    agreements: Agreements,
}

impl StreamPermit {
    /// The next piece of the answer, which is this stream's; `None` at its end. May be dropped and called again.
    pub async fn receive(&mut self, answer: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
        self.agreements.receive(answer).await
    }

    /// Whether a piece of so many bytes is worth a turn. What people say to each other is not.
    pub fn is_for_a_turn(&self, length: usize) -> bool {
        length > SMALL
    }

    /// Does `work`, a piece of something long, when it is this stream's turn. The tunnel's long streams have their turns one
    /// after the other, so that between two of them it is others' tunnels' turn, however many streams this one has. Work
    /// that has to wait leaves the turn to the next.
    pub async fn in_turn<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        // It is never closed, and work would have to be done all the same.
        let turn = self.turn.acquire().await;
        let begun = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        drop(turn);
        match begun {
            Poll::Ready(done) => done,
            Poll::Pending => work.await,
        }
    }
}

/// One agent's connection.
pub struct AgentLink {
    identity: AgentIdentity,
    desktop: String,
    connected_at: Timestamp,
    /// Taken when the connection is to end: HTTP/2 closes it after the last stream once nobody can open more.
    requests: Mutex<Option<SendRequest<Bytes>>>,
    streams: Arc<Semaphore>,
    stream_limit: u32,
    turn: Arc<Semaphore>,
    memory: usize,
    /// How much of each stream may be under way, or lie here unread.
    window: watch::Sender<u32>,
    agreements: Agreements,
    line: Mutex<Line>,
    /// What is good for the line.
    widest: AtomicU32,
    course: watch::Sender<Course>,
    closed: CancellationToken,
    standings: Standings,
    rtt_micros: AtomicU64,
}

const NO_RTT: u64 = u64::MAX;

impl AgentLink {
    pub(super) fn new(
        identity: AgentIdentity,
        desktop: String,
        connected_at: Timestamp,
        requests: SendRequest<Bytes>,
        settings: TunnelSettings,
        window: watch::Sender<u32>,
        agreements: Agreements,
    ) -> Self {
        // One stream less than the agent takes: the hello's is open all the time, a notice's now and then.
        let stream_limit = settings.streams.clamp(1, AGENT_STREAM_LIMIT - 8);
        Self {
            identity,
            desktop,
            connected_at,
            requests: Mutex::new(Some(requests)),
            streams: Arc::new(Semaphore::new(stream_limit as usize)),
            stream_limit,
            turn: Arc::new(Semaphore::new(1)),
            memory: settings.memory,
            window,
            agreements,
            line: Mutex::default(),
            widest: AtomicU32::new(STREAM_WINDOW),
            course: watch::Sender::new(Course::Serving),
            closed: CancellationToken::new(),
            standings: Standings::default(),
            rtt_micros: AtomicU64::new(NO_RTT),
        }
    }

    /// Opens a stream for `request`, an absolute URI with the visitor's authority. Does not wait: when it returns, the
    /// request is on its way.
    ///
    /// A WebSocket is a CONNECT with [`h2::ext::Protocol`] among its extensions, and `end_of_stream` false.
    pub(super) fn open(&self, mut request: Request<()>, end_of_stream: bool) -> Result<Opened, OpenError> {
        if *self.course.borrow() >= Course::Replaced {
            return Err(OpenError::Gone);
        }
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|refused| match refused {
            TryAcquireError::NoPermits => {
                metrics().limited(Limit::AgentStreams);
                OpenError::Busy
            }
            TryAcquireError::Closed => OpenError::Gone,
        })?;
        let permit = StreamPermit {
            _permit: permit,
            turn: Arc::clone(&self.turn),
            agreements: self.agreements.clone(),
        };
        self.adapt_window();
        // A clone of its own for each request, else one that waits to be sent would hold up the next.
        let mut requests = self.requests().ok_or(OpenError::Gone)?;
        if request.extensions().get::<h2::ext::Protocol>().is_some()
            && !requests.is_extended_connect_protocol_enabled()
        {
            return Err(OpenError::NoUpgrade);
        }
        *request.version_mut() = http::Version::HTTP_2;
        let (response, body) = requests.send_request(request, end_of_stream).map_err(|error| {
            if error.is_io() || error.is_go_away() { OpenError::Gone } else { OpenError::Unsendable(error) }
        })?;
        Ok(Opened { response, body, permit })
    }

    /// The more streams, the less of each; and no more than is good for anything.
    fn adapt_window(&self) {
        let streams = self.streams_open();
        self.window.send_if_modified(|window| {
            let next = driver::next_window(*window, self.memory, streams);
            let next = next.min(self.widest.load(Ordering::Relaxed));
            std::mem::replace(window, next) != next
        });
    }

    /// What the agent said of sessions.
    pub(super) fn standings(&self) -> &Standings {
        &self.standings
    }

    pub(super) fn requests(&self) -> Option<SendRequest<Bytes>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whose connection it is.
    pub fn identity(&self) -> &AgentIdentity {
        &self.identity
    }

    /// The desktop's name, as its owner gave it.
    pub fn desktop(&self) -> &str {
        &self.desktop
    }

    /// Since when it serves.
    pub fn connected_at(&self) -> Timestamp {
        self.connected_at
    }

    /// The round trip measured last.
    pub fn rtt(&self) -> Option<Duration> {
        let micros = self.rtt_micros.load(Ordering::Relaxed);
        (micros != NO_RTT).then(|| Duration::from_micros(micros))
    }

    /// A question was answered after `rtt`, and so many bytes came meanwhile.
    pub(super) fn measured(&self, rtt: Duration, bytes: u64) {
        self.rtt_micros.store(u64::try_from(rtt.as_micros()).unwrap_or(NO_RTT), Ordering::Relaxed);
        let widest = self.line.lock().unwrap_or_else(PoisonError::into_inner).measured(rtt, bytes);
        if self.widest.swap(widest, Ordering::Relaxed) != widest {
            self.adapt_window();
        }
    }

    /// What a stream may have under way, for tests.
    #[cfg(test)]
    pub(super) fn window_now(&self) -> u32 {
        *self.window.borrow()
    }

    /// Streams in use.
    pub fn streams_open(&self) -> usize {
        (self.stream_limit as usize).saturating_sub(self.streams.available_permits())
    }

    /// Cancelled when the connection is over.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Moves on to `course`, unless it is further along already.
    pub(super) fn steer(&self, course: Course) {
        self.course.send_if_modified(|now| {
            let moves = course > *now;
            if moves {
                *now = course;
            }
            moves
        });
    }

    pub(super) fn watch_course(&self) -> watch::Receiver<Course> {
        self.course.subscribe()
    }

    /// Resolves when no stream is in use. Only a connection that was replaced may wait for it: permits given back
    /// meanwhile are kept.
    pub(super) async fn drained(&self) {
        // An error means that the link is closed, and then nothing is in use either.
        let _ = self.streams.acquire_many(self.stream_limit).await;
    }

    /// Nothing can be opened any more, and whoever waits for the end is told.
    pub(super) fn close(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.streams.close();
        self.closed.cancel();
    }
}

impl fmt::Debug for AgentLink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AgentLink")
            .field("tunnel", &self.identity.tunnel)
            .field("course", &*self.course.borrow())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn long_streams_have_one_turn_and_who_waits_leaves_it_to_the_next() {
        let (streams, turn) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(1)));
        let permit = || StreamPermit {
            _permit: Arc::clone(&streams).try_acquire_owned().expect("room"),
            turn: Arc::clone(&turn),
            agreements: Agreements::none(),
        };
        let (first, second) = (permit(), permit());
        let held = Arc::clone(&turn).acquire_owned().await.expect("open");
        let mut waiting = pin!(first.in_turn(async { 1 }));
        assert!(poll!(&mut waiting).is_pending(), "it is another's turn");
        drop(held);
        assert_eq!(waiting.await, 1);

        let (room, blocked) = oneshot::channel::<()>();
        let mut stuck = pin!(first.in_turn(async { blocked.await.is_ok() }));
        assert!(poll!(&mut stuck).is_pending(), "its visitor has no room");
        assert_eq!(second.in_turn(async { 2 }).await, 2, "which holds nobody up");
        room.send(()).expect("awaited");
        assert!(stuck.await);
    }
}
