//! Which files are opened, which are refused, and what the refusal says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::clock::{ManualClock, Timestamp};
use crate::store::sqlite::{OpenError, SqliteFile};
use crate::store::{Cond, Key, Revision, Store as _, StoreError, Tx};

/// A file with something in it, closed.
async fn used() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let store = SqliteFile::open(&path).unwrap().start(ManualClock::at(Timestamp::from_secs(1_000)));
    for n in 0..200 {
        store.commit(Tx::new().put(Key::new(format!("k/{n}")), vec![7; 100])).await.unwrap();
    }
    (folder, path)
}

/// The refusal, after which the file must be as it was.
fn refusal(path: &Path) -> OpenError {
    let before = fs::read(path).unwrap();
    let Err(error) = SqliteFile::open(path) else { panic!("{} was opened", path.display()) };
    assert!(fs::read(path).unwrap() == before, "a refused file is left as it is");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let (_folder, path) = used().await;
    let file = SqliteFile::open(&path).unwrap();
    assert_eq!(file.latest_moment(), Timestamp::from_secs(1_000));
    let store = file.start(ManualClock::at(Timestamp::from_secs(2_000)));
    let snapshot = store.range("k/").await.unwrap();
    assert_eq!((snapshot.revision, snapshot.entries.len()), (Revision(200), 200));
    assert!(matches!(store.watch("", Revision(199)).await, Err(StoreError::Compacted)));
    assert!(store.watch("", Revision(200)).await.is_ok());
    let spent = Tx::new().when(Cond::Absent(Key::new("k/0"))).put(Key::new("k/0"), "");
    assert_eq!(store.commit(spent).await.unwrap(), crate::store::Commit::Conflict);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_set_back_the_latest_moment() {
    let (_folder, path) = used().await;
    let store = SqliteFile::open(&path).unwrap().start(ManualClock::at(Timestamp::from_secs(10)));
    let ended = Some(Timestamp::from_secs(999));
    store.commit(Tx::new().put_until(Key::new("old"), "", ended)).await.unwrap();
    store.ready().await.unwrap();
    drop(store);
    assert_eq!(SqliteFile::open(&path).unwrap().latest_moment(), Timestamp::from_secs(1_000));
}

#[tokio::test]
async fn only_its_owner_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    // As an operator may have restored it.
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = SqliteFile::open(&path).unwrap().start(ManualClock::at(Timestamp::from_secs(1)));
    store.ready().await.unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn one_file_has_one_server() {
    let (_folder, path) = used().await;
    let store = SqliteFile::open(&path).unwrap().start(ManualClock::at(Timestamp::from_secs(1)));
    let error = refusal(&path);
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(store);
    SqliteFile::open(&path).unwrap();
}

#[test]
fn what_is_not_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(
        &text,
        "Milk, bread and the rest of a page that is long enough to look like a file of somebody's. "
            .repeat(20),
    )
    .unwrap();
    let short = folder.path().join("short");
    fs::write(&short, "x").unwrap();
    let others = folder.path().join("others.sqlite");
    Connection::open(&others).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    for path in [text, short, others] {
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(!folder.path().join("others.sqlite-wal").exists());
    }
}

#[tokio::test]
async fn what_is_newer_is_refused() {
    let (_folder, path) = used().await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn what_is_damaged_is_refused() {
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[4096..8192].fill(0xff),
        |bytes| bytes[20_000..].fill(0),
        |bytes| bytes.truncate(16_384),
        |bytes| bytes[100..4096].fill(0x5a),
    ];
    for (at, damage) in damage.into_iter().enumerate() {
        let (_folder, path) = used().await;
        let mut bytes = fs::read(&path).unwrap();
        assert!(bytes.len() > 24_000);
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{at}: {error}");
    }
    for sql in ["DELETE FROM progress", "DROP TABLE entries", "DROP TABLE progress"] {
        let (_folder, path) = used().await;
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{sql}: {error}");
    }
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Err(error) = SqliteFile::open(&folder.path().join("none/store.sqlite")) else { panic!() };
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}
