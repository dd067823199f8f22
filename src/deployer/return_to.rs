//! Where on a tunnel a person wanted to be.

use serde::{Deserialize, Serialize};

/// Longest one taken, in bytes (contract §5).
const LONGEST: usize = 2048;

/// A path, with its query, on whichever tunnel it is put after. Anything else counts as `/`.
///
/// It is appended to an origin and so can never leave it; still nothing is taken that a browser would not have sent in
/// this form, or that some reader between here and the app could take for another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub(super) struct ReturnTo(String);

impl ReturnTo {
    /// `text` if it is a path, else `/`.
    pub(super) fn parse(text: &str) -> Self {
        Self(if is_path(text) { text } else { "/" }.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// With a parameter appended last; every other byte stays.
    pub(super) fn with_parameter(&self, name: &str, value: &str) -> String {
        let joint = if self.0.contains('?') { '&' } else { '?' };
        format!("{}{joint}{name}={value}", self.0)
    }
}

impl Default for ReturnTo {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl From<String> for ReturnTo {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<ReturnTo> for String {
    fn from(path: ReturnTo) -> Self {
        path.0
    }
}

fn is_path(text: &str) -> bool {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    text.len() <= LONGEST
        && path.starts_with('/')
        && !path.starts_with("//")
        // Browsers take `\` for `/` in a path; in a query it is the app's.
        && path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'#'))
        && query.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'#'))
        && !path.split('/').any(is_dot_segment)
}

/// `.` and `..` in any spelling that browsers resolve (WHATWG URL §4.3): what is left after could begin with `//`.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_its_query_stays_byte_for_byte() {
        for path in [
            "/",
            "/a/b",
            "/a//b",
            "/a?b=//evil",
            "/?",
            "/?q=a\\b",
            "/a%2Fb%00%ff?c=%26&d=+&&e",
            "/~u/x;y=1,2:@!$'()*",
            "/[x]|{y}?[z]=^`",
            "/..a/.b/c..",
            "/a?x=http://b/../c",
        ] {
            assert_eq!(ReturnTo::parse(path).as_str(), path);
        }
        let long = format!("/{}", "a".repeat(LONGEST - 1));
        assert_eq!(ReturnTo::parse(&long).as_str(), long);
    }

    #[test]
    fn anything_else_is_the_front_page() {
        for bad in [
            "",
            "a",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "https://evil.test/",
            "https:/a",
            "javascript:alert(1)",
            "@evil.test",
            ".evil.test",
            ":443@evil.test",
            "?a",
            "#a",
            "/a#b",
            "/a\r\nSet-Cookie: a=b",
            "/a\nb",
            "/\t/evil.test",
            "/a b",
            "/a\0",
            "/\u{e9}",
            "/a?\u{e9}",
            "/a?b\r\nc",
            "/..//evil.test",
            "/a/../..//evil.test",
            "/%2e%2e//evil.test",
            "/.%2E/x",
            "/./a",
            "/a/..",
            "/\"onload=",
            "/a?<script>",
            " /a",
            &format!("/{}", "a".repeat(LONGEST)),
        ] {
            assert_eq!(ReturnTo::parse(bad).as_str(), "/", "{bad:?}");
        }
    }

    #[test]
    fn a_parameter_comes_last() {
        let with = |path| ReturnTo::parse(path).with_parameter("token", "t");
        assert_eq!(with("/a"), "/a?token=t");
        assert_eq!(with("/a?b=1"), "/a?b=1&token=t");
        assert_eq!(with("/a?"), "/a?&token=t");
    }
}
