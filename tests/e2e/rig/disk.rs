//! A disk that fails: what the programs under test ask of the system's C library about the files of one folder is answered
//! by a few lines of C (`disk.c`), which say that the disk is full or broken, or end the program at any write.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::machine::compiled;

/// `ENOSPC`: there is no space left.
pub(crate) const FULL: i32 = 28;
/// `EIO`: it is broken.
pub(crate) const BROKEN: i32 = 5;

/// What does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Sync,
    /// The sync of a folder.
    SyncFolder,
}

/// A fault of the disk: an operation on the files that have this in their path, and what the system says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault(pub(crate) Operation, pub(crate) &'static str, pub(crate) i32);

/// The disk.
pub(crate) struct Disk {
    library: PathBuf,
    folder: TempDir,
}

impl Disk {
    /// One that works.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("patapim-disk-").expect("a folder");
        Self { library: compiled("disk", folder.path()), folder }
    }

    fn faults(&self) -> PathBuf {
        self.folder.path().join("faults")
    }

    /// Where it is taken down what a program does with it.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Runs `command` with this disk under `folder`.
    pub(crate) fn under(&self, folder: &Path, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("DISK_UNDER", folder);
        command.env("DISK_FAULTS", self.faults()).env("DISK_BREATHS", self.breaths());
    }

    /// As [`Self::under`], and all that is done is taken down.
    pub(crate) fn journaled_under(&self, folder: &Path, command: &mut Command) {
        let _ = std::fs::remove_file(self.journal());
        self.goes_on_under(folder, command);
    }

    /// The same behind what was taken down before.
    pub(crate) fn goes_on_under(&self, folder: &Path, command: &mut Command) {
        self.under(folder, command);
        command.env("DISK_JOURNAL", self.journal());
    }

    fn breaths(&self) -> PathBuf {
        self.folder.path().join("breaths")
    }

    /// Has the program end without warning at its write or sync of that number, from now on or from its start.
    pub(crate) fn lets_breathe(&self, operations: u64) {
        super::ca::replace(&self.breaths(), &operations.to_string());
    }

    /// Lets the next program live.
    pub(crate) fn lets_live(&self) {
        let _ = std::fs::remove_file(self.breaths());
    }

    /// From now on it has these faults, and no others.
    pub(crate) fn fails(&self, faults: &[Fault]) {
        let line = |Fault(operation, part, error): &Fault| {
            let operation = match operation {
                Operation::Read => "read",
                Operation::Write => "write",
                Operation::Sync => "sync",
                Operation::SyncFolder => "syncdir",
            };
            format!("{operation} {part} {error}\n")
        };
        super::ca::replace(&self.faults(), &faults.iter().map(line).collect::<String>());
    }

    /// From now on it works.
    pub(crate) fn is_mended(&self) {
        self.fails(&[]);
    }
}
