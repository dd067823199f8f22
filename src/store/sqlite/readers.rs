//! Reading: a few threads, each with a read-only connection. WAL lets them read while the writer writes.

use std::fmt::Display;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::sync::oneshot;

use super::layout::{Written, column, number};
use crate::clock::{Clock, Timestamp};
use crate::store::{Entry, Key, Revision, Snapshot, StoreError};

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

pub(super) struct Readers {
    /// None only while dropping.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(connections: Vec<Connection>, clock: Arc<dyn Clock>) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let threads = connections
            .into_iter()
            .map(|connection| {
                let mut reader = Reader { connection, clock: Arc::clone(&clock) };
                let queue = Arc::clone(&queue);
                super::thread("store-reader", move || {
                    while let Some(job) = next(&queue) {
                        job(&mut reader);
                    }
                })
            })
            .collect();
        Self { jobs: Some(jobs), threads }
    }

    pub(super) async fn run<T: Send + 'static, E: Display + Send + 'static>(
        &self,
        read: impl FnOnce(&mut Reader) -> Result<T, E> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Read("its readers have ended".to_owned());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            // Whoever asked may have gone away.
            let _ = answer.send(read(reader));
        });
        self.jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?.map_err(|error| StoreError::Read(error.to_string()))
    }
}

/// The idle threads queue up at the lock; the one that holds it waits for the next job.
fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub(super) struct Reader {
    pub(super) connection: Connection,
    clock: Arc<dyn Clock>,
}

impl Reader {
    pub(super) fn get(&mut self, key: Key) -> rusqlite::Result<Option<Entry>> {
        self.connection
            .prepare_cached(
                "SELECT key, value, revision, expires_at, sum FROM entries
                 WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
            )?
            .query_row(params![&*key, column(self.clock.now().millis())], entry)
            .optional()
    }

    /// What has expired but is not swept yet is left out already; that it is gone is told later, to a watcher that
    /// never heard of it.
    pub(super) fn range(&mut self, prefix: &str) -> rusqlite::Result<Snapshot> {
        self.page(prefix, None, usize::MAX)
    }

    /// As much as `most` of it behind `after`.
    pub(super) fn page(
        &mut self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> rusqlite::Result<Snapshot> {
        // The least key that is greater: SQLite compares byte by byte, zeros included.
        let begin = after.map_or_else(|| prefix.to_owned(), |key| format!("{}\0", &**key));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let now = column(self.clock.now().millis());
        // One transaction: the entries are those of the revision.
        let at_once = self.connection.transaction()?;
        let revision = at_once
            .prepare_cached("SELECT revision FROM progress")?
            .query_row([], |row| Ok(Revision(number(row.get(0)?))))?;
        let entries = at_once
            .prepare_cached(
                "SELECT key, value, revision, expires_at, sum FROM entries
                 WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) AND (expires_at IS NULL OR expires_at > ?3)
                 ORDER BY key LIMIT ?4",
            )?
            .query_map(params![begin, end_of(prefix), now, most], entry)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Snapshot { revision, entries })
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let Written { key, value, revision, expires_at, .. } = Written::read(row)?;
    Ok(Entry {
        key: Key::new(key),
        value: Bytes::copy_from_slice(value),
        revision: Revision(number(revision)),
        expires_at: expires_at.map(|at| Timestamp::from_millis(number(at))),
    })
}

/// The least text that is greater than all that begin with `prefix`; none where there is no such text. UTF-8 sorts by
/// code point, so it is enough to raise the last character that can be raised.
fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // A range of characters knows to step over the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_character_is_raised() {
        for (prefix, end) in [
            ("users/", Some("users0")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(end_of(prefix).as_deref(), end);
        }
    }
}
