//! The trail changes hands: a file has one writer, and while another process is that, it is asked to write.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::writer::{Forward, Job, Place};
use super::{HEAD, Head, Trail, TrailError, file, lock};
use crate::store::{Key, Store};

/// A trail that has let go of its file. Whoever records waits. Dropped, nothing is recorded any more.
pub struct Yielded(oneshot::Sender<Place>);

impl Trail {
    /// Lets go of the file, once what waits is written.
    pub async fn yield_file(&self) -> Result<Yielded, TrailError> {
        let (told, heard) = oneshot::channel();
        let (next, place) = oneshot::channel();
        self.queue.send(Job::Yield(told, place)).await.map_err(|_| TrailError::Closed)?;
        heard.await.map_err(|_| TrailError::Closed)?;
        Ok(Yielded(next))
    }

    /// Has the file again, with what was written to it meanwhile.
    pub async fn take_back(&self, yielded: Yielded, store: &Arc<dyn Store>) -> Result<(), TrailError> {
        let kept = store.get(&Key::new(HEAD)).await?;
        let kept = kept.and_then(|entry| serde_json::from_slice::<Head>(&entry.value).ok());
        let path = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || file::open(&path, kept)).await;
        let opened =
            opened.map_err(|error| self.unreadable(&error))?.map_err(|error| self.unreadable(&error))?;
        lock(&self.index).found(opened.found);
        let file = opened.file.trusted_by(Arc::clone(&self.distrust));
        // An error means that the writer has ended, and then everything has.
        let _ = yielded.0.send(Place::Here(file));
        for incident in opened.incidents {
            self.record(incident).await?;
        }
        Ok(())
    }
}

impl Yielded {
    /// From now on events are written by `forward`, called where it may block.
    pub fn forward(self, forward: Forward) {
        let _ = self.0.send(Place::Elsewhere(forward));
    }
}
