//! What only the embedded engine promises.

use super::*;
use crate::clock::ManualClock;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let clock = ManualClock::at(Timestamp::from_secs(1_000));
    let key = Key::new("users/a");
    let store = SqliteFile::open(&path).unwrap().start(clock.clone());
    let applied = store
        .commit(Tx::new().when(crate::store::Cond::Absent(key.clone())).put(key.clone(), "a"))
        .await
        .unwrap();
    assert_eq!(applied, Commit::Applied(Revision(1)));
    drop(store);

    let file = SqliteFile::open(&path).unwrap();
    assert_eq!(file.latest_moment(), Timestamp::from_secs(1_000));
    let store = file.start(clock);
    let entry = store.get(&key).await.unwrap().unwrap();
    assert_eq!((&*entry.value, entry.revision), (&b"a"[..], Revision(1)));
    store.ready().await.unwrap();
    let snapshot = store.range("users/").await.unwrap();
    assert_eq!((snapshot.revision, snapshot.entries), (Revision(1), vec![entry]));
}
