//! Who there is: people, their passkeys, their tunnels and the desktops that serve them.
//!
//! Typed records over the store. Each act that two parties could race for (a name, a credential, a tunnel's label, an
//! invitation) is one commit whose conditions make the loser see [`AccountError::Taken`] or [`AccountError::Gone`].
//!
//! | prefix | record |
//! |---|---|
//! | `users/<id>` | [`User`] |
//! | `user-names/<name>` | the id that has the name |
//! | `user-emails/<hash>` | the id that has the address, by its SHA-256 |
//! | `passkeys/<user>/<device>` | [`Passkey`] |
//! | `credentials/<device>` | whose it is: a credential is registered once, to one person |
//! | `fallbacks/<user>` | which [`Fallbacks`] a person has set up, and the password's hash |
//! | `backup-codes/<user>/<hash>` | one backup code, by its SHA-256, until it is used |
//! | `fallback-devices/<user>/<device>` | one sign-in by a fallback: a device of its own |
//! | `magic-links/<hash>`, `newest-magic-links/<user>` | a sign-in link that was mailed, and which is the newest |
//! | `tunnels/<label>`, `user-tunnels/<user>/<label>` | [`Tunnel`], and the index by owner |
//! | `labels/<label>` | that the label was given away once: it is never given to another |
//! | `agents/<pin>`, `tunnel-agents/<label>/<pin>` | [`Agent`], and the index by tunnel |
//! | `invitations/<hash>`, `link-tokens/<hash>` | one-use codes, by their SHA-256 |
//! | `link-requests/<hash>`, `link-codes/<code>` | [`LinkRequest`], by its device code's SHA-256, and the code to approve it |
//! | `link-places/<network>/<n>` | that a desktop of that network waits: there are few such places |

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::names::NameError;
use crate::secret::Entropy;
use crate::store::{Commit, Entry, Key, Revision, Store, StoreError};

mod agents;
mod argon;
mod backup_codes;
mod changes;
mod directory;
mod fallbacks;
mod invitations;
mod link_requests;
mod magic_links;
mod passkeys;
mod passwords;
mod tunnels;
mod users;

pub use agents::{Agent, LinkGrant, LinkTarget};
pub use backup_codes::{BACKUP_CODES, BackupCode};
pub use directory::Directory;
pub use fallbacks::{Fallback, FallbackDevice, FallbackState, Fallbacks};
pub use invitations::{Invitation, TicketHash};
pub use link_requests::{Approval, Candidate, LinkAnswer, LinkRequest, UserCode, network_of};
pub use magic_links::MAGIC_LINK_LIFETIME;
pub use passkeys::Passkey;
pub use passwords::{NewPassword, PasswordFault, PasswordTry};
pub use tunnels::{Tunnel, TunnelKind};
pub use users::{Standing, User, UserState};

/// The prefixes that outlive a restore: who there is, and what they own. All else ends with it, because what was spent or
/// revoked since the backup would be good again: invitations, tokens, codes, a password that was changed since, and
/// whatever is not named here.
pub const LASTING: &[&str] = &[
    "users/",
    "user-names/",
    "user-emails/",
    "passkeys/",
    "credentials/",
    "tunnels/",
    "user-tunnels/",
    GIVEN_AWAY,
    "agents/",
    "tunnel-agents/",
];

/// The labels that were given away once, and are never given to another: also those that a backup does not know yet.
pub const GIVEN_AWAY: &str = "labels/";

/// Why an account could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such record.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// Somebody has it already.
    #[error("{0} is taken")]
    Taken(String),
    /// A one-use code that was used, has expired, or never was.
    #[error("this {0} was used, has expired, or never was")]
    Gone(&'static str),
    /// As many as there may be wait already.
    #[error("too many desktops of this network wait to be linked")]
    Crowded,
    /// More passwords wait to be judged than may.
    #[error("too many passwords are being judged")]
    Busy,
    /// The last passkey is kept, whatever fallbacks there are: who signs in with one of those cannot put an account in
    /// order.
    #[error("this is the last passkey; register another first")]
    LastFactor,
    /// The user is disabled.
    #[error("this user is disabled")]
    Disabled,
    /// A name that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Another writer was faster, several times over.
    #[error("the record is being changed by somebody else; try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that cannot be decoded; it is named, never guessed at.
    #[error("the record {0} is damaged: {1}")]
    Damaged(String, String),
}

/// The accounts of one edge.
#[derive(Clone)]
pub struct Accounts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    argon: argon::Argon,
}

impl Accounts {
    /// Accounts kept in `store`.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, clock, entropy, argon: argon::Argon::default() }
    }

    async fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<(T, Revision)>, AccountError> {
        match self.store.get(key).await? {
            Some(entry) => Ok(Some((decode(&entry)?, entry.revision))),
            None => Ok(None),
        }
    }

    async fn read_all<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, AccountError> {
        self.store.range(prefix).await?.entries.iter().map(decode).collect()
    }

    /// Reads, changes and writes back one record, again if another writer came between.
    async fn update<T, F>(&self, key: Key, what: &'static str, change: F) -> Result<T, AccountError>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(&mut T) -> Result<(), AccountError>,
    {
        for _ in 0..16 {
            let (mut record, revision) = self.read::<T>(&key).await?.ok_or(AccountError::Missing(what))?;
            change(&mut record)?;
            let tx = crate::store::Tx::new()
                .when(crate::store::Cond::AtRevision(key.clone(), revision))
                .put(key.clone(), encode(&record));
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(record);
            }
        }
        Err(AccountError::Contended)
    }
}

fn encode<T: Serialize>(record: &T) -> Bytes {
    #[expect(clippy::expect_used, reason = "our records have string keys and no failing serialisers")]
    serde_json::to_vec(record).expect("a record serialises").into()
}

fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T, AccountError> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| AccountError::Damaged(entry.key.to_string(), error.to_string()))
}

#[cfg(test)]
mod tests;
