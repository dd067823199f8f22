//! Finding out that the other side is gone though its connection is not.
//!
//! A PING must be answered within the rhythm's deadline, unless something else came in meanwhile: on a slow link the
//! answer may stand behind a long download, and a peer that is sending is not frozen.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

/// How often to ping, and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// From one answer to the next question.
    pub every: Duration,
    /// The longest silence after a question.
    pub deadline: Duration,
}

impl Default for Rhythm {
    /// A frozen peer is found within ten seconds.
    fn default() -> Self {
        Self { every: Duration::from_secs(4), deadline: Duration::from_secs(5) }
    }
}

/// Why a pulse ended.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nothing came within the deadline.
    #[error("the other side answered nothing for {0:?}")]
    Frozen(Duration),
    /// The connection ended.
    #[error(transparent)]
    Closed(#[from] h2::Error),
}

/// Pings until the other side falls silent, and reports each round trip.
pub async fn pulse(
    mut pings: PingPong,
    heard: Heard,
    rhythm: Rhythm,
    mut round_trip: impl FnMut(Duration),
) -> Silence {
    loop {
        let asked = Instant::now();
        let mut before = heard.bytes();
        let mut pong = pin!(pings.ping(Ping::opaque()));
        loop {
            match timeout(rhythm.deadline, &mut pong).await {
                Ok(Ok(_)) => break,
                Ok(Err(error)) => return Silence::Closed(error),
                Err(_) if heard.bytes() == before => return Silence::Frozen(rhythm.deadline),
                Err(_) => before = heard.bytes(),
            }
        }
        round_trip(asked.elapsed());
        sleep(rhythm.every).await;
    }
}

/// How much has come in on a connection.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that counts what comes in.
#[derive(Debug)]
pub struct Listened<IO> {
    io: IO,
    heard: Heard,
}

impl<IO> Listened<IO> {
    /// Counts from now on.
    pub fn to(io: IO) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { io, heard: heard.clone() }, heard)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Listened<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        self.heard.0.fetch_add(came as u64, Ordering::Relaxed);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Listened<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
