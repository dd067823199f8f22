//! Standard error, for lines that nobody waits for.
//!
//! A line that is written by itself costs a system call, and there is one for each request. So lines gather for a moment,
//! and a thread of its own writes them together. Where the reader is too slow, whoever logs waits, as without this.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a line may lie here. Nobody sees it, and a busy server writes a hundred times a second rather than with each
/// request.
const GATHERING: Duration = Duration::from_millis(10);
/// From so many bytes on, whoever logs waits for room.
const MOST: usize = 1 << 20;

/// Where lines are put.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Gathered>);

/// Writes what is left when it is dropped.
pub(crate) struct Flushing {
    gathered: Arc<Gathered>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Gathered {
    lines: Mutex<Lines>,
    /// There is something to write, or it is the end.
    some: Condvar,
    /// There is room again.
    room: Condvar,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    over: bool,
}

impl Outlet {
    /// In front of `out`.
    pub(super) fn before(out: impl Write + Send + 'static) -> io::Result<(Self, Flushing)> {
        let gathered = Arc::<Gathered>::default();
        let theirs = Arc::clone(&gathered);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write_to(out))?;
        Ok((Self(Arc::clone(&gathered)), Flushing { gathered, thread: Some(thread) }))
    }
}

impl Write for Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let full = |lines: &mut Lines| lines.bytes.len() >= MOST && !lines.over;
        let lines = self.0.room.wait_while(self.0.locked(), full);
        let mut lines = lines.unwrap_or_else(PoisonError::into_inner);
        let first = lines.bytes.is_empty();
        lines.bytes.extend_from_slice(line);
        drop(lines);
        if first {
            self.0.some.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Gathered {
    fn locked(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut leaving = Vec::new();
        loop {
            let nothing = |lines: &mut Lines| lines.bytes.is_empty() && !lines.over;
            let lines = self.some.wait_while(self.locked(), nothing).unwrap_or_else(PoisonError::into_inner);
            // More may come, until the moment or the server is over.
            let more = |lines: &mut Lines| lines.bytes.len() < MOST && !lines.over;
            let gathered = self.some.wait_timeout_while(lines, GATHERING, more);
            let (mut lines, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut lines.bytes, &mut leaving);
            let over = lines.over;
            drop(lines);
            self.room.notify_all();
            // There is nobody to be told.
            let _ = out.write_all(&leaving).and_then(|()| out.flush());
            leaving.clear();
            if over {
                return;
            }
        }
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        self.gathered.locked().over = true;
        self.gathered.some.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells what it is given, piece by piece.
    struct Told(mpsc::Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_leaves_in_order_and_by_itself() {
        let (told, tells) = mpsc::channel();
        let (mut outlet, _flushing) = Outlet::before(Told(told)).expect("a thread");
        outlet.write_all(b"one\n").expect("room");
        outlet.write_all(b"two\n").expect("room");
        let mut all = Vec::new();
        while all.len() < 8 {
            all.extend(tells.recv().expect("nothing is lost"));
        }
        assert_eq!(all, b"one\ntwo\n");
    }

    #[test]
    fn what_is_left_at_the_end_is_written_before_it() {
        let (told, tells) = mpsc::channel();
        let (mut outlet, flushing) = Outlet::before(Told(told)).expect("a thread");
        outlet.write_all(b"last words\n").expect("room");
        drop(flushing);
        assert_eq!(tells.try_iter().flatten().collect::<Vec<_>>(), b"last words\n");
    }

    #[test]
    fn a_line_that_finds_no_room_waits_for_it_and_is_not_lost() {
        let (told, tells) = mpsc::channel();
        let (mut outlet, flushing) = Outlet::before(Told(told)).expect("a thread");
        let line = vec![b'x'; MOST];
        for _ in 0..3 {
            outlet.write_all(&line).expect("room, in the end");
        }
        drop(flushing);
        assert_eq!(tells.try_iter().map(|piece| piece.len()).sum::<usize>(), 3 * MOST);
    }
}
