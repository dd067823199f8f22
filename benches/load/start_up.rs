//! How long a start takes and what is in memory then, by how many people there are, and by how many revocations.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use patapim_edge::clock::{Clock as _, SystemClock, Timestamp};
use patapim_edge::secret::{base32, sha256};
use patapim_edge::store::sqlite::SqliteFile;
use patapim_edge::store::{Commit, Entry, Key, Store as _, Tx};

use super::contestant::started;
use super::figures::Fact;
use super::progress;
use crate::rig::edge::Setup;
use crate::rig::journey::Person;
use crate::rig::scene::TUNNEL;

/// Each with a passkey, a tunnel and a session.
const PEOPLE: [usize; 4] = [12_500, 25_000, 50_000, 100_000];
/// As many as nobody will have.
const REVOCATIONS: [usize; 4] = [125_000, 250_000, 500_000, 1_000_000];
/// Copied in one commit.
const BATCH: usize = 500;
const LARGE_BATCH: usize = 5_000;

/// Starts an edge again and again, with more people each time.
pub(crate) async fn measure(origin: String) -> Vec<Fact> {
    let mut edge = started(Setup::default().upstream(TUNNEL, "ada", &origin)).await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    ada.open(&edge.tunnel(TUNNEL, "/small")).await.must_be(200);
    let file = edge.home().join("data/edge.db");
    let (mut there, mut found) = (0, Vec::new());
    for wanted in PEOPLE {
        edge.kill().await;
        copy_ada(&file, there..wanted).await;
        there = wanted;
        let began = Instant::now();
        edge.start_again().await;
        let took = began.elapsed().as_secs_f64();
        let resident = edge.process.resident_kib() / 1024;
        let peak = edge.process.peak_kib() / 1024;
        let listed = edge.admin(&["session", "list"]).await;
        assert!(listed.as_array().is_some_and(|all| all.len() > wanted), "each has a session");
        let one = format!("{wanted}: {took:.2} s, {resident} MiB (at most {peak})");
        progress(&format!("start-up: {one}"));
        found.push(one);
    }
    vec![Fact {
        what: "start-up with so many people, each with passkey, tunnel and session; memory then",
        found: found.join("; "),
        aim: "100,000: < 2 s",
    }]
}

/// Starts an edge again and again, with more of its sessions revoked each time.
pub(crate) async fn measure_revocations(origin: String) -> Vec<Fact> {
    let mut edge = started(Setup::default().upstream(TUNNEL, "ada", &origin)).await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    ada.open(&edge.tunnel(TUNNEL, "/small")).await.must_be(200);
    let file = edge.home().join("data/edge.db");
    edge.kill().await;
    edge.start_again().await;
    let without = edge.process.resident_kib();
    let (mut there, mut found) = (0, Vec::new());
    for wanted in REVOCATIONS {
        edge.kill().await;
        revoke(&file, there..wanted).await;
        there = wanted;
        let began = Instant::now();
        edge.start_again().await;
        let took = began.elapsed().as_secs_f64();
        ada.browser.fetch(http::Method::GET, &edge.tunnel(TUNNEL, "/small")).await.must_be(200);
        let more = |kib: u64| kib.saturating_sub(without) as f64 / 1024.0;
        let (now, peak) = (more(edge.process.resident_kib()), more(edge.process.peak_kib()));
        let one = format!("{wanted}: {now:.1} MiB (at most {peak:.1}), started in {took:.2} s");
        progress(&format!("revocations: {one}"));
        found.push(one);
    }
    vec![Fact {
        what: "so many revocations: what the edge has in memory for them after its start",
        found: found.join("; "),
        aim: "1,000,000: ≤ 64 MiB",
    }]
}

/// Puts revocations of sessions that there were, one day, into the store.
async fn revoke(file: &Path, numbers: std::ops::Range<usize>) {
    let clock = SystemClock::not_before(Timestamp::default());
    let store = SqliteFile::open(file).expect("the edge's store").start(clock.clone());
    let now = clock.now();
    let value = serde_json::json!({"at": now, "cause": "logout"}).to_string();
    let until = Some(now + Duration::from_secs(31 * 24 * 3600));
    for batch in numbers.collect::<Vec<_>>().chunks(LARGE_BATCH) {
        let tx = batch.iter().fold(Tx::new(), |tx, number| {
            let id = base32(&sha256(number.to_be_bytes())[..16]);
            tx.put_until(Key::new(format!("live/revoked/session/{id}")), value.clone(), until)
        });
        assert!(matches!(store.commit(tx).await, Ok(Commit::Applied(_))), "revocations");
    }
}

/// Puts copies of all that is Ada's beside it, under other names.
async fn copy_ada(file: &Path, numbers: std::ops::Range<usize>) {
    let file = SqliteFile::open(file).expect("the edge's store");
    let store = file.start(SystemClock::not_before(Timestamp::default()));
    let all = store.range("").await.expect("readable").entries;
    let id_of = |prefix: &str, at: usize| {
        let key = all.iter().find_map(|entry| entry.key.after(prefix)).expect("Ada's");
        key.split('/').nth(at).expect("an id").to_owned()
    };
    let ids = [id_of("users/", 0), id_of("passkeys/", 1), id_of("live/session/", 0)];
    let hers: Vec<&Entry> = all.iter().filter(|entry| is_original(entry, &ids)).collect();
    let (store, numbers) = (Arc::new(store), numbers.collect::<Vec<_>>());
    for batch in numbers.chunks(BATCH) {
        let mut tx = Tx::new();
        for number in batch {
            for entry in &hers {
                let (key, value) =
                    (renamed(&entry.key, &ids, *number), String::from_utf8_lossy(&entry.value));
                tx = tx.put_until(Key::new(key), renamed(&value, &ids, *number), entry.expires_at);
            }
        }
        assert!(matches!(store.commit(tx).await, Ok(Commit::Applied(_))), "copies of Ada");
    }
}

/// Whether it is hers, and not a copy.
fn is_original(entry: &Entry, ids: &[String]) -> bool {
    let value = String::from_utf8_lossy(&entry.value);
    [
        "users/",
        "user-names/",
        "passkeys/",
        "credentials/",
        "tunnels/",
        "user-tunnels/",
        "labels/",
        "live/session/",
    ]
    .iter()
    .any(|prefix| entry.key.starts_with(prefix))
        && ids.iter().any(|id| entry.key.contains(id.as_str()) || value.contains(id.as_str()))
}

/// The text with other ids, names and tunnels in it.
fn renamed(text: &str, ids: &[String], number: usize) -> String {
    let letters: String = (0..6).map(|place| char::from(b'a' + (number >> (4 * place) & 15) as u8)).collect();
    let mut text = text.replace(TUNNEL, &format!("ada-{letters}"));
    text = text.replace("\"ada\"", &format!("\"ada{letters}\""));
    text = text.replace("user-names/ada", &format!("user-names/ada{letters}"));
    for id in ids {
        text = text.replace(id, &format!("{letters}{}", &id[6..]));
    }
    text
}
