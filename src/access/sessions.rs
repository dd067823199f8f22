//! Sessions: opened by a sign-in, listed, joined, revoked.
//!
//! | prefix | record |
//! |---|---|
//! | `tokens/<jti>` | each token we issued: a well-signed one that is not here was never issued |
//! | `bindings/<jti>` | the one session a token was bound to |
//! | `live/session/<id>` | the session |
//! | `live/revoked/…` | what was revoked |
//! | `live/used/<id>` | when the session was [last used](super::last_seen) |

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::access_tokens::MOST_ACCESS_TOKENS;
use super::cookies::{BindHash, SessionCookie};
use super::keys::KeyRing;
use super::last_seen;
use super::nonces::Nonces;
use super::revocation::{Cause, Revocation, Target};
use super::session::{Method, Realm, Session, SessionRecord};
use super::table::{Table, session_key};
use super::token::{self, Claims};
use crate::clock::{Clock, Timestamp};
use crate::metrics::metrics;
use crate::names::{DeviceId, SessionId, TokenId, TunnelId, UserId, UserName};
use crate::proof::{Evidence, Proof};
use crate::secret::{Entropy, SecretText};
use crate::store::follow::Following;
use crate::store::{Commit, Cond, Key, Revision, Store, StoreError, Tx};

/// How long the deployer's own session lasts.
pub const DEPLOYER_SESSION: Duration = Duration::from_secs(12 * 3600);

/// The `[session]` part of the configuration.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// `exp - iat` of a token; a session ends with its token.
    pub token_ttl: Duration,
    /// An unredeemed token dies after this.
    pub redeem_within: Duration,
    /// A session that nobody used for this long ends; none: never.
    pub idle_timeout: Option<Duration>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            token_ttl: Duration::from_secs(24 * 3600),
            redeem_within: Duration::from_secs(60),
            idle_timeout: None,
        }
    }
}

/// A completed ceremony: who signed in, and with what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignIn {
    /// The person.
    pub user: UserId,
    /// Their name.
    pub user_name: UserName,
    /// The passkey, or the fallback session.
    pub device: DeviceId,
    /// What the person calls it.
    pub device_name: String,
    /// How.
    pub method: Method,
    /// When the ceremony was completed.
    pub at: Timestamp,
    /// What a passkey signed, for the desktop to check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Where a request comes from, for the person's list of sessions.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The address, without a port.
    pub address: String,
    /// The user agent, cut to what is worth keeping.
    pub user_agent: String,
}

/// Why a session could not be opened or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The person, passkey or tunnel was removed meanwhile.
    #[error("the account was changed meanwhile; sign in again")]
    Overtaken,
    /// An access token of no time, or of too long a time.
    #[error("an access token ends at some moment of the coming year")]
    Term,
    /// The person has as many access tokens as anybody may have.
    #[error("there are {MOST_ACCESS_TOKENS} access tokens already; revoke one first")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token that was issued.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) user: UserId,
    pub(super) user_name: UserName,
    pub(super) device: DeviceId,
    pub(super) device_name: String,
    pub(super) method: Method,
    pub(super) tunnel: TunnelId,
    pub(super) bind: BindHash,
    pub(super) signed_in_at: Timestamp,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// For the tunnel's desktop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<Proof>,
}

pub(super) fn token_key(id: &TokenId) -> Key {
    Key::new(format!("tokens/{id}"))
}

/// Every session of one edge.
pub struct Sessions {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) issuer: String,
    settings: ArcSwap<SessionSettings>,
    pub(super) table: Arc<Table>,
    nonces: Arc<Nonces>,
    following: Following,
}

impl Sessions {
    /// Loads what is live. `issuer` is the deployer's origin.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        keys: Arc<KeyRing>,
        issuer: String,
        settings: SessionSettings,
    ) -> Result<Arc<Self>, StoreError> {
        // So that each cause is there to be scraped before it first happens.
        Cause::ALL.iter().for_each(|cause| metrics().revocations(cause.as_str(), 0));
        let table = Arc::new(Table::default());
        let following =
            Following::start(Arc::clone(&store), super::table::PREFIX, Arc::clone(&table)).await?;
        let (settings, nonces) = (ArcSwap::from_pointee(settings), Arc::default());
        let sessions =
            Arc::new(Self { store, clock, entropy, keys, issuer, settings, table, nonces, following });
        last_seen::keep(&sessions);
        Ok(sessions)
    }

    /// Issues a token for `tunnel` to the browser that holds the cookie behind `bind`.
    ///
    /// `standing` are conditions that must still hold at that moment: the person, the passkey, the tunnel.
    pub async fn issue(
        &self,
        who: &SignIn,
        tunnel: &TunnelId,
        bind: &BindHash,
        standing: Vec<Cond>,
    ) -> Result<SecretText, SessionError> {
        let now = self.clock.now();
        let exp = (now + self.settings().token_ttl).secs();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: who.user.clone(),
            aud: tunnel.clone(),
            iat: now.secs(),
            exp,
            jti: TokenId::random(&*self.entropy),
            bind: bind.as_str().to_owned(),
        };
        let issued = Issued {
            user: who.user.clone(),
            user_name: who.user_name.clone(),
            device: who.device.clone(),
            device_name: who.device_name.clone(),
            method: who.method,
            tunnel: tunnel.clone(),
            bind: bind.clone(),
            signed_in_at: who.at,
            issued_at: now,
            expires_at: Timestamp::from_secs(exp),
            proof: who.evidence.as_ref().and_then(|evidence| self.nonces.prove(evidence, tunnel, now)),
        };
        let mut tx = Tx { conds: standing, ops: Vec::new() }.when(Cond::Absent(token_key(&claims.jti)));
        tx = tx.put_until(token_key(&claims.jti), to_json(&issued), Some(issued.expires_at));
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(token::sign(&self.keys, &claims)),
            Commit::Conflict => Err(SessionError::Overtaken),
        }
    }

    /// Opens a session at the deployer, in place of `former` if there is one: a fresh ceremony gets a fresh cookie.
    pub async fn open_deployer(
        &self,
        who: &SignIn,
        visitor: &Visitor,
        standing: Vec<Cond>,
        former: Option<&Session>,
    ) -> Result<(Arc<Session>, SessionCookie), SessionError> {
        let now = self.clock.now();
        let cookie =
            SessionCookie::new(SessionId::random(&*self.entropy), SecretText::random(&*self.entropy));
        let record = SessionRecord {
            realm: Realm::Deployer,
            user: who.user.clone(),
            user_name: who.user_name.clone(),
            device: who.device.clone(),
            device_name: who.device_name.clone(),
            method: who.method,
            signed_in_at: who.at,
            created_at: now,
            expires_at: now + DEPLOYER_SESSION,
            address: visitor.address.clone(),
            user_agent: visitor.user_agent.clone(),
            secret: cookie.fingerprint(),
            token: None,
            name: None,
            approved_at: None,
            proof: None,
        };
        let mut tx = Tx { conds: standing, ops: Vec::new() };
        tx = tx.put_until(session_key(&cookie.id), to_json(&record), Some(record.expires_at));
        if let Some(former) = former {
            tx = self.revoke_in(tx, &Target::Session(former.id().clone()), Cause::Replaced, now);
        }
        match self.store.commit(tx).await? {
            Commit::Applied(revision) => {
                self.reached(revision).await?;
                let session = self.table.find(&cookie.id).ok_or(SessionError::Overtaken)?;
                Ok((session, cookie))
            }
            Commit::Conflict => Err(SessionError::Overtaken),
        }
    }

    /// The live session that `cookie` opens at the deployer.
    pub fn at_deployer(&self, cookie: &SessionCookie, now: Timestamp) -> Option<Arc<Session>> {
        self.find(cookie, now).filter(|session| *session.realm() == Realm::Deployer)
    }

    /// The live session that `cookie` opens on `tunnel`. In memory: no I/O.
    pub fn on_tunnel(
        &self,
        cookie: &SessionCookie,
        tunnel: &TunnelId,
        now: Timestamp,
    ) -> Option<Arc<Session>> {
        self.find(cookie, now).filter(|session| session.realm().tunnel() == Some(tunnel))
    }

    fn find(&self, cookie: &SessionCookie, now: Timestamp) -> Option<Arc<Session>> {
        let session = self.table.find(&cookie.id)?;
        let idle = |limit| session.realm().tunnel().is_some() && now.since(session.last_seen()) > limit;
        if !session.matches(cookie) || !session.is_live(now) || self.settings().idle_timeout.is_some_and(idle)
        {
            return None;
        }
        session.seen(now);
        Some(session)
    }

    /// A person's live sessions, the newest first. Access tokens have [a list of their own](Self::access_tokens).
    pub fn of_user(&self, user: &UserId) -> Vec<Arc<Session>> {
        self.live(|session| session.method() != Method::AccessToken && session.user() == user)
    }

    /// The live session of that id, or access token.
    pub fn get(&self, id: &SessionId) -> Option<Arc<Session>> {
        let now = self.clock.now();
        self.table.find(id).filter(|session| session.is_live(now))
    }

    /// All live sessions, access tokens among them, the newest first: what an operator can end.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.live(|_| true)
    }

    pub(super) fn live(&self, which: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let now = self.clock.now();
        let mut live = self.table.filtered(|session| which(session) && session.is_live(now));
        live.sort_by(|a, b| (b.created_at(), b.id()).cmp(&(a.created_at(), a.id())));
        live
    }

    /// How many browsers' sessions are live on tunnels; for the metric.
    pub fn active(&self) -> usize {
        let now = self.clock.now();
        self.table.count(|session| {
            let visitor = session.realm().tunnel().is_some() && session.method() != Method::AccessToken;
            visitor && session.is_live(now)
        })
    }

    /// Ends every session of `target` from sign-ins up to now. When this returns it is durable, the next request of
    /// each is refused, and the switches of their open streams have fired. Gives how many sessions it ended.
    ///
    /// What is open is cut at once, before the disk has been asked. After an error nothing has ended but that: whoever was
    /// cut may come back, as after a restart.
    pub async fn revoke(&self, target: &Target, cause: Cause) -> Result<usize, SessionError> {
        let now = self.clock.now();
        let mut ending = self.table.of(target, now);
        ending.retain(|session| session.is_live(now));
        ending.iter().for_each(|session| session.cut_streams(now));
        let count = ending.len();
        match self.store.commit(self.revoke_in(Tx::new(), target, cause, now)).await? {
            Commit::Applied(revision) => self.reached(revision).await?,
            Commit::Conflict => return Err(SessionError::Overtaken),
        }
        metrics().revocations(cause.as_str(), count);
        tracing::info!(of = ?target, cause = cause.as_str(), count, "sessions revoked");
        Ok(count)
    }

    /// Adds the revocation of `target` to `tx`.
    pub(super) fn revoke_in(&self, tx: Tx, target: &Target, cause: Cause, now: Timestamp) -> Tx {
        let end = match target {
            Target::Session(id) => self.table.find(id).map(|session| session.expires_at()),
            _ => None,
        };
        let until = target.matters_until(now, end);
        tx.put_until(target.key(), to_json(&Revocation { at: now, cause }), Some(until))
    }

    /// From now on these count. What was issued keeps the end it was issued with.
    pub fn configure(&self, settings: SessionSettings) {
        self.settings.store(Arc::new(settings));
    }

    pub(super) fn settings(&self) -> arc_swap::Guard<Arc<SessionSettings>> {
        self.settings.load()
    }

    /// What sign-ins commit to, so that desktops can check them.
    pub fn nonces(&self) -> &Arc<Nonces> {
        &self.nonces
    }

    /// Whose sessions change from now on: opened, ended, expired.
    pub fn changes(&self) -> broadcast::Receiver<UserId> {
        self.table.changes.subscribe()
    }

    /// The keys that sign tokens.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Waits until what was committed is in force here.
    pub(super) async fn reached(&self, revision: Revision) -> Result<(), SessionError> {
        Ok(self.following.reached(revision).await?)
    }
}

pub(super) fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "our records have string keys and no failing serialisers")]
    serde_json::to_vec(record).expect("a record serialises")
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
