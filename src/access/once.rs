//! What is good for one use: a ceremony, a grant.
//!
//! A sealed note can be shown again by whoever has it. Its use is one create in the store, so that of fifty at once, or
//! two on both sides of a crash, one wins.

use std::sync::Arc;

use super::seal::Purpose;
use crate::clock::Timestamp;
use crate::secret::{base64url, sha256};
use crate::store::{Commit, Cond, Key, Store, StoreError, Tx};

/// Remembers which notes were used, for as long as they would open.
#[derive(Clone)]
pub struct Once {
    store: Arc<dyn Store>,
}

impl Once {
    /// Kept in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Uses `sealed` up; false if it was used before. `until` is no earlier than the end of the note's own time.
    pub async fn spend(&self, purpose: Purpose, sealed: &str, until: Timestamp) -> Result<bool, StoreError> {
        let key = key(purpose, sealed);
        let tx = Tx::new().when(Cond::Absent(key.clone())).put_until(key, "", Some(until));
        Ok(matches!(self.store.commit(tx).await?, Commit::Applied(_)))
    }

    /// Whether `sealed` was used. Only [`Once::spend`] decides; this saves a detour that could not succeed.
    pub async fn is_spent(&self, purpose: Purpose, sealed: &str) -> Result<bool, StoreError> {
        Ok(self.store.get(&key(purpose, sealed)).await?.is_some())
    }
}

fn key(purpose: Purpose, sealed: &str) -> Key {
    let prefix = match purpose {
        Purpose::Ceremony => "ceremonies",
        Purpose::Grant => "grants",
    };
    Key::new(format!("{prefix}/{}", base64url(sha256(sealed))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::store::sqlite::SqliteFile;

    #[tokio::test(flavor = "multi_thread")]
    async fn of_fifty_uses_at_once_one_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_secs(1));
        let store = SqliteFile::open(&folder.path().join("edge.db")).expect("a database").start(clock);
        let once = Once::new(store);
        let until = Timestamp::from_secs(60);
        let tries = (0..50).map(|_| {
            let once = once.clone();
            tokio::spawn(async move { once.spend(Purpose::Grant, "note", until).await.expect("an answer") })
        });
        let mut won = 0;
        for one in tries.collect::<Vec<_>>() {
            won += usize::from(one.await.expect("a task"));
        }
        assert_eq!(won, 1);
        assert!(once.is_spent(Purpose::Grant, "note").await.expect("an answer"));
        assert!(once.spend(Purpose::Ceremony, "note", until).await.expect("an answer"), "another purpose");
    }
}
