//! A Unix socket in the data directory that only its owner may open.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A bound one. Dropping it removes the file, unless another server has put its own there since.
#[derive(Debug)]
pub(super) struct PrivateSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl PrivateSocket {
    /// Makes it at `path`, in the place of one that was there. Whoever does this is the one server of the folder.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        // Under its own name it has its mode from the first moment on, and there is always one to be found there.
        let beside = path.with_extension("new");
        let _ = std::fs::remove_file(&beside);
        let listener = StdListener::bind(&beside)?;
        std::fs::set_permissions(&beside, Permissions::from_mode(0o600))?;
        let inode = std::fs::symlink_metadata(&beside)?.ino();
        std::fs::rename(&beside, path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, path: path.to_owned(), inode })
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
