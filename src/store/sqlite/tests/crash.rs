//! What is acknowledged survives: the test program runs itself as a server, and ends it without warning.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::clock::{ManualClock, Timestamp};
use crate::secret::{SystemEntropy, random};
use crate::store::sqlite::SqliteFile;
use crate::store::{Commit, Cond, Key, Revision, Store, StoreError, Tx};

const FILE: &str = "PATAPIM_TEST_STORE";
const WRITERS: usize = 6;

fn open(path: &Path) -> Arc<dyn Store> {
    SqliteFile::open(path).unwrap().start(ManualClock::at(Timestamp::from_secs(1)))
}

/// How far a writer has come: each of its commits creates the next step and moves its mark, together.
async fn mark(store: &dyn Store, writer: usize) -> u64 {
    let mark = store.get(&Key::new(format!("mark/{writer}"))).await.unwrap();
    mark.map_or(0, |entry| str::from_utf8(&entry.value).unwrap().parse().unwrap())
}

/// Not a test by itself: the server that is killed. Says each commit on stdout once it is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn served_to_be_killed() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let store = open(&path);
    let writing = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut step = mark(&*store, writer).await;
            loop {
                step += 1;
                let key = Key::new(format!("step/{writer}/{step}"));
                let tx = Tx::new()
                    .when(Cond::Absent(key.clone()))
                    .put(key, vec![0x2e; 700])
                    .put(Key::new(format!("mark/{writer}")), step.to_string());
                match store.commit(tx).await {
                    Ok(Commit::Applied(Revision(revision))) => {
                        say(format!("ack {writer} {step} {revision}\n"))
                    }
                    Ok(Commit::Conflict) => panic!("its own key is taken"),
                    Err(error) => return error,
                }
            }
        })
    });
    let mut failures = Vec::new();
    for writer in writing.collect::<Vec<_>>() {
        failures.push(writer.await.unwrap());
    }
    for failure in failures {
        match failure {
            StoreError::Unknown(_) => say("unknown\n".to_owned()),
            StoreError::Unapplied(_) => say("unapplied\n".to_owned()),
            other => panic!("{other}"),
        }
    }
    let later = store.commit(Tx::new().put(Key::new("later"), "")).await.unwrap_err();
    assert!(matches!(&later, StoreError::Unapplied(why) if why.contains("restart")), "{later}");
    store.ready().await.unwrap_err();
    assert!(mark(&*store, 0).await > 0, "what is there can be read");
    say("refuses\n".to_owned());
}

/// Past the test harness, which would keep it.
fn say(line: String) {
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn serve(mut command: Command, path: &Path) -> Child {
    command
        .args([
            "--exact",
            "store::sqlite::tests::crash::served_to_be_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Reads a child's acknowledgements into the ledger; kills it after so many. Returns its other lines.
fn listen(mut child: Child, patience: usize, ledger: &mut BTreeMap<(usize, u64), u64>) -> Vec<String> {
    let mut others = Vec::new();
    let mut heard = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(ack) = line.strip_prefix("ack ") else {
            others.push(line);
            continue;
        };
        let [writer, step, revision] =
            ack.split(' ').map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        ledger.insert((writer as usize, step), revision);
        heard += 1;
        if heard == patience {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    others
}

async fn check(path: &Path, ledger: &BTreeMap<(usize, u64), u64>) {
    let store = open(path);
    for ((writer, step), revision) in ledger {
        let entry = store.get(&Key::new(format!("step/{writer}/{step}"))).await.unwrap();
        let entry = entry.unwrap_or_else(|| panic!("acknowledged and lost: {writer} {step}"));
        assert_eq!(entry.revision, Revision(*revision));
    }
    let newest = ledger.values().max().copied().unwrap_or(0);
    assert!(store.range("").await.unwrap().revision >= Revision(newest));
    for writer in 0..WRITERS {
        let steps = store.range(&format!("step/{writer}/")).await.unwrap().entries.len() as u64;
        assert_eq!(steps, mark(&*store, writer).await, "half a transaction");
        let acknowledged = ledger.keys().filter(|(of, _)| *of == writer).count() as u64;
        assert!(steps >= acknowledged);
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let mut ledger = BTreeMap::new();
    for _ in 0..8 {
        let patience = 1 + usize::from(u16::from_le_bytes(random(&*SystemEntropy::shared())) % 400);
        let known = ledger.len();
        listen(serve(Command::new(std::env::current_exe().unwrap()), &path), patience, &mut ledger);
        assert!(ledger.len() >= known + patience, "it was killed while it served");
        check(&path, &ledger).await;
    }
}

#[tokio::test]
async fn a_first_start_that_is_killed_leaves_nothing_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let path = folder.path().join(n.to_string());
        let mut child = serve(Command::new(std::env::current_exe().unwrap()), &path);
        while !path.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it did not start");
            std::thread::yield_now();
        }
        // Somewhere between the empty file and the first commits.
        (0..n * 2_000).for_each(|_| std::thread::yield_now());
        child.kill().unwrap();
        let mut ledger = BTreeMap::new();
        listen(child, usize::MAX, &mut ledger);
        check(&path, &ledger).await;
    }
}

#[tokio::test]
async fn after_a_failed_commit_the_file_is_not_trusted_until_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    // The system refuses to let any file grow beyond this: the write of a commit fails half-way.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 900; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap());
    let mut ledger = BTreeMap::new();
    let said = listen(serve(limited, &path), usize::MAX, &mut ledger);
    assert!(!ledger.is_empty());
    assert!(said.iter().any(|line| line == "unknown"), "{said:?}");
    assert!(said.iter().any(|line| line == "refuses"), "{said:?}");
    check(&path, &ledger).await;
    // A restart after mending: it serves again.
    let store = open(&path);
    store.ready().await.unwrap();
}
