//! Writing: one thread, which takes all that waits and makes it durable with one `fsync`.
//!
//! Now and then it has the log written into the file ([`Writer::shorten_log`]). SQLite would do that by itself, and keep
//! silent where it fails.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::feed::Feed;
use super::group::{self, Failure, Written};
use super::layout::Progress;
use crate::clock::{Clock, Timestamp};
use crate::store::{Change, Commit, MAX_VALUE, Op, StoreError, Tx};

/// How many commits may wait; the next one waits for its place without blocking a thread.
const QUEUE: usize = 4096;
/// The largest group: what is in it is answered together.
const GROUP: usize = 512;
/// How often an idle writer looks whether something has expired.
const TICK: Duration = Duration::from_millis(250);
/// How far the recorded moment may lag behind the clock while nothing is written.
const MOMENT_LAG: Duration = Duration::from_secs(15);
/// How long the log may grow, in pages, roughly.
const LONGEST_LOG: usize = 1000;
const PAGE: usize = 4096;

type Answer = Result<Commit, StoreError>;

struct Job {
    tx: Tx,
    /// It wants the disk to be written even where nothing changes.
    probe: bool,
    answer: oneshot::Sender<Answer>,
    _place: OwnedSemaphorePermit,
}

/// The way to the writer.
pub(super) struct Queue {
    /// None only while dropping.
    jobs: Option<Sender<Job>>,
    places: Arc<Semaphore>,
    distrust: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    pub(super) fn start(
        connection: Connection,
        progress: Progress,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (jobs, queue) = channel();
        let distrust = Arc::new(OnceLock::new());
        let writer = Writer {
            connection,
            progress,
            logged: 0,
            // Whatever expired while nobody served the file is swept at once.
            next_expiry: Some(Timestamp::default()),
            failing: false,
            distrust: Arc::clone(&distrust),
            feed,
            clock,
        };
        let thread = Some(super::thread("store-writer", move || writer.run(&queue)));
        Self { jobs: Some(jobs), places: Arc::new(Semaphore::new(QUEUE)), distrust, thread }
    }

    pub(super) async fn commit(&self, tx: Tx) -> Answer {
        for op in &tx.ops {
            if let Op::Put { key, value, .. } = op
                && value.len() > MAX_VALUE
            {
                let bytes = value.len();
                return Err(StoreError::Unapplied(format!(
                    "the value of {} has {bytes} bytes, too many",
                    &**key
                )));
            }
        }
        self.run(tx, false).await
    }

    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.run(Tx::new(), true).await.map(drop)
    }

    async fn run(&self, tx: Tx, probe: bool) -> Answer {
        let closed = || StoreError::Unapplied("the writer has ended".to_owned());
        if let Some(why) = self.distrust.get() {
            return Err(StoreError::Unapplied(why.clone()));
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let job = Job { tx, probe, answer, _place: place };
        self.jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| StoreError::Unknown("the writer ended before it answered".to_owned()))?
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    connection: Connection,
    /// What was last recorded in the file.
    progress: Progress,
    /// How many pages went to the log since it was last written into the file, roughly.
    logged: usize,
    next_expiry: Option<Timestamp>,
    /// The last write failed; so that the log has one line for it, not four a second.
    failing: bool,
    distrust: Arc<OnceLock<String>>,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = match queue.recv_timeout(TICK) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let group = first.into_iter().chain(queue.try_iter()).take(GROUP).collect();
            self.serve(group, false);
        }
        self.serve(Vec::new(), true);
    }

    fn serve(&mut self, mut group: Vec<Job>, last: bool) {
        let probe = last || group.iter().any(|job| job.probe);
        let txs = group.iter_mut().map(|job| std::mem::take(&mut job.tx)).collect();
        let written = self.write(txs, probe);
        for (at, job) in group.into_iter().enumerate() {
            // Whoever asked may have gone away.
            let _ = job.answer.send(match &written {
                Ok(commits) => Ok(commits[at]),
                Err(error) => Err(error.clone()),
            });
        }
    }

    /// Makes a group durable and tells it, in this order.
    fn write(&mut self, txs: Vec<Tx>, probe: bool) -> Result<Vec<Commit>, StoreError> {
        if let Some(why) = self.distrust.get() {
            return Err(StoreError::Unapplied(why.clone()));
        }
        // Taken after the group was: none of it was asked for later than this.
        let now = self.clock.now().max(self.progress.moment);
        let sweep = self.next_expiry.is_some_and(|at| at <= now);
        let must_write = probe || sweep || now.since(self.progress.moment) >= MOMENT_LAG;
        if txs.is_empty() && !must_write {
            return Ok(Vec::new());
        }
        let written = group::write(&mut self.connection, self.progress, now, txs, must_write);
        let Written { commits, changes, durable, progress, next_expiry } = match written {
            Ok(written) => written,
            Err(failure) => return Err(self.failed(&failure)),
        };
        self.progress = progress;
        self.next_expiry = next_expiry;
        if durable {
            self.logged += 1 + changes.iter().map(pages).sum::<usize>();
        }
        if !changes.is_empty() {
            // Not for a mere probe: it needs no new page, and succeeds on a disk that is all but full.
            if std::mem::take(&mut self.failing) {
                tracing::info!("the store takes writes again");
            }
            self.feed.publish(changes, self.progress.revision);
        }
        self.shorten_log();
        Ok(commits)
    }

    /// Writes into the file what the log says, once that is long. All of it is durable, so a full disk can wait; after any
    /// other failure the file is not believed any more.
    fn shorten_log(&mut self) {
        if self.logged < LONGEST_LOG {
            return;
        }
        self.logged = 0;
        let written = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        match written {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "the store's log could not be shortened yet, and grows");
            }
            Err(error) => drop(self.distrusted(&error)),
        }
    }

    /// A full disk and a file that somebody else holds are over some time. After anything else, a failed `fsync` before
    /// all, the system's idea of the file and the disk's may differ: nothing more is written until a new process has
    /// read the file afresh.
    fn failed(&mut self, failure: &Failure) -> StoreError {
        let (Failure::Before(error) | Failure::AtCommit(error)) = failure;
        if is_passing(error) && self.connection.is_autocommit() {
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(%error, "the store cannot write; it goes on trying");
            }
            return StoreError::Unapplied(error.to_string());
        }
        let why = self.distrusted(error);
        match failure {
            Failure::Before(_) => StoreError::Unapplied(why),
            Failure::AtCommit(_) => StoreError::Unknown(why),
        }
    }

    fn distrusted(&self, error: &rusqlite::Error) -> String {
        tracing::error!(%error, "the store could not write and takes no more writes until a restart; mend the disk first");
        let why = format!("a write failed ({error}); mend the disk, then restart patapim-edge");
        self.distrust.get_or_init(|| why).clone()
    }
}

fn is_passing(error: &rusqlite::Error) -> bool {
    let passing = [ErrorCode::DiskFull, ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
    error.sqlite_error_code().is_some_and(|code| passing.contains(&code))
}

/// How many pages a change writes: its leaf, with what it takes of others, and the index's.
fn pages(change: &Change) -> usize {
    2 + if let Change::Put(entry) = change { entry.value.len() / PAGE } else { 0 }
}
