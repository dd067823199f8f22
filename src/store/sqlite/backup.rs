//! A copy of the file, made while it is in use.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Copies what `source` sees into a new file at `path`: whole and on the disk, or not there at all.
pub(super) fn copy(source: &Connection, path: &Path) -> Result<(), Failure> {
    // Never over a file that is there already, and never readable by others, not even for a moment.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let copied = fill(source, path);
    if copied.is_err() {
        let _ = fs::remove_file(path);
    }
    copied
}

fn fill(source: &Connection, path: &Path) -> Result<(), Failure> {
    let mut copy = Connection::open(path)?;
    // All pages in one step, which is one read transaction: writers go on beside it, and it sees none of theirs.
    match Backup::new(source, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        unfinished => return Err(format!("the copy could not be finished ({unfinished:?})").into()),
    }
    copy.close().map_err(|(_, error)| error)?;
    File::open(path)?.sync_all()?;
    sync_folder(path)?;
    Ok(())
}

/// So that the new name, too, survives a power cut.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
