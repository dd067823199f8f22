//! Whom this desktop did not believe, and why: for the person at it to read.
//!
//! The edge says who opened a session. Where a passkey is said to have done it, there is a proof, or the session is none. The
//! last refusals are remembered while the agent runs; they are not kept, because a session that is asked about again is
//! judged again.

use serde::{Deserialize, Serialize};

use super::proof::ProofFault;
use super::waiting::shortened;
use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, SessionId};
use crate::wire::approval::Ask;

/// How many are remembered.
const REMEMBERED: usize = 50;

/// What becomes of a session that no passkey was used for, and that can prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// Somebody is asked.
    Asked,
    /// It is refused.
    Refused,
}

/// Why a session is refused without anybody being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unbelieved {
    #[error("{0}")]
    Proof(ProofFault),
    #[error("it calls itself a device that is trusted here, and has another key")]
    OtherKey,
    #[error("it was not opened with a passkey, and this desktop wants proof (--require-proof)")]
    NoPasskey,
}

/// A session that was refused so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    pub(super) name: String,
    pub(super) address: String,
    #[serde(serialize_with = "clock::as_rfc3339", deserialize_with = "clock::from_rfc3339")]
    pub(super) at: Timestamp,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn of(ask: &Ask, why: Unbelieved, now: Timestamp) -> Self {
        Self {
            session: ask.session.clone(),
            device: ask.device.device().clone(),
            name: shortened(ask.device.name(), 80),
            address: shortened(&ask.address, 60),
            at: now,
            why: why.to_string(),
        }
    }
}

/// The last of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Notes one; the same session twice is one.
    pub(super) fn note(&mut self, refusal: Refusal) {
        self.0.retain(|one| one.session != refusal.session);
        self.0.push(refusal);
        if self.0.len() > REMEMBERED {
            self.0.remove(0);
        }
    }

    /// The last one last.
    pub(super) fn list(&self) -> &[Refusal] {
        &self.0
    }
}
