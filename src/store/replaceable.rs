//! A store whose engine can be changed under those who use it: they wait for a moment, and notice nothing else.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio_util::sync::CancellationToken;

use super::{
    BackupError, Change, Commit, Entry, Examination, Existing, Key, Revision, Snapshot, Store, StoreError, Tx,
};

/// A store with another behind it.
pub struct Replaceable(Arc<RwLock<Place>>);

struct Place {
    /// None: it was taken away, and nothing came in its stead.
    store: Option<Arc<dyn Store>>,
    /// Cancelled when it goes: those who watch it look at the next as it is then.
    gone: CancellationToken,
}

impl Place {
    fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.store.as_ref().ok_or_else(|| StoreError::Unapplied("it was given away".to_owned()))
    }
}

impl Replaceable {
    /// With `store` behind it. Nobody else should hold it.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let place = Place { store: Some(store), gone: CancellationToken::new() };
        Arc::new(Self(Arc::new(RwLock::new(place))))
    }

    /// Waits for the calls that are under way, and closes the store. Calls that come meanwhile wait until another is
    /// [put in its place](Vacancy::fill).
    pub async fn vacate(&self) -> Vacancy {
        let mut place = Arc::clone(&self.0).write_owned().await;
        place.gone.cancel();
        let former = place.store.take();
        // It writes what is queued, closes its file and gives back its lock. What it may end with it has logged.
        let _ = tokio::task::spawn_blocking(move || drop(former)).await;
        Vacancy(place)
    }
}

/// The place of a store that was closed. Dropped, it stays empty, and every call fails.
pub struct Vacancy(OwnedRwLockWriteGuard<Place>);

impl Vacancy {
    /// From now on calls go to `store`.
    pub fn fill(mut self, store: Arc<dyn Store>) {
        *self.0 = Place { store: Some(store), gone: CancellationToken::new() };
    }
}

#[async_trait]
impl Store for Replaceable {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.0.read().await.store()?.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        self.0.read().await.store()?.range(prefix).await
    }

    async fn page(&self, prefix: &str, after: Option<&Key>, most: usize) -> Result<Snapshot, StoreError> {
        self.0.read().await.store()?.page(prefix, after, most).await
    }

    async fn commit(&self, tx: Tx) -> Result<Commit, StoreError> {
        self.0.read().await.store()?.commit(tx).await
    }

    /// A feed ends with its store as if the watcher had fallen behind: he takes a snapshot of the next one, and so misses
    /// nothing.
    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
        let place = self.0.read().await;
        let changes = place.store()?.watch(prefix, after).await?;
        let changes = changes.take_until(place.gone.clone().cancelled_owned());
        Ok(changes.chain(stream::iter([Err(StoreError::Compacted)])).boxed())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.0.read().await.store()?.ready().await
    }

    async fn examine(&self) -> Result<Examination, StoreError> {
        self.0.read().await.store()?.examine().await
    }

    async fn backup_to(&self, path: &Path, existing: Existing) -> Result<u64, BackupError> {
        self.0.read().await.store()?.backup_to(path, existing).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::store::mirror::Mirror;
    use crate::store::sqlite::SqliteFile;

    fn text(value: &[u8]) -> Option<String> {
        String::from_utf8(value.to_vec()).ok()
    }

    fn open(folder: &Path) -> Arc<dyn Store> {
        let clock = ManualClock::at(Timestamp::from_secs(1));
        SqliteFile::open(&folder.join("edge.db")).expect("free to open").start(clock)
    }

    fn put(key: &str, value: &str) -> Tx {
        Tx::new().put(Key::new(key), value.to_owned())
    }

    #[tokio::test]
    async fn whoever_asks_meanwhile_waits_and_a_mirror_holds_what_the_next_one_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Replaceable::new(open(folder.path()));
        store.commit(put("k/a", "one")).await.expect("written");
        let mirror = Mirror::start(Arc::clone(&store) as _, "k/", text).await.expect("loaded");

        let vacancy = store.vacate().await;
        let waiting = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.commit(put("k/b", "asked meanwhile")).await }
        });
        let elsewhere = open(folder.path());
        elsewhere.commit(put("k/a", "written elsewhere")).await.expect("written");
        assert!(!waiting.is_finished());
        assert_eq!(**mirror.get("a").expect("as it was"), *"one");

        vacancy.fill(elsewhere);
        let Commit::Applied(revision) = waiting.await.expect("no panic").expect("written") else {
            panic!("a conflict")
        };
        tokio::time::timeout(Duration::from_secs(10), mirror.reached(revision))
            .await
            .expect("soon")
            .expect("well");
        assert_eq!(**mirror.get("a").expect("there"), *"written elsewhere");
        assert_eq!(**mirror.get("b").expect("there"), *"asked meanwhile");
        assert!(mirror.healthy());
    }

    #[tokio::test]
    async fn a_place_that_stays_empty_takes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Replaceable::new(open(folder.path()));
        drop(store.vacate().await);
        assert!(matches!(store.commit(put("k", "v")).await, Err(StoreError::Unapplied(_))));
        assert!(store.get(&Key::new("k")).await.is_err());
        drop(open(folder.path()));
    }
}
