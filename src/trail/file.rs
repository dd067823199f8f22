//! The file: opened and mended once, then only appended to.
//!
//! A crash can leave a line without its end, and a power cut holes in what was not synced. Nobody was told that it is
//! written, so it is set aside in a file beside, and said so in the trail. Anything else that does not fit was somebody's
//! doing, or a disk's: it stays where it is, as evidence, and the trail goes on behind it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::chain::{Head, LONGEST_LINE, Parts, Step, Walk};
use super::event::{Act, Event};
use super::writer::GROUP;
use crate::names::UserId;

/// The file of the trail, open for appending.
pub(super) struct TrailFile {
    file: File,
    path: PathBuf,
    head: Head,
    distrust: Arc<OnceLock<String>>,
}

/// Why lines were not appended.
pub(super) enum Fault {
    /// They are not in the file.
    Unwritten(io::Error),
    /// Whether they are, nobody knows.
    Distrusted(String),
}

/// What was found when it was opened.
pub(super) struct Opened {
    pub(super) file: TrailFile,
    /// Where lines about a person begin, of those that the store did not know of yet.
    pub(super) found: Vec<(UserId, u64)>,
    /// What had to be mended, or cannot be explained.
    pub(super) incidents: Vec<Event>,
}

/// Opens the file at `path`; `kept` is what the store knows of its end.
pub(super) fn open(path: &Path, kept: Option<Head>) -> io::Result<Opened> {
    is_plain(path)?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the audit trail could be read by others; now it cannot");
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    let mut incidents = Vec::new();
    if kept.is_none() && file.metadata()?.len() > 0 {
        let what = "the store does not know of the trail: a backup was restored, or its file replaced";
        tracing::warn!(path = %path.display(), what);
        incidents.push(Event::new(Act::StoreReplaced).because(what));
    }
    let kept = kept.unwrap_or_default();
    if !ends_with(&file, &kept)? {
        let last = kept.seq;
        incidents.push(damaged(path, format!("entry {last}, the last that was kept, is not in its place")));
        return Ok(Opened {
            file: TrailFile { file, path: path.to_owned(), head: kept, distrust: Arc::default() },
            found: Vec::new(),
            incidents,
        });
    }
    let mut walk = Walk::after(kept, file.try_clone()?)?;
    let (mut found, mut flaw, mut last) = (Vec::new(), None, kept.seq);
    let mut torn = loop {
        match walk.next()? {
            Step::Follows { user } if flaw.is_none() => {
                last = walk.head().seq;
                found.extend(user.map(|user| (user, walk.head().start)));
            }
            Step::Follows { .. } => {}
            Step::Flawed(kind, seq) => {
                flaw.get_or_insert((kind, walk.head()));
                last = last.max(seq.unwrap_or_default());
            }
            Step::Torn(bytes) => break Some(bytes),
            Step::End => break None,
        }
    };
    let mut length = file.metadata()?.len();
    if flaw.is_some()
        && let Some(rest) = left_by_a_power_cut(&file, walk.head().end, length)?
    {
        (torn, flaw) = (Some(rest), None);
    }
    if let Some(bytes) = torn {
        length -= bytes.len() as u64;
        set_aside(path, &bytes)?;
        file.set_len(length)?;
        file.sync_all()?;
        let what = format!("a crash left {} bytes that are no whole lines; they were set aside", bytes.len());
        tracing::warn!(path = %path.display(), what, "the audit trail was mended");
        incidents.push(Event::new(Act::TrailRepaired).because(what));
    }
    sync_again(path, kept.end, length)?;
    let head = match flaw {
        None => walk.head(),
        Some((kind, before)) => {
            incidents.push(damaged(path, format!("after entry {}: {kind}", before.seq)));
            Head { seq: last, end: length, ..before }
        }
    };
    Ok(Opened {
        file: TrailFile { file, path: path.to_owned(), head, distrust: Arc::default() },
        found,
        incidents,
    })
}

/// A link could lead to where nothing is kept.
fn is_plain(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(about) if !about.is_file() => Err(io::Error::other("it is a link, a folder or no ordinary file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// From the first byte that does not follow to the end, where that is what a power cut leaves: zeros in the place of what
/// had not come to the disk, which was not acknowledged. No line of ours has any.
fn left_by_a_power_cut(file: &File, from: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let longest = LONGEST_LINE * GROUP as u64;
    let Some(length) = end.checked_sub(from).filter(|length| *length <= longest) else { return Ok(None) };
    let mut rest = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut rest, from)?;
    Ok(rest.contains(&0).then_some(rest))
}

/// After a sync that failed the system may show us lines that the disk does not have, and a later sync would leave them
/// out. What the store does not know to be on the disk is written once more.
fn sync_again(path: &Path, from: u64, end: u64) -> io::Result<()> {
    if from >= end {
        return Ok(());
    }
    // One that appends would append this as well.
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = vec![0; 256 * 1024];
    let mut at = from;
    while at < end {
        let most = usize::try_from(end - at).map_or(bytes.len(), |left| left.min(bytes.len()));
        let read = file.read_at(&mut bytes[..most], at)?;
        if read == 0 {
            break;
        }
        file.write_all_at(&bytes[..read], at)?;
        at += read as u64;
    }
    file.sync_all()
}

fn damaged(path: &Path, what: String) -> Event {
    tracing::error!(path = %path.display(), what, "the audit trail is damaged");
    Event::new(Act::TrailDamaged).because(what)
}

/// Whether the line of `head` is in its place.
fn ends_with(file: &File, head: &Head) -> io::Result<bool> {
    if head.seq == 0 {
        return Ok(true);
    }
    let Some(length) = head.end.checked_sub(head.start) else { return Ok(false) };
    if length > LONGEST_LINE || file.metadata()?.len() < head.end {
        return Ok(false);
    }
    let mut line = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut line, head.start)?;
    let parts = line.strip_suffix(b"\n").and_then(Parts::of);
    Ok(parts.is_some_and(|parts| parts.seq == head.seq && parts.states == head.hash))
}

/// What a crash left of a line is kept, for whoever wants to know.
fn set_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("torn");
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(beside)?;
    file.write_all(bytes)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

impl TrailFile {
    pub(super) fn head(&self) -> Head {
        self.head
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// How long the file is that whoever opens it by its name gets.
    pub(super) fn length_by_name(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// The same, whose fall others hear of through `distrust`.
    pub(super) fn trusted_by(self, distrust: Arc<OnceLock<String>>) -> Self {
        Self { distrust, ..self }
    }

    /// Why it is not trusted any more, once it is not.
    pub(super) fn distrust(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.distrust)
    }

    /// What is written goes where people look for it, and stays there.
    pub(super) fn in_place(&self) -> io::Result<()> {
        let gone = || io::Error::other("its file was moved away, replaced or removed; restart the server");
        let (ours, named) = (self.file.metadata()?, std::fs::metadata(&self.path).map_err(|_| gone())?);
        if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) { Ok(()) } else { Err(gone()) }
    }

    /// Where the next line will begin. Whoever else wrote to the file may have left it without an end of line.
    pub(super) fn next_start(&mut self) -> io::Result<u64> {
        let about = self.file.metadata()?;
        if about.is_file() && about.nlink() == 0 {
            return Err(io::Error::other("its file was removed; restart the server"));
        }
        let length = about.len();
        if length == self.head.end || length == 0 {
            return Ok(length);
        }
        tracing::error!(expected = self.head.end, length, "somebody else has written to the audit trail");
        let mut last = [0];
        self.file.read_exact_at(&mut last, length - 1)?;
        if last != *b"\n" {
            self.file.write_all(b"\n")?;
        }
        self.length()
    }

    /// An error: its sync has failed.
    pub(super) fn trusted(&self) -> Result<(), Fault> {
        self.distrust.get().map_or(Ok(()), |why| Err(Fault::Distrusted(why.clone())))
    }

    /// Appends `lines`, the last of which is `head`; they began at `start`. When this returns they are on the disk.
    pub(super) fn append(&mut self, lines: &[u8], start: u64, head: Head) -> Result<(), Fault> {
        self.trusted()?;
        if let Err(error) = self.file.write_all(lines) {
            // Part of them may be there: a full disk takes what fits.
            return Err(match self.file.set_len(start) {
                Ok(()) => Fault::Unwritten(error),
                Err(_) => self.distrusted(&error),
            });
        }
        self.file.sync_data().map_err(|error| self.distrusted(&error))?;
        self.head = head;
        Ok(())
    }

    /// The system reports a failed sync once, and forgets which pages it lost.
    fn distrusted(&mut self, error: &io::Error) -> Fault {
        let why = error.to_string();
        tracing::error!(%error, "the audit trail is not trusted any more; acts are refused until a restart");
        Fault::Distrusted(self.distrust.get_or_init(|| why).clone())
    }
}

impl From<Fault> for super::TrailError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unwritten(error) => Self::Unwritten(error.to_string()),
            Fault::Distrusted(why) => Self::Distrusted(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn trail(file: File) -> TrailFile {
        TrailFile { file, path: PathBuf::new(), head: Head::default(), distrust: Arc::default() }
    }

    fn append(trail: &mut TrailFile) -> Result<(), Fault> {
        trail.append(b"{}\n", 0, Head { seq: 1, ..Head::default() })
    }

    #[test]
    fn after_a_sync_that_failed_nothing_more_is_written() {
        // A socket takes what is written, and cannot be synced.
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut trail = trail(OwnedFd::from(ours).into());
        for _ in 0..2 {
            assert!(matches!(append(&mut trail), Err(Fault::Distrusted(_))));
        }
        assert_eq!(trail.head(), Head::default(), "the line counts for nothing");
        drop(trail);
        let mut written = String::new();
        theirs.read_to_string(&mut written).expect("read");
        assert_eq!(written, "{}\n", "the second was not tried");
    }

    #[test]
    fn what_a_full_disk_took_is_taken_back_or_nothing_is_trusted() {
        let file = OpenOptions::new().append(true).open("/dev/full").expect("a full disk");
        let mut trail = trail(file);
        // A device cannot be cut to its former length, so here nothing is trusted any more.
        assert!(matches!(append(&mut trail), Err(Fault::Distrusted(why)) if why.contains("space")));
    }
}
