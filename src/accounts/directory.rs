//! The tunnels in memory, for the path of a request: whose a label is, and which origins its owner lets in.

use std::sync::Arc;

use super::Tunnel;
use crate::names::TunnelId;
use crate::store::mirror::Mirror;
use crate::store::{Store, StoreError};

/// All tunnels, kept current from the store's change feed.
#[derive(Clone)]
pub struct Directory(Arc<Mirror<Tunnel>>);

impl Directory {
    /// Loads them and follows.
    pub async fn start(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        Mirror::start(store, "tunnels/", |value| serde_json::from_slice(value).ok()).await.map(Self)
    }

    /// A tunnel by its label. In memory: no I/O.
    pub fn get(&self, id: &TunnelId) -> Option<Arc<Tunnel>> {
        self.0.get(id.as_str())
    }
}
