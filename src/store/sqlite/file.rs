//! Opening the file: ours, of a version we know, whole, and not in anybody else's hands.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::layout::{self, APPLICATION_ID, Progress, VERSION};
use super::log;

const READERS: usize = 3;
/// What each keeps of the file, beside what the system does; a start reads all of it, and would leave more.
const READER_CACHE_KIB: i64 = 512;
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
    pub(super) progress: Progress,
    pub(super) lock: Lock,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source: source.into() };
    let lock = lock(path)?;
    if beside(path, RESTORING).try_exists().map_err(failed)? {
        return Err(OpenError::Halfway { path: path.to_owned() });
    }
    is_plain(path).map_err(|fault| fault.at(path))?;
    let mut file = private().open(path).map_err(failed)?;
    look(path, &mut file).map_err(|fault| fault.at(path))?;
    // Before SQLite makes its -wal and -shm files, to which it gives the mode of the file itself.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    drop(file);
    let (writer, progress) = check(path).map_err(|fault| fault.at(path))?;
    let readers = (0..READERS)
        .map(|_| {
            let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            reader.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
            Ok(reader)
        })
        .collect::<rusqlite::Result<_>>()
        .map_err(|error| Fault::from(error).at(path))?;
    Ok(Opened { writer, readers, progress, lock })
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

/// Through a link two servers could have one file under two names, each with a lock of its own; and its log would be where
/// the link leads.
pub(super) fn is_plain(path: &Path) -> Result<(), Fault> {
    let what = match path.symlink_metadata() {
        Ok(about) if about.is_file() => return Ok(()),
        Ok(about) if about.is_symlink() => "it is a link; let data_dir itself be where the file is to be",
        Ok(about) if about.is_dir() => "it is a folder",
        Ok(_) => "it is no ordinary file",
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    Err(Fault::Foreign(what.to_owned()))
}

/// Looks at the file at `path` and at its log before SQLite does.
pub(super) fn look(path: &Path, file: &mut File) -> Result<(), Fault> {
    recognise(file)??;
    let wal = beside(path, WAL);
    if file.metadata()?.len() > 0 {
        return log::finding(&wal)?.map_or(Ok(()), |finding| Err(Fault::Corrupt(finding)));
    }
    // SQLite would begin an empty file anew, and throw its log away.
    match wal.symlink_metadata() {
        Ok(left) if left.len() > 0 => {
            Err(Fault::Corrupt("it is empty or missing, and its log is not".to_owned()))
        }
        _ => Ok(()),
    }
}

pub(super) fn check(path: &Path) -> Result<(Connection, Progress), Fault> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // A file that is refused is left as it is, and its log beside it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(Fault::Newer(version));
    }
    if version != VERSION {
        is_tree(&connection)?;
        // Not in WAL mode yet, so that what is made is in the file itself.
        layout::prepare(&mut connection, version)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != VERSION {
            return Err(Fault::Corrupt(format!("its layout has the number {version}")));
        }
    }
    is_whole(path, &connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Io("its file system has no shared memory, which SQLite's WAL mode needs".into()));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // By the writer, which hears of it when that fails; SQLite by itself would not say.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Before the log: SQLite ends the change of its mode only with the next statement.
    let progress = Progress::of(&connection)?;
    let progress = progress.ok_or_else(|| Fault::Corrupt("its table `progress` is empty".to_owned()))?;
    begin_log_anew(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok((connection, progress))
}

/// Everything is read twice: once for the tree that holds it, once for the entries' sums; at the same time, because a start
/// waits for both.
fn is_whole(path: &Path, connection: &Connection) -> Result<(), Fault> {
    let (tree, entries) = thread::scope(|scope| {
        let tree = scope.spawn(|| is_tree(&connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?));
        let entries = layout::finding(connection);
        (tree.join(), entries)
    });
    tree.unwrap_or_else(|_| Err(Fault::Io("the check of the file broke off".into())))?;
    entries?.map_or(Ok(()), |finding| Err(Fault::Corrupt(finding)))
}

fn is_tree(connection: &Connection) -> Result<(), Fault> {
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding == "ok" { Ok(()) } else { Err(Fault::Corrupt(finding)) }
}

/// What the log says is written into the file and synced. After a sync that failed the system may show us a log that
/// the disk does not have; nothing may be built on that.
fn begin_log_anew(connection: &Connection) -> Result<(), Fault> {
    let held: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if held {
        tracing::warn!("another program is reading the store's file, so its log goes on; end that program");
    }
    Ok(())
}

#[derive(Debug)]
pub(super) enum Fault {
    Foreign(String),
    Newer(i64),
    Corrupt(String),
    Io(Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // Not a database, though its header is ours; a query of ours that its tables do not know.
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
                Self::Corrupt(error.to_string())
            }
            Some(_) => Self::Io(error.into()),
            // A text that is none, a number that is none.
            None => Self::Corrupt(error.to_string()),
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
