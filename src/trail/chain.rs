//! The chain: what makes a line a line of this trail, in its place.
//!
//! A line ends with the SHA-256 of the hash before it and of all its bytes up to there; the first follows thirty-two
//! zeros. So each line stands for all before it, and whoever knows the last hash knows whether anything was touched.
//! Whoever may write both the file and the store could write another history; for that there is `audit --follow`, which
//! tells it to another machine while it happens.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::TrailError;
use super::event::Event;
use crate::clock::Timestamp;
use crate::names::UserId;
use crate::secret::{base64url, from_base64url};

/// What comes before the hash in a line, and after.
const BEFORE: &[u8] = b",\"hash\":\"";
const AFTER: &[u8] = b"\"}";
/// How long a hash is in base64url.
const SPELLED: usize = 43;
/// Longer lines are not ours.
pub(super) const LONGEST_LINE: u64 = 8 * 1024;

/// The hash of a line, which stands for all lines up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Hash([u8; 32]);

impl Hash {
    fn of(before: Self, body: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&before.0);
        context.update(body);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = from_base64url(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("not a SHA-256 in base64url")
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        base64url(hash.0)
    }
}

/// The last line, and where it lies in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Its number; 0: there is none yet.
    pub(super) seq: u64,
    pub(super) hash: Hash,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Head {
    /// As the store keeps it.
    pub(super) fn to_json(self) -> Result<Vec<u8>, TrailError> {
        serde_json::to_vec(&self).map_err(|error| TrailError::Unwritten(error.to_string()))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    seq: u64,
    #[serde(serialize_with = "crate::clock::as_rfc3339")]
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
    /// Where this person's line before this one begins, so that their own are found without the others'.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<u64>,
}

/// Appends to `out` the line that follows `head`, to lie at `start`; gives the new head.
pub(super) fn seal(
    out: &mut Vec<u8>,
    head: &Head,
    start: u64,
    at: Timestamp,
    event: &Event,
    earlier: Option<u64>,
) -> Result<Head, serde_json::Error> {
    let seq = head.seq + 1;
    let mut line = serde_json::to_vec(&Document { seq, at, event, earlier })?;
    line.pop();
    let hash = Hash::of(head.hash, &line);
    line.extend_from_slice(BEFORE);
    line.extend_from_slice(String::from(hash).as_bytes());
    line.extend_from_slice(AFTER);
    line.push(b'\n');
    out.extend_from_slice(&line);
    Ok(Head { seq, hash, start, end: start + line.len() as u64 })
}

/// What the chain wants to know of a line; the rest of it is covered by the hash.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
    #[serde(default)]
    user_id: Option<UserId>,
}

/// A line, taken apart: its number, whose it is, what was hashed, and the hash that it states.
pub(super) struct Parts<'l> {
    pub(super) seq: u64,
    pub(super) user: Option<UserId>,
    body: &'l [u8],
    pub(super) states: Hash,
}

impl<'l> Parts<'l> {
    pub(super) fn of(line: &'l [u8]) -> Option<Self> {
        let rest = line.strip_suffix(AFTER)?;
        let (rest, spelled) = rest.split_at_checked(rest.len().checked_sub(SPELLED)?)?;
        let states = Hash::try_from(String::from_utf8(spelled.to_vec()).ok()?).ok()?;
        let body = rest.strip_suffix(BEFORE)?;
        let Numbered { seq, user_id } = serde_json::from_slice(line).ok()?;
        Some(Self { seq, user: user_id, body, states })
    }

    /// Whether it states what follows from the line `before` it.
    pub(super) fn follows(&self, before: Hash) -> bool {
        Hash::of(before, self.body) == self.states
    }
}

/// The first thing that is wrong with a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// The line in the file, counted from 1.
    pub line: u64,
    /// What is wrong there.
    #[serde(flatten)]
    pub kind: FlawKind,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "flaw")]
pub enum FlawKind {
    /// Not a line of any trail.
    #[error("it cannot be read")]
    Unreadable,
    /// Its bytes are others, or those of the line before it.
    #[error("entry {seq} was changed, or does not continue the line before it")]
    Changed {
        /// Its number.
        seq: u64,
    },
    /// Lines were dropped before it.
    #[error("entries {first} to {last} are missing before it")]
    Missing {
        /// The first that is missing.
        first: u64,
        /// The last.
        last: u64,
    },
    /// It stands where another should.
    #[error("it is entry {found} where entry {expected} should be: it was moved, repeated or put in")]
    Misplaced {
        /// The number that should be there.
        expected: u64,
        /// The one that is.
        found: u64,
    },
    /// The end is missing.
    #[error("the file ends before it: entries {first} to {last} are cut off")]
    CutOff {
        /// The first that is missing.
        first: u64,
        /// The last that was written.
        last: u64,
    },
    /// The chain holds, but it is another one.
    #[error("entry {seq}, the last, is not the one that was written: lines up to it were written anew")]
    Rewritten {
        /// Its number.
        seq: u64,
    },
    /// Something follows that the server did not write.
    #[error("the server did not write it, nor what follows")]
    Foreign,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "line {}: {}", self.line, self.kind)
    }
}

/// What came of holding a trail against its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// How many entries there were when it was asked.
    pub entries: u64,
    /// The first thing that is wrong; none: the trail is whole.
    pub first_flaw: Option<Flaw>,
}

/// Goes from line to line, and holds each against the one before.
pub(super) struct Walk {
    reader: BufReader<File>,
    head: Head,
    /// Where the next line begins.
    at: u64,
    line: u64,
    buffer: Vec<u8>,
}

/// What lies next in the file.
pub(super) enum Step {
    /// A line that follows.
    Follows { user: Option<UserId> },
    /// A line that does not; and its number, if it has one.
    Flawed(FlawKind, Option<u64>),
    /// A line without its end: all that is left.
    Torn(Vec<u8>),
    /// Nothing.
    End,
}

impl Walk {
    /// From the line after `head` on.
    pub(super) fn after(head: Head, mut file: File) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(head.end))?;
        let reader = BufReader::with_capacity(256 * 1024, file);
        Ok(Self { reader, head, at: head.end, line: head.seq, buffer: Vec::new() })
    }

    /// The last line that followed.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    pub(super) fn next(&mut self) -> std::io::Result<Step> {
        self.buffer.clear();
        let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(Step::End);
        }
        let start = self.at;
        self.at += read as u64;
        self.line += 1;
        let Some(line) = self.buffer.strip_suffix(b"\n") else {
            if read as u64 == LONGEST_LINE {
                return Ok(Step::Flawed(FlawKind::Unreadable, None));
            }
            return Ok(Step::Torn(std::mem::take(&mut self.buffer)));
        };
        let Some(parts) = Parts::of(line) else { return Ok(Step::Flawed(FlawKind::Unreadable, None)) };
        let (expected, found) = (self.head.seq + 1, parts.seq);
        if found > expected {
            return Ok(Step::Flawed(FlawKind::Missing { first: expected, last: found - 1 }, Some(found)));
        }
        if found < expected {
            return Ok(Step::Flawed(FlawKind::Misplaced { expected, found }, Some(found)));
        }
        if !parts.follows(self.head.hash) {
            return Ok(Step::Flawed(FlawKind::Changed { seq: found }, Some(found)));
        }
        self.head = Head { seq: found, hash: parts.states, start, end: self.at };
        Ok(Step::Follows { user: parts.user })
    }
}

/// Holds the file against the chain up to `head`, the last line that was written; `length` is what the file had then.
pub(super) fn verify(path: &Path, head: &Head, length: u64) -> std::io::Result<Verified> {
    let flawed = |line, kind| Verified { entries: head.seq, first_flaw: Some(Flaw { line, kind }) };
    let cut_off = |after: u64| FlawKind::CutOff { first: after + 1, last: head.seq };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(flawed(1, cut_off(0))),
        Err(error) => return Err(error),
    };
    let mut walk = Walk::after(Head::default(), file)?;
    while walk.head.seq < head.seq {
        match walk.next()? {
            Step::Follows { .. } => {}
            Step::Flawed(kind, _) => return Ok(flawed(walk.line, kind)),
            Step::Torn(_) => return Ok(flawed(walk.line, FlawKind::Unreadable)),
            Step::End => return Ok(flawed(walk.line + 1, cut_off(walk.head.seq))),
        }
    }
    if walk.head.hash != head.hash {
        return Ok(flawed(walk.line, FlawKind::Rewritten { seq: head.seq }));
    }
    if length > walk.at {
        return Ok(flawed(walk.line + 1, FlawKind::Foreign));
    }
    Ok(Verified { entries: head.seq, first_flaw: None })
}
