//! One prefix of the store, kept in memory: a snapshot first, then the change feed.
//!
//! The path of a request reads mirrors only. Whoever has written and needs to see it mirrored awaits
//! [`Mirror::reached`] with the revision that the commit returned. A mirror has no clock: an entry that has expired
//! stays until the store tells that it is gone, within a second or so; whoever reads it compares times.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Change, Entry, Revision, Snapshot, Store, StoreError};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// What a mirror does with what it sees. Called by one task, in the store's order, never twice for one revision of a key.
pub trait Follower<V>: Send + Sync + 'static {
    /// Decodes a value; `before` is what the mirror held. None: undecodable, logged with its key and left out.
    fn put(&self, id: &str, value: &[u8], before: Option<&Arc<V>>) -> Option<Arc<V>>;

    /// `last` is out of the mirror: deleted, expired, or replaced by something undecodable.
    fn gone(&self, id: &str, last: &Arc<V>) {
        let _ = (id, last);
    }
}

/// Everything under one prefix, decoded. An id is a key's rest after the prefix.
pub struct Mirror<V> {
    held: Arc<DashMap<Box<str>, Held<V>>>,
    reached: watch::Receiver<Revision>,
    current: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

struct Held<V> {
    revision: Revision,
    value: Arc<V>,
}

impl<V: Send + Sync + 'static> Mirror<V> {
    /// Loads what is under `prefix`, then follows it on a task of the current tokio runtime until the mirror is dropped.
    pub async fn start(
        store: Arc<dyn Store>,
        prefix: &'static str,
        follower: impl Follower<V>,
    ) -> Result<Arc<Self>, StoreError> {
        let keeper = Keeper {
            store,
            prefix,
            follower,
            held: Arc::new(DashMap::new()),
            reached: watch::Sender::new(Revision::default()),
            current: Arc::new(AtomicBool::new(true)),
        };
        keeper.load().await?;
        Ok(Arc::new(Self {
            held: Arc::clone(&keeper.held),
            reached: keeper.reached.subscribe(),
            current: Arc::clone(&keeper.current),
            keeper: tokio::spawn(keeper.follow()),
        }))
    }

    /// The value of `id`. Neither waits for I/O nor allocates.
    pub fn get(&self, id: &str) -> Option<Arc<V>> {
        self.held.get(id).map(|held| Arc::clone(&held.value))
    }

    /// All values, in no order.
    pub fn values(&self) -> Vec<Arc<V>> {
        self.held.iter().map(|held| Arc::clone(&held.value)).collect()
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// It holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Waits until the mirror holds all changes up to `revision`, whether any of them was under its prefix or not.
    /// An error means that its task has died, and that what it holds is no longer kept up.
    pub async fn reached(&self, revision: Revision) -> Result<(), StoreError> {
        let ended = || StoreError::Read("its mirror has ended".to_owned());
        self.reached.clone().wait_for(|reached| *reached >= revision).await.map(drop).map_err(|_| ended())
    }

    /// It follows the store. False while the store cannot be read, and once its task has died: what it holds is of
    /// before.
    pub fn healthy(&self) -> bool {
        self.current.load(Ordering::Relaxed) && !self.keeper.is_finished()
    }
}

impl<V> Drop for Mirror<V> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// The task behind a mirror.
struct Keeper<V, F> {
    store: Arc<dyn Store>,
    prefix: &'static str,
    follower: F,
    held: Arc<DashMap<Box<str>, Held<V>>>,
    /// All changes up to here are in `held`.
    reached: watch::Sender<Revision>,
    current: Arc<AtomicBool>,
}

impl<V: Send + Sync + 'static, F: Follower<V>> Keeper<V, F> {
    async fn follow(self) {
        let mut pause = FIRST_RETRY;
        loop {
            let Err(mut broken) = self.feed().await;
            loop {
                // Fallen behind is not out of reach: the snapshot mends it.
                if !matches!(broken, StoreError::Compacted) {
                    self.current.store(false, Ordering::Relaxed);
                    tracing::error!(prefix = self.prefix, error = %broken, "a mirror has lost the store; it goes on trying");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
                match self.load().await {
                    Ok(()) => break,
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
                Change::Gone(key, _) => self.gone(key.after(self.prefix)),
                Change::Reached(revision) => drop(self.reached.send_replace(revision)),
            }
        }
        Err(StoreError::Read("its change feed has ended".to_owned()))
    }

    /// Takes everything as it is now, and finds out what has changed meanwhile.
    async fn load(&self) -> Result<(), StoreError> {
        let Snapshot { revision, entries } = self.store.range(self.prefix).await?;
        let present: HashSet<&str> =
            entries.iter().filter_map(|entry| entry.key.after(self.prefix)).collect();
        let held: Vec<Box<str>> = self.held.iter().map(|held| held.key().clone()).collect();
        for id in held.iter().filter(|id| !present.contains(&***id)) {
            self.gone(Some(id));
        }
        entries.iter().for_each(|entry| self.put(entry));
        self.reached.send_replace(revision);
        Ok(())
    }

    fn put(&self, entry: &Entry) {
        let Some(id) = entry.key.after(self.prefix) else { return };
        let before = self.held.get(id).map(|held| (held.revision, Arc::clone(&held.value)));
        if before.as_ref().is_some_and(|(revision, _)| *revision >= entry.revision) {
            return;
        }
        match self.follower.put(id, &entry.value, before.as_ref().map(|(_, value)| value)) {
            Some(value) => drop(self.held.insert(id.into(), Held { revision: entry.revision, value })),
            None => {
                tracing::error!(key = &*entry.key, "a stored value cannot be read and is left out");
                self.gone(Some(id));
            }
        }
    }

    fn gone(&self, id: Option<&str>) {
        if let Some((id, last)) = id.and_then(|id| self.held.remove(id)) {
            self.follower.gone(&id, &last.value);
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
    use crate::store::{BackupError, Commit, Examination, Existing, Key, Tx};

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

    /// Keeps text, notes what it was called with, and dies of "!".
    #[derive(Clone, Default)]
    struct Texts(Arc<Mutex<Vec<String>>>);

    impl Follower<String> for Texts {
        fn put(&self, id: &str, value: &[u8], _: Option<&Arc<String>>) -> Option<Arc<String>> {
            assert_ne!(value, b"!");
            let text = String::from_utf8(value.to_vec()).ok()?;
            self.0.lock().unwrap().push(format!("+{id}={text}"));
            Some(Arc::new(text))
        }
        fn gone(&self, id: &str, _: &Arc<String>) {
            self.0.lock().unwrap().push(format!("-{id}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_store_is_found_again_and_nothing_is_told_twice() {
        let store = Arc::new(Scripted::default());
        store.snapshots.lock().unwrap().push(snapshot(2, vec![entry("a", "1", 1), entry("b", "1", 2)]));
        let broken =
            vec![Ok(Change::Put(entry("a", "2", 3))), Ok(Change::Reached(Revision(3))), Err(unreadable())];
        store.feeds.lock().unwrap().push(broken);
        let texts = Texts::default();
        let mirror =
            Mirror::start(Arc::clone(&store) as Arc<dyn Store>, "names/", texts.clone()).await.unwrap();
        mirror.reached(Revision(3)).await.unwrap();
        tokio::time::sleep(LAST_RETRY * 3).await;
        assert!(!mirror.healthy(), "what it holds is of before");
        assert_eq!(mirror.get("a").unwrap().as_str(), "2");

        store.feeds.lock().unwrap().push(Vec::new());
        store.snapshots.lock().unwrap().push(snapshot(9, vec![entry("a", "2", 3), entry("c", "1", 8)]));
        mirror.reached(Revision(9)).await.unwrap();
        tokio::task::yield_now().await;
        assert!(mirror.healthy());
        assert_eq!(*texts.0.lock().unwrap(), ["+a=1", "+b=1", "+a=2", "-b", "+c=1"]);
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
        let mirror = Mirror::start(store, "names/", Texts::default()).await.unwrap();
        assert!(mirror.reached(Revision(1)).await.is_err(), "it does not hang");
        while !mirror.keeper.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!mirror.healthy());
    }
}
