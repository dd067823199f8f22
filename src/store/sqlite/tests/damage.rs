//! A disk that does not give back what it was given: what is served is what was written, or nothing is.

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::clock::{ManualClock, Timestamp};
use crate::secret::{SystemEntropy, random};
use crate::store::sqlite::{Inspection, OpenError, SqliteFile};
use crate::store::{Entry, Key, Store, StoreError, Tx};

const FLIPS: usize = 300;
const COMMITS: u64 = 60;

/// What is on the disk after `kill -9`, with a log that is not written into the file yet.
struct Killed {
    folder: TempDir,
    db: Vec<u8>,
    wal: Vec<u8>,
    entries: Vec<Entry>,
}

impl Killed {
    async fn with_much_in_its_log() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.db");
        let store = start(SqliteFile::open(&path).unwrap());
        for n in 0..COMMITS {
            let record = format!("{{\"session\":\"{n}\",\"expires_at\":{}}}", 1_900_000_000 + n);
            let expires = (n % 3 == 0).then(|| Timestamp::from_secs(1_900_000_000 + n));
            let tx = Tx::new().put(Key::new(format!("live/revoked/session/{n}")), record);
            let tx = tx.put_until(Key::new(format!("bindings/{}", n % 40)), n.to_string(), expires);
            store.commit(tx).await.unwrap();
            if n == COMMITS / 2 {
                // Half of it is in the file itself.
                Connection::open(&path)
                    .unwrap()
                    .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
                    .unwrap();
            }
        }
        let entries = store.range("").await.unwrap().entries;
        let read = |suffix: &str| fs::read(folder.path().join(format!("edge.db{suffix}"))).unwrap();
        let (db, wal) = (read(""), read("-wal"));
        drop(store);
        Self { folder, db, wal, entries }
    }

    /// These bytes, as they are found by the next start.
    fn found(&self, db: &[u8], wal: &[u8]) -> PathBuf {
        let path = self.folder.path().join("found.db");
        for (suffix, bytes) in [("", Some(db)), ("-wal", Some(wal)), ("-shm", None)] {
            let path = self.folder.path().join(format!("found.db{suffix}"));
            let _ = fs::remove_file(&path);
            bytes.into_iter().for_each(|bytes| fs::write(&path, bytes).unwrap());
        }
        path
    }
}

fn start(file: SqliteFile) -> Arc<dyn Store> {
    file.start(ManualClock::at(Timestamp::from_secs(1_800_000_000)))
}

/// The commits that left these entries; none: no number of them would have.
fn commits(entries: &[Entry]) -> Option<u64> {
    let revoked = entries.iter().filter(|entry| entry.key.starts_with("live/")).count() as u64;
    let whole = entries.len() as u64 == revoked + revoked.min(40);
    let latest = entries.iter().map(|entry| entry.revision.0).max().unwrap_or_default();
    (whole && latest == revoked).then_some(revoked)
}

#[tokio::test]
async fn of_hundreds_of_flipped_bits_none_is_served() {
    let killed = Killed::with_much_in_its_log().await;
    let (mut refused, mut unharmed, mut last) = (0, 0, 0);
    for n in 0..FLIPS {
        let (mut db, mut wal) = (killed.db.clone(), killed.wal.clone());
        let bytes = if n % 2 == 0 { &mut db } else { &mut wal };
        let at = u64::from_le_bytes(random(&*SystemEntropy::shared()));
        let (byte, bit) = (usize::try_from(at >> 3).unwrap() % bytes.len(), at & 7);
        bytes[byte] ^= 1 << bit;
        let path = killed.found(&db, &wal);
        let Ok(file) = SqliteFile::open(&path) else {
            refused += 1;
            continue;
        };
        let store = start(file);
        let Ok(found) = store.range("").await else {
            refused += 1;
            continue;
        };
        let what = || format!("bit {bit} of byte {byte} of the {}", if n % 2 == 0 { "file" } else { "log" });
        if found.entries == killed.entries {
            unharmed += 1;
        } else {
            // As after a crash in the middle of the last commit: nobody can tell.
            assert_eq!(commits(&found.entries), Some(COMMITS - 1), "{}", what());
            assert!(found.entries.iter().filter(|entry| !killed.entries.contains(entry)).count() <= 1);
            last += 1;
        }
    }
    println!("{FLIPS} flips: {refused} refused, {unharmed} without effect, {last} in the last commit");
    assert!(refused > FLIPS / 3, "{refused}");
}

#[tokio::test]
async fn a_value_that_rots_while_it_is_served_is_not_given_out() {
    let killed = Killed::with_much_in_its_log().await;
    let path = killed.found(&killed.db, &killed.wal);
    let store = start(SqliteFile::open(&path).unwrap());
    let bytes = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (at, _) in bytes.windows(15).enumerate().filter(|(_, some)| *some == b"\"session\":\"7\",\"") {
        file.write_all_at(b"9", at as u64 + 11).unwrap();
    }
    let rotten = store.get(&Key::new("live/revoked/session/7")).await;
    assert!(
        matches!(&rotten, Err(StoreError::Read(why)) if why.contains("not as it was written")),
        "{rotten:?}"
    );
    assert!(store.examine().await.unwrap().damage.is_some());
    assert!(store.get(&Key::new("live/revoked/session/8")).await.unwrap().is_some());
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_refused() {
    for sql in [
        "DELETE FROM entries WHERE key = 'live/revoked/session/3'",
        "UPDATE entries SET value = x'00' WHERE key = 'live/revoked/session/3'",
        "UPDATE entries SET expires_at = 1 WHERE key = 'live/revoked/session/3'",
        "UPDATE entries SET key = 'live/revoked/session/x' WHERE key = 'live/revoked/session/3'",
        "INSERT INTO entries VALUES ('live/revoked/session/x', x'00', 1, NULL, 7)",
        "UPDATE progress SET moment = 0",
        "UPDATE progress SET revision = 1",
    ] {
        let killed = Killed::with_much_in_its_log().await;
        let path = killed.found(&killed.db, &killed.wal);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let Err(error) = SqliteFile::open(&path) else { panic!("opened after {sql}") };
        assert!(matches!(error, OpenError::Corrupt { .. }), "{sql}: {error}");
        let seen = Inspection::open(&path).unwrap().examine();
        assert!(seen.map_or(true, |seen| seen.damage.is_some()), "doctor sees it too: {sql}");
    }
}

#[tokio::test]
async fn a_log_that_lost_commits_is_refused_and_kept_as_it_is() {
    let killed = Killed::with_much_in_its_log().await;
    let page = killed.wal.len() / 2 / 4120 * 4120 + 32;
    let mut middle = killed.wal.clone();
    middle[page + 100] ^= 1;
    let mut header = killed.wal.clone();
    header[17] ^= 1;
    for (db, wal) in [(&killed.db, &middle), (&killed.db, &header), (&Vec::new(), &killed.wal)] {
        let path = killed.found(db, wal);
        let Err(error) = SqliteFile::open(&path) else { panic!("opened") };
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        assert!(
            fs::read(&path).unwrap() == **db && fs::read(path.with_extension("db-wal")).unwrap() == **wal
        );
    }
}

#[tokio::test]
async fn a_log_that_a_crash_tore_at_its_end_is_read_up_to_there() {
    let killed = Killed::with_much_in_its_log().await;
    for torn in [1, 40, 4119, 4120, 4121] {
        let path = killed.found(&killed.db, &killed.wal[..killed.wal.len() - torn]);
        let store = start(SqliteFile::open(&path).unwrap());
        let entries = store.range("").await.unwrap().entries;
        assert!(commits(&entries).is_some_and(|commits| commits >= COMMITS - 3), "{torn}");
    }
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_to_this_one() {
    let killed = Killed::with_much_in_its_log().await;
    let path = killed.found(&killed.db, &killed.wal);
    let former = Connection::open(&path).unwrap();
    former
        .execute_batch(
            "ALTER TABLE entries DROP COLUMN sum; ALTER TABLE progress DROP COLUMN sum;
             ALTER TABLE progress DROP COLUMN content; PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(former);
    assert_eq!(Inspection::open(&path).unwrap().examine().unwrap().damage, None);
    for _ in 0..2 {
        let store = start(SqliteFile::open(&path).unwrap());
        assert_eq!(store.range("").await.unwrap().entries, killed.entries);
        assert_eq!(store.examine().await.unwrap().damage, None);
    }
}

#[tokio::test]
async fn a_link_or_a_folder_in_the_place_of_the_file_is_refused() {
    let killed = Killed::with_much_in_its_log().await;
    let real = killed.found(&killed.db, &killed.wal);
    let place = |name: &str| killed.folder.path().join(name);
    symlink(&real, place("link")).unwrap();
    symlink(place("nowhere"), place("dangling")).unwrap();
    fs::create_dir(place("folder")).unwrap();
    for (name, word) in [("link", "a link"), ("dangling", "a link"), ("folder", "a folder")] {
        let Err(error) = SqliteFile::open(&place(name)) else { panic!("{name} was opened") };
        assert!(matches!(error, OpenError::Foreign { .. }) && error.to_string().contains(word), "{error}");
    }
    assert!(!Path::new(&place("nowhere")).exists());
}
