//! A peer of HTTP/2 that asks for work and brings none: PING, SETTINGS, RST_STREAM, PRIORITY, WINDOW_UPDATE, empty DATA,
//! without end. Each is lawful, and `h2` answers every one of them.
//!
//! [`Calm`] is a connection that looks at the nine bytes before each frame that comes in, and at nothing else. Such
//! frames cost the peer from an allowance, which lasts for some seconds and grows with what this side sends: who
//! downloads gives windows back, who is sent requests resets some of them. Once it is overdrawn nothing more is read,
//! and [`Overdrawn`] says so to whoever can end the connection. The same becomes of a peer who begins a frame, or the head
//! of a request, and does not end it in time: only of DATA, which may come as slowly as its reader bears, it is not asked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

/// What a client says before its first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Length, kind, flags and stream.
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;

/// How long an allowance lasts.
const WINDOW: Duration = Duration::from_secs(10);
/// What a peer may spend in a window for nothing: a hundred times what browsers were seen to need.
const ALLOWANCE: u64 = 20_000;
/// So many bytes sent to it buy a peer one more.
const BYTES_FOR_ONE: u64 = 8;
/// After so many bytes sent it is looked whether their window is over, so that old ones buy nothing.
const MANY_BYTES: u64 = 8 << 20;

/// What a frame costs: about the microseconds that it may take.
fn cost(kind: u8, flags: u8, length: usize) -> u64 {
    const END_STREAM: u8 = 0x1;
    const PADDED: u8 = 0x8;
    match kind {
        // DATA that says nothing: without a byte of it, or padding only, as far as can be told from here.
        0 if flags & END_STREAM == 0 && (length == 0 || (flags & PADDED != 0 && length <= 256)) => 4,
        // DATA and HEADERS are what HTTP is for. How many requests there may be is another question.
        0 | 1 => 0,
        // PRIORITY
        2 => 2,
        // RST_STREAM: a request was begun for nothing.
        3 => 4,
        // SETTINGS: every stream is gone through.
        4 => 200,
        // PING and GOAWAY
        6 | 7 => 20,
        // WINDOW_UPDATE and CONTINUATION
        8 | 9 => 1,
        _ => 4,
    }
}

/// What has come in and gone out in this window.
#[derive(Debug)]
struct Meter {
    /// Bytes to go that are no frame's head.
    skip: usize,
    head: [u8; FRAME_HEAD],
    /// How much of `head` is there.
    known: usize,
    /// The frame under way is DATA.
    is_data: bool,
    /// The fields under way go on in another frame.
    is_in_fields: bool,
    spent: u64,
    sent: u64,
    since: Instant,
}

impl Meter {
    fn new(skip: usize, now: Instant) -> Self {
        Self {
            skip,
            head: [0; FRAME_HEAD],
            known: 0,
            is_data: false,
            is_in_fields: false,
            spent: 0,
            sent: 0,
            since: now,
        }
    }

    /// Follows what came in.
    fn came(&mut self, mut bytes: &[u8]) {
        loop {
            let payload = self.skip.min(bytes.len());
            self.skip -= payload;
            bytes = &bytes[payload..];
            let piece = (FRAME_HEAD - self.known).min(bytes.len());
            if piece == 0 {
                return;
            }
            self.head[self.known..self.known + piece].copy_from_slice(&bytes[..piece]);
            bytes = &bytes[piece..];
            self.known += piece;
            if self.known == FRAME_HEAD {
                self.known = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.spent += cost(kind, flags, self.skip);
                self.is_data = kind == DATA;
                if matches!(kind, HEADERS | CONTINUATION) {
                    self.is_in_fields = flags & END_HEADERS == 0;
                }
            }
        }
    }

    /// Whether something is under way that has to be ended soon.
    fn is_half_said(&self) -> bool {
        self.known > 0 || self.skip > 0 && !self.is_data || self.is_in_fields
    }

    fn went(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.sent += bytes as u64;
        if self.sent > MANY_BYTES {
            self.begin_anew_if_over(now());
        }
    }

    /// Whether more was spent than there was. The clock is asked only then.
    fn is_overdrawn(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.spent > ALLOWANCE + self.sent / BYTES_FOR_ONE && !self.begin_anew_if_over(now())
    }

    fn begin_anew_if_over(&mut self, now: Instant) -> bool {
        let over = now.duration_since(self.since) >= WINDOW;
        if over {
            (self.spent, self.sent, self.since) = (0, 0, now);
        }
        over
    }
}

/// Tells that a peer's allowance is overdrawn, or its time.
#[derive(Clone, Debug, Default)]
pub struct Overdrawn(Arc<(Notify, AtomicBool)>);

impl Overdrawn {
    /// Waits until it is. It is told once.
    pub async fn told(&self) {
        self.0.0.notified().await;
    }

    /// Whether it was the time.
    pub fn was_slow(&self) -> bool {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// A connection whose peer has an allowance.
#[derive(Debug)]
pub struct Calm<IO> {
    io: IO,
    meter: Meter,
    overdrawn: Overdrawn,
    ended: bool,
    /// How long a frame may take.
    patience: Option<Duration>,
    /// The end of that, for the one under way.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<IO> Calm<IO> {
    /// With a client at the other end, before it has said anything; it may take so long for a frame.
    pub fn with_client(io: IO, patience: Duration) -> (Self, Overdrawn) {
        let (calm, overdrawn) = Self::new(io, PREFACE);
        (Self { patience: Some(patience), ..calm }, overdrawn)
    }

    /// With a server at the other end.
    pub fn with_server(io: IO) -> (Self, Overdrawn) {
        Self::new(io, 0)
    }

    fn new(io: IO, skip: usize) -> (Self, Overdrawn) {
        let overdrawn = Overdrawn::default();
        let meter = Meter::new(skip, Instant::now());
        let calm =
            Self { io, meter, overdrawn: overdrawn.clone(), ended: false, patience: None, alarm: None };
        (calm, overdrawn)
    }

    /// What is under it.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// What is under it.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }
}

impl<IO> Calm<IO> {
    fn end(&mut self) {
        self.ended = true;
        self.overdrawn.0.0.notify_one();
    }

    /// Ready when what is under way takes too long. The time begins with the first wait for the rest.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.patience else { return Poll::Pending };
        self.alarm.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Calm<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.meter.came(&buf.filled()[before..]);
        if self.meter.is_overdrawn(Instant::now) {
            self.end();
        }
        if !self.meter.is_half_said() {
            self.alarm = None;
        } else if polled.is_pending() && self.poll_late(cx).is_ready() {
            self.overdrawn.0.1.store(true, Ordering::Relaxed);
            self.end();
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Calm<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.meter.went(bytes, Instant::now);
        }
        polled
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
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.meter.went(bytes, Instant::now);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(length).expect("a length").to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD + length, 0xff);
        frame
    }

    proptest! {
        #[test]
        fn frames_are_counted_the_same_however_they_come_in(
            frames in prop::collection::vec((0..12u8, any::<u8>(), 0..400usize), 1..40),
            pieces in prop::collection::vec(1..60usize, 1..20),
        ) {
            let mut bytes = vec![b'P'; PREFACE];
            bytes.extend(frames.iter().flat_map(|&(kind, flags, length)| frame(kind, flags, length)));
            let wanted: u64 = frames.iter().map(|&(kind, flags, length)| cost(kind, flags, length)).sum();
            let mut meter = Meter::new(PREFACE, Instant::now());
            let (mut rest, mut pieces) = (&bytes[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, left) = rest.split_at((*pieces.next().expect("endless")).min(rest.len()));
                meter.came(piece);
                rest = left;
            }
            prop_assert_eq!((meter.spent, meter.skip, meter.known), (wanted, 0, 0));
            let fields = |&&(kind, ..): &&(u8, u8, usize)| matches!(kind, HEADERS | CONTINUATION);
            let open = frames.iter().rfind(fields).is_some_and(|(_, flags, _)| flags & END_HEADERS == 0);
            prop_assert_eq!(meter.is_half_said(), open);
        }
    }

    #[test]
    fn an_allowance_is_for_a_while_and_grows_with_what_is_sent() {
        let began = Instant::now();
        let mut meter = Meter::new(0, began);
        meter.spent = ALLOWANCE + 1;
        assert!(meter.is_overdrawn(|| began));
        meter.went(usize::try_from(BYTES_FOR_ONE).expect("few"), || began);
        assert!(!meter.is_overdrawn(|| began), "it was sent something");
        meter.spent += 1;
        assert!(meter.is_overdrawn(|| began) && !meter.is_overdrawn(|| began + WINDOW));
        assert_eq!((meter.spent, meter.sent), (0, 0));
        meter.went(usize::try_from(MANY_BYTES).expect("some") + 1, || began + 3 * WINDOW);
        assert_eq!(meter.sent, 0, "what was sent long ago buys nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_half_said_has_to_be_ended_soon_and_data_has_not() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let fields = frame(HEADERS, 0, 20);
        for (said, ends) in [
            (&fields[..5], true),
            (&fields[..12], true),
            (&fields[..], true),
            (&frame(DATA, 0, 20)[..12], false),
            (&frame(HEADERS, END_HEADERS, 20)[..], false),
        ] {
            let (mut peer, ours) = tokio::io::duplex(1 << 20);
            let (mut calm, overdrawn) = Calm::with_client(ours, Duration::from_secs(15));
            peer.write_all(&[b'P'; PREFACE]).await.expect("written");
            peer.write_all(said).await.expect("written");
            let mut heard = Vec::new();
            tokio::select! {
                biased;
                () = overdrawn.told() => assert!(ends && overdrawn.was_slow(), "{said:?}"),
                () = sleep(Duration::from_secs(16)) => assert!(!ends, "{said:?}"),
                _ = calm.read_to_end(&mut heard) => panic!("it ended by itself"),
            }
        }
    }

    #[tokio::test]
    async fn who_overdraws_is_not_read_any_more() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut peer, ours) = tokio::io::duplex(1 << 20);
        let (mut calm, overdrawn) = Calm::with_server(ours);
        let pings = frame(6, 0, 8).repeat(1001);
        peer.write_all(&pings).await.expect("written");
        let mut read = vec![0; pings.len()];
        calm.read_exact(&mut read).await.expect("all that was there");
        overdrawn.told().await;
        peer.write_all(b"more").await.expect("written");
        assert!(futures_util::poll!(std::pin::pin!(calm.read(&mut read))).is_pending());
    }
}
