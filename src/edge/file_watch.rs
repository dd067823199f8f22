//! Has one of these files changed?
//!
//! We look every few seconds instead of asking the system to tell. What renews certificates swaps symbolic links above
//! the file, renames over it, or mounts another folder: a subscription to the file would be one to what is there no
//! longer, and over a network it would say nothing at all. A look follows every link, and costs next to nothing.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Some files, as they were when last taken note of.
pub(super) struct FileWatch {
    files: Vec<PathBuf>,
    /// At the last look.
    seen: Vec<Option<Look>>,
    /// At the last change that was told, or [`FileWatch::note`].
    noted: Vec<Option<Look>>,
    rhythm: Interval,
}

/// What two versions of a file never have in common: a rename or a swapped link shows in the inode, a rewrite in the
/// moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileWatch {
    /// Looks every `every`. There are no files yet.
    pub(super) fn new(every: Duration) -> Self {
        let mut rhythm = interval(every);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { files: Vec::new(), seen: Vec::new(), noted: Vec::new(), rhythm }
    }

    /// Takes note of `files` as they are now: from here on, what differs from this is a change. To be called before they
    /// are read, so that what changes meanwhile is not missed.
    pub(super) async fn note(&mut self, files: Vec<PathBuf>) {
        self.files = files;
        self.noted = self.look().await;
        self.seen = self.noted.clone();
    }

    /// Waits for a change, and for its end: a certificate and its key are two files, so a change counts once two looks
    /// in a row have seen the same. May be dropped and called again.
    pub(super) async fn changed(&mut self) {
        loop {
            self.rhythm.tick().await;
            let now = self.look().await;
            let settled = now == self.seen;
            self.seen = now;
            if settled && self.seen != self.noted {
                self.noted = self.seen.clone();
                return;
            }
        }
    }

    async fn look(&self) -> Vec<Option<Look>> {
        let mut looks = Vec::with_capacity(self.files.len());
        for file in &self.files {
            looks.push(look(file).await.ok());
        }
        looks
    }
}

async fn look(file: &PathBuf) -> io::Result<Look> {
    let found = tokio::fs::metadata(file).await?;
    Ok(Look {
        device: found.dev(),
        inode: found.ino(),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::time::timeout;

    use super::*;

    const EVERY: Duration = Duration::from_secs(2);

    async fn watch(file: &Path) -> FileWatch {
        let mut watch = FileWatch::new(EVERY);
        watch.note(vec![file.to_owned()]).await;
        watch
    }

    #[tokio::test(start_paused = true)]
    async fn a_swapped_link_a_rename_a_rewrite_and_a_removal_are_changes_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            std::fs::create_dir(at(name)).expect("made");
            std::fs::write(at(name).join("cert"), name).expect("written");
        }
        std::os::unix::fs::symlink(at("one"), at("live")).expect("linked");
        let file = at("live").join("cert");
        let mut watch = watch(&file).await;
        assert!(timeout(EVERY * 100, watch.changed()).await.is_err(), "nothing has changed");

        std::os::unix::fs::symlink(at("two"), at("new")).expect("linked");
        std::fs::rename(at("new"), at("live")).expect("swapped");
        watch.changed().await;
        std::fs::write(at("beside"), "two").expect("written");
        std::fs::rename(at("beside"), &file).expect("renamed");
        watch.changed().await;
        std::fs::write(&file, "another").expect("written");
        watch.changed().await;
        std::fs::remove_file(&file).expect("removed");
        watch.changed().await;
        assert!(timeout(EVERY * 100, watch.changed()).await.is_err(), "each is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_counts_once_it_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cert");
        std::fs::write(&file, "").expect("written");
        let mut watch = watch(&file).await;
        let began = tokio::time::Instant::now();
        for length in 1..10 {
            // Another is under way at every look.
            assert!(timeout(EVERY, watch.changed()).await.is_err(), "it goes on changing");
            std::fs::write(&file, "x".repeat(length)).expect("written");
        }
        watch.changed().await;
        assert!(began.elapsed() > EVERY * 9);
    }
}
