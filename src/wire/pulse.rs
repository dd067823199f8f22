//! Finding out that the other side is gone though its connection is not.
//!
//! A PING must be answered within the rhythm's deadline, unless something else came in meanwhile: on a slow link the
//! answer may stand behind a long download, and a peer that is sending is not frozen.
//!
//! Thousands of desktops are there and nobody wants anything of them, so whoever has nothing to do is asked seldom: each
//! question wakes both machines. It is asked often while somebody waits for an answer.

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
    /// From one answer to the next question while somebody waits for the peer.
    pub every: Duration,
    /// The silence that is borne without a question while nobody does. Looked at at each `every`.
    pub at_rest: Duration,
    /// The longest silence after a question.
    pub deadline: Duration,
}

impl Default for Rhythm {
    /// A frozen peer is found within ten seconds by whoever waits for it, and within twenty if nobody does: whoever comes then finds
    /// it gone already.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { every: seconds(4), at_rest: seconds(12), deadline: seconds(5) }
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

/// Pings until the other side falls silent, and reports each round trip with how many bytes came meanwhile. `is_awaited`
/// says whether anybody waits for the other side to say something.
pub async fn pulse(
    mut pings: PingPong,
    heard: Heard,
    rhythm: Rhythm,
    is_awaited: impl Fn() -> bool,
    mut round_trip: impl FnMut(Duration, u64),
) -> Silence {
    loop {
        let asked = Instant::now();
        let first = heard.bytes();
        let mut before = first;
        let mut pong = pin!(pings.ping(Ping::opaque()));
        loop {
            match timeout(rhythm.deadline, &mut pong).await {
                Ok(Ok(_)) => break,
                Ok(Err(error)) => return Silence::Closed(error),
                Err(_) if heard.bytes() == before => return Silence::Frozen(rhythm.deadline),
                Err(_) => before = heard.bytes(),
            }
        }
        round_trip(asked.elapsed(), heard.bytes() - first);
        let (mut before, mut since) = (heard.bytes(), Instant::now());
        loop {
            sleep(rhythm.every).await;
            if heard.bytes() != before {
                (before, since) = (heard.bytes(), Instant::now());
            }
            if is_awaited() || since.elapsed() >= rhythm.at_rest {
                break;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const RHYTHM: Rhythm = Rhythm {
        every: Duration::from_secs(4),
        at_rest: Duration::from_secs(12),
        deadline: Duration::from_secs(5),
    };

    /// When questions were answered, in seconds from the beginning.
    type Answered = Arc<Mutex<Vec<u64>>>;

    /// Two connected ends, and the pulse of one of them.
    async fn beating(awaited: &Arc<AtomicBool>) -> (Answered, Heard) {
        let (near, far) = duplex(1 << 16);
        let (near, heard) = Listened::to(near);
        let server = tokio::spawn(async { h2::server::handshake(far).await.expect("HTTP/2") });
        let (kept, mut client): (h2::client::SendRequest<Bytes>, _) =
            h2::client::handshake(near).await.expect("HTTP/2");
        let pings = client.ping_pong().expect("once");
        let mut server = server.await.expect("no panic");
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        tokio::spawn(async move {
            let _kept = kept;
            client.await
        });
        let answered = Answered::default();
        let (told, listened, awaited) = (Arc::clone(&answered), heard.clone(), Arc::clone(awaited));
        tokio::spawn(async move {
            let began = Instant::now();
            let is_awaited = || awaited.load(Ordering::Relaxed);
            pulse(pings, listened, RHYTHM, is_awaited, |_, _| {
                told.lock().expect("whole").push(began.elapsed().as_secs());
            })
            .await
        });
        (answered, heard)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_nobody_waits_for_is_asked_seldom_and_one_that_somebody_waits_for_often() {
        let awaited = Arc::<AtomicBool>::default();
        let (answered, _) = beating(&awaited).await;
        sleep(Duration::from_secs(30)).await;
        assert_eq!(*answered.lock().expect("whole"), [0, 12, 24]);
        awaited.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(12)).await;
        assert_eq!(*answered.lock().expect("whole"), [0, 12, 24, 32, 36, 40]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_heard_need_not_be_asked() {
        let (answered, heard) = beating(&Arc::default()).await;
        // As from a peer that asks by itself.
        let (mut far, near) = duplex(64);
        let mut near = Listened { io: near, heard };
        for _ in 0..10 {
            sleep(Duration::from_secs(10)).await;
            far.write_all(b"PING").await.expect("room");
            near.read_exact(&mut [0; 4]).await.expect("there");
        }
        assert_eq!(*answered.lock().expect("whole"), [0]);
    }
}
