//! The `token` parameters of a query: found, told apart from the app's own, taken out.
//!
//! The deployer hands its token over as `?…&token=<jwt>`, and an app may have a `token` of its own. Works on the
//! raw bytes of the request target: what is not taken out stays byte for byte what it was.

use std::borrow::Cow;
use std::ops::Range;

use pingora::http::RequestHeader;

/// A request target's path and query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'t> {
    whole: &'t [u8],
    path: &'t [u8],
    query: Option<&'t [u8]>,
}

/// One `token` parameter.
#[derive(Debug)]
pub(super) struct TokenParam<'t> {
    value: Cow<'t, [u8]>,
    place: Range<usize>,
}

impl<'t> Target<'t> {
    /// The request's. Of a target with a host in it (RFC 9112 §3.2.2), which was looked at elsewhere, what comes after.
    pub(super) fn of(request: &'t RequestHeader) -> Self {
        match request.raw_path() {
            target @ [b'/', ..] => Self::parse(target),
            _ => Self::parse(request.uri.path_and_query().map_or(b"/", |target| target.as_str().as_bytes())),
        }
    }

    /// Splits at the first question mark.
    pub(super) fn parse(target: &'t [u8]) -> Self {
        let (path, query) = match target.iter().position(|&byte| byte == b'?') {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        Self { whole: target, path, query }
    }

    /// All of it, as it was sent.
    pub(super) fn whole(&self) -> &'t [u8] {
        self.whole
    }

    /// The path, as it was sent.
    pub(super) fn path(&self) -> &'t [u8] {
        self.path
    }

    /// Every parameter whose decoded name is `token`, in order.
    pub(super) fn tokens(&self) -> impl DoubleEndedIterator<Item = TokenParam<'t>> {
        let query = self.query.unwrap_or_default();
        let mut found = Vec::new();
        let mut begin = 0;
        for piece in query.split(|&byte| byte == b'&') {
            let place = begin..begin + piece.len();
            begin = place.end + 1;
            let equals = piece.iter().position(|&byte| byte == b'=');
            let (name, value) = equals.map_or((piece, &b""[..]), |at| (&piece[..at], &piece[at + 1..]));
            if *percent_decoded(name) == *b"token" {
                found.push(TokenParam { value: percent_decoded(value), place });
            }
        }
        found.into_iter()
    }

    /// The value of the first parameter `name`, as it was sent.
    pub(super) fn raw_value(&self, name: &str) -> Option<&'t [u8]> {
        let mut pieces = self.query?.split(|&byte| byte == b'&');
        pieces.find_map(|piece| piece.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// The same, decoded, where it is text.
    pub(super) fn decoded(&self, name: &str) -> Option<String> {
        String::from_utf8(percent_decoded(self.raw_value(name)?).into_owned()).ok()
    }

    /// The target without `token`; without a question mark where nothing else was behind it.
    pub(super) fn without(&self, token: &TokenParam<'_>) -> Vec<u8> {
        let mut out = self.path.to_vec();
        let Some(query) = self.query else { return out };
        let (before, after) = (&query[..token.place.start], &query[token.place.end..]);
        // One of the two separators goes with the parameter.
        let rest = match (before.strip_suffix(b"&"), after.strip_prefix(b"&")) {
            (Some(before), _) => [before, after].concat(),
            (None, Some(after)) => after.to_vec(),
            (None, None) => return out,
        };
        out.push(b'?');
        out.extend(rest);
        out
    }
}

impl TokenParam<'_> {
    /// The decoded value. None: not text, and so no token of anybody's.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}

/// Decodes `%XX`; leaves a malformed escape as it stands.
fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without_last(target: &str) -> String {
        let target = Target::parse(target.as_bytes());
        let token = target.tokens().next_back().expect("a token");
        String::from_utf8(target.without(&token)).expect("text")
    }

    #[test]
    fn the_token_goes_and_everything_else_stays_byte_for_byte() {
        for (with, without) in [
            ("/a?token=x.y.z", "/a"),
            ("/a?b=%2f+%20&token=x.y.z", "/a?b=%2f+%20"),
            ("/a?token=x.y.z&b=1", "/a?b=1"),
            ("/a?b&&token=x.y.z&&c=?#", "/a?b&&&c=?#"),
            ("/?token=app&token=x.y.z", "/?token=app"),
            ("/?a=token=1&token=x", "/?a=token=1"),
            ("/?&token=x", "/?"),
        ] {
            assert_eq!(without_last(with), without, "{with}");
        }
    }

    #[test]
    fn a_spelled_out_name_is_the_same_name() {
        let target = Target::parse(b"/?%74oken=a%2Eb.c&Token=x&tokens=y");
        let tokens: Vec<_> = target.tokens().collect();
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens[0].text(), Some("a.b.c"));
    }

    #[test]
    fn a_target_with_a_host_in_it_is_read_from_its_path_on() {
        let request = RequestHeader::build("GET", b"https://a.test/.patapim/session?token=x.y.z", None);
        let request = request.expect("a request");
        let target = Target::of(&request);
        assert_eq!(target.path(), b"/.patapim/session");
        assert_eq!(target.whole(), b"/.patapim/session?token=x.y.z");
    }

    proptest! {
        #[test]
        fn any_query_survives_the_token_between_its_parameters(
            before in "[a-su-z=%&+?/]{0,20}", after in "[a-su-z=%&+?/]{0,20}"
        ) {
            let (before, after) = (format!("b{before}"), format!("a{after}"));
            prop_assert_eq!(
                without_last(&format!("/p?{before}&token=x.y.z&{after}")),
                format!("/p?{before}&{after}")
            );
        }
    }
}
