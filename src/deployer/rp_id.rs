//! The RP ID is kept with each passkey: one made for another never works again.

use crate::accounts::{AccountError, Accounts};

/// Why the server must not start with this RP ID.
#[derive(Debug, thiserror::Error)]
pub enum RpIdError {
    /// It would leave passkeys behind.
    #[error(
        "webauthn.rp_id is {configured:?}, but {count} of {total} passkeys were registered for {former:?} and would never \
         work again: set rp_id back to {former:?}, or have their owners register new ones and remove these first"
    )]
    Orphans {
        /// The configured one.
        configured: String,
        /// The one that passkeys were made for.
        former: String,
        /// How many were.
        count: usize,
        /// Of how many.
        total: usize,
    },
    /// The passkeys cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountError),
}

/// Refuses an RP ID with which a registered passkey would not work.
pub async fn check_rp_id(accounts: &Accounts, rp_id: &str) -> Result<(), RpIdError> {
    let counts = accounts.passkeys_by_rp_id().await?;
    let others = || counts.iter().filter(|(id, _)| *id != rp_id);
    let Some((former, _)) = others().next() else { return Ok(()) };
    Err(RpIdError::Orphans {
        configured: rp_id.to_owned(),
        former: former.clone(),
        count: others().map(|(_, count)| count).sum(),
        total: counts.values().sum(),
    })
}
