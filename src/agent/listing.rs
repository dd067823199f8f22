//! Devices and sessions as commands and the panel list them (contract, section 2).

use serde::{Deserialize, Serialize};

use super::belief::Refusal;
use super::decisions::{Decided, Ground};
use super::desk::Snapshot;
use super::trust::TrustedDevices;
use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId};
use crate::wire::approval::TrustedDevice;

/// As much of an id as is shown to be typed: 40 bits.
const SHORT: usize = 8;

/// A trusted device in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) id: DeviceId,
    pub(super) name: String,
    pub(super) fingerprint: String,
    /// From where it came last, as far as that is still known.
    pub(super) address: Option<String>,
    pub(super) since: String,
    pub(super) last_used: Option<String>,
}

impl Listed {
    fn new(device: &TrustedDevice, sessions: &[Decided]) -> Self {
        let latest = sessions.iter().filter(|one| one.device == device.id).max_by_key(|one| one.since);
        Self {
            id: device.id.clone(),
            name: device.name.clone(),
            fingerprint: device.fingerprint.clone(),
            address: latest.map(|one| one.address.clone()),
            since: device.approved_at.rfc3339(),
            last_used: device.last_used_at.map(Timestamp::rfc3339),
        }
    }
}

/// A list, with what is known of their sessions.
pub(super) fn listed(devices: &[TrustedDevice], sessions: &[Decided]) -> Vec<Listed> {
    devices.iter().map(|device| Listed::new(device, sessions)).collect()
}

/// The list of a folder in which no agent runs.
pub(super) fn listed_at_rest(devices: &TrustedDevices) -> Vec<Listed> {
    listed(&devices.list(), &[])
}

/// A session that is served, and how far this desktop checked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Served {
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) since: String,
    pub(super) until: String,
    /// Whether a passkey that is trusted here was seen to open it.
    pub(super) verified: bool,
    /// The same, or why not, in words.
    pub(super) checked: String,
}

/// How far a session was checked here, in words.
pub(super) const fn checked(ground: Ground) -> &'static str {
    match ground {
        Ground::Trusted => "verified here",
        Ground::Owner => "not verified here: any passkey is let in that the edge says is the owner's",
        Ground::Asked => "not verified here: approved at this desktop, without a passkey",
        Ground::AccessToken => "not verified here: a script, with a token that the edge says is the owner's",
    }
}

impl Served {
    fn new(decided: &Decided, ground: Ground) -> Self {
        Self {
            session: decided.session.clone(),
            device: decided.device.clone(),
            name: decided.name.clone(),
            address: decided.address.clone(),
            since: decided.since.rfc3339(),
            until: decided.expires_at.rfc3339(),
            verified: ground == Ground::Trusted,
            checked: checked(ground).to_owned(),
        }
    }
}

/// Whom the desktop serves, and whom it did not believe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sessions {
    pub(super) sessions: Vec<Served>,
    pub(super) refused: Vec<Refusal>,
}

impl Sessions {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let served = |one: &Decided| one.ground().map(|ground| Served::new(one, ground));
        Self {
            sessions: snapshot.sessions.iter().filter_map(served).collect(),
            refused: snapshot.refusals.clone(),
        }
    }

    /// For a terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let served = self.sessions.iter().map(|Served { name, address, since, checked, .. }| {
            format!("Session: “{name}” from {address}, since {since}; {checked}.")
        });
        let refused = self.refused.iter().map(|Refusal { name, address, at, why, .. }| {
            format!("Not let in: “{name}” from {address}, at {}: {why}.", at.rfc3339())
        });
        served.chain(refused).collect()
    }
}

/// As much of `id` as needs to be typed.
pub(super) fn short(id: &DeviceId) -> &str {
    id.as_str().get(..SHORT).unwrap_or(id.as_str())
}

/// Which of `ids` somebody means who typed its beginning.
pub(super) fn meant<'a>(typed: &str, ids: impl Iterator<Item = &'a DeviceId>) -> Result<DeviceId, NotMeant> {
    let typed = typed.trim().to_ascii_lowercase();
    let mut found: Vec<&DeviceId> = ids.filter(|id| id.as_str().starts_with(&typed)).collect();
    found.sort();
    found.dedup();
    match *found {
        _ if typed.len() < 4 => Err(NotMeant::TooShort),
        [] => Err(NotMeant::None),
        [one] => Ok(one.clone()),
        _ => Err(NotMeant::Several),
    }
}

/// Nobody can tell which device was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotMeant {
    #[error("type at least the first four characters of the device's id")]
    TooShort,
    #[error(
        "no device here has an id that begins so: see `patapim-agent devices list` and `devices pending`"
    )]
    None,
    #[error("several devices have an id that begins so; type more of it")]
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_the_beginning_of_its_id() {
        let ids: Vec<_> = ["abcdefghijklmnopqrstuvwxyz", "abcdezzzzzzzzzzzzzzzzzzzzz"]
            .map(|id| DeviceId::parse(id).expect("an id"))
            .into();
        assert_eq!(meant("ABCDEF", ids.iter()), Ok(ids[0].clone()));
        assert_eq!(meant(ids[1].as_str(), ids.iter()), Ok(ids[1].clone()));
        assert_eq!(meant("abcde", ids.iter()), Err(NotMeant::Several));
        assert_eq!(meant("zzzz", ids.iter()), Err(NotMeant::None));
        assert_eq!(meant("", ids.iter()), Err(NotMeant::TooShort));
        assert_eq!(
            meant("abcdef", ids.iter().chain(&ids[..1])),
            Ok(ids[0].clone()),
            "listed twice, one device"
        );
    }
}
