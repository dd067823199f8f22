//! The live sessions, in memory: what the gate looks up on every request.
//!
//! Sessions and revocations live under one prefix of the store, so that their changes arrive in one order and neither
//! can slip past the other: a session that arrives is held against the revoked set, a revocation that arrives is held
//! against the sessions. What is told is kept here alone, in the form that is needed.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::broadcast;

use super::revocation::{Revocation, SEGMENT, Target};
use super::revoked::RevokedSet;
use super::session::{Method, Session, SessionRecord};
use crate::clock::Timestamp;
use crate::names::{SessionId, UserId};
use crate::store::follow::Follower;
use crate::store::{Key, Revision};

/// Where sessions and revocations are kept.
pub(super) const PREFIX: &str = "live/";
const SESSIONS: &str = "session/";
/// When sessions were last used. It sorts after the sessions, which are so there first when all is loaded.
const SEEN: &str = "used/";

pub(super) fn session_key(id: &SessionId) -> Key {
    Key::new(format!("{PREFIX}{SESSIONS}{id}"))
}

pub(super) fn seen_key(id: &SessionId) -> Key {
    Key::new(format!("{PREFIX}{SEEN}{id}"))
}

/// All of them.
#[derive(Debug)]
pub(super) struct Table {
    sessions: DashMap<SessionId, Arc<Session>>,
    /// Access tokens by the SHA-256 of their secret: a script presents nothing else.
    tokens: DashMap<[u8; 32], SessionId>,
    pub(super) revoked: RevokedSet,
    /// Whose sessions have just changed.
    pub(super) changes: broadcast::Sender<UserId>,
}

/// How many changes may wait for whoever follows them; one who is later than that is told so.
const CHANGES_KEPT: usize = 256;

impl Default for Table {
    fn default() -> Self {
        let changes = broadcast::Sender::new(CHANGES_KEPT);
        Self { sessions: DashMap::new(), tokens: DashMap::new(), revoked: RevokedSet::default(), changes }
    }
}

impl Table {
    pub(super) fn find(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.sessions.get(id).map(|session| Arc::clone(&session))
    }

    pub(super) fn find_access_token(&self, sha256: &[u8; 32]) -> Option<Arc<Session>> {
        let id = self.tokens.get(sha256)?.clone();
        self.find(&id).filter(|session| session.method() == Method::AccessToken)
    }

    /// Those that are meant, in no order.
    pub(super) fn filtered(&self, which: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let meant = self.sessions.iter().filter(|entry| which(entry.value()));
        meant.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// How many are meant.
    pub(super) fn count(&self, which: impl Fn(&Session) -> bool) -> usize {
        self.sessions.iter().filter(|entry| which(entry.value())).count()
    }

    /// What a revocation of `target` at `at` ends, or has ended.
    pub(super) fn of(&self, target: &Target, at: Timestamp) -> Vec<Arc<Session>> {
        match target {
            Target::Session(id) => self.find(id).into_iter().collect(),
            _ => self.filtered(|session| session.lineage().is_of(target, at)),
        }
    }

    /// How many sessions, access tokens among them, and revocations.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.sessions.len(), self.tokens.len(), self.revoked.len()]
    }

    fn session_arrived(&self, id: &str, value: &[u8]) -> Option<()> {
        let id = SessionId::parse(id).ok()?;
        let record: SessionRecord = serde_json::from_slice(value).ok()?;
        if let Some(known) = self.find(&id) {
            known.doubt(false);
            known.changed(record);
            self.tell(&known);
            return Some(());
        }
        let session = Arc::new(Session::new(id.clone(), record)?);
        if self.revoked.covers(&session.lineage()) {
            session.end();
        }
        if session.method() == Method::AccessToken {
            self.tokens.insert(session.secret_sha256(), id.clone());
        }
        self.sessions.insert(id, Arc::clone(&session));
        self.tell(&session);
        Some(())
    }

    fn use_arrived(&self, id: &str, value: &[u8]) -> Option<()> {
        let at: Timestamp = serde_json::from_slice(value).ok()?;
        if let Some(session) = self.find(&SessionId::parse(id).ok()?) {
            session.use_kept(at);
        }
        Some(())
    }

    fn revocation_arrived(&self, path: &str, value: &[u8]) -> Option<()> {
        let target = Target::parse(path)?;
        let Revocation { at, cause } = serde_json::from_slice(value).ok()?;
        if self.revoked.told(&target, at, cause) {
            for session in self.of(&target, at) {
                session.revoke(at);
                self.tell(&session);
            }
        }
        Some(())
    }

    fn session_gone(&self, session: &Session) {
        self.tokens.remove(&session.secret_sha256());
        session.expire();
        self.tell(session);
    }

    /// Something of this session's person has changed.
    fn tell(&self, session: &Session) {
        // Nobody may be listening.
        let _ = self.changes.send(session.user().clone());
    }
}

impl Follower for Table {
    fn begins(&self) {
        self.revoked.begins();
        self.sessions.iter().for_each(|session| session.doubt(true));
    }

    fn put(&self, id: &str, value: &[u8], _: Revision) -> Option<()> {
        if let Some(session) = id.strip_prefix(SESSIONS) {
            // A record that cannot be read opens nothing. A revocation that cannot leaves what was known.
            self.session_arrived(session, value).or_else(|| {
                self.gone(id);
                None
            })
        } else if let Some(revoked) = id.strip_prefix(SEGMENT) {
            self.revocation_arrived(revoked, value)
        } else {
            self.use_arrived(id.strip_prefix(SEEN)?, value)
        }
    }

    fn gone(&self, id: &str) {
        if let Some(session) = id.strip_prefix(SESSIONS).and_then(|id| SessionId::parse(id).ok()) {
            if let Some((_, session)) = self.sessions.remove(&session) {
                self.session_gone(&session);
            }
        } else if let Some(target) = id.strip_prefix(SEGMENT).and_then(Target::parse) {
            self.revoked.remove(&target);
        }
    }

    fn ends(&self) {
        self.revoked.ends();
        for session in self.filtered(Session::is_doubted) {
            self.sessions.remove(session.id());
            self.session_gone(&session);
        }
    }
}
