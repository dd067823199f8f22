//! The store, with a watch held to it: `store_seconds{op}`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::metrics::metrics;
use crate::store::{
    BackupError, Change, Commit, Entry, Examination, Existing, Key, Revision, Snapshot, Store, StoreError, Tx,
};

/// Measures every call of the store behind it.
pub(super) struct Measured(pub(super) Arc<dyn Store>);

#[async_trait]
impl Store for Measured {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let began = Instant::now();
        let answer = self.0.get(key).await;
        metrics().store_call("get", began);
        answer
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        let began = Instant::now();
        let answer = self.0.range(prefix).await;
        metrics().store_call("range", began);
        answer
    }

    async fn page(&self, prefix: &str, after: Option<&Key>, most: usize) -> Result<Snapshot, StoreError> {
        let began = Instant::now();
        let answer = self.0.page(prefix, after, most).await;
        metrics().store_call("range", began);
        answer
    }

    async fn commit(&self, tx: Tx) -> Result<Commit, StoreError> {
        let began = Instant::now();
        let answer = self.0.commit(tx).await;
        metrics().store_call("commit", began);
        answer
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
        self.0.watch(prefix, after).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let answer = self.0.ready().await;
        metrics().store_call("ready", began);
        answer
    }

    async fn examine(&self) -> Result<Examination, StoreError> {
        let began = Instant::now();
        let answer = self.0.examine().await;
        metrics().store_call("examine", began);
        answer
    }

    async fn backup_to(&self, path: &Path, existing: Existing) -> Result<u64, BackupError> {
        let began = Instant::now();
        let answer = self.0.backup_to(path, existing).await;
        metrics().store_call("backup", began);
        answer
    }
}
