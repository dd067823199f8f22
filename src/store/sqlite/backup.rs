//! A copy of the file, made while it is in use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::store::{BackupError, Existing};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Copies what `source` sees into a file at `path`: whole and on the disk, or not there at all. Gives its size.
pub(super) fn copy(source: &Connection, path: &Path, existing: Existing) -> Result<u64, BackupError> {
    // Said before the work; decided by the link below.
    if existing == Existing::Kept && path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let partial = partial(path);
    let copied = fill(source, &partial).and_then(|bytes| {
        put_in_place(&partial, path, existing)?;
        Ok(bytes)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&partial);
    }
    copied.map_err(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(ErrorKind::AlreadyExists) => BackupError::Exists(path.to_owned()),
        _ => BackupError::File { path: path.to_owned(), cause: error.to_string() },
    })
}

/// Beside `path`, under a name that no other backup of this process has: what a crash leaves is plainly no backup.
fn partial(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".partial-{}-{number}", std::process::id()));
    PathBuf::from(name)
}

fn fill(source: &Connection, path: &Path) -> Result<u64, Failure> {
    // Never through a link that somebody put there, and never readable by others, not even for a moment.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut copy = Connection::open(path)?;
    // All pages in one step, which is one read transaction: writers go on beside it, and it sees none of theirs.
    match Backup::new(source, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        unfinished => return Err(format!("the copy could not be finished ({unfinished:?})").into()),
    }
    // One file, which can be read where nothing can be written beside it.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.close().map_err(|(_, error)| error)?;
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn put_in_place(partial: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Kept => {
            // Unlike a rename, a link never takes the place of a file.
            fs::hard_link(partial, path)?;
            fs::remove_file(partial)?;
        }
        Existing::Replaced => fs::rename(partial, path)?,
    }
    sync_folder(path)
}

/// So that a name in the folder of `path`, too, survives a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
