//! What a power cut leaves of a folder, worked out from a [`Disk`](super::disk::Disk)'s journal.
//!
//! `kill -9` ends a program; what it wrote stays in the system's memory and reaches the disk later. A power cut takes that
//! memory away. Of what was written and not synced any part may be on the disk, in any order: each sector old or new, the
//! file longer or not, and zeros where nothing came. Of a folder's changes since its last sync, the first few. And after a
//! sync that failed the system takes what it has for written: a later sync leaves it out, unless it was written once more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// Numbers that look random, and are the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..sides` (splitmix64).
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }
}

/// A file: as the system shows it, and as it is on the disk.
#[derive(Clone, Default)]
struct File {
    shown: Vec<u8>,
    kept: Vec<u8>,
    /// Pages that were written since the last sync.
    dirty: BTreeSet<usize>,
    is_dirty: bool,
    /// The least length it had since then. A file is made shorter at once, and before what is written later.
    shortest: Option<usize>,
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.shown.len() < end {
            self.shown.resize(end, 0);
        }
        self.shown[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / PAGE..=(end - 1) / PAGE);
        self.is_dirty = true;
    }

    fn truncate(&mut self, length: usize) {
        self.shown.resize(length, 0);
        self.dirty.retain(|page| page * PAGE < length);
        self.is_dirty = true;
        self.shortest = Some(self.shortest.map_or(length, |shortest| shortest.min(length)));
    }

    fn sync(&mut self) {
        self.kept.resize(self.shown.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let end = self.shown.len().min((page + 1) * PAGE);
            self.kept[page * PAGE..end].copy_from_slice(&self.shown[page * PAGE..end]);
        }
        (self.is_dirty, self.shortest) = (false, None);
    }

    fn sync_failed(&mut self) {
        self.dirty.clear();
        (self.is_dirty, self.shortest) = (false, None);
    }

    fn after_the_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut left = self.kept.clone();
        if !self.is_dirty {
            return left;
        }
        if let Some(shortest) = self.shortest {
            if dice.roll(2) == 0 {
                return left;
            }
            left.truncate(shortest);
        }
        let (one, other) = (left.len().min(self.shown.len()), left.len().max(self.shown.len()));
        let length = match dice.roll(4) {
            0 => left.len(),
            1 => self.shown.len(),
            _ => one + dice.roll((other - one) as u64 + 1) as usize,
        };
        left.resize(length, 0);
        for page in &self.dirty {
            for sector in (page * PAGE..(page + 1) * PAGE).step_by(SECTOR) {
                let end = (sector + SECTOR).min(length).min(self.shown.len());
                if sector < end && dice.roll(2) == 0 {
                    left[sector..end].copy_from_slice(&self.shown[sector..end]);
                }
            }
        }
        left
    }
}

/// A change of a folder.
enum Named {
    Made(PathBuf, u64),
    Moved(PathBuf, PathBuf, u64),
    Gone(PathBuf),
}

impl Named {
    fn folder(&self) -> Option<&Path> {
        let (Self::Made(path, _) | Self::Moved(_, path, _) | Self::Gone(path)) = self;
        path.parent()
    }

    fn happen(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Made(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Moved(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Gone(path) => drop(names.remove(path)),
        }
    }
}

/// A folder as the system shows it, and as it is on the disk.
#[derive(Default)]
pub(crate) struct Power {
    files: HashMap<u64, File>,
    shown: BTreeMap<PathBuf, u64>,
    kept: BTreeMap<PathBuf, u64>,
    changes: Vec<Named>,
}

impl Power {
    /// All that is in `folder` now is on the disk.
    pub(crate) fn on(folder: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let mut power = Self::default();
        for path in files_in(folder) {
            let about = path.metadata().expect("our own file");
            let bytes = std::fs::read(&path).expect("our own file");
            let file = File { shown: bytes.clone(), kept: bytes, ..File::default() };
            power.files.insert(about.ino(), file);
            power.shown.insert(path, about.ino());
        }
        power.kept = power.shown.clone();
        power
    }

    /// What `journal` says was done since.
    pub(crate) fn follow(&mut self, journal: &Path) {
        let bytes = std::fs::read(journal).unwrap_or_default();
        let mut rest = &bytes[..];
        // What the program was taking down when it was killed it had not done.
        while let Some((entry, after)) = Entry::read(rest) {
            self.happen(&entry);
            rest = after;
        }
    }

    fn happen(&mut self, entry: &Entry<'_>) {
        let Entry { what, one, two, first, second } = entry;
        let path = |bytes: &[u8]| PathBuf::from(String::from_utf8_lossy(bytes).into_owned());
        let number = usize::try_from(*two).expect("a place in a file");
        match what {
            b'w' => self.files.entry(*one).or_default().write(number, first),
            b't' => self.files.entry(*one).or_default().truncate(number),
            b's' => self.files.entry(*one).or_default().sync(),
            b'f' => self.files.entry(*one).or_default().sync_failed(),
            b'd' => {
                let folder = path(first);
                for change in self.changes.extract_if(.., |change| change.folder() == Some(&*folder)) {
                    change.happen(&mut self.kept);
                }
            }
            b'c' => {
                self.files.insert(*one, File::default());
                self.named(Named::Made(path(first), *one));
            }
            b'r' => {
                let from = path(first);
                let Some(file) = self.shown.get(&from).copied() else { return };
                self.named(Named::Moved(from, path(second), file));
            }
            b'u' => self.named(Named::Gone(path(first))),
            other => panic!("{other} in a journal"),
        }
    }

    fn named(&mut self, change: Named) {
        change.happen(&mut self.shown);
        self.changes.push(change);
    }

    /// Leaves in `folder` what is there when the power is back. What nobody reads after a start is left out.
    pub(crate) fn cut(mut self, folder: &Path, dice: &mut Dice) {
        let mut left: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for change in &self.changes {
            let folder = change.folder().unwrap_or(Path::new("")).to_owned();
            left.entry(folder).and_modify(|count| *count += 1).or_insert(1);
        }
        left.values_mut().for_each(|count| *count = dice.roll(*count + 1));
        for change in std::mem::take(&mut self.changes) {
            let folder = change.folder().unwrap_or(Path::new("")).to_owned();
            let left = left.entry(folder).or_default();
            if *left > 0 {
                *left -= 1;
                change.happen(&mut self.kept);
            }
        }
        for path in files_in(folder) {
            std::fs::remove_file(path).expect("our own file");
        }
        for (path, file) in &self.kept {
            if path.to_string_lossy().ends_with("-shm") {
                continue;
            }
            let bytes = self.files.get(file).map(|file| file.after_the_cut(dice)).unwrap_or_default();
            put(path, &bytes);
        }
    }
}

fn put(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).expect("our own folder");
}

/// Every ordinary file below `folder`; sockets are none.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_in(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// An entry of a journal.
struct Entry<'j> {
    what: u8,
    one: u64,
    two: u64,
    first: &'j [u8],
    second: &'j [u8],
}

impl<'j> Entry<'j> {
    fn read(from: &'j [u8]) -> Option<(Self, &'j [u8])> {
        let (what, rest) = from.split_first()?;
        let (one, rest) = rest.split_first_chunk::<8>()?;
        let (two, rest) = rest.split_first_chunk::<8>()?;
        let (first_length, rest) = rest.split_first_chunk::<4>()?;
        let (second_length, rest) = rest.split_first_chunk::<4>()?;
        let (first, rest) = rest.split_at_checked(u32::from_ne_bytes(*first_length) as usize)?;
        let (second, rest) = rest.split_at_checked(u32::from_ne_bytes(*second_length) as usize)?;
        let (one, two) = (u64::from_ne_bytes(*one), u64::from_ne_bytes(*two));
        Some((Self { what: *what, one, two, first, second }, rest))
    }
}

#[test]
fn what_is_not_synced_may_be_lost_and_what_is_synced_is_not() {
    let mut file = File::default();
    file.write(0, &[1; PAGE]);
    file.sync();
    file.write(PAGE, &[2; PAGE]);
    let mut dice = Dice::new(7);
    let ends: BTreeSet<usize> = (0..200).map(|_| file.after_the_cut(&mut dice).len()).collect();
    assert!(ends.len() > 3 && ends.iter().all(|end| (PAGE..=2 * PAGE).contains(end)), "{ends:?}");
    assert!((0..200).all(|_| file.after_the_cut(&mut dice)[..PAGE] == [1; PAGE]));
    file.sync_failed();
    file.sync();
    assert_eq!(file.after_the_cut(&mut dice)[PAGE..], [0; PAGE], "a later sync leaves it out");
    file.write(PAGE + 1, &[3]);
    file.sync();
    assert_eq!(file.after_the_cut(&mut dice)[PAGE..PAGE + 3], [2, 3, 2], "a page is written as a whole");
}
