//! The passkeys that this desktop trusts: `trusted-passkeys.json` in the agent's folder.
//!
//! Here is the list and its form. It is read once, when the agent starts, and written whole after each change
//! ([`Home::write`]): a file beside it, synced, renamed into its place. Whatever ends the process at whatever moment,
//! the old list is there or the new one. A file that is not a list of ours is never written over: it is set aside.

use serde::{Deserialize, Serialize};

use super::home::{Home, HomeError};
use crate::clock::{self, Timestamp};
use crate::names::DeviceId;
use crate::wire::approval::{PasskeyFacts, PublicKey, TrustedDevice};

const FILE: &str = "trusted-passkeys.json";
const VERSION: u32 = 1;

/// More passkeys than a person has.
pub(super) const MOST_DEVICES: usize = 200;

/// A trusted passkey. Its key is what is trusted: another key under the same id is another device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub(super) struct Trusted {
    id: DeviceId,
    name: String,
    fingerprint: String,
    public_key: PublicKey,
    #[serde(serialize_with = "clock::as_rfc3339")]
    approved_at: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339_option")]
    last_used_at: Option<Timestamp>,
}

/// An entry as it is read; what does not hold together is none.
#[derive(Deserialize)]
struct Stored {
    id: DeviceId,
    name: String,
    fingerprint: String,
    public_key: PublicKey,
    approved_at: String,
    #[serde(default)]
    last_used_at: Option<String>,
}

impl TryFrom<Stored> for Trusted {
    type Error = String;
    fn try_from(stored: Stored) -> Result<Self, String> {
        let time = |text: &str| Timestamp::parse_rfc3339(text).ok_or(format!("{text:?} is not a time"));
        if stored.fingerprint != stored.public_key.fingerprint() {
            return Err(format!("{} is not the fingerprint of its key", stored.fingerprint));
        }
        Ok(Self {
            approved_at: time(&stored.approved_at)?,
            last_used_at: stored.last_used_at.as_deref().map(time).transpose()?,
            id: stored.id,
            name: stored.name,
            fingerprint: stored.fingerprint,
            public_key: stored.public_key,
        })
    }
}

impl From<&Trusted> for TrustedDevice {
    fn from(device: &Trusted) -> Self {
        Self {
            id: device.id.clone(),
            name: device.name.clone(),
            fingerprint: device.fingerprint.clone(),
            approved_at: device.approved_at,
            last_used_at: device.last_used_at,
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TrustedDevices(Vec<Trusted>);

/// The list has no room left.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_DEVICES} devices are trusted already; remove one first: `patapim-agent devices list`")]
pub(super) struct Full;

/// What a device that asks is to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquaintance {
    /// It is on it.
    Trusted,
    /// Its id is, with another key: not the same passkey, whatever it calls itself.
    OtherKey,
    /// It is not.
    Stranger,
}

impl TrustedDevices {
    /// What `passkey` is to it.
    pub(super) fn acquaintance(&self, passkey: &PasskeyFacts) -> Acquaintance {
        match self.0.iter().find(|device| device.id == passkey.id) {
            Some(device) if device.public_key == passkey.public_key => Acquaintance::Trusted,
            Some(_) => Acquaintance::OtherKey,
            None => Acquaintance::Stranger,
        }
    }

    /// Trusts `passkey` from now on, in place of another key under its id.
    pub(super) fn add(&mut self, passkey: &PasskeyFacts, now: Timestamp) -> Result<(), Full> {
        self.0.retain(|device| device.id != passkey.id);
        if self.0.len() >= MOST_DEVICES {
            return Err(Full);
        }
        self.0.push(Trusted {
            id: passkey.id.clone(),
            name: passkey.name.clone(),
            fingerprint: passkey.public_key.fingerprint(),
            public_key: passkey.public_key.clone(),
            // As the file keeps it.
            approved_at: now.floor_to_second(),
            last_used_at: None,
        });
        Ok(())
    }

    /// A session of that device was opened.
    pub(super) fn used(&mut self, id: &DeviceId, now: Timestamp) {
        if let Some(device) = self.0.iter_mut().find(|device| device.id == *id) {
            device.last_used_at = Some(now.floor_to_second());
        }
    }

    /// Trusts it no longer; false: it was not trusted.
    pub(super) fn remove(&mut self, id: &DeviceId) -> bool {
        let before = self.0.len();
        self.0.retain(|device| device.id != *id);
        self.0.len() < before
    }

    /// Whether a passkey of that id is on it.
    pub(super) fn has(&self, id: &DeviceId) -> bool {
        self.0.iter().any(|device| device.id == *id)
    }

    /// For a listing, in the order of their approval.
    pub(super) fn list(&self) -> Vec<TrustedDevice> {
        self.0.iter().map(TrustedDevice::from).collect()
    }
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    devices: &'a [Trusted],
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    devices: Vec<Trusted>,
}

impl TrustedDevices {
    /// The folder's list. One that cannot be read is set aside; the sentence says so, and nobody is trusted then.
    pub(super) fn load(home: &Home) -> Result<(Self, Option<String>), HomeError> {
        match home.read::<Read>(FILE) {
            Ok(None) => Ok((Self::default(), None)),
            Ok(Some(read)) if read.version == VERSION => Ok((Self(read.devices), None)),
            Ok(Some(read)) => {
                Self::without(home, format!("it is of version {}, made by a newer agent", read.version))
            }
            Err(HomeError::Unreadable { source, .. }) => Self::without(home, source.to_string()),
            Err(error) => Err(error),
        }
    }

    fn without(home: &Home, why: String) -> Result<(Self, Option<String>), HomeError> {
        let aside = home.set_aside(FILE)?;
        let report = format!(
            "{FILE} cannot be used ({why}); it was set aside as {}, and every device is asked about anew",
            aside.display()
        );
        Ok((Self::default(), Some(report)))
    }

    /// Keeps it in the folder.
    pub(super) fn save(&self, home: &Home) -> Result<(), HomeError> {
        home.write(FILE, &Written { version: VERSION, devices: &self.0 })
    }

    /// Begins the folder's list anew, with nobody on it but `first`.
    pub(super) fn begin(home: &Home, first: Option<&PasskeyFacts>, now: Timestamp) -> Result<(), HomeError> {
        let mut devices = Self::default();
        if let Some(passkey) = first {
            // There is room for one.
            let _ = devices.add(passkey, now);
        }
        devices.save(home)
    }

    /// Forgets the folder's list.
    pub(super) fn forget(home: &Home) -> Result<(), HomeError> {
        home.remove(FILE)
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
