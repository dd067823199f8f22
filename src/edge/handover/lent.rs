//! The store of another process, which has the file now. Each call is a conversation of its own.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::HeirCall;
use super::line::Line;
use crate::store::{
    BackupError, Change, Commit, Entry, Examination, Existing, Key, Revision, Snapshot, Store, StoreError, Tx,
};

/// One call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StoreCall {
    Get(Key),
    Range(String),
    Page(String, Option<Key>, usize),
    Commit(Tx),
    Watch(String, Revision),
    Ready,
    Examine,
}

/// The store that is served at `heir`.
pub(super) struct Lent {
    pub(super) heir: PathBuf,
}

impl Lent {
    async fn begin<T: DeserializeOwned>(&self, call: StoreCall) -> io::Result<(Line, Result<T, StoreError>)> {
        let mut line = Line::dial(&self.heir).await?;
        line.say(&HeirCall::Store(call)).await?;
        let answer = line.hear().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((line, answer))
    }

    async fn read<T: DeserializeOwned>(&self, call: StoreCall) -> Result<T, StoreError> {
        let (_, answer) = self.begin(call).await.map_err(|error| StoreError::Read(error.to_string()))?;
        answer
    }
}

#[async_trait]
impl Store for Lent {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.read(StoreCall::Get(key.clone())).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        self.read(StoreCall::Range(prefix.to_owned())).await
    }

    async fn page(&self, prefix: &str, after: Option<&Key>, most: usize) -> Result<Snapshot, StoreError> {
        self.read(StoreCall::Page(prefix.to_owned(), after.cloned(), most)).await
    }

    async fn commit(&self, tx: Tx) -> Result<Commit, StoreError> {
        let begun = self.begin(StoreCall::Commit(tx)).await;
        begun.map_err(|error| StoreError::Unknown(error.to_string()))?.1
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
        let begun = self.begin::<()>(StoreCall::Watch(prefix.to_owned(), after)).await;
        let (line, answer) = begun.map_err(|error| StoreError::Read(error.to_string()))?;
        answer?;
        // When whoever lends it has ended, so has the feed.
        let changes =
            stream::unfold(line, |mut line| async { Some((line.hear().await.ok().flatten()?, line)) });
        Ok(changes.boxed())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(StoreCall::Ready).await
    }

    async fn examine(&self) -> Result<Examination, StoreError> {
        self.read(StoreCall::Examine).await
    }

    async fn backup_to(&self, _: &Path, _: Existing) -> Result<u64, BackupError> {
        let why = "this server has been upgraded and is about to end; ask again".to_owned();
        Err(StoreError::Read(why).into())
    }
}

/// Answers `call` over `line` with what `store` says.
pub(super) async fn lend(store: &dyn Store, call: StoreCall, line: &mut Line) -> io::Result<()> {
    match call {
        StoreCall::Get(key) => line.say(&store.get(&key).await).await,
        StoreCall::Range(prefix) => line.say(&store.range(&prefix).await).await,
        StoreCall::Page(prefix, after, most) => {
            line.say(&store.page(&prefix, after.as_ref(), most).await).await
        }
        StoreCall::Commit(tx) => line.say(&store.commit(tx).await).await,
        StoreCall::Ready => line.say(&store.ready().await).await,
        StoreCall::Examine => line.say(&store.examine().await).await,
        StoreCall::Watch(prefix, after) => {
            let mut changes = match store.watch(&prefix, after).await {
                Ok(changes) => changes,
                Err(error) => return line.say(&Err::<(), _>(error)).await,
            };
            line.say(&Ok::<_, StoreError>(())).await?;
            loop {
                let change = tokio::select! {
                    change = changes.next() => change,
                    () = line.gone() => return Ok(()),
                };
                match change {
                    Some(change) => line.say(&change).await?,
                    None => return Ok(()),
                }
            }
        }
    }
}
