//! Files of keys: only we may read them, and a crash leaves the old file or the new one.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::secret::{base64url, from_base64url};

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or its folder cannot be read or written.
    #[error("{path} cannot be read or written: {source}; check that the folder is writable and has space", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Others may read the keys.
    #[error("{path} may be read by others (mode {mode:o}): run `chmod 600 {path}`; if somebody may have read it, remove it to end every session and begin with a new key", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not the file that we wrote.
    #[error("{path} is damaged ({reason}): restore it from a backup, or remove it to end every session and begin with a new key", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// One key, as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyLine {
    pub(super) kid: String,
    pub(super) created_at: Timestamp,
    pub(super) retired_at: Option<Timestamp>,
    secret: Zeroizing<String>,
}

impl KeyLine {
    pub(super) fn new(kid: String, created_at: Timestamp, secret: &[u8]) -> Self {
        Self { kid, created_at, retired_at: None, secret: Zeroizing::new(base64url(secret)) }
    }

    /// This key, retired at `at` unless it was before.
    pub(super) fn retired(mut self, at: Timestamp) -> Self {
        self.retired_at.get_or_insert(at);
        self
    }

    /// Whether, at `now`, it was retired longer than `kept` ago: nothing that it signed can be good any more.
    pub(super) fn is_over(&self, kept: Duration, now: Timestamp) -> bool {
        self.retired_at.is_some_and(|at| now.since(at) >= kept)
    }

    pub(super) fn secret(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        from_base64url(&self.secret)
            .map(Zeroizing::new)
            .ok_or_else(|| format!("key {:?} is not base64url", self.kid))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    keys: Vec<KeyLine>,
}

/// What a file holds: at least one key, of which the first is not retired.
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    pub(super) lines: Vec<KeyLine>,
}

impl KeyFile {
    pub(super) fn damaged(&self, reason: String) -> KeyError {
        KeyError::Damaged { path: self.path.clone(), reason }
    }
}

/// Where all keys are.
pub fn folder_in(data_dir: &Path) -> PathBuf {
    data_dir.join("keys")
}

/// Opens `<data_dir>/keys/<name>`, or makes it with the key that `first` gives. Keys that were retired longer than
/// `kept` before `now` are taken out of it.
pub(super) fn open(
    data_dir: &Path,
    name: &str,
    kept: Duration,
    now: Timestamp,
    first: impl FnOnce() -> Result<KeyLine, String>,
) -> Result<KeyFile, KeyError> {
    let folder = folder_in(data_dir);
    let path = folder.join(name);
    let io = |source| KeyError::Io { path: path.clone(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io)?;
    if !path.try_exists().map_err(io)? {
        let line = first().map_err(|reason| io(std::io::Error::other(reason)))?;
        write(&path, vec![line]).map_err(io)?;
    }
    let mode = std::fs::metadata(&path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path, mode });
    }
    let text = Zeroizing::new(std::fs::read(&path).map_err(io)?);
    let mut lines = parse(&text).map_err(|reason| KeyError::Damaged { path: path.clone(), reason })?;
    if lines.iter().any(|line| line.is_over(kept, now)) {
        lines.retain(|line| !line.is_over(kept, now));
        write(&path, lines.clone()).map_err(io)?;
    }
    Ok(KeyFile { path, lines })
}

/// The lines of a file after a rotation at `now`: `new` first, then, if they are [kept](Former), the former ones that
/// still matter.
pub(super) fn rotated(
    new: KeyLine,
    held: &[KeyLine],
    former: Former,
    kept: Duration,
    now: Timestamp,
) -> Vec<KeyLine> {
    let mut lines = vec![new];
    if former == Former::Kept {
        lines.extend(held.iter().cloned().map(|line| line.retired(now)));
        lines.retain(|line| !line.is_over(kept, now));
    }
    lines
}

/// What becomes of the keys that signed until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// What they signed is good until it expires.
    Kept,
    /// They are forgotten at once, and all they signed with them.
    Forgotten,
}

fn parse(text: &[u8]) -> Result<Vec<KeyLine>, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if file.version != 1 {
        return Err(format!("version {}, and this program knows version 1", file.version));
    }
    match file.keys.first() {
        Some(first) if first.retired_at.is_none() => Ok(file.keys),
        _ => Err("no key that signs".to_owned()),
    }
}

/// Writes beside, syncs, renames.
pub(super) fn write(path: &Path, keys: Vec<KeyLine>) -> std::io::Result<()> {
    let text = Zeroizing::new(serde_json::to_vec_pretty(&File { version: 1, keys })?);
    let beside = path.with_extension("json.new");
    // A leftover of a crash may have another mode; the new one must not inherit it.
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}
