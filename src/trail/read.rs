//! Reading the trail: all of it, in order; or one person's part, from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::chain::{Head, LONGEST_LINE};
use crate::names::UserId;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// One line, read back. Its fields are those of [`super::Event`], with its number, time and hash; a newer server may have
/// written more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry(Map<String, Value>);

impl Entry {
    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }
}

/// A person's lines, from the one at `latest` back.
pub(super) fn recent(path: &Path, user: &UserId, latest: u64, most: usize) -> io::Result<Vec<Entry>> {
    let file = File::open(path)?;
    let (mut found, mut next) = (Vec::new(), Some(latest));
    while let Some(at) = next.filter(|_| found.len() < most) {
        let mut bytes = vec![0; usize::try_from(LONGEST_LINE).unwrap_or_default()];
        let read = file.read_at(&mut bytes, at)?;
        let line = bytes[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
        // What is not theirs, or lies not before it, somebody has put there: whoever tampered shows nobody anything.
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else { break };
        if entry.text("user_id") != Some(user.as_str()) {
            break;
        }
        next = entry.number("earlier").filter(|earlier| *earlier < at);
        found.push(entry);
    }
    Ok(found)
}

/// Reads lines, and waits for those to come.
pub struct Reader {
    path: PathBuf,
    head: watch::Receiver<Head>,
    at: u64,
}

impl Reader {
    pub(super) fn new(path: PathBuf, head: watch::Receiver<Head>) -> Self {
        Self { path, head, at: 0 }
    }

    /// The next lines, as they are in the file; none: there are no more so far.
    pub async fn lines(&mut self) -> io::Result<Vec<u8>> {
        let end = self.head.borrow_and_update().end;
        let (path, at) = (self.path.clone(), self.at);
        let read = tokio::task::spawn_blocking(move || chunk(&path, at, end)).await;
        let (lines, at) = read.map_err(io::Error::other)??;
        self.at = at;
        Ok(lines)
    }

    /// Waits until there may be more; false: the trail has ended.
    pub async fn more(&mut self) -> bool {
        self.head.changed().await.is_ok()
    }
}

/// Whole lines from `at` on, and where the next one begins.
fn chunk(path: &Path, at: u64, end: u64) -> io::Result<(Vec<u8>, u64)> {
    let most = usize::try_from(end.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
    let mut bytes = vec![0; most];
    let read = File::open(path)?.read_at(&mut bytes, at)?;
    bytes.truncate(read);
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(read, |last| last + 1);
    bytes.truncate(whole);
    Ok((bytes, at + whole as u64))
}
