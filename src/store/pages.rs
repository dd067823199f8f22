//! Everything under a prefix, of which there may be a million: page by page, so that nobody holds all of it in the form that
//! it is stored in.

use std::ops::RangeInclusive;

use super::{Entry, Revision, Store, StoreError};

/// How many entries are read at a time.
pub(super) const PAGE: usize = 1024;

/// Hands `take` every entry under `prefix`, in key order. Each page is of a moment of its own; gives the first one's
/// revision and the last one's.
pub async fn read_through(
    store: &dyn Store,
    prefix: &str,
    mut take: impl FnMut(&Entry) + Send,
) -> Result<RangeInclusive<Revision>, StoreError> {
    let mut page = store.page(prefix, None, PAGE).await?;
    let first = page.revision;
    while let Some(last) = page.entries.last().filter(|_| page.entries.len() == PAGE) {
        // The next page is on its way while this one is looked at.
        let next = store.page(prefix, Some(&last.key), PAGE);
        let (next, ()) = tokio::join!(next, async { page.entries.iter().for_each(&mut take) });
        page = next?;
    }
    page.entries.iter().for_each(take);
    Ok(first..=page.revision)
}
