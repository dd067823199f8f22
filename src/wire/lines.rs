//! Lines out of a stream of chunks, none longer than allowed.

use bytes::{Bytes, BytesMut};

/// A line did not end where it had to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line was longer than {0} bytes")]
pub struct LineTooLong(usize);

/// Cuts chunks into lines. Holds at most one unfinished line besides the chunk it was given last.
#[derive(Debug)]
pub struct Lines {
    held: BytesMut,
    longest: usize,
}

impl Lines {
    /// Lines of at most `longest` bytes, their end not counted.
    pub fn of_at_most(longest: usize) -> Self {
        Self { held: BytesMut::new(), longest }
    }

    /// Adds what came.
    pub fn push(&mut self, chunk: &[u8]) {
        self.held.extend_from_slice(chunk);
    }

    /// The next whole line, without its end; `None` until there is one.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let end = self.held.iter().position(|&byte| byte == b'\n');
        if end.unwrap_or(self.held.len()) > self.longest {
            return Err(LineTooLong(self.longest));
        }
        Ok(end.map(|end| {
            let line = self.held.split_to(end + 1).freeze();
            line.slice(..end)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_endless_line_is_an_error_before_it_is_held() {
        let mut lines = Lines::of_at_most(4);
        lines.push(b"1234\n12345");
        assert_eq!(lines.next_line(), Ok(Some(Bytes::from_static(b"1234"))));
        assert_eq!(lines.next_line(), Err(LineTooLong(4)));
    }

    proptest! {
        #[test]
        fn how_the_bytes_were_cut_does_not_matter(text in "[a-z\n]{0,60}", cut in 1usize..9) {
            let mut lines = Lines::of_at_most(64);
            let mut seen = Vec::new();
            for chunk in text.as_bytes().chunks(cut) {
                lines.push(chunk);
                while let Some(line) = lines.next_line().expect("short enough") {
                    seen.push(String::from_utf8(line.to_vec()).expect("text"));
                }
            }
            let mut whole: Vec<_> = text.split('\n').map(str::to_owned).collect();
            whole.pop();
            prop_assert_eq!(seen, whole);
        }
    }
}
