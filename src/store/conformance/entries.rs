//! Entries: written under conditions, read back, expired.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Subject, apply, at_once, delete, is_unapplied, key, keys, put, soon, value};
use crate::clock::Clock as _;
use crate::store::{Commit, Cond, MAX_VALUE, Tx};

pub(crate) async fn of_fifty_that_create_one_key_exactly_one_is_applied(subject: impl Subject) {
    let store = subject.store();
    for round in 0..10 {
        let at = key(&format!("bindings/{round}"));
        let commits = at_once((0..50).map(|n| {
            let (store, at) = (Arc::clone(&store), at.clone());
            async move {
                let tx = Tx::new().when(Cond::Absent(at.clone())).put(at, n.to_string());
                (n, store.commit(tx).await.unwrap())
            }
        }))
        .await;
        let applied: Vec<_> = commits.iter().filter(|(_, commit)| *commit != Commit::Conflict).collect();
        let [(winner, Commit::Applied(revision))] = applied[..] else { panic!("{applied:?}") };
        let entry = store.get(&at).await.unwrap().unwrap();
        assert_eq!((entry.value, entry.revision), (Bytes::from(winner.to_string()), *revision));
    }
}

pub(crate) async fn a_transaction_is_applied_whole_or_not_at_all(subject: impl Subject) {
    let store = subject.store();
    put(&*store, "a", "old").await;
    let before = store.range("").await.unwrap();
    let changes = || Tx::new().put(key("a"), "new").put(key("b"), "new").delete(key("a"));
    let refused = changes().when(Cond::Present(key("a"))).when(Cond::Present(key("missing")));
    assert_eq!(store.commit(refused).await.unwrap(), Commit::Conflict);
    assert_eq!(store.range("").await.unwrap().entries, before.entries);
    apply(&*store, changes().when(Cond::Present(key("a"))).when(Cond::Absent(key("missing")))).await;
    assert_eq!(keys(&*store, "").await, ["b"]);
}

pub(crate) async fn each_condition_holds_when_it_should_and_only_then(subject: impl Subject) {
    let store = subject.store();
    let holds = async |cond| {
        let tx = Tx::new().when(cond).put(key("witness"), "");
        soon(store.commit(tx)).await.unwrap() != Commit::Conflict
    };
    let old = put(&*store, "k", "1").await;
    let new = put(&*store, "k", "2").await;
    assert!(holds(Cond::Absent(key("none"))).await);
    assert!(!holds(Cond::Absent(key("k"))).await);
    assert!(holds(Cond::Present(key("k"))).await);
    assert!(!holds(Cond::Present(key("none"))).await);
    assert!(holds(Cond::AtRevision(key("k"), new)).await);
    assert!(!holds(Cond::AtRevision(key("k"), old)).await);
    assert!(!holds(Cond::AtRevision(key("none"), new)).await);
    assert!(!holds(Cond::AtRevision(key("none"), crate::store::Revision(0))).await);
    delete(&*store, "k").await;
    assert!(holds(Cond::Absent(key("k"))).await);
    assert!(!holds(Cond::AtRevision(key("k"), new)).await);
}

pub(crate) async fn fifty_increments_at_once_all_count(subject: impl Subject) {
    let store = subject.store();
    put(&*store, "count", "0").await;
    at_once((0..50).map(|_| {
        let store = Arc::clone(&store);
        async move {
            loop {
                let entry = store.get(&key("count")).await.unwrap().unwrap();
                let count: u32 = str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let unmoved = Cond::AtRevision(key("count"), entry.revision);
                let tx = Tx::new().when(unmoved).put(key("count"), (count + 1).to_string());
                if store.commit(tx).await.unwrap() != Commit::Conflict {
                    break;
                }
            }
        }
    }))
    .await;
    assert_eq!(value(&*store, "count").await.as_deref(), Some("50"));
}

pub(crate) async fn every_change_raises_the_revision(subject: impl Subject) {
    let store = subject.store();
    let first = put(&*store, "k", "same").await;
    let second = put(&*store, "k", "same").await;
    assert!(second > first, "a put that changes nothing counts");
    assert_eq!(store.get(&key("k")).await.unwrap().unwrap().revision, second);
    let third = apply(&*store, Tx::new().put(key("x"), "").put(key("y"), "")).await;
    assert!(third > second);
    let of = async |at: &str| store.get(&key(at)).await.unwrap().unwrap().revision;
    assert_eq!((of("x").await, of("y").await), (third, third), "what is committed together has one revision");
    let fourth = delete(&*store, "k").await;
    assert!(fourth > third);
    assert_eq!(delete(&*store, "k").await, fourth, "nothing was left to change");
    assert_eq!(apply(&*store, Tx::new()).await, fourth);
    assert_eq!(store.range("").await.unwrap().revision, fourth);
}

pub(crate) async fn of_several_changes_to_one_key_the_last_counts(subject: impl Subject) {
    let store = subject.store();
    apply(&*store, Tx::new().put(key("a"), "1").put(key("a"), "2").put(key("b"), "1").delete(key("b"))).await;
    apply(&*store, Tx::new().delete(key("c")).put(key("c"), "1")).await;
    assert_eq!(keys(&*store, "").await, ["a", "c"]);
    assert_eq!(value(&*store, "a").await.as_deref(), Some("2"));
}

pub(crate) async fn a_prefix_ends_at_its_border_and_keys_come_in_order(subject: impl Subject) {
    let store = subject.store();
    let long = format!("a/{}", "x".repeat(500));
    let all =
        ["A/", "a", "a.", "a/", "a/%", "a/_", "a/b", &long, "a/é", "a/日本", "a/\u{10ffff}", "a0", "b", "é"];
    for at in all.iter().rev() {
        put(&*store, at, at).await;
    }
    assert_eq!(keys(&*store, "").await, all);
    assert_eq!(keys(&*store, "a/").await, all[3..11]);
    assert_eq!(keys(&*store, "a/%").await, ["a/%"], "no pattern");
    assert_eq!(keys(&*store, "a/\u{10ffff}").await, ["a/\u{10ffff}"]);
    assert_eq!(keys(&*store, "a/b/").await, [""; 0]);
    for at in all {
        assert_eq!(value(&*store, at).await.as_deref(), Some(at));
    }
}

pub(crate) async fn a_range_is_of_one_moment(subject: impl Subject) {
    let store = subject.store();
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for n in 0..200 {
            let value = n.to_string();
            let coin = if n % 2 == 0 { ("at/heads", "at/tails") } else { ("at/tails", "at/heads") };
            let tx = Tx::new().put(key("at/1"), value.clone()).put(key("at/2"), value);
            apply(&*writer, tx.put(key(coin.0), "").delete(key(coin.1))).await;
        }
    });
    while !writing.is_finished() {
        let snapshot = store.range("at/").await.unwrap();
        if let [one, two, coin] = &snapshot.entries[..] {
            assert_eq!((&one.value, one.revision), (&two.value, two.revision));
            assert_eq!(coin.revision, one.revision);
            assert_eq!(snapshot.revision, one.revision);
        } else {
            assert!(snapshot.entries.is_empty(), "{snapshot:?}");
        }
    }
    writing.await.unwrap();
}

pub(crate) async fn what_is_read_page_by_page_is_all_of_it_once(subject: impl Subject) {
    let store = subject.store();
    for at in ["j/z", "k", "k/", "k/a", "k/a/b", "k/ab", "k/b", "k/\u{e9}", "k0"] {
        put(&*store, at, "").await;
    }
    let all = store.range("k/").await.unwrap();
    assert_eq!(all.entries.len(), 6);
    for most in 1..=7 {
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = store.page("k/", after.as_ref(), most).await.unwrap();
            assert_eq!(page.revision, all.revision);
            let full = page.entries.len() == most;
            assert!(full || page.entries.len() < most);
            read.extend(page.entries);
            if !full {
                break;
            }
            after = read.last().map(|entry| entry.key.clone());
        }
        assert_eq!(read, all.entries, "{most} at a time");
    }
    // A key that is not there, or not there any more, is as good a beginning.
    let between = store.page("k/", Some(&key("k/aa")), 1).await.unwrap();
    assert_eq!(&*between.entries[0].key, "k/ab");
}

pub(crate) async fn what_was_committed_is_read(subject: impl Subject) {
    let store = subject.store();
    at_once((0..20).map(|task| {
        let store = Arc::clone(&store);
        async move {
            let at = format!("own/{task}");
            for n in 0..10 {
                let revision = put(&*store, &at, &n.to_string()).await;
                assert_eq!(value(&*store, &at).await, Some(n.to_string()));
                assert!(store.range("").await.unwrap().revision >= revision);
            }
        }
    }))
    .await;
}

pub(crate) async fn values_come_back_as_they_went_in(subject: impl Subject) {
    let store = subject.store();
    let every_byte: Vec<u8> = (0..=255).collect();
    let largest = every_byte.iter().copied().cycle().take(MAX_VALUE).collect();
    for value in [Vec::new(), every_byte, largest] {
        apply(&*store, Tx::new().put(key("v"), value.clone())).await;
        assert!(store.get(&key("v")).await.unwrap().unwrap().value == value);
    }
    let too_large = Tx::new().put(key("w"), "").put(key("v"), vec![0; MAX_VALUE + 1]);
    assert!(is_unapplied(&store.commit(too_large).await));
    assert_eq!(keys(&*store, "").await, ["v"]);
    store.ready().await.unwrap();
}

pub(crate) async fn what_has_expired_is_absent_at_once(subject: impl Subject) {
    let (store, clock) = (subject.store(), subject.clock());
    let end = clock.now() + Duration::from_secs(60);
    put(&*store, "s/stays", "").await;
    let mut revision = crate::store::Revision(0);
    // Each on a key of its own: the first that is tried may remove it.
    let ends = ["s/absent", "s/present", "s/revision", "s/read"];
    for at in ends {
        revision = apply(&*store, Tx::new().put_until(key(at), "", Some(end))).await;
    }
    assert_eq!(store.get(&key("s/read")).await.unwrap().unwrap().expires_at, Some(end));
    clock.advance(Duration::from_millis(59_999));
    assert_eq!(keys(&*store, "s/").await.len(), 5);
    clock.advance(Duration::from_millis(1));
    assert_eq!(keys(&*store, "s/").await, ["s/stays"]);
    assert_eq!(value(&*store, "s/read").await, None);
    let commit = async |cond| store.commit(Tx::new().when(cond).put(key("witness"), "")).await.unwrap();
    assert_eq!(commit(Cond::Present(key("s/present"))).await, Commit::Conflict);
    assert_eq!(commit(Cond::AtRevision(key("s/read"), revision)).await, Commit::Conflict);
    assert_ne!(commit(Cond::Absent(key("s/absent"))).await, Commit::Conflict);
    let late = Tx::new().put_until(key("s/late"), "", Some(end));
    apply(&*store, late).await;
    assert_eq!(value(&*store, "s/late").await, None, "written too late to be seen");
}

pub(crate) async fn a_later_put_decides_when_an_entry_expires(subject: impl Subject) {
    let (store, clock) = (subject.store(), subject.clock());
    let end = |secs| Some(clock.now() + Duration::from_secs(secs));
    let later = [("kept", None), ("longer", end(100)), ("shorter", end(5))];
    for (at, _) in later {
        apply(&*store, Tx::new().put_until(key(at), "1", end(10))).await;
    }
    for (at, until) in later {
        apply(&*store, Tx::new().put_until(key(at), "2", until)).await;
    }
    clock.advance(Duration::from_secs(6));
    assert_eq!(keys(&*store, "").await, ["kept", "longer"]);
    clock.advance(Duration::from_secs(10));
    assert_eq!(keys(&*store, "").await, ["kept", "longer"]);
    clock.advance(Duration::from_secs(100));
    assert_eq!(keys(&*store, "").await, ["kept"]);
}

pub(crate) async fn readiness_is_answered(subject: impl Subject) {
    let store = subject.store();
    at_once((0..20).map(|_| {
        let store = Arc::clone(&store);
        async move { store.ready().await.unwrap() }
    }))
    .await;
    assert_eq!(keys(&*store, "").await, [""; 0], "and leaves nothing behind");
}
