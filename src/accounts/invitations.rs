//! Invitations: the link that lets a person register their first passkey. It works once, for a day.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::users::user_key;
use super::{AccountError, Accounts, encode};
use crate::clock::Timestamp;
use crate::names::UserId;
use crate::secret::SecretText;
use crate::store::{Commit, Cond, Key, Tx};

const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// An invitation that is good now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    /// Who is invited.
    pub user: UserId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What is remembered of an invitation's ticket. It names the invitation, and is of no use to enrol with: the store and
/// a ceremony in progress may hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketHash(String);

impl From<&SecretText> for TicketHash {
    fn from(ticket: &SecretText) -> Self {
        Self(ticket.fingerprint())
    }
}

pub(super) fn invitation_key(ticket: &TicketHash) -> Key {
    Key::new(format!("invitations/{}", ticket.0))
}

impl Accounts {
    /// Makes an invitation; the ticket is shown once.
    pub async fn invite(&self, user: &UserId) -> Result<SecretText, AccountError> {
        self.invite_for(user, LIFETIME).await
    }

    /// Makes one that is good for so long.
    pub async fn invite_for(&self, user: &UserId, lifetime: Duration) -> Result<SecretText, AccountError> {
        let ticket = SecretText::random(&*self.entropy);
        let expires_at = self.clock.now() + lifetime;
        let invitation = Invitation { user: user.clone(), expires_at };
        let tx = Tx::new().when(Cond::Present(user_key(user))).put_until(
            invitation_key(&TicketHash::from(&ticket)),
            encode(&invitation),
            Some(expires_at),
        );
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(ticket),
            Commit::Conflict => Err(AccountError::Missing("such user")),
        }
    }

    /// The invitation a ticket is for. Looking does not use it up.
    pub async fn invitation(&self, ticket: &TicketHash) -> Result<Invitation, AccountError> {
        let (invitation, _) =
            self.read(&invitation_key(ticket)).await?.ok_or(AccountError::Gone("invitation"))?;
        Ok(invitation)
    }
}
