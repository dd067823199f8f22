//! The head of a request of HTTP/1.1 as it comes in: how long, in how many lines, in how many pieces.
//!
//! Pingora reads a head of up to a megabyte, parses it anew after every piece, and has one answer for what is beyond its
//! bounds, without a page. So what cannot be a browser's ends here. A head of too many lines is cut to what Pingora takes, and
//! marked, so that it gets the same answer as any other that is too large.

/// As long as the largest head that a browser could be made to send: 180 cookies of 4 KiB are all it keeps for one domain.
pub(super) const LARGEST: usize = 768 * 1024;
/// As many lines as a head may have; a browser sends some thirty. Pingora takes 256.
const MOST_LINES: usize = 200;
/// What parsing one head over and over may cost, in bytes looked at.
const MOST_WORK: usize = 64 << 20;

/// What has come of one head.
#[derive(Debug, Default)]
pub(super) struct HeadMeter {
    bytes: usize,
    lines: usize,
    work: usize,
    /// Bytes of the line that is under way, CR not counted.
    line: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Passing,
    /// It has too many lines; those left are thrown away.
    Swallowing,
    /// What follows is no head any more.
    Ended,
}

/// What is to become of the bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// They go on.
    All,
    /// So many go on.
    First(usize),
    /// So many go on, and the head ends there.
    Last(usize),
    /// Nobody sends such a head but to do harm.
    Hostile,
}

impl HeadMeter {
    /// Whether anything has come yet.
    pub(super) fn has_begun(&self) -> bool {
        self.bytes > 0
    }

    /// The next bytes.
    pub(super) fn take(&mut self, news: &[u8]) -> Taken {
        if self.state == State::Ended {
            return Taken::All;
        }
        self.bytes += news.len();
        let mut kept = if self.state == State::Passing { None } else { Some(0) };
        if kept.is_none() {
            self.work += self.bytes;
        }
        let mut seen = 0;
        for piece in news.split_inclusive(|&byte| byte == b'\n') {
            seen += piece.len();
            let line = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.line += line.len() - usize::from(line.ends_with(b"\r"));
            if line.len() == piece.len() {
                // The line goes on in what comes next.
            } else if std::mem::take(&mut self.line) > 0 {
                self.lines += 1;
                if self.lines == MOST_LINES {
                    self.state = State::Swallowing;
                    kept = Some(seen);
                }
            } else if self.lines > 0 {
                self.state = State::Ended;
                return kept.map_or(Taken::All, Taken::Last);
            }
        }
        if self.bytes > LARGEST || self.work > MOST_WORK {
            return Taken::Hostile;
        }
        kept.map_or(Taken::All, Taken::First)
    }

    /// Whether lines were thrown away.
    pub(super) fn is_cut(&self) -> bool {
        self.lines >= MOST_LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: usize) -> String {
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(lines))
    }

    /// What goes on of `bytes` when they come in pieces of `size`, and whether the head was ended early.
    fn passed(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
        let (mut meter, mut out) = (HeadMeter::default(), Vec::new());
        for piece in bytes.chunks(size) {
            match meter.take(piece) {
                Taken::All => out.extend_from_slice(piece),
                Taken::First(kept) => out.extend_from_slice(&piece[..kept]),
                Taken::Last(kept) => {
                    out.extend_from_slice(&piece[..kept]);
                    out.extend_from_slice(b"\r\n");
                    return (out, true);
                }
                Taken::Hostile => panic!("hostile"),
            }
        }
        (out, false)
    }

    #[test]
    fn a_head_and_its_body_pass_untouched_in_pieces_of_any_size() {
        let lines_in_the_body = "line\r\n".repeat(1000);
        for begin in ["", "\r\n"] {
            let request = format!("{begin}{}{lines_in_the_body}", head(MOST_LINES - 2));
            for size in [1, 2, 3, 7, 100, 100_000] {
                assert_eq!(passed(request.as_bytes(), size), (request.clone().into_bytes(), false), "{size}");
            }
        }
    }

    #[test]
    fn a_head_of_too_many_lines_is_cut_to_a_whole_one() {
        let request = head(5000);
        let wanted = head(MOST_LINES - 1);
        for size in [1, 2, 3, 7, 100, 100_000] {
            let (out, cut) = passed(request.as_bytes(), size);
            assert_eq!((String::from_utf8(out).expect("text"), cut), (wanted.clone(), true), "{size}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_hostile() {
        let mut endless = HeadMeter::default();
        assert_eq!(endless.take(&vec![b'a'; LARGEST]), Taken::All);
        assert_eq!(endless.take(b"a"), Taken::Hostile);
        let mut dribbling = HeadMeter::default();
        let pieces = (0..LARGEST).take_while(|_| dribbling.take(b"a") == Taken::All).count();
        assert!((8_000..20_000).contains(&pieces), "{pieces}");
    }
}
