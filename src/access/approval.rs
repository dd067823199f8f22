//! What a desktop's word does to sessions: it ends those it will not have, and vouches for a device elsewhere.
//!
//! Whether a session may reach its tunnel's desktop is for the desktop to say, and is kept there. Here is what follows
//! from its answer: a session that it denied is over, and a device that it approved may do more at the deployer.

use std::sync::Arc;

use super::cookies::SessionCookie;
use super::revocation::{Cause, Target};
use super::session::{Realm, Session};
use super::sessions::{SessionError, Sessions, to_json};
use super::table::session_key;
use crate::names::{DeviceId, SessionId, TunnelId};
use crate::store::{Commit, Cond, Tx};

impl Sessions {
    /// A desktop of the person's approved `device`: the deployer sessions of the same sign-in know it at once, and after a
    /// restart when what is returned has resolved.
    pub fn approve_device(
        self: &Arc<Self>,
        device: &DeviceId,
    ) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let now = self.clock.now();
        let unaware = |session: &Session| {
            *session.realm() == Realm::Deployer
                && session.device() == device
                && session.approved_at().is_none()
        };
        let approved = self.live(unaware);
        // Whom the tunnel lets in must not be told at the deployer that it did not: this does not wait for the disk.
        approved.iter().for_each(|session| session.approved(now));
        let sessions = Arc::clone(self);
        async move {
            for session in approved {
                let mut record = session.record().clone();
                record.approved_at = Some(now);
                let key = session_key(session.id());
                let tx = Tx::new()
                    .when(Cond::Present(key.clone()))
                    .when(Cond::Absent(Target::Session(session.id().clone()).key()))
                    .put_until(key, to_json(&record), Some(session.expires_at()));
                // A conflict means that it has just ended.
                if let Commit::Applied(revision) = sessions.store.commit(tx).await? {
                    sessions.reached(revision).await?;
                }
            }
            Ok(())
        }
    }

    /// The session of that id on `tunnel`, if it is live.
    pub fn of_tunnel(&self, id: &SessionId, tunnel: &TunnelId) -> Option<Arc<Session>> {
        let now = self.clock.now();
        self.table.find(id).filter(|session| session.realm().tunnel() == Some(tunnel) && session.is_live(now))
    }

    /// What ended the session that `cookie` opened on `tunnel`, for telling the browser that had it.
    pub fn ended_by(&self, cookie: &SessionCookie, tunnel: &TunnelId) -> Option<Cause> {
        let session = self.table.find(&cookie.id)?;
        let theirs = session.matches(cookie) && session.realm().tunnel() == Some(tunnel);
        theirs.then(|| self.table.revoked.cause_of(&cookie.id)).flatten()
    }
}
