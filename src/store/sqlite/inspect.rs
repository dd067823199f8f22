//! A look at the file that changes nothing in it.

use std::fs::{self, File};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::file::{self, Fault, RESTORING, beside};
use super::layout::{self, VERSION, number};
use crate::clock::Timestamp;
use crate::store::Examination;

/// A store's file, open for reading only. No server has it meanwhile.
pub struct Inspection {
    connection: Connection,
    _lock: Option<file::Lock>,
}

impl Inspection {
    /// Opens the file at `path`, which is there. What [`SqliteFile::open`](super::SqliteFile::open) would refuse is
    /// refused here as well.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // Nothing is made here: a lock file of root's would keep the server out.
        let lock = if beside(path, file::LOCK).exists() { Some(file::lock(path)?) } else { None };
        if beside(path, RESTORING).exists() {
            return Err(OpenError::Halfway { path: path.to_owned() });
        }
        let opened = || {
            file::is_plain(path)?;
            file::look(path, &mut File::open(path)?)?;
            let connection = file::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version > VERSION { Err(Fault::Newer(version)) } else { Ok(connection) }
        };
        let connection = opened().map_err(|fault| fault.at(path))?;
        Ok(Self { connection, _lock: lock })
    }

    /// Checks all of it.
    pub fn examine(&self) -> Result<Examination, rusqlite::Error> {
        examine(&self.connection)
    }

    /// The values under `prefix`, in key order, expired ones too.
    pub fn values(&self, prefix: &str) -> Result<Vec<Vec<u8>>, rusqlite::Error> {
        let mut select = self
            .connection
            .prepare("SELECT value FROM entries WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")?;
        select.query_map([prefix], |row| row.get(0))?.collect()
    }
}

/// Checks all that `connection` sees, and says what it is.
pub(super) fn examine(connection: &Connection) -> rusqlite::Result<Examination> {
    let at_once = connection.unchecked_transaction()?;
    let finding: String = at_once.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    let layout = at_once.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let entries: i64 = at_once.query_row("SELECT count(*) FROM entries", [], |row| row.get(0))?;
    let (revision, moment) = at_once
        .query_row("SELECT revision, moment FROM progress", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let damage = match finding.as_str() {
        "ok" if layout == VERSION => layout::finding(&at_once)?,
        "ok" => None,
        _ => Some(finding),
    };
    Ok(Examination {
        layout,
        entries: number(entries),
        revision: number(revision),
        moment: Timestamp::from_millis(number(moment)),
        bytes: connection.path().and_then(|path| fs::metadata(path).ok()).map_or(0, |about| about.len()),
        damage,
    })
}
