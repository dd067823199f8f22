//! The change feed: the last changes, kept in memory, which every watcher reads at its own pace.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use crate::store::{Change, Revision, StoreError};

/// How many changes are kept, and how many bytes of keys and values.
const KEPT_CHANGES: usize = 65_536;
pub(super) const KEPT_BYTES: usize = 32 * 1024 * 1024;
/// How many changes a watcher looks at, up to the end of their commit, before it lets go of the lock, which the writer
/// needs too.
const STRIDE: usize = 1024;

pub(super) struct Feed {
    recent: Mutex<Recent>,
    news: watch::Sender<Revision>,
}

struct Recent {
    changes: VecDeque<Change>,
    bytes: usize,
    /// How many were let go of: the number of the first one kept.
    first: u64,
    /// The revision of the last one let go of: before it nobody can begin.
    forgotten: Revision,
    /// The revision of the last commit.
    latest: Revision,
}

/// What a change weighs in memory, about.
fn bytes(change: &Change) -> usize {
    let value = if let Change::Put(entry) = change { entry.value.len() } else { 0 };
    size_of::<Change>() + value + change.key().map_or(0, |key| key.len())
}

impl Feed {
    /// A feed that knows nothing of what was before `revision`.
    pub(super) fn from(revision: Revision) -> Self {
        let recent =
            Recent { changes: VecDeque::new(), bytes: 0, first: 0, forgotten: revision, latest: revision };
        Self { recent: Mutex::new(recent), news: watch::Sender::new(revision) }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells `changes`, in order, up to and including revision `latest`. Does not wait for any watcher.
    pub(super) fn publish(&self, changes: Vec<Change>, latest: Revision) {
        let mut recent = self.recent();
        for change in changes {
            recent.bytes += bytes(&change);
            recent.changes.push_back(change);
        }
        while recent.changes.len() > KEPT_CHANGES || recent.bytes > KEPT_BYTES {
            let Some(oldest) = recent.changes.pop_front() else { break };
            recent.bytes -= bytes(&oldest);
            recent.first += 1;
            recent.forgotten = oldest.revision();
        }
        recent.latest = latest;
        drop(recent);
        self.news.send_replace(latest);
    }

    pub(super) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
        let recent = self.recent();
        if after < recent.forgotten {
            return Err(StoreError::Compacted);
        }
        let passed = recent.changes.partition_point(|change| change.revision() <= after);
        let watcher = Watcher {
            prefix: prefix.into(),
            next: recent.first + passed as u64,
            reached: after,
            waiting: VecDeque::new(),
            behind: false,
            news: self.news.subscribe(),
            feed: Arc::clone(self),
        };
        drop(recent);
        Ok(stream::unfold(watcher, |mut watcher| async { Some((watcher.next().await?, watcher)) }).boxed())
    }
}

struct Watcher {
    feed: Arc<Feed>,
    news: watch::Receiver<Revision>,
    prefix: Box<str>,
    /// The number of the next change to look at.
    next: u64,
    /// All up to here has been handed out or waits in `waiting`.
    reached: Revision,
    waiting: VecDeque<Change>,
    behind: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<Change, StoreError>> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                return Some(Ok(change));
            }
            if self.behind {
                return None;
            }
            // Marked as seen before looking: what is published in between wakes us again.
            self.news.borrow_and_update();
            match self.look() {
                Ok(true) => {}
                Ok(false) => self.news.changed().await.ok()?,
                Err(behind) => {
                    self.behind = true;
                    return Some(Err(behind));
                }
            }
        }
    }

    /// Takes what is new and ours. False: there is nothing more at present.
    fn look(&mut self) -> Result<bool, StoreError> {
        let recent = self.feed.recent();
        let place = self.next.checked_sub(recent.first).ok_or(StoreError::Compacted)?;
        let start =
            usize::try_from(place).map_or(recent.changes.len(), |place| place.min(recent.changes.len()));
        let revision = |at: usize| recent.changes.get(at).map(Change::revision);
        let mut end = recent.changes.len().min(start + STRIDE);
        // Whole commits only.
        while end > start && revision(end).is_some() && revision(end) == revision(end - 1) {
            end += 1;
        }
        let ours = |change: &&Change| change.key().is_some_and(|key| key.starts_with(&*self.prefix));
        self.waiting.extend(recent.changes.range(start..end).filter(ours).cloned());
        self.next = recent.first + end as u64;
        let unseen = revision(end);
        let reached = unseen.map_or(recent.latest, |next| Revision(next.0.saturating_sub(1)));
        if reached > self.reached {
            self.reached = reached;
            self.waiting.push_back(Change::Reached(reached));
        }
        Ok(unseen.is_some() || !self.waiting.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    fn gone(revision: u64) -> Change {
        Change::Gone(Key::new(format!("k/{revision}")), Revision(revision))
    }

    #[tokio::test]
    async fn it_keeps_so_many_changes_and_knows_which_it_has_not() {
        let feed = Arc::new(Feed::from(Revision(10)));
        assert!(matches!(feed.watch("", Revision(9)), Err(StoreError::Compacted)));
        let mut deaf = feed.watch("", Revision(10)).unwrap();
        let last = 10 + KEPT_CHANGES as u64 + 5;
        for revision in 11..=last {
            feed.publish(vec![gone(revision)], Revision(revision));
        }
        assert!(matches!(deaf.next().await, Some(Err(StoreError::Compacted))));
        assert!(matches!(feed.watch("", Revision(14)), Err(StoreError::Compacted)));
        let mut whole = feed.watch("", Revision(15)).unwrap();
        assert_eq!(whole.next().await.unwrap().unwrap(), gone(16));
        let mut end = feed.watch("k/", Revision(last - 1)).unwrap();
        assert_eq!(end.next().await.unwrap().unwrap(), gone(last));
        assert_eq!(end.next().await.unwrap().unwrap(), Change::Reached(Revision(last)));
    }

    #[tokio::test]
    async fn a_commit_that_is_half_forgotten_cannot_be_begun_with() {
        let feed = Arc::new(Feed::from(Revision(0)));
        feed.publish((0..KEPT_CHANGES + 1).map(|_| gone(1)).collect(), Revision(1));
        assert!(matches!(feed.watch("", Revision(0)), Err(StoreError::Compacted)));
        assert!(feed.watch("", Revision(1)).is_ok());
    }

    #[tokio::test]
    async fn nothing_of_a_long_stretch_elsewhere_is_told_but_its_end() {
        let feed = Arc::new(Feed::from(Revision(0)));
        let mut elsewhere = feed.watch("other/", Revision(0)).unwrap();
        feed.publish((0..3 * STRIDE).map(|_| gone(1)).collect(), Revision(1));
        feed.publish((0..3 * STRIDE).map(|_| gone(2)).collect(), Revision(2));
        assert_eq!(elsewhere.next().await.unwrap().unwrap(), Change::Reached(Revision(1)));
        assert_eq!(elsewhere.next().await.unwrap().unwrap(), Change::Reached(Revision(2)));
    }
}
