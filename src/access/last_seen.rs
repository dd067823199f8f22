//! When a session was last used, over a restart: a person decides by it which access token nobody needs any more, and
//! the idle time is counted from it.
//!
//! A request only touches memory. Once a minute what has changed is written down, each session under a key of its own:
//! the session's record stays as it is, so that no use can bring back a session that has just ended.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::session::Session;
use super::sessions::{SessionError, Sessions, to_json};
use super::table::seen_key;
use crate::store::Tx;

const EVERY: Duration = Duration::from_secs(60);
/// How many uses one commit writes down; etcd takes 128 operations in one.
const AT_ONCE: usize = 100;

/// Writes down, every minute for as long as there are `sessions`, when they were last used.
pub(super) fn keep(sessions: &Arc<Sessions>) {
    let sessions: Weak<Sessions> = Arc::downgrade(sessions);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(sessions) = sessions.upgrade() else { return };
            if let Err(error) = sessions.keep_last_seen().await {
                tracing::warn!(%error, "when sessions were last used is not written down; tried again in a minute");
            }
        }
    });
}

impl Sessions {
    /// Writes down when sessions were last used, as far as the store does not know it.
    pub async fn keep_last_seen(&self) -> Result<(), SessionError> {
        let used = self.live(|session| session.use_to_keep().is_some());
        for some in used.chunks(AT_ONCE) {
            self.store.commit(some.iter().fold(Tx::new(), |tx, session| kept_in(tx, session))).await?;
        }
        Ok(())
    }
}

fn kept_in(tx: Tx, session: &Session) -> Tx {
    match session.use_to_keep() {
        Some(at) => tx.put_until(seen_key(session.id()), to_json(&at), Some(session.expires_at())),
        None => tx,
    }
}
