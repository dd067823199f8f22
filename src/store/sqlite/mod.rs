//! The embedded engine: one SQLite file, in WAL mode, with `synchronous=FULL`.
//!
//! ```text
//!  commit ──▶ bounded queue ──▶ writer: one thread, all that waits in one SQLite transaction (group commit)
//!                                 │ 1. durable   2. told to the feed   3. answered
//!                                 ▼
//!  watch  ◀── feed: the last changes, in memory
//!  get, range ──▶ readers: a few threads, each with a read-only connection of its own
//! ```
//!
//! A file is [opened](SqliteFile::open) first, and [started](SqliteFile::start) once there is a clock: the clock begins
//! no earlier than the [latest moment](SqliteFile::latest_moment) the file has seen. A [backup](Store::backup_to) is a
//! file of the same kind; [`Restore`] puts one back.

mod backup;
mod feed;
mod file;
mod group;
mod inspect;
mod layout;
mod log;
mod readers;
mod restore;
mod writer;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::clock::{Clock, Timestamp};
use crate::store::{
    BackupError, Change, Commit, Entry, Examination, Existing, Key, Revision, Snapshot, Store, StoreError, Tx,
};

pub use file::OpenError;
pub use inspect::Inspection;
pub use restore::{Restore, RestoreError, Restored};

/// A store's file, opened, checked and locked, but not yet served.
pub struct SqliteFile(file::Opened);

impl SqliteFile {
    /// Opens the file at `path`, or makes it. What is not ours, or from a newer version, or damaged, is refused and left
    /// as it is; so is a file that another server has open.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        file::open(path).map(Self)
    }

    /// The latest moment that was written down while this file was served: what had expired by then stays expired, even
    /// if the machine's clock has been set back since.
    pub fn latest_moment(&self) -> Timestamp {
        self.0.progress.moment
    }

    /// Serves the file until the last `Arc` is dropped.
    pub fn start(self, clock: Arc<dyn Clock>) -> Arc<SqliteStore> {
        let file::Opened { writer, readers, progress, lock } = self.0;
        let feed = Arc::new(feed::Feed::from(progress.revision));
        Arc::new(SqliteStore {
            readers: readers::Readers::start(readers, Arc::clone(&clock)),
            writer: writer::Queue::start(writer, progress, Arc::clone(&feed), clock),
            feed,
            _lock: lock,
        })
    }
}

/// The store, served. Dropping the last `Arc` finishes what is queued and closes the file.
pub struct SqliteStore {
    // In this order they are dropped: the lock goes when nothing of ours touches the file any more.
    readers: readers::Readers,
    writer: writer::Queue,
    feed: Arc<feed::Feed>,
    _lock: file::Lock,
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let key = key.clone();
        self.readers.run(move |reader| reader.get(key)).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let prefix = prefix.to_owned();
        self.readers.run(move |reader| reader.range(&prefix)).await
    }

    async fn page(&self, prefix: &str, after: Option<&Key>, most: usize) -> Result<Snapshot, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.readers.run(move |reader| reader.page(&prefix, after.as_ref(), most)).await
    }

    async fn commit(&self, tx: Tx) -> Result<Commit, StoreError> {
        self.writer.commit(tx).await
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
        self.feed.watch(prefix, after)
    }

    /// Writes: a commit of its own, which records the moment, goes through the writer and to the disk. Calls at one time
    /// share one.
    async fn ready(&self) -> Result<(), StoreError> {
        self.writer.probe().await
    }

    async fn examine(&self) -> Result<Examination, StoreError> {
        self.readers.run(|reader| inspect::examine(&reader.connection)).await
    }

    async fn backup_to(&self, path: &Path, existing: Existing) -> Result<u64, BackupError> {
        let path = path.to_owned();
        let copy = move |reader: &mut readers::Reader| {
            Ok::<_, Infallible>(backup::copy(&reader.connection, &path, existing))
        };
        self.readers.run(copy).await?
    }
}

/// A thread of the store's.
fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    #[expect(clippy::expect_used, reason = "a program that gets no thread while it starts cannot serve")]
    thread::Builder::new().name(name.to_owned()).spawn(run).expect("the system gives a thread")
}
