//! Opening the file: ours, of a version we know, whole, and not in anybody else's hands.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::clock::Timestamp;
use crate::store::Revision;

/// "ptpm", in the file's header: by it `file(1)` and we know it.
const APPLICATION_ID: i32 = 0x7074_706d;
/// The layout below. A program refuses what is newer than it.
pub(super) const VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE entries (
        key        TEXT PRIMARY KEY NOT NULL,
        value      BLOB NOT NULL,
        revision   INTEGER NOT NULL,
        expires_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE progress (
        only     INTEGER PRIMARY KEY CHECK (only = 0),
        revision INTEGER NOT NULL,
        moment   INTEGER NOT NULL
    ) STRICT;
    INSERT INTO progress VALUES (0, 0, 0);
";
const READERS: usize = 3;
/// What SQLite, and we, keep beside a file.
pub(super) const WAL: &str = "-wal";
pub(super) const SHM: &str = "-shm";
pub(super) const LOCK: &str = ".lock";
/// A restored file that is about to take the place: while it is there, what stands in the place is not to be served.
pub(super) const RESTORING: &str = ".restoring";
/// For an operator's `sqlite3` that holds the file for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a file was not opened. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("{} is in use by another patapim-edge; stop that one, or give this one a data_dir of its own", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not ours.
    #[error(
        "{} is not a store of patapim-edge ({what}); it was left as it is: move it away, or set data_dir to another folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// Written by a later version of this program.
    #[error(
        "{} was written by a newer patapim-edge (its layout is {found}, this program knows up to {VERSION}); \
         run the newer program, or restore a backup that this one made",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout's number.
        found: i64,
    },
    /// Damaged.
    #[error(
        "{} is damaged ({finding}); keep it aside together with its -wal file, and restore the last backup: \
         patapim-edge restore FROM",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the check found.
        finding: String,
    },
    /// A restore did not come to its end.
    #[error(
        "a restore of {} was interrupted; do it again: patapim-edge restore FROM (what was there before it is in a folder \
         before-restore-… beside it)",
        path.display()
    )]
    Halfway {
        /// The file.
        path: PathBuf,
    },
    /// The system did not let us.
    #[error("{} cannot be opened: {source}; check that the folder exists, is writable and has space", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Held as long as the file is served. An advisory lock: it ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Closing would not do: a child that this process is just starting has a copy of the descriptor until it `exec`s.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) revision: Revision,
    pub(super) moment: Timestamp,
    pub(super) lock: Lock,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source: source.into() };
    let lock = lock(path)?;
    if beside(path, RESTORING).try_exists().map_err(failed)? {
        return Err(OpenError::Halfway { path: path.to_owned() });
    }
    let mut file = private().open(path).map_err(failed)?;
    recognise(&mut file).map_err(failed)?.map_err(|fault| fault.at(path))?;
    // Before SQLite makes its -wal and -shm files, to which it gives the mode of the file itself.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    drop(file);
    let (writer, revision, moment) = check(path).map_err(|fault| fault.at(path))?;
    let readers = (0..READERS)
        .map(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
        .collect::<rusqlite::Result<_>>()
        .map_err(|error| Fault::from(error).at(path))?;
    Ok(Opened { writer, readers, revision, moment, lock })
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// The file of ours whose name is that of `path` and `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The lock is on a file beside it: on the file itself it would be lost as soon as SQLite closes any descriptor of it.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let name = beside(path, LOCK);
    let failed = |source: io::Error| OpenError::Io { path: name.clone(), source: source.into() };
    let file = private().open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // One connection belongs to one thread: no mutex.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Looks at the header alone, so that what is not ours is not touched, nor gets files put beside it. Without this SQLite
/// would take a file that is shorter than a header for an empty one.
pub(super) fn recognise(file: &mut File) -> io::Result<Result<(), Fault>> {
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header)?;
    Ok(match &header[..] {
        [] => Ok(()),
        header if !header.starts_with(b"SQLite format 3\0") => {
            Err(Fault::Foreign("no SQLite database".to_owned()))
        }
        header if header.get(68..72) == Some(&APPLICATION_ID.to_be_bytes()) => Ok(()),
        _ => Err(Fault::Foreign("another program's SQLite database".to_owned())),
    })
}

pub(super) fn check(path: &Path) -> Result<(Connection, Revision, Timestamp), Fault> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        // All of it or nothing, so that a crash leaves an empty file, which is as good as none. Not in WAL mode yet, so
        // that it is in the file itself.
        let making = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        making.pragma_update(None, "application_id", APPLICATION_ID)?;
        making.pragma_update(None, "user_version", VERSION)?;
        making.execute_batch(SCHEMA)?;
        making.commit()?;
    }
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(Fault::Newer(version));
    }
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Err(Fault::Corrupt(finding));
    }
    connection.prepare("SELECT key, value, revision, expires_at FROM entries")?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Io("its file system has no shared memory, which SQLite's WAL mode needs".into()));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    let (revision, moment) = connection
        .query_row("SELECT revision, moment FROM progress", [], |row| {
            Ok((number(row.get(0)?), number(row.get(1)?)))
        })
        .map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => {
                Fault::Corrupt("its table `progress` is empty".to_owned())
            }
            other => other.into(),
        })?;
    Ok((connection, Revision(revision), Timestamp::from_millis(moment)))
}

/// SQLite's integers are signed. What does not fit is further away than anything we mean.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back of [`column`].
pub(super) fn number(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

#[derive(Debug)]
pub(super) enum Fault {
    Foreign(String),
    Newer(i64),
    Corrupt(String),
    Io(Box<dyn std::error::Error + Send + Sync>),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // Not a database, though its header is ours; a query of ours that its tables do not know.
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Io(error.into()),
        }
    }
}

impl Fault {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Foreign(what) => OpenError::Foreign { path, what },
            Self::Newer(found) => OpenError::Newer { path, found },
            Self::Corrupt(finding) => OpenError::Corrupt { path, finding },
            Self::Io(source) => OpenError::Io { path, source },
        }
    }
}
