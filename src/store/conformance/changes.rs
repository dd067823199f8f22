//! The change feed, and the mirrors that live by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{Subject, apply, at_once, delete, key, put, soon, told, until};
use crate::clock::Clock as _;
use crate::store::mirror::Mirror;
use crate::store::{Change, Revision, StoreError, Tx};

pub(crate) async fn a_watch_tells_what_is_under_its_prefix(subject: impl Subject) {
    let store = subject.store();
    let start = store.range("").await.unwrap().revision;
    let mut users = store.watch("users/", start).await.unwrap();
    let mut all = store.watch("", start).await.unwrap();
    put(&*store, "users/a", "1").await;
    put(&*store, "user", "2").await;
    put(&*store, "users0", "3").await;
    put(&*store, "users/é", "4").await;
    delete(&*store, "users/none").await;
    delete(&*store, "user").await;
    let last = delete(&*store, "users/a").await;
    assert_eq!(told(&until(&mut users, last).await), ["+users/a=1", "+users/é=4", "-users/a"]);
    let everything = ["+users/a=1", "+user=2", "+users0=3", "+users/é=4", "-user", "-users/a"];
    assert_eq!(told(&until(&mut all, last).await), everything);
    // Nothing of its own, and yet it is known.
    let elsewhere = put(&*store, "tunnels/t", "").await;
    assert_eq!(told(&until(&mut users, elsewhere).await), [""; 0]);
}

pub(crate) async fn a_watch_begins_where_it_is_told_to(subject: impl Subject) {
    let store = subject.store();
    let mut at = vec![store.range("").await.unwrap().revision];
    for n in 0..5 {
        at.push(
            apply(&*store, Tx::new().put(key(&format!("k/{n}/1")), "").put(key(&format!("k/{n}/2")), ""))
                .await,
        );
    }
    for (skipped, after) in at.iter().enumerate().take(5) {
        let mut watch = store.watch("k/", *after).await.unwrap();
        let changes = until(&mut watch, at[5]).await;
        assert_eq!(changes.len(), 2 * (5 - skipped));
        assert!(changes.iter().all(|change| change.revision() > *after));
    }
    let mut watch = store.watch("k/", at[5]).await.unwrap();
    let next = put(&*store, "k/next", "").await;
    assert_eq!(told(&until(&mut watch, next).await), ["+k/next="]);
}

pub(crate) async fn a_watch_has_no_gap_and_no_repeat_beside_writers(subject: impl Subject) {
    const WRITERS: usize = 8;
    const COMMITS: usize = 60;
    let store = subject.store();
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut applied = Vec::new();
                for n in 0..COMMITS {
                    let at = format!("w/{writer}/{}", n % 7);
                    let delete = n % 3 == 2;
                    let tx = if delete {
                        Tx::new().delete(key(&at))
                    } else {
                        Tx::new().put(key(&at), n.to_string())
                    };
                    let tx = tx.put(key(&format!("w/{writer}/n")), n.to_string()).put(key("other"), "");
                    applied.push(apply(&*store, tx).await);
                }
                applied
            })
        })
        .collect();
    // Each begins at a snapshot and keeps its own copy up to date by the feed alone.
    let mut watching = Vec::new();
    for _ in 0..6 {
        let snapshot = store.range("w/").await.unwrap();
        let mut watch = store.watch("w/", snapshot.revision).await.unwrap();
        let (finished, mut finish) = tokio::sync::watch::channel(Revision(u64::MAX));
        let follower = tokio::spawn(async move {
            let mut copy: BTreeMap<_, _> =
                snapshot.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
            let (mut seen, mut reached) = (Vec::new(), snapshot.revision);
            while reached < *finish.borrow_and_update() {
                tokio::select! {
                    _ = finish.changed() => {}
                    change = watch.next() => match change.unwrap().unwrap() {
                        Change::Put(entry) => {
                            seen.push((entry.revision, entry.key.clone()));
                            copy.insert(entry.key.clone(), entry);
                        }
                        Change::Gone(key, revision) => {
                            copy.remove(&key);
                            seen.push((revision, key));
                        }
                        Change::Reached(revision) => {
                            assert!(revision > reached, "told twice: {revision:?}");
                            reached = revision;
                        }
                    },
                }
            }
            (snapshot.revision, seen, copy.into_values().collect::<Vec<_>>())
        });
        watching.push((finished, follower));
    }
    let mut applied = Vec::new();
    for writer in writing {
        applied.extend(soon(writer).await.unwrap());
    }
    applied.sort_unstable();
    let last = store.range("w/").await.unwrap();
    for (finished, follower) in watching {
        finished.send(last.revision).unwrap();
        let (after, seen, copy) = soon(follower).await.unwrap();
        assert!(seen.is_sorted_by_key(|(revision, _)| *revision), "out of order");
        let mut once = seen.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "told twice");
        let mut revisions: Vec<_> = seen.into_iter().map(|(revision, _)| revision).collect();
        revisions.dedup();
        assert_eq!(revisions, applied.iter().copied().filter(|at| *at > after).collect::<Vec<_>>(), "a gap");
        assert_eq!(copy, last.entries);
    }
}

pub(crate) async fn a_commit_is_told_whole_before_it_is_reached(subject: impl Subject) {
    let store = subject.store();
    let mut watch = store.watch("k/", store.range("").await.unwrap().revision).await.unwrap();
    at_once((0..30).map(|task| {
        let store = Arc::clone(&store);
        async move {
            let tx = (0..100).fold(Tx::new(), |tx, n| tx.put(key(&format!("k/{n}")), task.to_string()));
            apply(&*store, tx).await
        }
    }))
    .await;
    let (mut whole, mut of_this) = (0, Vec::new());
    while whole < 30 {
        match soon(watch.next()).await.unwrap().unwrap() {
            Change::Reached(reached) => {
                assert!(of_this.iter().all(|change: &Change| change.revision() <= reached));
                assert_eq!(of_this.len() % 100, 0, "reached in the middle of a commit");
                whole += of_this.len() / 100;
                of_this.clear();
            }
            change => of_this.push(change),
        }
    }
}

pub(crate) async fn what_was_deleted_and_made_again_is_told_step_by_step(subject: impl Subject) {
    let store = subject.store();
    put(&*store, "k", "0").await;
    let start = delete(&*store, "k").await;
    let mut watch = store.watch("k", start).await.unwrap();
    put(&*store, "k", "1").await;
    delete(&*store, "k").await;
    let last = put(&*store, "k", "2").await;
    assert_eq!(told(&until(&mut watch, last).await), ["+k=1", "-k", "+k=2"]);
    let last =
        apply(&*store, Tx::new().put(key("k"), "3").put(key("k"), "4").put(key("l"), "").delete(key("l")))
            .await;
    assert_eq!(told(&until(&mut watch, last).await), ["+k=4"], "only what a commit left behind");
}

pub(crate) async fn an_expiry_is_told(subject: impl Subject) {
    let (store, clock) = (subject.store(), subject.clock());
    let mut watch = store.watch("s/", store.range("").await.unwrap().revision).await.unwrap();
    let end = Some(clock.now() + Duration::from_secs(60));
    let last = apply(&*store, Tx::new().put_until(key("s/a"), "", end).put_until(key("s/b"), "", end)).await;
    let last = put(&*store, "s/b", "kept").await.max(last);
    assert_eq!(until(&mut watch, last).await.len(), 3);
    clock.advance(Duration::from_secs(61));
    // Nobody writes: the store finds it by itself.
    let Some(Ok(Change::Gone(gone, at))) = soon(watch.next()).await else { panic!("not told") };
    assert_eq!(&*gone, "s/a");
    assert!(at > last);
    // The end of what was there is told before what comes in its place.
    let end = Some(clock.now() + Duration::from_secs(60));
    let last = apply(&*store, Tx::new().put_until(key("s/a"), "1", end)).await;
    until(&mut watch, last).await;
    clock.advance(Duration::from_secs(61));
    let last = put(&*store, "s/a", "2").await;
    assert_eq!(told(&until(&mut watch, last).await), ["-s/a", "+s/a=2"]);
}

pub(crate) async fn what_is_forgotten_cannot_be_watched(subject: impl Subject) {
    let store = subject.store();
    let start = store.range("").await.unwrap().revision;
    put(&*store, "k", "1").await;
    subject.forget().await;
    assert!(matches!(store.watch("k", start).await, Err(StoreError::Compacted)));
    let snapshot = store.range("k").await.unwrap();
    let mut watch = store.watch("k", snapshot.revision).await.unwrap();
    let last = put(&*store, "k", "2").await;
    assert_eq!(told(&until(&mut watch, last).await), ["+k=2"]);
}

pub(crate) async fn a_watcher_that_does_not_listen_holds_up_nobody(subject: impl Subject) {
    let store = subject.store();
    let mut deaf = store.watch("", store.range("").await.unwrap().revision).await.unwrap();
    put(&*store, "k", "1").await;
    subject.forget().await;
    put(&*store, "k", "2").await;
    // What it may have got before is right; then it is told, once, that it has missed something.
    loop {
        match soon(deaf.next()).await.expect("not ended without a word") {
            Ok(_) => {}
            Err(StoreError::Compacted) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(soon(deaf.next()).await.is_none());
}

/// Reads text that is not "?".
fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.to_vec()).ok().filter(|text| text != "?")
}

pub(crate) async fn a_mirror_shows_what_it_has_reached(subject: impl Subject) {
    let store = subject.store();
    put(&*store, "names/0", "before").await;
    put(&*store, "names/bad", "?").await;
    let mirror = Mirror::start(Arc::clone(&store), "names/", text).await.unwrap();
    assert_eq!((mirror.len(), mirror.get("0").as_deref().map(String::as_str)), (1, Some("before")));
    at_once((0..20).map(|task| {
        let (store, mirror) = (Arc::clone(&store), Arc::clone(&mirror));
        async move {
            let id = task.to_string();
            for n in 0..20 {
                let tx = Tx::new().put(key(&format!("names/{id}")), n.to_string()).put(key("else"), "");
                mirror.reached(apply(&*store, tx).await).await.unwrap();
                assert_eq!(mirror.get(&id).as_deref(), Some(&n.to_string()));
            }
            mirror.reached(delete(&*store, &format!("names/{id}")).await).await.unwrap();
            assert_eq!(mirror.get(&id), None);
            // Nothing of it is under the prefix, and nothing changes at all: neither hangs.
            soon(mirror.reached(put(&*store, "else", "").await)).await.unwrap();
            soon(mirror.reached(delete(&*store, "names/none").await)).await.unwrap();
        }
    }))
    .await;
    assert!(mirror.is_empty() && mirror.healthy());
}

pub(crate) async fn a_mirror_that_fell_behind_finds_what_is_gone(subject: impl Subject) {
    let store = subject.store();
    for at in ["names/gone", "names/kept", "names/spoilt", "names/changed"] {
        put(&*store, at, "1").await;
    }
    let read = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&read);
    let mirror = Mirror::start(Arc::clone(&store), "names/", move |value| {
        let text = text(value);
        // Others go on: where a thread of the runtime waits unannounced, nobody may be left to look at sockets and clocks.
        tokio::task::block_in_place(|| note.lock().unwrap().push(text.clone().unwrap_or_default()));
        text
    });
    let mirror = mirror.await.unwrap();
    read.lock().unwrap().clear();
    {
        // The mirror cannot go on while the list is in our hands.
        let list = Arc::clone(&read);
        let (held, hold) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            let _list = list.lock().unwrap();
            held.send(()).unwrap();
            released.recv().unwrap();
        });
        hold.recv().unwrap();
        put(&*store, "names/changed", "2").await;
        delete(&*store, "names/gone").await;
        put(&*store, "names/spoilt", "?").await;
        put(&*store, "names/new", "3").await;
        subject.forget().await;
        release.send(()).unwrap();
        holder.join().unwrap();
    }
    let last = put(&*store, "names/last", "4").await;
    soon(mirror.reached(last)).await.unwrap();
    let held = ["changed", "gone", "kept", "last", "new", "spoilt"].map(|id| mirror.get(id));
    let held: Vec<_> = held.iter().map(|value| value.as_ref().map_or("", |value| value.as_str())).collect();
    assert_eq!(held, ["2", "", "1", "4", "3", ""]);
    assert_eq!(mirror.len(), 4);
    assert!(mirror.healthy());
    assert!(!read.lock().unwrap().contains(&"1".to_owned()), "what is as it was is not read again");
}
