//! One prefix of the store, kept in memory, decoded.
//!
//! The path of a request reads what is in memory only. A mirror has no clock: an entry that has expired stays until the
//! store tells that it is gone, within a second or so; whoever reads it compares times.

use std::sync::Arc;

use dashmap::DashMap;

use super::follow::{Follower, Following};
use super::{Revision, Store, StoreError};

/// Everything under one prefix. An id is a key's rest after the prefix.
pub struct Mirror<V> {
    held: Arc<Held<V>>,
    following: Following,
}

impl<V: Send + Sync + 'static> Mirror<V> {
    /// Loads what is under `prefix` and follows it. What `decode` cannot read is logged with its key and left out.
    pub async fn start(
        store: Arc<dyn Store>,
        prefix: &'static str,
        decode: impl Fn(&[u8]) -> Option<V> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        let held = Arc::new(Held { values: DashMap::new(), decode: Box::new(decode) });
        let following = Following::start(store, prefix, Arc::clone(&held)).await?;
        Ok(Arc::new(Self { held, following }))
    }

    /// The value of `id`. Neither waits for I/O nor allocates.
    pub fn get(&self, id: &str) -> Option<Arc<V>> {
        self.held.values.get(id).map(|kept| Arc::clone(&kept.value))
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.held.values.len()
    }

    /// It holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held.values.is_empty()
    }

    /// Waits until the mirror holds all changes up to `revision`; see [`Following::reached`].
    pub async fn reached(&self, revision: Revision) -> Result<(), StoreError> {
        self.following.reached(revision).await
    }

    /// Whether it is kept up; see [`Following::healthy`].
    pub fn healthy(&self) -> bool {
        self.following.healthy()
    }
}

/// Reads a value, or cannot.
type Decode<V> = Box<dyn Fn(&[u8]) -> Option<V> + Send + Sync>;

struct Held<V> {
    values: DashMap<Box<str>, Kept<V>>,
    decode: Decode<V>,
}

struct Kept<V> {
    revision: Revision,
    value: Arc<V>,
    /// Not told since all is told anew.
    doubted: bool,
}

impl<V: Send + Sync + 'static> Follower for Held<V> {
    fn begins(&self) {
        self.values.iter_mut().for_each(|mut kept| kept.doubted = true);
    }

    fn put(&self, id: &str, value: &[u8], revision: Revision) -> Option<()> {
        if let Some(mut kept) = self.values.get_mut(id)
            && kept.revision >= revision
        {
            kept.doubted = false;
            return Some(());
        }
        let Some(value) = (self.decode)(value) else {
            self.gone(id);
            return None;
        };
        self.values.insert(id.into(), Kept { revision, value: Arc::new(value), doubted: false });
        Some(())
    }

    fn gone(&self, id: &str) {
        self.values.remove(id);
    }

    fn ends(&self) {
        self.values.retain(|_, kept| !kept.doubted);
    }
}
