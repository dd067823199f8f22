//! The one suite that every engine passes.
//!
//! An engine's tests implement [`Subject`] and say `conformance::suite!(make)`, where `make` is an async function that
//! gives a new, empty subject: each case becomes a test of its own. No case asks for more than a hundred changes in one
//! transaction, nor for values above [`MAX_VALUE`](super::MAX_VALUE), so that etcd's defaults suffice.

mod changes;
mod entries;
pub mod model;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::{Change, Commit, Key, Revision, Store, StoreError, Tx};
use crate::clock::ManualClock;

pub(crate) use changes::*;
pub(crate) use entries::*;

/// An engine under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// The clock it goes by.
    fn clock(&self) -> &ManualClock;

    /// Makes its feed forget what has happened until now.
    async fn forget(&self);
}

/// Every case, each as a test.
macro_rules! suite {
    ($make:path) => {
        $crate::store::conformance::suite! { $make:
            of_fifty_that_create_one_key_exactly_one_is_applied,
            a_transaction_is_applied_whole_or_not_at_all,
            each_condition_holds_when_it_should_and_only_then,
            fifty_increments_at_once_all_count,
            every_change_raises_the_revision,
            of_several_changes_to_one_key_the_last_counts,
            a_prefix_ends_at_its_border_and_keys_come_in_order,
            a_range_is_of_one_moment,
            what_is_read_page_by_page_is_all_of_it_once,
            what_was_committed_is_read,
            values_come_back_as_they_went_in,
            what_has_expired_is_absent_at_once,
            a_later_put_decides_when_an_entry_expires,
            readiness_is_answered,
            a_watch_tells_what_is_under_its_prefix,
            a_watch_begins_where_it_is_told_to,
            a_watch_has_no_gap_and_no_repeat_beside_writers,
            a_commit_is_told_whole_before_it_is_reached,
            what_was_deleted_and_made_again_is_told_step_by_step,
            an_expiry_is_told,
            what_is_forgotten_cannot_be_watched,
            a_watcher_that_does_not_listen_holds_up_nobody,
            a_mirror_shows_what_it_has_reached,
            a_mirror_that_fell_behind_finds_what_is_gone,
        }
    };
    ($make:path: $($case:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            $crate::store::conformance::$case($make().await).await;
        }
    )* };
}
pub(crate) use suite;

/// For what has to come; a test that hangs says nothing.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it comes")
}

fn key(text: &str) -> Key {
    Key::new(text)
}

/// Commits what must be applied.
async fn apply(store: &dyn Store, tx: Tx) -> Revision {
    match soon(store.commit(tx)).await {
        Ok(Commit::Applied(revision)) => revision,
        other => panic!("not applied: {other:?}"),
    }
}

async fn put(store: &dyn Store, at: &str, value: &str) -> Revision {
    apply(store, Tx::new().put(key(at), value.to_owned())).await
}

async fn delete(store: &dyn Store, at: &str) -> Revision {
    apply(store, Tx::new().delete(key(at))).await
}

async fn value(store: &dyn Store, at: &str) -> Option<String> {
    let entry = store.get(&key(at)).await.unwrap()?;
    Some(String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.range(prefix).await.unwrap().entries.iter().map(|entry| entry.key.to_string()).collect()
}

type Watch = BoxStream<'static, Result<Change, StoreError>>;

/// All changes until `revision` is reached.
async fn until(watch: &mut Watch, revision: Revision) -> Vec<Change> {
    let mut changes = Vec::new();
    loop {
        match soon(watch.next()).await {
            Some(Ok(Change::Reached(reached))) if reached >= revision => return changes,
            Some(Ok(Change::Reached(_))) => {}
            Some(Ok(change)) => changes.push(change),
            other => panic!("the watch ended: {other:?}"),
        }
    }
}

/// `+key=value` and `-key`, to compare with.
fn told(changes: &[Change]) -> Vec<String> {
    let text = |change: &Change| match change {
        Change::Put(entry) => format!("+{}={}", &*entry.key, String::from_utf8_lossy(&entry.value)),
        Change::Gone(key, _) => format!("-{}", &**key),
        Change::Reached(revision) => format!("={}", revision.0),
    };
    changes.iter().map(text).collect()
}

/// All at once, each as a task.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    tasks: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(soon(task).await.unwrap());
    }
    results
}

fn is_unapplied<T: Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unapplied(_)))
}
