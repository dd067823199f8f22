//! What a restore puts back, what it ends, and what it refuses without a change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::clock::{ManualClock, Timestamp};
use crate::store::sqlite::{OpenError, Restore, RestoreError, Restored, SqliteFile};
use crate::store::{Existing, Key, Store as _, Tx};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// A data directory, and a backup that was made of it.
struct Place {
    folder: TempDir,
}

impl Place {
    /// The backup knows a user and a session; since then one user came, and one went.
    async fn backed_up() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.data()).unwrap();
        let store = SqliteFile::open(&place.file()).unwrap().start(ManualClock::at(NOW));
        let key = |text: &str| Key::new(text);
        let tx =
            Tx::new().put(key("users/ada"), "1").put(key("users/eve"), "1").put(key("live/session/a"), "s");
        store.commit(tx.put(key("usersx"), "no user")).await.unwrap();
        store.backup_to(&place.backup(), Existing::Kept).await.unwrap();
        let since = Tx::new().delete(key("users/eve")).put(key("users/bob"), "1").put(key("labels/x"), "bob");
        store.commit(since).await.unwrap();
        drop(store);
        fs::create_dir(place.data().join("keys")).unwrap();
        fs::write(place.data().join("keys/token-keys.json"), "secret").unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.data().join("edge.db")
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn restore(&self) -> Result<Restored, RestoreError> {
        let (to, keys) = (self.file(), self.data().join("keys"));
        let order = Restore {
            from: &self.backup(),
            to: &to,
            lasting: &["users/", "labels/"],
            carried: "labels/",
            with_it: &[&keys],
            at: NOW,
        };
        order.run()
    }

    /// The refusal, after which everything must be as it was.
    fn refusal(&self) -> RestoreError {
        let before = contents(&self.data());
        let refused = self.restore().expect_err("refused");
        assert_eq!(contents(&self.data()), before, "{refused}");
        refused
    }

    async fn keys(&self) -> Vec<String> {
        let store = SqliteFile::open(&self.file()).unwrap().start(ManualClock::at(NOW));
        let entries = store.range("").await.unwrap().entries;
        entries.iter().map(|entry| entry.key.to_string()).collect()
    }
}

/// Every file below `folder` but the lock, with its mode and its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.to_string_lossy().ends_with(".lock") {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.insert(path.clone(), (mode, fs::read(&path).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn what_lasts_is_put_back_what_does_not_is_ended_and_what_was_there_is_set_aside() {
    let place = Place::backed_up().await;
    let restored = place.restore().unwrap();
    assert_eq!((restored.kept, restored.ended, restored.as_of), (2, 2, NOW));
    assert_eq!(restored.back, Some(vec![Key::new("users/eve")]));
    assert_eq!(place.keys().await, ["labels/x", "users/ada", "users/eve"]);

    let aside = restored.aside.unwrap();
    assert_eq!(fs::metadata(&aside).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(aside.join("keys/token-keys.json")).unwrap(), "secret");
    assert!(!place.data().join("keys").exists(), "the next start makes new ones");
    let former = SqliteFile::open(&aside.join("edge.db")).unwrap().start(ManualClock::at(NOW));
    assert_eq!(former.range("users/").await.unwrap().entries.len(), 2);
    assert!(
        former.get(&Key::new("users/bob")).await.unwrap().is_some(),
        "the latest, not what the backup knows"
    );
}

#[tokio::test]
async fn what_is_ended_leaves_no_trace_in_the_file() {
    let place = Place::backed_up().await;
    let held = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(14).any(|some| some == b"live/session/a")
    };
    assert!(held(&place.backup()));
    place.restore().unwrap();
    assert!(!held(&place.file()));
}

#[tokio::test]
async fn into_an_empty_folder_nothing_is_set_aside_and_again_and_again_is_fine() {
    let place = Place::backed_up().await;
    fs::remove_dir_all(place.data()).unwrap();
    fs::create_dir(place.data()).unwrap();
    let first = place.restore().unwrap();
    assert!(first.aside.is_none() && first.back == Some(Vec::new()));
    let (second, third) = (place.restore().unwrap(), place.restore().unwrap());
    assert!(second.aside.is_some() && second.aside != third.aside);
    assert_eq!(place.keys().await, ["users/ada", "users/eve"]);
    let mode = fs::metadata(place.file()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[tokio::test]
async fn a_file_that_is_damaged_is_replaced_all_the_same() {
    let place = Place::backed_up().await;
    fs::write(place.file(), "nonsense").unwrap();
    fs::write(place.data().join("edge.db-wal"), "nonsense").unwrap();
    let restored = place.restore().unwrap();
    assert_eq!(restored.back, None, "nobody knows");
    let aside = restored.aside.unwrap();
    assert_eq!(fs::read_to_string(aside.join("edge.db-wal")).unwrap(), "nonsense");
    assert_eq!(place.keys().await, ["users/ada", "users/eve"]);
}

#[tokio::test]
async fn what_is_no_whole_backup_of_ours_is_refused_and_nothing_changes() {
    let place = Place::backed_up().await;
    let good = fs::read(place.backup()).unwrap();
    let with = |bytes: &[u8]| fs::write(place.backup(), bytes).unwrap();

    with(b"");
    assert!(matches!(place.refusal(), RestoreError::Foreign { .. }));
    with(b"{\"a\": 1}");
    assert!(matches!(place.refusal(), RestoreError::Foreign { .. }));
    let mut foreign = good.clone();
    foreign[68..72].fill(0);
    with(&foreign);
    assert!(matches!(place.refusal(), RestoreError::Foreign { .. }));
    with(&good[..good.len() / 2]);
    assert!(matches!(place.refusal(), RestoreError::Corrupt { .. }));
    let mut spoilt = good.clone();
    let page = 4096;
    for start in (page..good.len()).step_by(page) {
        spoilt[start..start + 16].fill(0xff);
    }
    with(&spoilt);
    assert!(matches!(place.refusal(), RestoreError::Corrupt { .. }));
    with(&good);
    Connection::open(place.backup()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(place.refusal(), RestoreError::Newer { found: 99, .. }));
    with(&good);
    let log = place.folder.path().join("backup-wal");
    fs::write(&log, "a log").unwrap();
    assert!(matches!(place.refusal(), RestoreError::Live(_)));
    fs::remove_file(log).unwrap();
    fs::remove_file(place.backup()).unwrap();
    assert!(matches!(place.refusal(), RestoreError::Unreadable { .. }));
    fs::create_dir(place.backup()).unwrap();
    assert!(matches!(place.refusal(), RestoreError::Foreign { .. }));
}

#[tokio::test]
async fn what_a_server_uses_is_not_replaced() {
    let place = Place::backed_up().await;
    let serving = SqliteFile::open(&place.file()).unwrap();
    assert!(matches!(place.refusal(), RestoreError::Running(_)));
    drop(serving);
    place.restore().unwrap();
}

#[tokio::test]
async fn after_an_interrupted_restore_nothing_is_served_until_it_is_done_again() {
    let place = Place::backed_up().await;
    fs::rename(place.file(), place.data().join("edge.db.restoring")).unwrap();
    let Err(refused) = SqliteFile::open(&place.file()) else { panic!("opened") };
    assert!(matches!(refused, OpenError::Halfway { .. }), "{refused}");
    assert!(!place.file().exists(), "no empty one is made in its place");
    place.restore().unwrap();
    assert_eq!(place.keys().await, ["users/ada", "users/eve"]);
}
