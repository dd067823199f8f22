//! The transactions that become durable together, as one of SQLite's.
//!
//! A transaction's conditions are read before any of its changes is made, so one that conflicts leaves nothing to undo,
//! and a group needs no savepoints: its statements fail together or not at all.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::layout::{self, Progress, column, number};
use crate::clock::Timestamp;
use crate::store::{Change, Commit, Cond, Entry, Key, Op, Revision, Tx};

pub(super) enum Failure {
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

/// What was written.
pub(super) struct Written {
    pub(super) commits: Vec<Commit>,
    pub(super) changes: Vec<Change>,
    pub(super) durable: bool,
    pub(super) progress: Progress,
    pub(super) next_expiry: Option<Timestamp>,
}

/// Applies `txs` to what has come as far as `progress`, and makes it durable.
pub(super) fn write(
    connection: &mut Connection,
    progress: Progress,
    now: Timestamp,
    txs: Vec<Tx>,
    must_write: bool,
) -> Result<Written, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut group = Group { transaction, progress, now, changes: Vec::new() };
    group.sweep()?;
    let commits = txs.into_iter().map(|tx| group.apply(tx)).collect::<rusqlite::Result<_>>()?;
    let Group { transaction, mut progress, changes, .. } = group;
    let next_expiry = transaction
        .prepare_cached("SELECT min(expires_at) FROM entries WHERE expires_at IS NOT NULL")?
        .query_row([], |row| row.get::<_, Option<i64>>(0))?
        .map(|at| Timestamp::from_millis(number(at)));
    let durable = must_write || !changes.is_empty();
    if durable {
        progress.moment = now;
        progress.keep(&transaction)?;
        transaction.commit().map_err(Failure::AtCommit)?;
    }
    Ok(Written { commits, changes, durable, progress, next_expiry })
}

struct Group<'a> {
    transaction: Transaction<'a>,
    progress: Progress,
    now: Timestamp,
    changes: Vec<Change>,
}

impl Group<'_> {
    fn next_revision(&self) -> Revision {
        Revision(self.progress.revision.0 + 1)
    }

    /// Removes what has expired, so that its end is told before what comes in its place.
    fn sweep(&mut self) -> rusqlite::Result<()> {
        let revision = self.next_revision();
        let mut statement = self
            .transaction
            .prepare_cached("DELETE FROM entries WHERE expires_at <= ?1 RETURNING key, sum")?;
        let gone = statement.query_map([column(self.now.millis())], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
        for gone in gone {
            let (key, sum) = gone?;
            self.changes.push(Change::Gone(Key::new(key), revision));
            self.progress.revision = revision;
            self.progress.content ^= sum;
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
        let revision = self.next_revision();
        for op in last_on_each_key(tx.ops) {
            let change = match op {
                Op::Put { key, value, expires_at } => {
                    let entry = Entry { key, value, revision, expires_at };
                    self.put(&entry)?;
                    Change::Put(entry)
                }
                Op::Delete(key) => {
                    let Some(sum) = self.sum_of_deleted(&key)? else { continue };
                    self.progress.content ^= sum;
                    Change::Gone(key, revision)
                }
            };
            self.changes.push(change);
            self.progress.revision = revision;
        }
        Ok(Commit::Applied(self.progress.revision))
    }

    fn revision_of(&self, key: &Key) -> rusqlite::Result<Option<Revision>> {
        self.transaction
            .prepare_cached(
                "SELECT revision FROM entries WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
            )?
            .query_row(params![&**key, column(self.now.millis())], |row| Ok(Revision(number(row.get(0)?))))
            .optional()
    }

    fn put(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        let former: Option<i64> = self
            .transaction
            .prepare_cached("SELECT sum FROM entries WHERE key = ?1")?
            .query_row([&*entry.key], |row| row.get(0))
            .optional()?;
        let expires_at = entry.expires_at.map(|at| column(at.millis()));
        let revision = column(entry.revision.0);
        let sum = layout::sum(&entry.key, &entry.value, revision, expires_at);
        self.transaction
            .prepare_cached(
                "INSERT INTO entries (key, value, revision, expires_at, sum) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision,
                 expires_at = excluded.expires_at, sum = excluded.sum",
            )?
            .execute(params![&*entry.key, &*entry.value, revision, expires_at, sum])?;
        self.progress.content ^= former.unwrap_or_default() ^ sum;
        Ok(())
    }

    fn sum_of_deleted(&self, key: &Key) -> rusqlite::Result<Option<i64>> {
        self.transaction
            .prepare_cached("DELETE FROM entries WHERE key = ?1 RETURNING sum")?
            .query_row([&**key], |row| row.get(0))
            .optional()
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
