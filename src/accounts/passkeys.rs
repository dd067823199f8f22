//! Passkeys: public keys and what is known of the device. Private keys and biometrics never come here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::invitations::{TicketHash, invitation_key};
use super::users::user_key;
use super::{AccountError, Accounts, decode, encode};
use crate::clock::Timestamp;
use crate::names::{DeviceId, UserId};
use crate::store::pages::read_through;
use crate::store::{Commit, Cond, Entry, Key, Tx};

/// A registered passkey.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Passkey {
    /// Made from the credential id: one credential, one record, whoever registers it.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// The RP ID it was made for; it works with no other.
    pub rp_id: String,
    /// The display name.
    pub name: String,
    /// `credentialPublicKey` exactly as in the authenticator data (COSE_Key, RFC 9052), base64url.
    pub public_key: String,
    /// `SHA256:` and the unpadded base64 of the key bytes' SHA-256.
    pub fingerprint: String,
    /// The verifier's own record of the credential, opaque here.
    pub credential: serde_json::Value,
    /// The authenticator's model, as 32 hex digits; zeros where it does not say.
    pub aaguid: String,
    /// From the user agent at registration: "macOS", "Android", …
    pub device_type: String,
    /// Whether it may be synced between devices (the BE flag).
    pub synced: bool,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it last signed in.
    pub last_used_at: Option<Timestamp>,
}

impl Passkey {
    /// Adds to `tx` that this passkey is forgotten.
    pub(super) fn removed_in(&self, tx: Tx) -> Tx {
        tx.delete(passkey_key(&self.user, &self.id)).delete(credential_key(&self.id))
    }
}

fn passkey_key(user: &UserId, id: &DeviceId) -> Key {
    Key::new(format!("passkeys/{user}/{id}"))
}

/// Whose a credential is: one credential, one owner, whoever registers it.
pub(super) fn credential_key(id: &DeviceId) -> Key {
    Key::new(format!("credentials/{id}"))
}

impl Accounts {
    /// Keeps a new passkey. With an invitation's ticket the invitation is used up in the same commit.
    ///
    /// # Errors
    /// [`AccountError::Taken`] if the credential is registered to anyone; [`AccountError::Gone`] if the invitation is.
    pub async fn add_passkey(
        &self,
        passkey: &Passkey,
        ticket: Option<&TicketHash>,
    ) -> Result<(), AccountError> {
        let credential = credential_key(&passkey.id);
        let mut tx = Tx::new()
            .when(Cond::Absent(credential.clone()))
            .when(Cond::Present(user_key(&passkey.user)))
            .put(credential.clone(), passkey.user.as_str().to_owned())
            .put(passkey_key(&passkey.user, &passkey.id), encode(passkey));
        if let Some(ticket) = ticket {
            tx = tx.when(Cond::Present(invitation_key(ticket))).delete(invitation_key(ticket));
        }
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(()),
            Commit::Conflict if self.store.get(&credential).await?.is_some() => {
                Err(AccountError::Taken("this passkey".to_owned()))
            }
            Commit::Conflict => Err(AccountError::Gone("invitation")),
        }
    }

    /// A passkey by id, whoever's.
    pub async fn passkey(&self, id: &DeviceId) -> Result<Passkey, AccountError> {
        const MISSING: AccountError = AccountError::Missing("such passkey");
        let owner = self.store.get(&credential_key(id)).await?.ok_or(MISSING)?;
        let owner = UserId::parse(std::str::from_utf8(&owner.value).unwrap_or_default())?;
        self.read(&passkey_key(&owner, id)).await?.map(|(passkey, _)| passkey).ok_or(MISSING)
    }

    /// A person's passkeys, the oldest first.
    pub async fn passkeys_of(&self, user: &UserId) -> Result<Vec<Passkey>, AccountError> {
        let mut found: Vec<Passkey> = self.read_all(&format!("passkeys/{user}/")).await?;
        found.sort_by(|a, b| (a.registered_at, &a.id).cmp(&(b.registered_at, &b.id)));
        Ok(found)
    }

    /// All passkeys.
    pub async fn passkeys(&self) -> Result<Vec<Passkey>, AccountError> {
        self.read_all("passkeys/").await
    }

    /// How many there are for each RP ID; at start, to refuse one that would orphan them.
    pub async fn passkeys_by_rp_id(&self) -> Result<BTreeMap<String, usize>, AccountError> {
        #[derive(Deserialize)]
        struct Made {
            rp_id: String,
        }
        let mut counts = BTreeMap::new();
        let mut damaged = None;
        let count = |entry: &Entry| match decode::<Made>(entry) {
            Ok(Made { rp_id }) => *counts.entry(rp_id).or_default() += 1,
            Err(error) => damaged = Some(error),
        };
        read_through(&*self.store, "passkeys/", count).await?;
        damaged.map_or(Ok(counts), Err)
    }

    /// Renames a person's passkey.
    pub async fn rename_passkey(
        &self,
        user: &UserId,
        id: &DeviceId,
        name: &str,
    ) -> Result<Passkey, AccountError> {
        self.update::<Passkey, _>(passkey_key(user, id), "such passkey", |passkey| {
            name.clone_into(&mut passkey.name);
            Ok(())
        })
        .await
    }

    /// Notes a successful sign-in and the verifier's new record (counter, backup state).
    pub async fn passkey_used(
        &self,
        user: &UserId,
        id: &DeviceId,
        credential: &serde_json::Value,
    ) -> Result<(), AccountError> {
        let now = self.clock.now();
        self.update::<Passkey, _>(passkey_key(user, id), "such passkey", |passkey| {
            passkey.last_used_at = Some(now);
            passkey.credential = credential.clone();
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Removes a person's passkey, but never their last one. Ending its sessions is the caller's next step.
    ///
    /// Both of two parallel removals write the user's record at the revision they read, so that the two cannot each
    /// count the other's passkey as the one that stays.
    pub async fn remove_passkey(&self, user: &UserId, id: &DeviceId) -> Result<Passkey, AccountError> {
        for _ in 0..16 {
            let (owner, revision) =
                self.read::<super::User>(&user_key(user)).await?.ok_or(AccountError::Missing("such user"))?;
            let mut keys = self.passkeys_of(user).await?;
            let at =
                keys.iter().position(|key| key.id == *id).ok_or(AccountError::Missing("such passkey"))?;
            if keys.len() == 1 {
                return Err(AccountError::LastFactor);
            }
            let tx = Tx::new()
                .when(Cond::AtRevision(user_key(user), revision))
                .put(user_key(user), encode(&owner));
            let tx = keys[at].removed_in(tx);
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(keys.swap_remove(at));
            }
        }
        Err(AccountError::Contended)
    }
}
