//! What must outlive a restart: a small ordered key-value store with conditions, expiry and a change feed.
//!
//! The trait is shaped so that SQLite (one file, embedded) and etcd (a cluster) both fit it without bending, and
//! [`conformance`] is the one suite that each engine passes. Nothing here knows what a user or a session is.
//!
//! The path of an admitted request never comes here: what it needs is kept in memory, and [followed](follow).

use std::ops::Deref;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

#[cfg(test)]
pub mod conformance;
pub mod follow;
pub mod mirror;
pub mod pages;
pub mod replaceable;
pub mod sqlite;

/// A key: `/`-separated segments, `users/…`. Ordered bytewise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Box<str>);

impl Key {
    /// Takes `text` as a key. Segments are ids and fixed words, chosen by us and not by strangers.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// What follows `prefix`, or none.
    pub fn after(&self, prefix: &str) -> Option<&str> {
        self.0.strip_prefix(prefix)
    }
}

impl Deref for Key {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// The largest value an engine takes, in bytes. etcd's requests end at 1.5 MiB; the embedded engine keeps to the
/// same measure, so that what works on one works on the other.
pub const MAX_VALUE: usize = 1024 * 1024;

/// The store's version number: every commit that changes something raises it by at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A key's present value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its value, opaque here.
    #[serde(with = "as_text")]
    pub value: Bytes,
    /// The commit that wrote it last.
    pub revision: Revision,
    /// When it ends by itself; none: never.
    pub expires_at: Option<Timestamp>,
}

/// What must hold for a [`Tx`] to be applied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Cond {
    /// The key has no value (or one that has expired).
    Absent(Key),
    /// The key has a value, whichever.
    Present(Key),
    /// The key's value was last written at this revision.
    AtRevision(Key, Revision),
}

/// One change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Sets the value; it ends by itself at `expires_at`.
    Put {
        /// The key.
        key: Key,
        /// The value.
        #[serde(with = "as_text")]
        value: Bytes,
        /// When it ends by itself; none: never.
        expires_at: Option<Timestamp>,
    },
    /// Removes the key. Not an error where it has no value.
    Delete(Key),
}

/// Changes that are applied together, if all conditions hold, or not at all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tx {
    /// All must hold.
    pub conds: Vec<Cond>,
    /// Applied in order; of several on one key only the last is told to watchers.
    pub ops: Vec<Op>,
}

impl Tx {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, cond: Cond) -> Self {
        self.conds.push(cond);
        self
    }

    /// Adds a put that never ends by itself.
    #[must_use]
    pub fn put(self, key: Key, value: impl Into<Bytes>) -> Self {
        self.put_until(key, value, None)
    }

    /// Adds a put that ends at `expires_at`.
    #[must_use]
    pub fn put_until(mut self, key: Key, value: impl Into<Bytes>, expires_at: Option<Timestamp>) -> Self {
        self.ops.push(Op::Put { key, value: value.into(), expires_at });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.ops.push(Op::Delete(key));
        self
    }
}

/// How a [`Tx`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Commit {
    /// Applied and durable: it survives `kill -9` and a power cut. Where there was nothing to change, the revision is
    /// the present one.
    Applied(Revision),
    /// A condition did not hold; nothing was changed.
    Conflict,
}

/// One change, as [`Store::watch`] tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The key has this value now.
    Put(Entry),
    /// The key has no value any more: deleted, or expired.
    Gone(Key, Revision),
    /// Every change up to this revision has been told, those of its own included. Follows the changes, never in the
    /// middle of a commit's, and whichever prefix they were under: with it a follower knows that it has seen the whole
    /// of a commit, and that a commit had nothing for it.
    Reached(Revision),
}

impl Change {
    /// The key it is about; none: about all.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Put(entry) => Some(&entry.key),
            Self::Gone(key, _) => Some(key),
            Self::Reached(_) => None,
        }
    }

    /// The commit it belongs to.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.revision,
            Self::Gone(_, revision) | Self::Reached(revision) => *revision,
        }
    }
}

/// All entries under a prefix as they were at one revision.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// In key order.
    pub entries: Vec<Entry>,
}

/// Why the store did not answer. After `Unapplied` nothing has changed; after `Unknown` it may have.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub enum StoreError {
    /// Surely not applied: a full disk, a refused write, a closed store.
    #[error("the store did not take the write: {0}")]
    Unapplied(String),
    /// Perhaps applied: the answer was lost.
    #[error("the store's answer was lost; the write may have been applied: {0}")]
    Unknown(String),
    /// A read failed.
    #[error("the store cannot be read: {0}")]
    Read(String),
    /// [`Store::watch`] was asked to begin at a revision whose changes are no longer kept: take a new snapshot.
    #[error("the changes since that revision are no longer kept")]
    Compacted,
}

/// What a look at the whole store found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// The number of its layout.
    pub layout: i64,
    /// How many entries it has.
    pub entries: u64,
    /// Its version number.
    pub revision: u64,
    /// The latest moment that it knows: time does not go back behind it.
    pub moment: Timestamp,
    /// Its size on the disk.
    pub bytes: u64,
    /// What is wrong with it, if anything is.
    pub damage: Option<String>,
}

/// What becomes of a file that stands where a backup is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// It stays, and there is no backup.
    Kept,
    /// The backup takes its place, once it is whole.
    Replaced,
}

/// Why there is no backup.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackupError {
    /// A file is there already.
    #[error("{} is there already, and a backup takes its place only if told to", .0.display())]
    Exists(PathBuf),
    /// The system did not let us write it.
    #[error("{} cannot be written: {cause}; the folder must exist, have space, and be writable to the server's user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store. Every method may be called from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One key's value.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// Everything under `prefix`, at one revision.
    async fn range(&self, prefix: &str) -> Result<Snapshot, StoreError>;

    /// The first entries under `prefix` whose keys come after `after`, at one revision: at most `most`, and fewer only where
    /// there are no more.
    async fn page(&self, prefix: &str, after: Option<&Key>, most: usize) -> Result<Snapshot, StoreError>;

    /// Applies `tx` atomically and durably. Conflicting transactions are applied one after the other: of fifty that
    /// create one key exactly one is `Applied`.
    async fn commit(&self, tx: Tx) -> Result<Commit, StoreError>;

    /// Every change under `prefix` after `after`, in order, without end. An expiry is a change too, told within a
    /// second or so. A watcher that falls too far behind gets [`StoreError::Compacted`] and nothing after it; it never
    /// holds up a writer.
    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError>;

    /// Answers once a write can be made durable now; for `/readyz`.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Reads all of it and checks that it is whole, while it goes on being read and written.
    async fn examine(&self) -> Result<Examination, StoreError>;

    /// Copies the store as it is at one moment into a file of its own, while it goes on being read and written. The file
    /// appears at `path` whole and durable, or not at all; only its owner may read it. Gives its size in bytes.
    async fn backup_to(&self, path: &Path, existing: Existing) -> Result<u64, BackupError>;
}

/// A value where text is wanted: base64url.
mod as_text {
    use bytes::Bytes;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use crate::secret::{base64url, from_base64url};

    pub(super) fn serialize<S: Serializer>(value: &Bytes, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&base64url(value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        from_base64url(&text).map(Bytes::from).ok_or_else(|| D::Error::custom("not base64url"))
    }
}
