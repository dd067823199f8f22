//! One server takes the place of another, and nobody notices: `serve --upgrade`.
//!
//! ```text
//!  the one that runs                                  its successor
//!                      ◀── what do you listen on? ──  has read its configuration
//!                      ─── listening sockets ───▶     checks what it can without the store
//!                      ◀── the store, please ───────
//!  writes what is queued, closes the file
//!                      ─── it is yours ─────────▶     opens it, loads every session and revocation
//!                      ◀── I serve it ──────────────  from now on both work on one store: the successor's
//!  tells its agents to dial anew, and passes
//!  them on as they come (with what they said first) ▶ serves agents
//!                      ◀── I accept ────────────────  once they are there: visitors, operators
//!  accepts no more; what is in flight goes on,
//!  at most for the grace, and ends with its session
//! ```
//!
//! The file has one writer at every moment, and it is the one that holds its lock. Requests on their way to an app never
//! touch the store, so they feel nothing of the change; what does touch it waits for the moment it takes
//! ([`Replaceable`](crate::store::replaceable::Replaceable)). After it the former server reads and writes
//! [through the new one](lent), change feed included: a revocation on either side is one in the same file, and cuts on
//! both. The audit trail, too, has one writer: what is done at the former server is written down by the new one.
//!
//! Until the successor accepts, whatever goes wrong with it leaves the former server as it was: it opens its file again
//! and goes on. After that it is the successor that counts: should it end, the former one ends too, for nobody would tell
//! it of revocations any more.
//!
//! Two sockets in the data directory serve this. A running server hears its successor at `handover.sock`; a successor
//! hears the one whose place it takes at `heir.sock`, a call or an agent at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::lent::StoreCall;
use crate::names::TunnelId;
use crate::store::sqlite::OpenError;
use crate::trail::{Event, TrailError};

mod acts;
mod estate;
mod heir;
mod lent;
mod line;
mod passing;
mod predecessor;
#[cfg(test)]
mod tests;

pub(super) use self::estate::{Estate, HandedOver};
pub(super) use self::heir::Heir;
pub(super) use self::passing::Passing;
pub(super) use self::predecessor::{Inherited, Predecessor};

/// Servers of different versions of this conversation do not hand over to each other.
const VERSION: u32 = 1;

/// How long the running server may take for a step: it may have to let a backup end first.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a running server hears its successor.
fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("handover.sock")
}

/// Where a successor hears the one whose place it takes.
fn heir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("heir.sock")
}

/// What a successor asks, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Request {
    /// The listening sockets.
    Listeners { version: u32 },
    /// The store.
    Store,
    /// To go on with the store that it serves, and to pass agents on.
    Serving,
    /// To accept no more.
    Accepting,
}

/// What it is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reply {
    /// As many sockets for https come along, and for http, and one for the operator.
    Listeners { https: usize, http: usize },
    /// The store is closed; these tunnels have an agent now.
    Store { tunnels: Vec<TunnelId> },
    /// It is as it was asked for.
    Done,
    /// It is not; a sentence that says why.
    Refused(String),
}

/// What a successor is asked by the one whose place it takes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HeirCall {
    /// A call on the store.
    Store(StoreCall),
    /// To write an act down.
    Act(Box<Event>),
    /// To serve an agent, whose connection comes along, and what it has said so far: base64url.
    Agent(String),
}

/// Why a server does not take the place of another.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The running server would not.
    #[error("the running server does not hand over: {0}")]
    Refused(String),
    /// It ended in the middle, or speaks otherwise.
    #[error("the hand-over broke off: {0}; the running server goes on, if it still runs")]
    Broken(#[from] io::Error),
    /// It does not go on.
    #[error("the hand-over broke off: the running server did not answer in time, and goes on")]
    Silent,
    /// The successor ended half-way, and the store was not to be had again.
    #[error("a new server ended while it took over, and the store cannot be taken back: {0}")]
    Lost(#[source] OpenError),
    /// As [`Self::Lost`], of the audit trail.
    #[error("a new server ended while it took over, and the audit trail cannot be taken back: {0}")]
    TrailLost(#[source] TrailError),
}
