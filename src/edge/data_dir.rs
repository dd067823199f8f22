//! The data directory: ours to write to, and nobody else's.
//!
//! It holds the store, the keys and the admin socket. Whoever may write to the folder can put files of theirs in place of
//! ours, whatever the modes of the files say; and a server that was once started as another user, root above all, would
//! leave files there that the right one cannot open.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, or nothing can be written to it.
    #[error("data_dir {} cannot be used: {source}; name a folder that this server's user may make and write to", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is somebody else's.
    #[error(
        "data_dir {} belongs to the user with id {owner}, and this server runs as the one with id {user}: start it as its \
         owner, or name a folder of its own",
        path.display()
    )]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Others may write to it.
    #[error("others may write to data_dir {} (mode {mode:o}): run `chmod 700 {}`", path.display(), path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Makes the folder at `path` where there is none, and sees to it that it is this server's alone to write to.
pub(super) fn prepare(path: &Path) -> Result<(), DataDirError> {
    let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
    let folder = std::fs::metadata(path).map_err(unusable)?;
    let user = user(path).map_err(unusable)?;
    if folder.uid() != user {
        return Err(DataDirError::NotOurs { path: path.to_owned(), owner: folder.uid(), user });
    }
    let mode = folder.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(DataDirError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

/// As whom we write to `folder`: a file that we make is ours.
fn user(folder: &Path) -> io::Result<u32> {
    let probe = folder.join(format!(".whose.{}", std::process::id()));
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe)?;
    let user = made.metadata().map(|metadata| metadata.uid());
    std::fs::remove_file(&probe)?;
    user
}
