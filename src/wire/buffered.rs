//! Fewer and larger reads and writes.
//!
//! TLS reads four KiB at a time, and writes each record as it comes; each is a system call, and on a long transfer they cost
//! more than the cipher. Here reading takes all there is once there is much, and what is written gathers until somebody
//! flushes, until it is as much as one may hold, or until its writer waits for something to read: nothing lies here while
//! nothing happens. A connection that does nothing holds no buffer.
//!
//! A task may do 128 things before it is another's turn, and a system call counts for one of them, however much it moves.
//! With few and large ones a turn would be megabytes long, and whoever wants a small thing would wait for that. So here
//! bytes count as well.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

/// How much is read at once on a long transfer.
const AHEAD: usize = 64 * 1024;
/// Whoever gives this much room to read, and has it filled, is in the middle of something long.
const MUCH: usize = 4096;
/// So many bytes use up as much of a task's turn as any one thing it does: a turn is over after 64 KiB.
const AS_ONE: usize = 512;

/// A connection behind such buffers.
#[derive(Debug)]
pub struct Buffered<IO> {
    io: IO,
    /// What was read and nobody has taken yet, from `taken` to `filled`; no room at all where nothing is read ahead.
    ahead: Vec<u8>,
    taken: usize,
    filled: usize,
    /// What is to be written, from `written` on.
    leaving: Vec<u8>,
    written: usize,
    /// What was written may still lie below.
    is_on_its_way: bool,
    /// Of what is to be written, so much may lie here; what is larger by itself does not wait.
    most: usize,
    is_long: bool,
}

impl<IO> Buffered<IO> {
    /// Gathers up to `most` bytes of what is written.
    pub fn new(io: IO, most: usize) -> Self {
        Self {
            io,
            ahead: Vec::new(),
            taken: 0,
            filled: 0,
            leaving: Vec::new(),
            written: 0,
            is_on_its_way: false,
            most,
            is_long: false,
        }
    }

    /// The connection.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The connection, for what is neither reading nor writing.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }
}

impl<IO: AsyncWrite + Unpin> Buffered<IO> {
    /// Writes what lies here.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.leaving.len() {
            let rest = &self.leaving[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                some => {
                    self.written += some;
                    use_up(cx, some);
                }
            }
        }
        self.leaving = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// The same, and out of what is below as well: that has looked for something to read before this came to it.
    fn poll_leave_for_good(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_on_its_way |= !self.leaving.is_empty();
        if self.is_on_its_way {
            ready!(self.poll_leave(cx))?;
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_on_its_way = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Buffered<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.filled {
            let room = out.remaining();
            let polled = if this.is_long && room < AHEAD {
                this.poll_read_ahead(cx)
            } else {
                let before = out.filled().len();
                let polled = Pin::new(&mut this.io).poll_read(cx, out);
                let came = out.filled().len() - before;
                this.is_long = room >= MUCH && came == room;
                use_up(cx, came);
                polled
            };
            // When only the turn is over there is no wait yet.
            if polled.is_pending() && coop::has_budget_remaining() {
                this.is_long = false;
                this.ahead = Vec::new();
                (this.taken, this.filled) = (0, 0);
                // Whoever waits has no more to say for now. An error shows with the next write.
                let _ = this.poll_leave_for_good(cx);
            }
            ready!(polled)?;
        }
        let piece = &this.ahead[this.taken..this.filled];
        let piece = &piece[..piece.len().min(out.remaining())];
        out.put_slice(piece);
        this.taken += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> Buffered<IO> {
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ahead.resize(AHEAD, 0);
        let mut room = ReadBuf::new(&mut self.ahead);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        (self.taken, self.filled) = (0, room.filled().len());
        use_up(cx, self.filled);
        Poll::Ready(Ok(()))
    }
}

/// Takes from the task's turn what so many bytes cost. What is in hand is still handed over; whatever the task wants next waits
/// until the others have had their turns.
fn use_up(cx: &mut Context<'_>, bytes: usize) {
    for _ in 0..bytes / AS_ONE {
        if !coop::has_budget_remaining() {
            return;
        }
        if let Poll::Ready(one) = coop::poll_proceed(cx) {
            one.made_progress();
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Buffered<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.leaving.len() + data.len() > this.most {
            ready!(this.poll_leave(cx))?;
            if data.len() >= this.most {
                let written = ready!(Pin::new(&mut this.io).poll_write(cx, data))?;
                use_up(cx, written);
                return Poll::Ready(Ok(written));
            }
        }
        this.leaving.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if this.leaving.len() + length > this.most {
            ready!(this.poll_leave(cx))?;
            if length >= this.most {
                let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, pieces))?;
                use_up(cx, written);
                return Poll::Ready(Ok(written));
            }
        }
        pieces.iter().for_each(|piece| this.leaving.extend_from_slice(piece));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_leave(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_leave(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect()
    }

    #[tokio::test]
    async fn what_is_written_leaves_when_it_is_flushed_and_when_there_is_much() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Buffered::new(near, 100);
        let mut heard = vec![0; 1000];
        near.write_all(&pattern(60)).await.expect("room");
        assert!(far.read(&mut heard).now_or_never().is_none(), "it gathers");
        near.flush().await.expect("room");
        assert_eq!(far.read(&mut heard).await.expect("open"), 60);
        near.write_all(&pattern(60)).await.expect("room");
        near.write_all(&pattern(60)).await.expect("room");
        assert_eq!(far.read(&mut heard).await.expect("open"), 60, "the second had no room beside the first");
        near.write_all(&pattern(100)).await.expect("room");
        assert_eq!(
            far.read(&mut heard).await.expect("open"),
            160,
            "in order, and what is large does not wait"
        );
        assert_eq!(heard[..160], [pattern(60), pattern(100)].concat());
    }

    #[tokio::test]
    async fn whoever_waits_for_an_answer_has_asked() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Buffered::new(near, 100);
        near.write_all(b"well?").await.expect("room");
        let mut answer = [0; 4];
        assert!(near.read_exact(&mut answer).now_or_never().is_none(), "none yet");
        let mut question = [0; 5];
        far.read_exact(&mut question).now_or_never().expect("it is there").expect("open");
        far.write_all(b"well").await.expect("room");
        near.read_exact(&mut answer).await.expect("open");
        assert_eq!((&question, &answer), (b"well?", b"well"));
    }

    #[tokio::test]
    async fn whoever_waits_behind_two_of_them_has_asked_too() {
        let (near, mut far) = duplex(64);
        let mut near = Buffered::new(Buffered::new(near, 1000), 100);
        near.write_all(b"question").await.expect("room");
        assert!(near.read_u8().now_or_never().is_none(), "no answer yet");
        let mut heard = [0; 8];
        assert!(far.read_exact(&mut heard).now_or_never().is_some(), "and it was asked");
        assert_eq!(&heard, b"question");
    }

    #[tokio::test]
    async fn a_long_transfer_arrives_as_it_was_in_whatever_pieces_it_is_read() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Buffered::new(near, 0);
        let sent = pattern(500_000);
        let sending = sent.clone();
        let writer = tokio::spawn(async move { far.write_all(&sending).await });
        let (mut heard, mut piece) = (Vec::new(), vec![0; MUCH]);
        for size in [MUCH, 1, MUCH, 100, MUCH].iter().cycle() {
            match near.read(&mut piece[..*size]).await.expect("open") {
                0 => break,
                some => heard.extend_from_slice(&piece[..some]),
            }
        }
        writer.await.expect("done").expect("room");
        assert!(heard == sent, "{} bytes of {}", heard.len(), sent.len());
        assert!(near.read(&mut piece).now_or_never().is_some_and(|end| end.expect("closed") == 0));
    }

    #[tokio::test]
    async fn a_connection_that_waits_holds_nothing() {
        let (near, mut far) = duplex(1 << 20);
        let mut near = Buffered::new(near, 1 << 16);
        far.write_all(&pattern(200_000)).await.expect("room");
        let mut heard = vec![0; MUCH];
        let mut left = 200_000;
        while left > 0 {
            left -= near.read(&mut heard).await.expect("open");
        }
        assert!(near.read(&mut heard).now_or_never().is_none(), "that was all");
        near.write_all(b"answer").await.expect("room");
        near.flush().await.expect("room");
        assert_eq!(near.ahead.capacity() + near.leaving.capacity(), 0);
        far.write_all(b"more").await.expect("room");
        assert_eq!(near.read(&mut heard).await.expect("open"), 4, "and goes on");
        assert_eq!(heard[..4], *b"more");
    }
    #[tokio::test]
    async fn who_moves_much_leaves_others_their_turns() {
        const TOTAL: usize = 1 << 20;
        let (near, mut far) = duplex(2 * TOTAL);
        let mut near = Buffered::new(near, 1 << 16);
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        // Both on one thread: whenever one gives up its turn, it is the other's.
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let mut buffer = vec![0; TOTAL];
        for piece in buffer.chunks(AHEAD) {
            near.write_all(piece).await.expect("room");
        }
        near.flush().await.expect("room");
        let written = turns.swap(0, Ordering::Relaxed);
        assert!(far.read_exact(&mut buffer).await.is_ok());
        far.write_all(&buffer).await.expect("room");
        turns.store(0, Ordering::Relaxed);
        for piece in buffer.chunks_mut(MUCH) {
            near.read_exact(piece).await.expect("open");
        }
        let read = turns.load(Ordering::Relaxed);
        other.abort();
        assert!(written >= 10 && read >= 10, "{written} while a MiB was written, {read} while it was read");
    }
}
