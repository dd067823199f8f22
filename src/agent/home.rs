//! The agent's folder: `~/.patapim`, or what `PATAPIM_HOME` says. One link lives in it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The folder.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// Something is wrong with the folder.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nobody knows where it is.
    #[error("there is no home folder here: set PATAPIM_HOME to a folder for the agent's files")]
    Nowhere,
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else may write to it, and so decide whom this desktop trusts.
    #[error(
        "others may write to {path} (mode {mode:o}): run `chmod go-w {path}`, and look whom it trusts: `patapim-agent devices list`"
    )]
    Open {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file in it is not what it should be.
    #[error("{path}: {source}; if the file is beyond repair, remove it and link this desktop again")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Home {
    /// Where the environment says it is. Nothing is created yet.
    pub fn from_environment() -> Result<Self, HomeError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("PATAPIM_HOME")
            .or_else(|| Some(set("HOME").or_else(|| set("USERPROFILE"))?.join(".patapim")))
            .map(Self)
            .ok_or(HomeError::Nowhere)
    }

    /// At `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes sure that something can be kept here.
    pub(super) fn prepare(&self) -> Result<(), HomeError> {
        const PROBE: &str = "probe.json";
        self.write(PROBE, &())?;
        self.remove(PROBE)
    }

    /// Reads `name`; `None` when it is not there.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HomeError> {
        let path = self.0.join(name);
        for path in [&self.0, &path] {
            if let Some(mode) = mode_for_others(path) {
                return Err(HomeError::Open { path: path.clone(), mode });
            }
        }
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HomeError::Io { path, source }),
        };
        serde_json::from_slice(&text).map(Some).map_err(|source| HomeError::Unreadable { path, source })
    }

    /// Writes `name` whole or not at all, for its owner's eyes only.
    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), HomeError> {
        let path = self.0.join(name);
        let written = serde_json::to_vec_pretty(value)
            .map_err(io::Error::from)
            .and_then(|text| create_private_folder(&self.0).and_then(|()| replace(&path, &text)));
        written.map_err(|source| HomeError::Io { path, source })
    }

    /// Gives `name` another name, under which nothing will write over it, and returns that.
    pub(super) fn set_aside(&self, name: &str) -> Result<PathBuf, HomeError> {
        let path = self.0.join(name);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let aside = |number: usize| self.0.join(format!("{stem}.damaged-{number}.json"));
        let free = (1..).map(aside).find(|aside| !aside.exists()).unwrap_or_else(|| aside(0));
        fs::rename(&path, &free).map_err(|source| HomeError::Io { path, source })?;
        Ok(free)
    }

    /// Removes `name`, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), HomeError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| HomeError::Io { path, source }),
        }
    }
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // Beside it, because a rename is atomic within one file system only; one per process, so that two do not mix.
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let put = |text: &[u8]| {
        let mut file = open_private(&beside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    let former = fs::read(path).ok();
    let written = put(text).and_then(|()| {
        sync_folder(path).inspect_err(|_| {
            // Whoever hears that it was not kept must not find it there at the next start.
            let _ = former.as_deref().map_or_else(|| fs::remove_file(path), put);
        })
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The mode of what others may write to; none: they may not, or it is not there.
#[cfg(unix)]
fn mode_for_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o022 != 0).then_some(mode)
}

/// A home folder is its owner's alone on the other systems.
#[cfg(not(unix))]
fn mode_for_others(_: &Path) -> Option<u32> {
    None
}

/// So that the new name is on the disk too when the power fails.
#[cfg(unix)]
fn sync_folder(of: &Path) -> io::Result<()> {
    of.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// Elsewhere folders cannot be synced, and need not be.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn open_private(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A home folder is its owner's alone on the other systems.
#[cfg(not(unix))]
fn open_private(path: &Path) -> io::Result<fs::File> {
    fs::File::create(path)
}

#[cfg(unix)]
fn create_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nobody_else_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path().join("new"));
        assert_eq!(home.read::<u32>("n.json").expect("readable"), None);
        home.prepare().expect("room for it");
        home.write("n.json", &7u32).expect("written");
        home.write("n.json", &8u32).expect("written over");
        assert_eq!(home.read::<u32>("n.json").expect("readable"), Some(8));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
            assert_eq!((mode(home.path()), mode(&home.path().join("n.json"))), (0o700, 0o600));
        }
        let left: Vec<_> = fs::read_dir(home.path()).expect("a folder").collect();
        assert_eq!(left.len(), 1, "nothing temporary is left");
        home.remove("n.json").expect("removed");
        home.remove("n.json").expect("not there is removed");
    }

    #[cfg(unix)]
    #[test]
    fn what_others_may_write_to_is_not_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        home.write("n.json", &7u32).expect("written");
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        for path in [home.path().join("n.json"), home.path().to_owned()] {
            chmod(&path, 0o720);
            let error = home.read::<u32>("n.json").expect_err("others may write");
            assert!(
                matches!(&error, HomeError::Open { mode: 0o720, path: named } if *named == path),
                "{error}"
            );
            chmod(&path, 0o700);
        }
        assert_eq!(home.read::<u32>("n.json").expect("readable"), Some(7));
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("n.json"), "{").expect("written");
        let error = Home::at(folder.path()).read::<u32>("n.json").expect_err("broken");
        assert!(error.to_string().contains("n.json"), "{error}");
    }
}
