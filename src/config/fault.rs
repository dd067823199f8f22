//! What is wrong with a configuration: where, which key, what, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of the file; line 0 is the file as a whole.
    File(Arc<Path>, usize),
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, 0) => write!(out, "{}", path.display()),
            Self::File(path, line) => write!(out, "{}:{line}", path.display()),
            Self::Environment(name) => write!(out, "environment {name}"),
        }
    }
}

/// What is wrong with one value, before it is known which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) wrong: String,
    pub(super) mend: String,
}

/// A [`Complaint`] with its two sentences.
pub(super) fn complaint(wrong: impl Into<String>, mend: impl Into<String>) -> Complaint {
    Complaint { wrong: wrong.into(), mend: mend.into() }
}

/// One fault, or one warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The key, with its section: `session.token_ttl`. Empty for what is not TOML at all.
    pub key: String,
    /// What is wrong with it.
    pub wrong: String,
    /// How to mend it.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, wrong, mend } = self;
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        write!(out, "{place}: {key}{wrong}; {mend}")
    }
}

/// Every fault of a configuration, in the order of the file. Exit status 78.
#[derive(Clone, Debug, thiserror::Error)]
pub struct BadConfig {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl BadConfig {
    /// With one fault, which only showed when the configuration was put to use.
    pub fn one(path: &Path, key: &str, wrong: String) -> Self {
        let mend = "mend that, then start again".to_owned();
        let fault = Fault { place: Place::File(path.into(), 0), key: key.to_owned(), wrong, mend };
        Self { path: path.to_owned(), faults: vec![fault] }
    }
}

impl fmt::Display for BadConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let what = if count == 1 { "fault" } else { "faults" };
        write!(out, "the configuration {} has {count} {what}:", self.path.display())?;
        self.faults.iter().try_for_each(|fault| write!(out, "\n  {fault}"))
    }
}
