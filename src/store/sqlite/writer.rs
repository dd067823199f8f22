//! Writing: one thread, which takes all that waits and makes it durable with one `fsync`.
//!
//! A transaction's conditions are read before any of its changes is made, so one that conflicts leaves nothing to undo,
//! and a group needs no savepoints: its statements fail together or not at all.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::feed::Feed;
use super::file::{column, number};
use crate::clock::{Clock, Timestamp};
use crate::store::{Change, Commit, Cond, Entry, Key, MAX_VALUE, Op, Revision, StoreError, Tx};

/// How many commits may wait; the next one waits for its place without blocking a thread.
const QUEUE: usize = 4096;
/// The largest group: what is in it is answered together.
const GROUP: usize = 512;
/// How often an idle writer looks whether something has expired.
const TICK: Duration = Duration::from_millis(250);
/// How far the recorded moment may lag behind the clock while nothing is written.
const MOMENT_LAG: Duration = Duration::from_secs(15);

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
        revision: Revision,
        moment: Timestamp,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (jobs, queue) = channel();
        let distrust = Arc::new(OnceLock::new());
        let writer = Writer {
            connection,
            revision,
            moment,
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
    revision: Revision,
    /// The moment last recorded in the file.
    moment: Timestamp,
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
        let now = self.clock.now().max(self.moment);
        let sweep = self.next_expiry.is_some_and(|at| at <= now);
        let must_write = probe || sweep || now.since(self.moment) >= MOMENT_LAG;
        if txs.is_empty() && !must_write {
            return Ok(Vec::new());
        }
        let written = group(&mut self.connection, self.revision, now, txs, must_write);
        let Written { commits, changes, durable, revision, next_expiry } = match written {
            Ok(written) => written,
            Err(failure) => return Err(self.failed(&failure)),
        };
        if durable {
            self.moment = now;
        }
        self.revision = revision;
        self.next_expiry = next_expiry;
        if !changes.is_empty() {
            // Not for a mere probe: it needs no new page, and succeeds on a disk that is all but full.
            if std::mem::take(&mut self.failing) {
                tracing::info!("the store takes writes again");
            }
            self.feed.publish(changes, revision);
        }
        Ok(commits)
    }

    /// A full disk and a file that somebody else holds are over some time. After anything else, a failed `fsync` before
    /// all, the system's idea of the file and the disk's may differ: nothing more is written until a new process has
    /// read the file afresh.
    fn failed(&mut self, failure: &Failure) -> StoreError {
        let (Failure::Before(error) | Failure::AtCommit(error)) = failure;
        let passing = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        ) && self.connection.is_autocommit();
        if passing {
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(%error, "the store cannot write; it goes on trying");
            }
            return StoreError::Unapplied(error.to_string());
        }
        let why = format!("a write failed ({error}); mend the disk, then restart patapim-edge");
        tracing::error!(%error, "the store could not write and takes no more writes until a restart; mend the disk first");
        let _ = self.distrust.set(why.clone());
        match failure {
            Failure::Before(_) => StoreError::Unapplied(why),
            Failure::AtCommit(_) => StoreError::Unknown(why),
        }
    }
}

enum Failure {
    /// Surely nothing was written.
    Before(rusqlite::Error),
    /// The `COMMIT` itself failed. Where the disk was full the commit's last frame is not whole, and a frame that is not
    /// whole is not read back; where it was anything else, it may have been written.
    AtCommit(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Before(error)
    }
}

struct Written {
    commits: Vec<Commit>,
    changes: Vec<Change>,
    durable: bool,
    revision: Revision,
    next_expiry: Option<Timestamp>,
}

fn group(
    connection: &mut Connection,
    revision: Revision,
    now: Timestamp,
    txs: Vec<Tx>,
    must_write: bool,
) -> Result<Written, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut group = Group { transaction, revision, now, changes: Vec::new() };
    group.sweep()?;
    let commits = txs.into_iter().map(|tx| group.apply(tx)).collect::<rusqlite::Result<_>>()?;
    let Group { transaction, revision, changes, .. } = group;
    let next_expiry = transaction
        .prepare_cached("SELECT min(expires_at) FROM entries WHERE expires_at IS NOT NULL")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?
        .map(|at| Timestamp::from_millis(number(at)));
    let durable = must_write || !changes.is_empty();
    if durable {
        transaction
            .prepare_cached("UPDATE progress SET revision = ?1, moment = ?2")?
            .execute(params![column(revision.0), column(now.millis())])?;
        transaction.commit().map_err(Failure::AtCommit)?;
    }
    Ok(Written { commits, changes, durable, revision, next_expiry })
}

/// The transactions that become durable together.
struct Group<'a> {
    transaction: Transaction<'a>,
    revision: Revision,
    now: Timestamp,
    changes: Vec<Change>,
}

impl Group<'_> {
    /// Removes what has expired, so that its end is told before what comes in its place.
    fn sweep(&mut self) -> rusqlite::Result<()> {
        let revision = Revision(self.revision.0 + 1);
        let mut statement =
            self.transaction.prepare_cached("DELETE FROM entries WHERE expires_at <= ?1 RETURNING key")?;
        let gone = statement.query_map([column(self.now.millis())], |row| row.get::<_, String>(0))?;
        for key in gone {
            self.changes.push(Change::Gone(Key::new(key?), revision));
            self.revision = revision;
        }
        Ok(())
    }

    fn apply(&mut self, tx: Tx) -> rusqlite::Result<Commit> {
        for cond in &tx.conds {
            let holds = match cond {
                Cond::Absent(key) => self.revision_of(key)?.is_none(),
                Cond::Present(key) => self.revision_of(key)?.is_some(),
                Cond::AtRevision(key, revision) => self.revision_of(key)? == Some(*revision),
            };
            if !holds {
                return Ok(Commit::Conflict);
            }
        }
        let revision = Revision(self.revision.0 + 1);
        for op in last_on_each_key(tx.ops) {
            let change = match op {
                Op::Put { key, value, expires_at } => {
                    let entry = Entry { key, value, revision, expires_at };
                    self.put(&entry)?;
                    Change::Put(entry)
                }
                Op::Delete(key) => {
                    if !self.delete(&key)? {
                        continue;
                    }
                    Change::Gone(key, revision)
                }
            };
            self.changes.push(change);
            self.revision = revision;
        }
        Ok(Commit::Applied(self.revision))
    }

    fn revision_of(&self, key: &Key) -> rusqlite::Result<Option<Revision>> {
        self.transaction
            .prepare_cached(
                "SELECT revision FROM entries WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
            )?
            .query_row(params![&**key, column(self.now.millis())], |row| Ok(Revision(number(row.get(0)?))))
            .optional()
    }

    fn put(&self, entry: &Entry) -> rusqlite::Result<()> {
        let expires_at = entry.expires_at.map(|at| column(at.millis()));
        self.transaction
            .prepare_cached(
                "INSERT INTO entries (key, value, revision, expires_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE
                 SET value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at",
            )?
            .execute(params![&*entry.key, &*entry.value, column(entry.revision.0), expires_at])
            .map(drop)
    }

    fn delete(&self, key: &Key) -> rusqlite::Result<bool> {
        let deleted =
            self.transaction.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([&**key])?;
        Ok(deleted > 0)
    }
}

/// Of several on one key only the last has an effect that anyone can see, as the transaction is atomic.
fn last_on_each_key(mut ops: Vec<Op>) -> Vec<Op> {
    let key = |op: &Op| match op {
        Op::Put { key, .. } | Op::Delete(key) => key.clone(),
    };
    if ops.len() > 1 {
        let mut seen = HashSet::new();
        ops.reverse();
        ops.retain(|op| seen.insert(key(op)));
        ops.reverse();
    }
    ops
}
