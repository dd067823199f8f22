//! What every engine promises, and what only the embedded one does.

mod crash;
mod damage;
mod opening;
mod restoring;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::SqliteFile;
use crate::clock::{ManualClock, Timestamp};
use crate::store::{BackupError, Commit, Existing, Key, MAX_VALUE, Store, StoreError, Tx, conformance};

struct Sqlite {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    _folder: TempDir,
}

async fn sqlite() -> Sqlite {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_secs(1_790_000_000));
    let store = SqliteFile::open(&folder.path().join("store.sqlite")).unwrap().start(clock.clone());
    Sqlite { store, clock, _folder: folder }
}

#[async_trait]
impl conformance::Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn forget(&self) {
        for n in 0..=super::feed::KEPT_BYTES / MAX_VALUE {
            let tx = Tx::new().put(Key::new(format!("filler/{}", n % 2)), vec![0; MAX_VALUE]);
            self.store.commit(tx).await.unwrap();
        }
    }
}

conformance::suite!(super::tests::sqlite);

#[test]
fn random_transactions_do_what_a_map_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let compared = TestRunner::new(config).run(&conformance::model::steps(), |steps| {
        runtime.block_on(async { conformance::model::compare(sqlite().await, steps).await });
        Ok(())
    });
    compared.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_over_when_there_is_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteFile::open(&folder.path().join("store.sqlite")).unwrap();
    file.0.writer.pragma_update(None, "max_page_count", 64).unwrap();
    let store = file.start(ManualClock::at(Timestamp::from_secs(1)));
    let mut written = Vec::new();
    let full = loop {
        let key = Key::new(format!("k/{}", written.len()));
        match store.commit(Tx::new().put(key.clone(), vec![1; 10_000])).await {
            Ok(_) => written.push(key),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Unapplied(_)), "{full}");
    assert_eq!(store.range("k/").await.unwrap().entries.len(), written.len());
    store.commit(written.iter().cloned().fold(Tx::new(), Tx::delete)).await.unwrap();
    let again = store.commit(Tx::new().put(Key::new("k/again"), vec![1; 10_000])).await.unwrap();
    assert!(matches!(again, Commit::Applied(_)));
}

#[tokio::test]
async fn dropping_the_store_finishes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let clock = ManualClock::at(Timestamp::from_secs(1));
    let store = SqliteFile::open(&path).unwrap().start(clock.clone());
    for n in 0..100 {
        // Asked for, and not waited for.
        let commit = store.commit(Tx::new().put(Key::new(format!("k/{n}")), ""));
        let _ = tokio::time::timeout(Duration::ZERO, commit).await;
    }
    clock.advance(Duration::from_secs(5));
    drop(store);
    assert!(!folder.path().join("store.sqlite-wal").exists(), "closed in order");
    let file = SqliteFile::open(&path).unwrap();
    assert_eq!(file.latest_moment(), Timestamp::from_secs(6));
    assert_eq!(file.start(clock).range("k/").await.unwrap().entries.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_is_a_store_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_secs(1));
    let store = SqliteFile::open(&folder.path().join("store.sqlite")).unwrap().start(clock.clone());
    let pair = |n: u32| Tx::new().put(Key::new(format!("a/{n}")), "").put(Key::new(format!("b/{n}")), "");
    for n in 0..500 {
        store.commit(pair(n)).await.unwrap();
    }
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for n in 500..1_000 {
            writer.commit(pair(n)).await.unwrap();
        }
    });
    let mut least = 500;
    for n in 0.. {
        let last = writing.is_finished();
        let path = folder.path().join(format!("backup-{n}"));
        store.backup_to(&path, Existing::Kept).await.unwrap();
        let again = store.backup_to(&path, Existing::Kept).await;
        assert!(matches!(again, Err(BackupError::Exists(_))), "it is there already");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = SqliteFile::open(&path).unwrap().start(clock.clone());
        let (a, b) = (copy.range("a/").await.unwrap(), copy.range("b/").await.unwrap());
        assert_eq!(a.entries.len(), b.entries.len(), "half a transaction");
        assert!(a.entries.len() >= least);
        least = a.entries.len();
        if last {
            break;
        }
    }
    assert_eq!(least, 1_000);
    writing.await.unwrap();
}
