//! Access tokens: what a script presents in place of a browser's session.
//!
//! A person makes one in the settings, for one tunnel, with a name and an end. It is shown once and stored as a hash. In
//! every other way it is a session: revoked with its passkey, its person, its tunnel or by itself, and cut at once. Only
//! "end all sessions" leaves it ([`Target::Browsers`]): who signs out everywhere does not mean the nightly backup.

use std::sync::Arc;

use super::revocation::{LONGEST_ACCESS_TOKEN, Target};
use super::session::{Method, Realm, Session, SessionRecord};
use super::sessions::{SessionError, Sessions, Visitor, to_json};
use super::table::session_key;
use crate::clock::Timestamp;
use crate::names::{SessionId, TunnelId, UserId};
use crate::secret::{SecretText, sha256};
use crate::store::{Commit, Cond, Tx};

/// What every access token begins with, so that people and scanners know one when they see it.
pub const PREFIX: &str = "patapim_";
/// How many a person may have.
pub const MOST_ACCESS_TOKENS: usize = 100;

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
    /// Makes an access token for whoever is signed in with the session `maker`; the text is shown once.
    ///
    /// It rests on the sign-in of `maker`: whatever has ended that, or ends it in this moment, ends the token too.
    pub async fn make_access_token(
        &self,
        maker: &Session,
        new: NewAccessToken,
        visitor: &Visitor,
    ) -> Result<(SessionId, SecretText), SessionError> {
        let now = self.clock.now();
        if new.expires_at <= now || new.expires_at > now + LONGEST_ACCESS_TOKEN {
            return Err(SessionError::Term);
        }
        if self.access_tokens(maker.user()).len() >= MOST_ACCESS_TOKENS {
            return Err(SessionError::TooMany);
        }
        let id = SessionId::random(&*self.entropy);
        let secret = SecretText::random(&*self.entropy);
        let text = SecretText::new(format!("{PREFIX}{}", secret.reveal()));
        let record = SessionRecord {
            realm: Realm::Tunnel(new.tunnel),
            user: maker.user().clone(),
            user_name: maker.user_name().clone(),
            device: maker.device().clone(),
            device_name: maker.device_name().to_owned(),
            method: Method::AccessToken,
            signed_in_at: maker.signed_in_at(),
            created_at: now,
            expires_at: new.expires_at,
            address: visitor.address.clone(),
            user_agent: visitor.user_agent.clone(),
            secret: text.fingerprint(),
            token: None,
            name: Some(new.name),
            approved_at: None,
            proof: None,
        };
        let tx = self.while_signed_in(Tx { conds: new.standing, ops: Vec::new() }, maker, now).await?;
        let tx = tx.put_until(session_key(&id), to_json(&record), Some(record.expires_at));
        match self.store.commit(tx).await? {
            Commit::Applied(revision) => self.reached(revision).await?,
            Commit::Conflict => return Err(SessionError::Overtaken),
        }
        // A revocation of the person, the passkey or the tunnel may have come before it.
        let live = self.table.find(&id).is_some_and(|session| session.is_live(now));
        if live { Ok((id, text)) } else { Err(SessionError::Overtaken) }
    }

    /// Adds to `tx` that `maker` is not being ended by what would leave the token: by itself, or with all browsers.
    async fn while_signed_in(&self, mut tx: Tx, maker: &Session, now: Timestamp) -> Result<Tx, SessionError> {
        let browsers = Target::Browsers(maker.user().clone()).key();
        let unchanged = match self.store.get(&browsers).await? {
            Some(entry) => {
                // Whether it is of before this sign-in is known to the session, once it is in force here.
                self.reached(entry.revision).await?;
                Cond::AtRevision(browsers, entry.revision)
            }
            None => Cond::Absent(browsers),
        };
        tx = tx.when(unchanged).when(Cond::Absent(Target::Session(maker.id().clone()).key()));
        if maker.is_live(now) { Ok(tx) } else { Err(SessionError::Overtaken) }
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
