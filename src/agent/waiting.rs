//! A device that waits for somebody to decide: what is known of it, and how it is shown.

use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, SessionId};
use crate::wire::approval::Credential;
use crate::wire::one_line;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Passkey,
    Other,
}

impl Class {
    pub(super) const fn of(device: &Credential) -> Self {
        match device {
            Credential::Passkey(_) => Self::Passkey,
            _ => Self::Other,
        }
    }

    /// How many may wait at once.
    pub(super) const fn most_waiting(self) -> usize {
        match self {
            Self::Passkey => 4,
            Self::Other => 2,
        }
    }

    /// How many may be shown in an hour.
    pub(super) const fn most_an_hour(self) -> usize {
        match self {
            Self::Passkey => 12,
            Self::Other => 5,
        }
    }
}

/// A session of a device that waits.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) session: SessionId,
    pub(super) address: String,
    pub(super) browser: String,
    pub(super) expires_at: Timestamp,
}

/// A device that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) device: Credential,
    pub(super) name: String,
    pub(super) number: u8,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) visits: Vec<Visit>,
}

/// A device that waits, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) id: DeviceId,
    pub(super) name: String,
    /// Of its key; none for what has none.
    pub(super) fingerprint: Option<String>,
    pub(super) address: String,
    #[serde(serialize_with = "clock::as_rfc3339", deserialize_with = "clock::from_rfc3339")]
    pub(super) since: Timestamp,
    pub(super) last_used: Option<String>,
    pub(super) number: u8,
    pub(super) kind: String,
    pub(super) browser: String,
    #[serde(serialize_with = "clock::as_rfc3339", deserialize_with = "clock::from_rfc3339")]
    pub(super) until: Timestamp,
}

impl From<&Waiting> for Shown {
    fn from(waiting: &Waiting) -> Self {
        let (fingerprint, kind) = match &waiting.device {
            Credential::Passkey(passkey) => (Some(passkey.public_key.fingerprint()), "passkey"),
            Credential::BackupCode(_) => (None, "backup-code"),
            Credential::MagicLink(_) => (None, "magic-link"),
            Credential::Password(_) => (None, "password"),
            Credential::AccessToken(_) => (None, "access-token"),
            Credential::Other(_) => (None, "other"),
        };
        let mut addresses: Vec<&str> = Vec::new();
        for visit in &waiting.visits {
            if !addresses.contains(&&*visit.address) {
                addresses.push(&visit.address);
            }
        }
        Self {
            id: waiting.device.device().clone(),
            name: waiting.name.clone(),
            fingerprint,
            address: addresses.join(", "),
            since: waiting.since,
            last_used: None,
            number: waiting.number,
            kind: kind.to_owned(),
            browser: waiting.visits.first().map(|visit| visit.browser.clone()).unwrap_or_default(),
            until: waiting.until,
        }
    }
}

/// Whether two that ask under one id are one device: a passkey is its key.
pub(super) fn is_same(one: &Credential, other: &Credential) -> bool {
    match (one, other) {
        (Credential::Passkey(one), Credential::Passkey(other)) => one.public_key == other.public_key,
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// What a stranger says of itself, fit to be shown.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    one_line(text).trim().chars().take(longest).collect()
}
