//! Redemption: a token's first use binds it to one session, for ever.
//!
//! The binding is one atomic create in the store, so that of fifty uses at once, or two on both sides of a crash, one
//! wins. The session's secret is derived from the bind cookie that only the asking browser holds: for five minutes
//! that browser, repeating the link after a lost answer, derives the same session again, and no other browser can.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cookies::{BindCookie, SessionCookie};
use super::keys::SigningKey;
use super::revocation::{Cause, Lineage, OpenedBy, Target};
use super::session::{Realm, Session, SessionRecord};
use super::sessions::{Issued, SessionError, Sessions, Visitor, to_json, token_key};
use super::table::session_key;
use super::token::{TokenFault, VerifiedToken};
use crate::clock::Timestamp;
use crate::metrics::metrics;
use crate::names::{SessionId, TokenId};
use crate::secret::{SecretText, base64url};
use crate::store::{Commit, Cond, Key, Tx};

/// How long the same browser may repeat the link.
const REPEAT_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Why a token was refused; a label of `token_checks_total`. The visitor is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Signature, algorithm, key, issuer or form wrong.
    #[error("signature")]
    Signature,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its person, passkey, tunnel or session was revoked.
    #[error("revoked")]
    Revoked,
    /// Well signed, never issued.
    #[error("unknown")]
    Unknown,
    /// Without the bind cookie it was issued for.
    #[error("bind")]
    Bind,
    /// Not redeemed in time.
    #[error("late")]
    Late,
    /// Bound to a session already.
    #[error("bound")]
    Bound,
    /// For another tunnel.
    #[error("audience")]
    Audience,
}

impl From<TokenFault> for Refused {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Signature => Self::Signature,
            TokenFault::Expired => Self::Expired,
            TokenFault::Audience => Self::Audience,
        }
    }
}

/// How a redemption ended well.
#[derive(Debug)]
pub struct Redeemed {
    /// The session.
    pub session: Arc<Session>,
    /// Its cookie, to be set.
    pub cookie: SessionCookie,
    /// Whether this was the first use.
    pub first: bool,
}

/// Why there is no session after a redemption.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The token is no good.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// The store failed; nothing is known to be spent.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The session that the browser had on this tunnel already, with the cookie that proved it.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The session.
    pub session: Arc<Session>,
    /// Its cookie.
    pub cookie: SessionCookie,
}

#[derive(Serialize, Deserialize)]
struct Binding {
    session: SessionId,
    bound_at: Timestamp,
}

fn binding_key(id: &TokenId) -> Key {
    Key::new(format!("bindings/{id}"))
}

impl Sessions {
    /// Redeems `token` for the browser that holds `bind`.
    ///
    /// With a session `beside` it: the same person's on the same passkey is joined, any other is replaced and ended.
    pub async fn redeem(
        &self,
        token: &VerifiedToken,
        bind: Option<&BindCookie>,
        beside: Option<Beside>,
        visitor: &Visitor,
    ) -> Result<Redeemed, RedeemError> {
        let bind = bind.filter(|bind| bind.hash().as_str() == token.claims().bind).ok_or(Refused::Bind)?;
        let issued = self.issued(token).await?;
        loop {
            if let Some(binding) = self.binding(&token.claims().jti).await? {
                return Ok(self.repeat(bind, beside, &binding)?);
            }
            let now = self.clock.now();
            if now > issued.issued_at + self.settings().redeem_within {
                return Err(Refused::Late.into());
            }
            let plan = self.plan(token, bind, &issued, beside.as_ref(), visitor, now);
            let Some(cookie) = plan.cookie else { return Err(Refused::Signature.into()) };
            if let Commit::Applied(revision) = self.store.commit(plan.tx).await.map_err(SessionError::from)? {
                self.reached(revision).await?;
                if plan.replaces {
                    metrics().revocations(Cause::Replaced.as_str(), 1);
                }
                let session = self.table.find(&cookie.id).filter(|session| session.is_live(now));
                return Ok(Redeemed { session: session.ok_or(Refused::Revoked)?, cookie, first: true });
            }
            // Lost the race to another use of this token, or the session to be joined has just ended.
            if self.binding(&token.claims().jti).await?.is_none() && self.issued(token).await.is_ok() {
                return Err(SessionError::Overtaken.into());
            }
        }
    }

    /// The record of the token's issue; it must say the same as the token.
    async fn issued(&self, token: &VerifiedToken) -> Result<Issued, RedeemError> {
        let claims = token.claims();
        let entry = self.store.get(&token_key(&claims.jti)).await.map_err(SessionError::from)?;
        let issued: Issued = entry
            .and_then(|entry| serde_json::from_slice(&entry.value).ok())
            .filter(|issued: &Issued| {
                issued.user == claims.sub
                    && issued.tunnel == claims.aud
                    && issued.bind.as_str() == claims.bind
            })
            .ok_or(Refused::Unknown)?;
        let lineage = Lineage {
            session: None,
            device: &issued.device,
            user: &issued.user,
            tunnel: Some(&issued.tunnel),
            opened_by: OpenedBy::SignedToken,
            signed_in_at: issued.signed_in_at,
        };
        if self.table.revoked.covers(&lineage) {
            return Err(Refused::Revoked.into());
        }
        Ok(issued)
    }

    async fn binding(&self, id: &TokenId) -> Result<Option<Binding>, RedeemError> {
        let Some(entry) = self.store.get(&binding_key(id)).await.map_err(SessionError::from)? else {
            return Ok(None);
        };
        // Another use may have bound it this instant: its session is looked for once it is in force here.
        self.reached(entry.revision).await?;
        // A damaged binding still says that the token is spent.
        Ok(Some(serde_json::from_slice(&entry.value).map_err(|_| Refused::Bound)?))
    }

    /// The token is bound: only the browser it was bound in gets its session again, for a while.
    fn repeat(
        &self,
        bind: &BindCookie,
        beside: Option<Beside>,
        binding: &Binding,
    ) -> Result<Redeemed, Refused> {
        let now = self.clock.now();
        if now > binding.bound_at + REPEAT_WITHIN {
            return Err(Refused::Bound);
        }
        let session = self
            .table
            .find(&binding.session)
            .filter(|session| session.is_live(now))
            .ok_or(Refused::Revoked)?;
        if let Some(beside) = beside.filter(|beside| beside.session.id() == session.id()) {
            return Ok(Redeemed { session, cookie: beside.cookie, first: false });
        }
        let seed = session.record().token.clone().ok_or(Refused::Bound)?;
        // The token that opened it may be an earlier one, and signed with an earlier key.
        let keys = self.keys.all();
        let secrets = keys.iter().map(|key| secret(key, &seed, bind));
        let mut cookies = secrets.map(|secret| SessionCookie::new(session.id().clone(), secret));
        let cookie = cookies.find(|cookie| session.matches(cookie)).ok_or(Refused::Bound)?;
        Ok(Redeemed { session, cookie, first: false })
    }

    /// What the first use writes.
    fn plan(
        &self,
        token: &VerifiedToken,
        bind: &BindCookie,
        issued: &Issued,
        beside: Option<&Beside>,
        visitor: &Visitor,
        now: Timestamp,
    ) -> Plan {
        let jti = &token.claims().jti;
        let mut tx = Tx::new().when(Cond::Absent(binding_key(jti))).when(Cond::Present(token_key(jti)));
        let same_person = |beside: &&Beside| {
            *beside.session.user() == issued.user && *beside.session.device() == issued.device
        };
        let mut replaces = false;
        let cookie = if let Some(joined) = beside.filter(same_person) {
            let id = joined.session.id();
            let mut record = joined.session.record().clone();
            record.expires_at = joined.session.expires_at().max(issued.expires_at);
            record.proof = issued.proof.clone();
            tx = tx
                .when(Cond::Present(session_key(id)))
                .when(Cond::Absent(Target::Session(id.clone()).key()))
                .put_until(session_key(id), to_json(&record), Some(record.expires_at));
            Some(joined.cookie.clone())
        } else {
            let id = SessionId::random(&*self.entropy);
            let key = self.keys.find(token.kid());
            let cookie = key.map(|key| SessionCookie::new(id, secret(&key, jti, bind)));
            if let Some(cookie) = &cookie {
                let record = self.record(issued, cookie, jti, visitor, now);
                tx = tx.put_until(session_key(&cookie.id), to_json(&record), Some(record.expires_at));
            }
            if let Some(beside) = beside {
                replaces = true;
                tx = self.revoke_in(tx, &Target::Session(beside.session.id().clone()), Cause::Replaced, now);
            }
            cookie
        };
        if let Some(cookie) = &cookie {
            let binding = Binding { session: cookie.id.clone(), bound_at: now };
            tx = tx.put_until(binding_key(jti), to_json(&binding), Some(issued.expires_at));
        }
        Plan { tx, cookie, replaces }
    }

    fn record(
        &self,
        issued: &Issued,
        cookie: &SessionCookie,
        jti: &TokenId,
        visitor: &Visitor,
        now: Timestamp,
    ) -> SessionRecord {
        SessionRecord {
            realm: Realm::Tunnel(issued.tunnel.clone()),
            user: issued.user.clone(),
            user_name: issued.user_name.clone(),
            device: issued.device.clone(),
            device_name: issued.device_name.clone(),
            method: issued.method,
            signed_in_at: issued.signed_in_at,
            created_at: now,
            expires_at: issued.expires_at,
            address: visitor.address.clone(),
            user_agent: visitor.user_agent.clone(),
            secret: cookie.fingerprint(),
            token: Some(jti.clone()),
            name: None,
            approved_at: None,
            proof: issued.proof.clone(),
        }
    }
}

/// The session secret that this browser, and no other, gets for the token `seed`, by the key that signed it.
fn secret(key: &SigningKey, seed: &TokenId, bind: &BindCookie) -> SecretText {
    let message = [b"patapim/session/1\0", seed.as_str().as_bytes(), b"\0", bind.value().reveal().as_bytes()];
    SecretText::new(base64url(key.sign(&message.concat())))
}

struct Plan {
    tx: Tx,
    cookie: Option<SessionCookie>,
    /// The session beside ends.
    replaces: bool,
}
