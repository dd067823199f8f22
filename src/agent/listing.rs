//! Devices as commands and the panel list them (contract, section 2).

use serde::{Deserialize, Serialize};

use super::decisions::Decided;
use super::trust::TrustedDevices;
use crate::clock::Timestamp;
use crate::names::DeviceId;
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
