//! Putting a backup in the place of the file.
//!
//! ```text
//!  backup ──copy──▶ .incoming: checked, what must not live again deleted, synced     nothing has changed so far
//!                       │ rename
//!                       ▼
//!                   .restoring: from here on no server opens what stands in the place
//!                       │        the former file, its log, and what belongs to it are set aside
//!                       ▼ rename
//!                   the file
//! ```
//!
//! A crash leaves either what was, or a file that no server opens until the restore is done again. A write-ahead log
//! of the former file is never left beside the new one, for SQLite would play it into it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::OpenError;
use super::backup::sync_folder;
use super::file::{self, Fault, Lock, RESTORING, SHM, WAL, beside};
use super::layout::{self, Progress};
use crate::clock::Timestamp;
use crate::store::Key;

/// The copy that is looked at and changed before anything else is.
const INCOMING: &str = ".incoming";

/// Why nothing was restored. Unless it is [`RestoreError::Halfway`], nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A server has the file that is to be replaced.
    #[error("a server is using {}; stop it first: a restore ends what it would go on with", .0.display())]
    Running(PathBuf),
    /// The backup cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The backup.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Not a backup of ours.
    #[error("{} is not a backup of patapim-edge ({what}); nothing was changed", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// Made by a later version of this program.
    #[error("{} was made by a newer patapim-edge (layout {found}); restore it with that one; nothing was changed", path.display())]
    Newer {
        /// The backup.
        path: PathBuf,
        /// Its layout's number.
        found: i64,
    },
    /// Damaged.
    #[error("{} is damaged ({finding}); nothing was changed: take another backup", path.display())]
    Corrupt {
        /// The backup.
        path: PathBuf,
        /// What the check found.
        finding: String,
    },
    /// It has a write-ahead log: a copy of it alone lacks what is in there.
    #[error(
        "{} is a server's own file, with a -wal file beside it, and no backup; make one with: patapim-edge backup TO",
        .0.display()
    )]
    Live(PathBuf),
    /// The system did not let us; what was there is as it was.
    #[error("nothing was changed: {} cannot be prepared: {cause}", path.display())]
    Unprepared {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system did not let us go on in the middle of it.
    #[error("interrupted while {} was replaced: {cause}; mend that and do the same again; the server will not start before", path.display())]
    Halfway {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A restore, as it is ordered.
#[derive(Clone, Copy, Debug)]
pub struct Restore<'a> {
    /// The backup.
    pub from: &'a Path,
    /// The file it takes the place of.
    pub to: &'a Path,
    /// What outlives it: everything under these prefixes. All else ends.
    pub lasting: &'a [&'a str],
    /// What the former file knows under this prefix is added: it may be said of the whole past only.
    pub carried: &'a str,
    /// Files and folders beside `to` that belong to the former file and are set aside with it.
    pub with_it: &'a [&'a Path],
    /// Now: the name of the folder that takes what is set aside.
    pub at: Timestamp,
}

/// What a restore did.
#[derive(Debug)]
pub struct Restored {
    /// The latest moment that the backup knows.
    pub as_of: Timestamp,
    /// How many entries it has.
    pub kept: usize,
    /// How many were ended.
    pub ended: usize,
    /// What the former file had no more, and is there again. None: the former file could not be asked.
    pub back: Option<Vec<Key>>,
    /// Where the former file is now, with what belongs to it.
    pub aside: Option<PathBuf>,
}

impl Restore<'_> {
    /// Does it.
    pub fn run(self) -> Result<Restored, RestoreError> {
        let _lock = self.lock()?;
        let incoming = beside(self.to, INCOMING);
        let prepared = self.prepare(&incoming);
        if prepared.is_err() {
            let _ = clear(&incoming);
        }
        let mut restored = prepared?;
        let halfway = |cause| RestoreError::Halfway { path: self.to.to_owned(), cause };
        restored.aside = self.replace(&incoming).map_err(halfway)?;
        Ok(restored)
    }

    fn lock(&self) -> Result<Lock, RestoreError> {
        match file::lock(self.to) {
            Ok(lock) => {
                self.hand_to_owner(&beside(self.to, file::LOCK))?;
                Ok(lock)
            }
            Err(OpenError::InUse { path }) => Err(RestoreError::Running(path)),
            Err(error) => Err(self.unprepared(error)),
        }
    }

    /// Makes the file that is going to be served.
    fn prepare(&self, incoming: &Path) -> Result<Restored, RestoreError> {
        self.copy(incoming)?;
        let (mut copy, Progress { moment: as_of, .. }) =
            file::check(incoming).map_err(|fault| self.refusal(fault))?;
        let whole: String = copy
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| self.refusal(error.into()))?;
        if whole != "ok" {
            return Err(self.refusal(Fault::Corrupt(whole)));
        }
        let (kept, ended) = self.end(&mut copy).map_err(|error| self.unprepared(error))?;
        let back = self.ask_former(&mut copy).ok();
        // One file again: its log must not stay behind under a name that it will not have.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
            .map_err(|error| self.unprepared(error))?;
        copy.close().map_err(|(_, error)| self.unprepared(error))?;
        self.hand_to_owner(incoming)?;
        File::open(incoming).and_then(|file| file.sync_all()).map_err(|error| self.unprepared(error))?;
        Ok(Restored { as_of, kept, ended, back, aside: None })
    }

    fn copy(&self, incoming: &Path) -> Result<(), RestoreError> {
        let unreadable = |cause| RestoreError::Unreadable { path: self.from.to_owned(), cause };
        let mut source = File::open(self.from).map_err(unreadable)?;
        let about = source.metadata().map_err(unreadable)?;
        if !about.is_file() || about.len() == 0 {
            let what = if about.is_file() { "it is empty" } else { "it is not a file" };
            return Err(self.refusal(Fault::Foreign(what.to_owned())));
        }
        if fs::metadata(beside(self.from, WAL)).is_ok_and(|log| log.len() > 0) {
            return Err(RestoreError::Live(self.from.to_owned()));
        }
        file::recognise(&mut source).map_err(unreadable)?.map_err(|fault| self.refusal(fault))?;
        io::Seek::rewind(&mut source).map_err(unreadable)?;
        let copied = clear(incoming)
            .and_then(|()| file::private().create_new(true).open(incoming))
            .and_then(|mut target| io::copy(&mut source, &mut target));
        copied.map(drop).map_err(|error| self.unprepared(error))
    }

    /// Deletes what does not outlive a restore, in such a way that it is not left in the file's free pages either.
    fn end(&self, copy: &mut Connection) -> rusqlite::Result<(usize, usize)> {
        copy.pragma_update(None, "secure_delete", true)?;
        let ending = copy.transaction_with_behavior(TransactionBehavior::Immediate)?;
        ending.execute_batch("CREATE TEMP TABLE lasting (prefix TEXT NOT NULL)")?;
        for prefix in self.lasting {
            ending.execute("INSERT INTO lasting VALUES (?1)", [prefix])?;
        }
        let ended = ending.execute(
            "DELETE FROM main.entries WHERE NOT EXISTS
             (SELECT 1 FROM lasting WHERE substr(entries.key, 1, length(prefix)) = prefix)",
            [],
        )?;
        ending.execute("UPDATE main.progress SET revision = revision + 1", [])?;
        let kept: i64 = ending.query_row("SELECT count(*) FROM main.entries", [], |row| row.get(0))?;
        layout::summed_up(&ending)?;
        ending.commit()?;
        Ok((usize::try_from(kept).unwrap_or_default(), ended))
    }

    /// If the former file can be read: adds what is carried over, and gives the keys that it had no more.
    fn ask_former(&self, copy: &mut Connection) -> rusqlite::Result<Vec<Key>> {
        if !self.to.exists() && !beside(self.to, RESTORING).exists() {
            return Ok(Vec::new());
        }
        let former = file::connect(self.to, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let adding = copy.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut known = former.prepare("SELECT 1 FROM entries WHERE key = ?1")?;
        let mut back = Vec::new();
        for key in adding.prepare("SELECT key FROM entries ORDER BY key")?.query_map([], |row| row.get(0))? {
            let key: String = key?;
            if !known.exists([&key])? {
                back.push(Key::new(key));
            }
        }
        let mut carried =
            former.prepare("SELECT key, value FROM entries WHERE substr(key, 1, length(?1)) = ?1")?;
        let mut rows = carried.query([self.carried])?;
        while let Some(row) = rows.next()? {
            adding.execute(
                "INSERT OR IGNORE INTO entries SELECT ?1, ?2, revision, NULL, 0 FROM progress",
                (row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?),
            )?;
        }
        layout::summed_up(&adding)?;
        adding.commit()?;
        Ok(back)
    }

    /// From the point of no return to the end.
    fn replace(&self, incoming: &Path) -> io::Result<Option<PathBuf>> {
        let restoring = beside(self.to, RESTORING);
        fs::rename(incoming, &restoring)?;
        sync_folder(self.to)?;
        let former = [self.to.to_owned(), beside(self.to, WAL), beside(self.to, SHM)];
        let former: Vec<PathBuf> = former
            .into_iter()
            .chain(self.with_it.iter().map(|path| path.to_path_buf()))
            .filter(|path| path.symlink_metadata().is_ok())
            .collect();
        let aside = if former.is_empty() { None } else { Some(self.folder_aside()?) };
        if let Some(aside) = &aside {
            for path in former {
                fs::rename(&path, aside.join(path.file_name().unwrap_or_default()))?;
            }
            File::open(aside)?.sync_all()?;
            sync_folder(self.to)?;
        }
        fs::rename(&restoring, self.to)?;
        sync_folder(self.to)?;
        Ok(aside)
    }

    /// A new folder beside the file, for its owner alone.
    fn folder_aside(&self) -> io::Result<PathBuf> {
        let mut name = format!("before-restore-{}", self.at.rfc3339().replace(':', "-"));
        loop {
            let folder = self.to.with_file_name(&name);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => name.push_str("-again"),
                made => return made.and_then(|()| hand_over(&folder, self.to)).map(|()| folder),
            }
        }
    }

    /// Root restores, and another user serves.
    fn hand_to_owner(&self, path: &Path) -> Result<(), RestoreError> {
        hand_over(path, self.to).map_err(|error| self.unprepared(error))
    }

    fn unprepared(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RestoreError {
        RestoreError::Unprepared { path: self.to.to_owned(), cause: cause.into() }
    }

    /// What is wrong with the backup.
    fn refusal(&self, fault: Fault) -> RestoreError {
        let path = self.from.to_owned();
        match fault {
            Fault::Foreign(what) => RestoreError::Foreign { path, what },
            Fault::Newer(found) => RestoreError::Newer { path, found },
            Fault::Corrupt(finding) => RestoreError::Corrupt { path, finding },
            Fault::Io(cause) => self.unprepared(cause),
        }
    }
}

/// Removes a copy and what SQLite put beside it.
fn clear(incoming: &Path) -> io::Result<()> {
    for suffix in ["", WAL, SHM, "-journal"] {
        match fs::remove_file(beside(incoming, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives `path` to whoever owns the folder that `file` is in, unless it is theirs.
fn hand_over(path: &Path, file: &Path) -> io::Result<()> {
    let folder = fs::metadata(file.parent().unwrap_or(Path::new(".")))?;
    let mine = fs::metadata(path)?;
    if mine.uid() == folder.uid() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()))
}
