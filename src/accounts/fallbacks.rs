//! Fallbacks: ways to sign in for whoever has no passkey at hand. Each is off until its person sets it up.
//!
//! Every sign-in by one is a device of its own, on record, and rests on the fallback as it was then: switching it off,
//! changing it or making new codes counts its generation up, and from that commit on nothing of an earlier one stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::argon::Hash;
use super::users::user_key;
use super::{AccountError, Accounts, encode};
use crate::clock::Timestamp;
use crate::names::{DeviceId, UserId};
use crate::store::{Commit, Cond, Key, Tx};

/// Longer than any session that such a sign-in opens.
const DEVICE_KEPT: Duration = Duration::from_secs(31 * 24 * 3600);

/// A way to sign in without a passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Codes on paper, each good once.
    BackupCodes,
    /// A link sent by mail.
    MagicLink,
    /// A password.
    Password,
}

impl Fallback {
    /// What its sign-ins are called in lists.
    pub const fn device_name(self) -> &'static str {
        match self {
            Self::BackupCodes => "Backup code",
            Self::MagicLink => "Sign-in link by e-mail",
            Self::Password => "Password",
        }
    }
}

/// How one of them stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackState {
    /// Whether it signs anybody in.
    pub enabled: bool,
    /// When it was set up or changed last.
    pub changed_at: Option<Timestamp>,
    generation: u64,
}

/// What a person has set up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fallbacks {
    /// Codes on paper.
    pub backup_codes: FallbackState,
    /// Links by mail.
    pub magic_link: FallbackState,
    /// The password.
    pub password: FallbackState,
    pub(super) password_hash: Option<Hash>,
}

/// One sign-in by a fallback.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FallbackDevice {
    /// Its id as a device.
    pub id: DeviceId,
    /// Whose.
    pub user: UserId,
    /// By which fallback.
    pub fallback: Fallback,
    generation: u64,
}

pub(super) fn fallbacks_key(user: &UserId) -> Key {
    Key::new(format!("fallbacks/{user}"))
}

fn devices_of(user: &UserId) -> String {
    format!("fallback-devices/{user}/")
}

fn device_key(user: &UserId, device: &DeviceId) -> Key {
    Key::new(format!("{}{device}", devices_of(user)))
}

impl Fallbacks {
    /// How `fallback` stands.
    pub fn of(&self, fallback: Fallback) -> &FallbackState {
        match fallback {
            Fallback::BackupCodes => &self.backup_codes,
            Fallback::MagicLink => &self.magic_link,
            Fallback::Password => &self.password,
        }
    }

    fn of_mut(&mut self, fallback: Fallback) -> &mut FallbackState {
        match fallback {
            Fallback::BackupCodes => &mut self.backup_codes,
            Fallback::MagicLink => &mut self.magic_link,
            Fallback::Password => &mut self.password,
        }
    }

    /// Whether there is a password, on or off.
    pub fn has_password(&self) -> bool {
        self.password_hash.is_some()
    }

    /// It is on, and what was signed in with it before is over.
    pub(super) fn renewed(&mut self, fallback: Fallback, now: Timestamp) {
        let state = self.of_mut(fallback);
        *state = FallbackState {
            enabled: true,
            changed_at: Some(now),
            generation: state.generation.wrapping_add(1),
        };
    }

    fn covers(&self, device: &FallbackDevice) -> bool {
        let state = self.of(device.fallback);
        state.enabled && state.generation == device.generation
    }
}

impl Accounts {
    /// What a person has set up.
    pub async fn fallbacks(&self, user: &UserId) -> Result<Fallbacks, AccountError> {
        Ok(self.fallbacks_at(user).await?.0)
    }

    /// The same, and the condition under which it stays true.
    pub(super) async fn fallbacks_at(&self, user: &UserId) -> Result<(Fallbacks, Cond), AccountError> {
        let key = fallbacks_key(user);
        Ok(match self.read(&key).await? {
            Some((fallbacks, revision)) => (fallbacks, Cond::AtRevision(key, revision)),
            None => (Fallbacks::default(), Cond::Absent(key)),
        })
    }

    /// Changes what a person has set up, again if another writer came between.
    pub(super) async fn change_fallbacks(
        &self,
        user: &UserId,
        change: impl Fn(&mut Fallbacks),
    ) -> Result<Fallbacks, AccountError> {
        for _ in 0..16 {
            let (mut fallbacks, unchanged) = self.fallbacks_at(user).await?;
            change(&mut fallbacks);
            let tx = Tx::new().when(unchanged).when(Cond::Present(user_key(user)));
            let tx = tx.put(fallbacks_key(user), encode(&fallbacks));
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(fallbacks);
            }
        }
        Err(AccountError::Contended)
    }

    /// Switches a fallback on or off. Off, what was signed in with it is over: ending its sessions is the caller's next
    /// step.
    pub async fn switch_fallback(
        &self,
        user: &UserId,
        fallback: Fallback,
        enabled: bool,
    ) -> Result<Fallbacks, AccountError> {
        let now = self.clock.now();
        self.change_fallbacks(user, |fallbacks| {
            let state = fallbacks.of_mut(fallback);
            if state.enabled != enabled {
                let generation = state.generation.wrapping_add(u64::from(!enabled));
                *state = FallbackState { enabled, changed_at: Some(now), generation };
            }
        })
        .await
    }

    /// The sign-ins by a fallback that may still have sessions.
    pub async fn fallback_devices(
        &self,
        user: &UserId,
        fallback: Fallback,
    ) -> Result<Vec<DeviceId>, AccountError> {
        let all: Vec<FallbackDevice> = self.read_all(&devices_of(user)).await?;
        Ok(all.into_iter().filter(|device| device.fallback == fallback).map(|device| device.id).collect())
    }

    /// Forgets a sign-in by a fallback: nothing stands on it any more.
    pub async fn forget_fallback_device(&self, user: &UserId, device: &DeviceId) -> Result<(), AccountError> {
        self.store.commit(Tx::new().delete(device_key(user, device))).await?;
        Ok(())
    }

    /// Adds to `tx` that somebody signs in by a fallback, as it stands in `fallbacks`; none: it is off.
    pub(super) fn signed_in_by(
        &self,
        tx: Tx,
        user: &UserId,
        fallbacks: &Fallbacks,
        fallback: Fallback,
    ) -> Option<(Tx, FallbackDevice)> {
        let FallbackState { enabled: true, generation, .. } = *fallbacks.of(fallback) else { return None };
        let id = DeviceId::random(&*self.entropy);
        let device = FallbackDevice { id, user: user.clone(), fallback, generation };
        let until = self.clock.now() + DEVICE_KEPT;
        let tx = tx.when(Cond::Present(user_key(user)));
        Some((tx.put_until(device_key(user, &device.id), encode(&device), Some(until)), device))
    }

    /// The conditions under which a sign-in by a fallback stays good.
    pub(super) async fn fallback_standing(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<Vec<Cond>, AccountError> {
        const MISSING: AccountError = AccountError::Missing("such passkey");
        let key = device_key(user, device);
        let (device, _) = self.read::<FallbackDevice>(&key).await?.ok_or(MISSING)?;
        let (fallbacks, unchanged) = self.fallbacks_at(user).await?;
        if fallbacks.covers(&device) { Ok(vec![Cond::Present(key), unchanged]) } else { Err(MISSING) }
    }

    /// Adds to `tx` that everything of a person's fallbacks is forgotten. Links that were mailed end by themselves.
    pub(super) async fn fallbacks_removed_in(&self, tx: Tx, user: &UserId) -> Result<Tx, AccountError> {
        let (_, unchanged) = self.fallbacks_at(user).await?;
        let tx = tx.when(unchanged).delete(fallbacks_key(user));
        let devices: Vec<FallbackDevice> = self.read_all(&devices_of(user)).await?;
        let tx = devices.iter().fold(tx, |tx, device| tx.delete(device_key(user, &device.id)));
        self.backup_codes_removed_in(tx, user).await
    }
}
