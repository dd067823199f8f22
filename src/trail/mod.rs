//! The audit trail: what was done here, by whom and from where, in an order that nobody changes unseen.
//!
//! It is one file, `audit.jsonl` in the data directory: a JSON document a line, each with its number and a hash over the
//! line before it and its own bytes. A line that is changed, dropped, moved or put in breaks the [chain]; one that is cut
//! off at the end is missed because the store keeps the number and the hash of the last.
//!
//! Two kinds of event come in, by two doors:
//!
//! - An act ([`Trail::record`]) was done by somebody who may. It waits until its line is on the disk, and only then is
//!   the act acknowledged. One [writer] takes all that waits and makes it durable with one sync.
//! - A try ([`Trail::note`]) was refused. It waits for nothing: whoever is refused shall not slow anybody down. Nor shall
//!   they fill the disk: beyond a few of a kind they are counted, and the count is written ([strangers]).
//!
//! Where the file cannot be written, acts are refused; where its sync has failed, what the disk holds is not known, and
//! nothing more is written until a restart has read it again. A line that a crash tore is set aside at start ([file]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot, watch};

mod chain;
mod event;
mod file;
mod read;
mod strangers;
mod writer;
mod yielding;

#[cfg(test)]
mod tests;

pub use chain::{Flaw, FlawKind, Verified};
pub use event::{Act, By, Event};
pub use read::{Entry, Reader};
pub use writer::Forward;
pub use yielding::Yielded;

use self::chain::Head;
use self::strangers::Strangers;
use self::writer::{Index, Job, Writer};
use crate::clock::Clock;
use crate::names::UserId;
use crate::store::pages::read_through;
use crate::store::{Key, Store, StoreError, Tx};

/// The file in the data directory.
const FILE: &str = "audit.jsonl";
/// How many events may wait for the writer.
const QUEUE: usize = 1024;
/// How often it is looked whether a count is to be written.
const TICK: Duration = Duration::from_secs(1);

const HEAD: &str = "trail/head";
const LATEST: &str = "trail/latest/";

/// Why the trail did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrailError {
    /// Nothing was written; the next one may be.
    #[error("the audit trail could not be written: {0}")]
    Unwritten(String),
    /// Nothing more is written.
    #[error("the audit trail is not trusted any more: {0}; restart the server to have it read again")]
    Distrusted(String),
    /// The server is ending.
    #[error("the audit trail is closed: the server is stopping")]
    Closed,
    /// It cannot be opened or read.
    #[error("the audit trail {path} cannot be read: {reason}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The store, which keeps where the trail ends.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The trail of one edge.
pub struct Trail {
    queue: mpsc::Sender<Job>,
    head: watch::Receiver<Head>,
    index: Arc<Mutex<Index>>,
    strangers: Mutex<Strangers>,
    distrust: Arc<OnceLock<String>>,
    /// Why the last line could not be written, if it could not.
    unwritten: Arc<ArcSwapOption<String>>,
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Trail {
    /// Opens the trail in `data_dir`, or begins it. What a crash left is mended; what it cannot explain it reports, and
    /// goes on behind it: neither is a reason not to start.
    pub async fn open(
        data_dir: &Path,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TrailError> {
        let kept = store.get(&Key::new(HEAD)).await?;
        let kept = kept.and_then(|entry| serde_json::from_slice::<Head>(&entry.value).ok());
        let line = |entry: &crate::store::Entry| {
            let user = UserId::parse(entry.key.after(LATEST)?).ok()?;
            Some((user, std::str::from_utf8(&entry.value).ok()?.parse().ok()?))
        };
        let mut latest = HashMap::new();
        read_through(&*store, LATEST, |entry| latest.extend(line(entry))).await?;
        let mut index = Index::of(latest);
        let path = data_dir.join(FILE);
        let opened = tokio::task::spawn_blocking({
            let path = path.clone();
            move || file::open(&path, kept)
        });
        let unreadable = |reason: String| TrailError::Read { path: path.clone(), reason };
        let opened = opened.await.map_err(|error| unreadable(error.to_string()))?;
        let opened = opened.map_err(|error| unreadable(error.to_string()))?;
        index.found(opened.found);
        if kept.is_none() {
            // From the first line on the store knows that there is a trail.
            store.commit(Tx::new().put(Key::new(HEAD), opened.file.head().to_json()?)).await?;
        }

        let index = Arc::new(Mutex::new(index));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (told, head) = watch::channel(opened.file.head());
        let distrust = opened.file.distrust();
        let unwritten = Arc::new(ArcSwapOption::empty());
        let writer =
            Writer::new(opened.file, Arc::clone(&index), told, Arc::clone(&unwritten), Arc::clone(&clock));
        writer::start(writer, jobs).map_err(|error| unreadable(error.to_string()))?;
        let strangers = Mutex::new(Strangers::default());
        let trail =
            Arc::new(Self { queue, head: head.clone(), index, strangers, distrust, unwritten, path, clock });
        tokio::spawn(keep(Arc::downgrade(&trail), Arc::clone(&trail.index), head, store));
        for incident in opened.incidents {
            trail.record(incident).await?;
        }
        Ok(trail)
    }

    /// Writes an act down. When this returns, its line is on the disk; after an error it is not, and the act must not be
    /// acknowledged.
    pub async fn record(&self, event: Event) -> Result<(), TrailError> {
        let (answer, answered) = oneshot::channel();
        let job = Job::Write(Box::new(event), Some(answer));
        self.queue.send(job).await.map_err(|_| TrailError::Closed)?;
        answered.await.map_err(|_| TrailError::Closed)?
    }

    /// Has a refused try written down, or counted. Never waits.
    pub fn note(&self, event: Event) {
        let now = self.clock.now();
        let Some(event) = self.strangers().take(event, now) else { return };
        self.hand_over(event);
    }

    fn hand_over(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(Job::Write(event, _))) =
            self.queue.try_send(Job::Write(Box::new(event), None))
        {
            self.strangers().count(&event, self.clock.now());
        }
    }

    /// Writes what was only counted so far, where it is time.
    fn write_counts(&self) {
        let due = self.strangers().due(self.clock.now());
        due.into_iter().for_each(|event| self.hand_over(event));
    }

    /// Whether what is written can still be believed, and the last line could be written. To be asked before an act, so
    /// that none is done in vain.
    pub fn trusted(&self) -> Result<(), TrailError> {
        if let Some(why) = self.distrust.get() {
            return Err(TrailError::Distrusted(why.clone()));
        }
        let unwritten = self.unwritten.load_full();
        unwritten.map_or(Ok(()), |why| Err(TrailError::Unwritten(String::clone(&why))))
    }

    /// Has it tried again whether a line can be written, where the last one could not: with acts refused nobody else does.
    fn try_again(&self) {
        if self.unwritten.load().is_some() {
            // Where the queue is full there is something to try with; the answer is in the log.
            let _ = self.queue.try_send(Job::Probe(oneshot::channel().0));
        }
    }

    /// Answers once it is known whether an act can be written down now; for `/readyz`.
    pub async fn ready(&self) -> Result<(), TrailError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Probe(answer)).await.map_err(|_| TrailError::Closed)?;
        answered.await.map_err(|_| TrailError::Closed)?
    }

    /// Where the trail ends, and how long its file is, at one moment between two writes.
    async fn measure(&self) -> Result<writer::Measured, TrailError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Measure(answer)).await.map_err(|_| TrailError::Closed)?;
        answered.await.map_err(|_| TrailError::Closed)
    }

    /// Holds the whole file against the chain, up to what is written at this moment.
    pub async fn verify(&self) -> Result<Verified, TrailError> {
        let (head, length) = self.measure().await?;
        let path = self.path.clone();
        let verified = tokio::task::spawn_blocking(move || chain::verify(&path, &head, length)).await;
        let verified = verified.map_err(|error| self.unreadable(&error))?;
        verified.map_err(|error| self.unreadable(&error))
    }

    /// The last events of a person, the newest first, at most `most`.
    pub async fn recent(&self, user: &UserId, most: usize) -> Result<Vec<Entry>, TrailError> {
        let Some(latest) = lock(&self.index).latest(user) else { return Ok(Vec::new()) };
        let (path, user) = (self.path.clone(), user.clone());
        let read = tokio::task::spawn_blocking(move || read::recent(&path, &user, latest, most)).await;
        let read = read.map_err(|error| self.unreadable(&error))?;
        read.map_err(|error| self.unreadable(&error))
    }

    /// Reads all lines from the first one on, and then those to come. What was noted before is among them: the writer
    /// has taken it by then.
    pub async fn reader(&self) -> Result<Reader, TrailError> {
        self.measure().await?;
        Ok(Reader::new(self.path.clone(), self.head.clone()))
    }

    /// Writes down what was only counted so far; before the end.
    pub async fn close(&self) {
        let rest = self.strangers().rest();
        for event in rest {
            if let Err(error) = self.record(event).await {
                tracing::warn!(%error, "refusals of the last minute are not counted");
            }
        }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        lock(&self.strangers)
    }

    fn unreadable(&self, error: &dyn std::fmt::Display) -> TrailError {
        TrailError::Read { path: self.path.clone(), reason: error.to_string() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps in the store where the trail ends, and each person's last line in it. It may lag behind the file, never the
/// other way round: at start the rest is read from the file.
async fn keep(
    trail: Weak<Trail>,
    index: Arc<Mutex<Index>>,
    mut head: watch::Receiver<Head>,
    store: Arc<dyn Store>,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {
                let Some(trail) = trail.upgrade() else { return };
                trail.write_counts();
                trail.try_again();
                continue;
            }
        }
        let end = *head.borrow_and_update();
        let latest = lock(&index).take_unkept();
        let Ok(value) = end.to_json() else { return };
        let tx = latest.iter().fold(Tx::new().put(Key::new(HEAD), value), |tx, (user, at)| {
            tx.put(Key::new(format!("{LATEST}{user}")), at.to_string())
        });
        if let Err(error) = store.commit(tx).await {
            tracing::warn!(%error, "where the audit trail ends is not kept yet");
            lock(&index).not_kept(latest);
        }
    }
}
