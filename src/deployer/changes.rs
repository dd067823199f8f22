//! News for a person's open pages: that something of theirs has changed, whoever changed it.
//!
//! What is kept in the store tells of itself: [`follow`] reads the change feeds of accounts and sessions, so that no
//! handler and no command can forget to. What is known elsewhere (a desktop's own list) is [published](Changes::publish).
//! News say that something changed and not what: a page asks again for all it shows, and of ten changes in a row it
//! hears once. Nothing is kept for people without an open page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{broadcast, watch};

use crate::access::Sessions;
use crate::accounts::Accounts;
use crate::names::UserId;

/// How many pages of one person may listen at once.
const MOST_LISTENERS: usize = 32;

/// After the store could not be read.
const RETRY: Duration = Duration::from_secs(2);

/// The channels of those who listen.
#[derive(Debug, Default)]
pub struct Changes(Mutex<HashMap<UserId, watch::Sender<()>>>);

impl Changes {
    /// Something of this person's has changed.
    pub fn publish(&self, user: &UserId) {
        let mut people = self.people();
        // Nobody listens any more: the channel goes.
        if people.get(user).is_some_and(|channel| channel.send(()).is_err()) {
            people.remove(user);
        }
    }

    /// Something may have changed for anybody.
    fn publish_to_all(&self) {
        self.people().retain(|_, channel| channel.send(()).is_ok());
    }

    /// What this person is to hear from now on; none if too many of their pages listen already.
    pub(super) fn of(&self, user: &UserId) -> Option<watch::Receiver<()>> {
        let mut people = self.people();
        people.retain(|_, channel| !channel.is_closed());
        let channel = people.entry(user.clone()).or_default();
        (channel.receiver_count() < MOST_LISTENERS).then(|| channel.subscribe())
    }

    fn people(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes what happens to accounts and sessions, for as long as there are `changes`.
pub(super) fn follow(changes: &Arc<Changes>, accounts: Accounts, sessions: &Sessions) {
    let (of_sessions, for_sessions) = (sessions.changes(), Arc::downgrade(changes));
    tokio::spawn(follow_sessions(of_sessions, for_sessions));
    tokio::spawn(follow_accounts(accounts, Arc::downgrade(changes)));
}

async fn follow_sessions(mut told: broadcast::Receiver<UserId>, changes: Weak<Changes>) {
    loop {
        let news = told.recv().await;
        let Some(changes) = changes.upgrade() else { return };
        match news {
            Ok(user) => changes.publish(&user),
            Err(broadcast::error::RecvError::Lagged(_)) => changes.publish_to_all(),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn follow_accounts(accounts: Accounts, changes: Weak<Changes>) {
    while changes.strong_count() > 0 {
        let mut told = accounts.changes();
        while let Some(news) = told.next().await {
            let Some(changes) = changes.upgrade() else { return };
            match news {
                Some(user) => changes.publish(&user),
                None => changes.publish_to_all(),
            }
        }
        // The store does not answer just now.
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_person_hears_of_their_own_and_of_many_changes_once() {
        let (changes, entropy) = (Changes::default(), SystemEntropy::shared());
        let (ada, bob) = (UserId::random(&*entropy), UserId::random(&*entropy));
        let (mut adas, bobs) = (changes.of(&ada).expect("room"), changes.of(&bob).expect("room"));
        (0..10).for_each(|_| changes.publish(&ada));
        assert!(adas.has_changed().expect("open") && !bobs.has_changed().expect("open"));
        adas.mark_unchanged();
        assert!(!adas.has_changed().expect("open"));
        changes.publish_to_all();
        assert!(bobs.has_changed().expect("open"));
    }

    #[test]
    fn nothing_is_kept_for_who_listens_no_more_and_nobody_listens_too_often() {
        let (changes, entropy) = (Changes::default(), SystemEntropy::shared());
        let ada = UserId::random(&*entropy);
        let pages: Vec<_> = (0..MOST_LISTENERS).map(|_| changes.of(&ada).expect("room")).collect();
        assert!(changes.of(&ada).is_none());
        drop(pages);
        assert!(changes.of(&ada).is_some());
        changes.publish(&ada);
        assert!(changes.people().is_empty());
    }
}
