//! One prefix of the store, followed: all that is there is told first, then each change, in the store's order.
//!
//! Whoever is told keeps what it needs, in whatever form, and nothing is kept here. What is there is read
//! [page by page](read_through), and pages are of different moments: a follower is ahead of the feed for as long as it takes,
//! hears of some changes twice, and holds what the store holds once all is told.
//!
//! Whoever has written and needs to see it told awaits [`Following::reached`] with the revision that the commit returned.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::pages::read_through;
use super::{Change, Entry, Revision, Store, StoreError};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// Whoever is told what is under a prefix. An id is a key's rest after the prefix. Called by one task.
pub trait Follower: Send + Sync + 'static {
    /// All that is there is about to be told: at the beginning, and after changes were missed. It may be broken off, and
    /// begin again.
    fn begins(&self);

    /// `id` has this value now, perhaps as before. None: it cannot be read, which is logged with its key.
    fn put(&self, id: &str, value: &[u8], revision: Revision) -> Option<()>;

    /// `id` has no value any more: deleted, or expired. It may never have been told.
    fn gone(&self, id: &str);

    /// All that is there was told since it began. What was not is gone.
    fn ends(&self);
}

/// A follower kept up to date by a task, until this is dropped.
pub struct Following {
    reached: watch::Receiver<Revision>,
    current: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

impl Following {
    /// Tells what is under `prefix`, then goes on on a task of the current tokio runtime.
    pub async fn start<F: Follower>(
        store: Arc<dyn Store>,
        prefix: &'static str,
        follower: Arc<F>,
    ) -> Result<Self, StoreError> {
        let current = Arc::new(AtomicBool::new(true));
        let (reached, told) = watch::channel(Revision::default());
        let keeper = Keeper { store, prefix, follower, reached, current: Arc::clone(&current) };
        let loaded = keeper.load().await?;
        let following = Self { reached: told, current, keeper: tokio::spawn(keeper.follow()) };
        // Until then it may know of one thing and not yet of what was written before it.
        following.reached(*loaded.end()).await?;
        Ok(following)
    }

    /// Waits until all changes up to `revision` are told, whether any of them was under the prefix or not. An error means
    /// that the task has died, and that nothing more is told.
    pub async fn reached(&self, revision: Revision) -> Result<(), StoreError> {
        let ended = || StoreError::Read("whoever followed it has ended".to_owned());
        self.reached.clone().wait_for(|reached| *reached >= revision).await.map(drop).map_err(|_| ended())
    }

    /// It follows the store. False while the store cannot be read, and once the task has died: what was told is of before.
    pub fn healthy(&self) -> bool {
        self.current.load(Ordering::Relaxed) && !self.keeper.is_finished()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// The task.
struct Keeper<F> {
    store: Arc<dyn Store>,
    prefix: &'static str,
    follower: Arc<F>,
    /// All changes up to here are told.
    reached: watch::Sender<Revision>,
    current: Arc<AtomicBool>,
}

impl<F: Follower> Keeper<F> {
    async fn follow(self) {
        let mut pause = FIRST_RETRY;
        loop {
            let Err(mut broken) = self.feed().await;
            loop {
                // Fallen behind is not out of reach: to be told all of it anew mends that.
                if !matches!(broken, StoreError::Compacted) {
                    self.current.store(false, Ordering::Relaxed);
                    tracing::error!(prefix = self.prefix, error = %broken, "the store's changes are lost; it goes on trying");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
                match self.load().await {
                    Ok(_) => break,
                    Err(error) => broken = error,
                }
            }
            pause = FIRST_RETRY;
            self.current.store(true, Ordering::Relaxed);
        }
    }

    async fn feed(&self) -> Result<Infallible, StoreError> {
        let after = *self.reached.borrow();
        let mut changes = self.store.watch(self.prefix, after).await?;
        while let Some(change) = changes.next().await {
            match change? {
                Change::Put(entry) => self.put(&entry),
                Change::Gone(key, _) => {
                    key.after(self.prefix).into_iter().for_each(|id| self.follower.gone(id));
                }
                Change::Reached(revision) => drop(self.reached.send_replace(revision)),
            }
        }
        Err(StoreError::Read("its change feed has ended".to_owned()))
    }

    /// Tells everything as it is now. What changes meanwhile is told by the feed, from the first page on.
    async fn load(&self) -> Result<RangeInclusive<Revision>, StoreError> {
        self.follower.begins();
        let loaded = read_through(&*self.store, self.prefix, |entry| self.put(entry)).await?;
        self.follower.ends();
        self.reached.send_replace(*loaded.start());
        Ok(loaded)
    }

    fn put(&self, entry: &Entry) {
        let Some(id) = entry.key.after(self.prefix) else { return };
        if self.follower.put(id, &entry.value, entry.revision).is_none() {
            tracing::error!(key = &*entry.key, "a stored value cannot be read and is left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures_util::stream::{self, BoxStream};

    use super::*;
    use crate::store::pages::PAGE;
    use crate::store::{BackupError, Commit, Examination, Existing, Key, Snapshot, Tx};

    /// A store of which only the answers matter: given one by one, "cannot be read" when there are none.
    #[derive(Default)]
    struct Scripted {
        snapshots: Mutex<Vec<Snapshot>>,
        feeds: Mutex<Vec<Vec<Result<Change, StoreError>>>>,
    }

    fn unreadable() -> StoreError {
        StoreError::Read("unplugged".to_owned())
    }

    #[async_trait]
    impl Store for Scripted {
        async fn get(&self, _: &Key) -> Result<Option<Entry>, StoreError> {
            Err(unreadable())
        }
        async fn range(&self, _: &str) -> Result<Snapshot, StoreError> {
            self.snapshots.lock().unwrap().pop().ok_or_else(unreadable)
        }
        async fn page(&self, prefix: &str, _: Option<&Key>, _: usize) -> Result<Snapshot, StoreError> {
            self.range(prefix).await
        }
        async fn commit(&self, _: Tx) -> Result<Commit, StoreError> {
            Err(unreadable())
        }
        async fn watch(
            &self,
            _: &str,
            _: Revision,
        ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
            let feed = self.feeds.lock().unwrap().pop().ok_or_else(unreadable)?;
            Ok(stream::iter(feed).chain(stream::pending()).boxed())
        }
        async fn ready(&self) -> Result<(), StoreError> {
            Err(unreadable())
        }
        async fn examine(&self) -> Result<Examination, StoreError> {
            Err(unreadable())
        }
        async fn backup_to(&self, _: &Path, _: Existing) -> Result<u64, BackupError> {
            Err(unreadable().into())
        }
    }

    fn entry(id: &str, value: &'static str, revision: u64) -> Entry {
        let key = Key::new(format!("names/{id}"));
        Entry { key, value: value.into(), revision: Revision(revision), expires_at: None }
    }

    fn snapshot(revision: u64, entries: Vec<Entry>) -> Snapshot {
        Snapshot { revision: Revision(revision), entries }
    }

    /// Notes what it is told, and dies of "!".
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Notes {
        fn note(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl Follower for Notes {
        fn begins(&self) {
            self.note("all:".to_owned());
        }
        fn put(&self, id: &str, value: &[u8], _: Revision) -> Option<()> {
            assert_ne!(value, b"!");
            self.note(format!("+{id}={}", str::from_utf8(value).ok()?));
            Some(())
        }
        fn gone(&self, id: &str) {
            self.note(format!("-{id}"));
        }
        fn ends(&self) {
            self.note(".".to_owned());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_store_is_found_again_and_all_of_it_told_anew() {
        let store = Arc::new(Scripted::default());
        store.snapshots.lock().unwrap().push(snapshot(2, vec![entry("a", "1", 1), entry("b", "1", 2)]));
        let changes = vec![
            Ok(Change::Put(entry("a", "2", 3))),
            Ok(Change::Gone(Key::new("names/b"), Revision(3))),
            Ok(Change::Reached(Revision(3))),
            Err(unreadable()),
        ];
        store.feeds.lock().unwrap().push(changes);
        let notes = Arc::new(Notes::default());
        let following = Following::start(Arc::clone(&store) as Arc<dyn Store>, "names/", Arc::clone(&notes));
        let following = following.await.unwrap();
        following.reached(Revision(3)).await.unwrap();
        tokio::time::sleep(LAST_RETRY * 3).await;
        assert!(!following.healthy(), "what was told is of before");
        let told = std::mem::take(&mut *notes.0.lock().unwrap());
        assert_eq!(told[..6], ["all:", "+a=1", "+b=1", ".", "+a=2", "-b"]);
        assert!(told[6..].iter().all(|begun| begun == "all:"), "nothing more could be read");

        store.feeds.lock().unwrap().push(Vec::new());
        store.snapshots.lock().unwrap().push(snapshot(9, vec![entry("a", "2", 3), entry("c", "1", 8)]));
        following.reached(Revision(9)).await.unwrap();
        tokio::task::yield_now().await;
        assert!(following.healthy());
        let told = std::mem::take(&mut *notes.0.lock().unwrap());
        assert_eq!(told.join(" ").trim_start_matches("all: "), "+a=2 +c=1 .");
    }

    #[tokio::test]
    async fn what_was_written_while_it_was_read_is_told_before_anybody_relies_on_it() {
        let store = Arc::new(Scripted::default());
        let page = (0..PAGE).map(|n| entry(&format!("{n:05}"), "1", 1)).collect();
        *store.snapshots.lock().unwrap() = vec![snapshot(5, Vec::new()), snapshot(2, page)];
        let changes = vec![Ok(Change::Put(entry("00000", "2", 4))), Ok(Change::Reached(Revision(5)))];
        store.feeds.lock().unwrap().push(changes);
        let notes = Arc::new(Notes::default());
        let _following = Following::start(store, "names/", Arc::clone(&notes)).await.unwrap();
        assert_eq!(notes.0.lock().unwrap().last().unwrap(), "+00000=2");
    }

    #[tokio::test]
    async fn a_follower_that_dies_is_noticed() {
        let store = Arc::new(Scripted::default());
        store.snapshots.lock().unwrap().push(Snapshot::default());
        store
            .feeds
            .lock()
            .unwrap()
            .push(vec![Ok(Change::Put(entry("a", "!", 1))), Ok(Change::Reached(Revision(1)))]);
        let following = Following::start(store, "names/", Arc::new(Notes::default())).await.unwrap();
        assert!(following.reached(Revision(1)).await.is_err(), "it does not hang");
        while !following.keeper.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!following.healthy());
    }
}
