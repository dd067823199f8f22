//! A look at the write-ahead log, before SQLite reads it.
//!
//! SQLite reads a log up to the first frame whose checksum is wrong, takes the rest for what a crash left, and says
//! nothing. Of a commit that was being written that is right. But a commit is written only once the one before it is on the
//! disk: where more than one follows the wrong frame, they were acknowledged, and a damaged disk is about to take back
//! revocations. Then the file is refused.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME: usize = 24;
/// With checksums over little-endian words; in the other case the last bit is set.
const MAGIC: u32 = 0x377f_0682;

/// What is wrong with the log at `path`, if anything is that a crash does not explain.
pub(super) fn finding(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut from = BufReader::with_capacity(256 * 1024, file);
    let mut header = [0; HEADER];
    if length <= HEADER as u64 || !filled(&mut from, &mut header)? {
        return Ok(None);
    }
    // It is on the disk before any frame is written.
    let Some(mut log) = Log::of(&header) else {
        return Ok(Some("the header of its log is not as it was written".to_owned()));
    };
    let mut frame = vec![0; FRAME + log.page];
    let (mut whole, mut commits_behind) = (true, 0u32);
    while filled(&mut from, &mut frame)? {
        whole = whole && log.continues_with(&frame);
        if !whole && log.is_commit(&frame) {
            commits_behind += 1;
        }
    }
    let lost = "its log is damaged before its end".to_owned();
    Ok((commits_behind > 1).then_some(lost))
}

struct Log {
    page: usize,
    salts: [u8; 8],
    swapped: bool,
    sums: (u32, u32),
}

impl Log {
    fn of(header: &[u8; HEADER]) -> Option<Self> {
        let magic = word(header, 0);
        let page = usize::try_from(word(header, 8)).ok()?;
        let sizes = page.is_power_of_two() && (512..=65_536).contains(&page);
        let mut log = Self { page, salts: [0; 8], swapped: magic & 1 == 0, sums: (0, 0) };
        log.salts.copy_from_slice(&header[16..24]);
        log.add(&header[..24]);
        (magic & !1 == MAGIC && sizes && log.sums == (word(header, 24), word(header, 28))).then_some(log)
    }

    fn continues_with(&mut self, frame: &[u8]) -> bool {
        let before = self.sums;
        self.add(&frame[..8]);
        self.add(&frame[FRAME..]);
        let good = frame[8..16] == self.salts && self.sums == (word(frame, 16), word(frame, 20));
        if !good {
            self.sums = before;
        }
        good && word(frame, 0) != 0
    }

    /// The last frame of a commit of this log, by its looks. One of an earlier log has other salts.
    fn is_commit(&self, frame: &[u8]) -> bool {
        frame[8..16] == self.salts && word(frame, 4) != 0
    }

    fn add(&mut self, bytes: &[u8]) {
        let word = |at: usize| {
            let word = word(bytes, at);
            if self.swapped { word.swap_bytes() } else { word }
        };
        let (mut one, mut two) = self.sums;
        for at in (0..bytes.len()).step_by(8) {
            one = one.wrapping_add(word(at)).wrapping_add(two);
            two = two.wrapping_add(word(at + 4)).wrapping_add(one);
        }
        self.sums = (one, two);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

/// False: there is less left.
fn filled(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
