//! A machine that is not as it should be: its clock is wrong, or the names it looks up lead elsewhere.
//!
//! The programs under test are the built ones. What they ask of the system's C library is answered by a few lines of C
//! (`elsewhere.c`), compiled here: a compiler is there, or cargo could not have linked the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A day, in seconds.
pub(crate) const DAY: i64 = 86_400;

/// The machine.
pub(crate) struct Machine {
    library: PathBuf,
    names: PathBuf,
    _folder: TempDir,
}

impl Machine {
    /// One that is as it should be, until it is told otherwise.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("patapim-machine-").expect("a folder");
        let library = compiled("elsewhere", folder.path());
        Self { library, names: folder.path().join("names"), _folder: folder }
    }

    /// Runs `command` with a clock that is ahead by so many seconds, or behind.
    pub(crate) fn clock_ahead(&self, command: &mut Command, seconds: i64) {
        command.env("LD_PRELOAD", &self.library).env("ELSEWHERE_AHEAD", seconds.to_string());
    }

    /// Runs `command` where names under `.test` have the address that was told last.
    pub(crate) fn with_names(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("ELSEWHERE_NAMES", &self.names);
    }

    /// From now on, names under `.test` lead to `address`.
    pub(crate) fn names_lead_to(&self, address: &str) {
        let beside = self.names.with_extension("new");
        std::fs::write(&beside, address).expect("our own folder");
        std::fs::rename(&beside, &self.names).expect("our own folder");
    }
}

/// Compiles `<name>.c`, which lies beside this file, into `folder`.
pub(super) fn compiled(name: &str, folder: &Path) -> PathBuf {
    let source = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/rig/{}.c"), name);
    let library = folder.join(name).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().expect("a C compiler").success());
    library
}
