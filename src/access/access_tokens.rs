//! Access tokens: what a script presents in place of a browser's session.
//!
//! A person makes one in the settings, for one tunnel, with a name and an end. It is shown once and stored as a hash. In
//! every other way it is a session: revoked with its passkey, its person, its tunnel or by itself, and cut at once.

use std::sync::Arc;

use super::sessions::{SessionError, Sessions, SignIn, Visitor, to_json};
use super::table::{Method, Realm, Session, SessionRecord, session_key};
use crate::clock::Timestamp;
use crate::names::{SessionId, TunnelId, UserId};
use crate::secret::{SecretText, sha256};
use crate::store::{Commit, Cond, Tx};

/// What every access token begins with, so that people and scanners know one when they see it.
pub const PREFIX: &str = "patapim_";

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct NewAccessToken {
    /// What they call it.
    pub name: String,
    /// The one tunnel it is for.
    pub tunnel: TunnelId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What must still hold when it is made: the person, the passkey, the tunnel.
    pub standing: Vec<Cond>,
}

impl Sessions {
    /// Makes an access token; the text is shown once.
    pub async fn make_access_token(
        &self,
        who: &SignIn,
        new: NewAccessToken,
        visitor: &Visitor,
    ) -> Result<(SessionId, SecretText), SessionError> {
        let now = self.clock.now();
        let id = SessionId::random(&*self.entropy);
        let secret = SecretText::random(&*self.entropy);
        let text = SecretText::new(format!("{PREFIX}{}", secret.reveal()));
        let record = SessionRecord {
            realm: Realm::Tunnel(new.tunnel),
            user: who.user.clone(),
            user_name: who.user_name.clone(),
            device: who.device.clone(),
            device_name: who.device_name.clone(),
            method: Method::AccessToken,
            signed_in_at: now,
            created_at: now,
            expires_at: new.expires_at,
            address: visitor.address.clone(),
            user_agent: visitor.user_agent.clone(),
            secret: text.fingerprint(),
            token: None,
            name: Some(new.name),
        };
        let tx = Tx { conds: new.standing, ops: Vec::new() };
        let tx = tx.put_until(session_key(&id), to_json(&record), Some(record.expires_at));
        match self.store.commit(tx).await? {
            Commit::Applied(revision) => {
                self.reached(revision).await?;
                Ok((id, text))
            }
            Commit::Conflict => Err(SessionError::Overtaken),
        }
    }

    /// A person's access tokens, the newest first.
    pub fn access_tokens(&self, user: &UserId) -> Vec<Arc<Session>> {
        self.live(|session| session.method() == Method::AccessToken && session.user() == user)
    }

    /// The session that an access token opens on `tunnel`. In memory: no I/O. It is found by its hash: what the time of
    /// the look-up could tell is of the hash, not of the token.
    pub(super) fn by_access_token(
        &self,
        token: &SecretText,
        tunnel: &TunnelId,
        now: Timestamp,
    ) -> Option<Arc<Session>> {
        let session = self.table.find_access_token(&sha256(token.reveal()))?;
        if session.realm().tunnel() != Some(tunnel) || !session.is_live(now) {
            return None;
        }
        session.seen(now);
        Some(session)
    }
}
