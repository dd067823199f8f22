//! Whose account has just been written, as the store tells it.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::{Accounts, Tunnel};
use crate::names::UserId;
use crate::store::{Change, StoreError};

impl Accounts {
    /// Everybody whose records change from now on; none: somebody's may have, unseen. Ends when the store can no longer
    /// be followed.
    pub fn changes(&self) -> BoxStream<'static, Option<UserId>> {
        let store = std::sync::Arc::clone(&self.store);
        let feeds = stream::unfold(store, |store| async move {
            // An empty prefix's snapshot is only its revision.
            let now = store.range("nothing/").await.ok()?.revision;
            let feed = store.watch("", now).await.ok()?;
            Some((feed, store))
        });
        let news = feeds.flat_map(|feed| {
            feed.filter_map(async |told| match told {
                Ok(change) => whose(&change).map(Some),
                // Too far behind: the feed ends with this, and the next begins at the present.
                Err(StoreError::Compacted) => Some(None),
                Err(_) => None,
            })
        });
        news.boxed()
    }
}

/// What is one person's is kept under `<kind>/<user>`; only a tunnel's record is found by its label.
fn whose(change: &Change) -> Option<UserId> {
    let (kind, rest) = change.key()?.split_once('/')?;
    match (kind, change) {
        ("tunnels", Change::Put(entry)) => super::decode::<Tunnel>(entry).ok().map(|tunnel| tunnel.user),
        _ => UserId::parse(rest.split('/').next()?).ok(),
    }
}
