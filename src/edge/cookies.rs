//! Cookies, read strictly and written in one form.
//!
//! Siblings under the same base domain can toss cookies at each other, so only names with the `__Host-` prefix
//! count, compared exactly, and a name that comes twice counts as absent: nobody can tell which of the two is ours.

use std::collections::BTreeSet;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// The prefix of every cookie of the edge, in lower case.
const OURS: &[u8] = b"__host-patapim-";

/// The value of the cookie `name`, when it came exactly once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = values(headers, name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// Whether the cookie `name` came more than once, so that none of them counts.
pub(super) fn is_doubled(headers: &HeaderMap, name: &str) -> bool {
    values(headers, name).nth(1).is_some()
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    pieces(headers).filter_map(move |piece| {
        let (found, value) = piece.split_at(piece.iter().position(|&byte| byte == b'=')?);
        (found == name.as_bytes()).then(|| &value[1..])
    })
}

/// The cookies that are the app's, as one header, or `None` when there is none. HTTP/2 may split a `Cookie` field in
/// many; HTTP/1.1 knows only one (RFC 9113 §8.2.3).
pub(super) fn of_the_app(headers: &HeaderMap) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> = pieces(headers).filter(|piece| !is_ours(piece)).collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
}

/// The names of the app's cookies; the empty one where a cookie has none.
pub(super) fn names_of_the_app(headers: &HeaderMap) -> BTreeSet<Vec<u8>> {
    let name = |piece: &[u8]| {
        let end = piece.iter().position(|&byte| byte == b'=').unwrap_or(0);
        piece[..end].trim_ascii().to_vec()
    };
    pieces(headers).filter(|piece| !is_ours(piece)).map(name).collect()
}

/// The edge's own cookies, as one header. No sibling can plant one: browsers keep this prefix to the very host.
pub(super) fn of_the_edge(headers: &HeaderMap) -> Option<HeaderValue> {
    let kept: Vec<&[u8]> = pieces(headers).filter(|piece| piece.starts_with(b"__Host-patapim-")).collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
}

/// Whether a cookie's text begins with a name of the edge, in any case: a browser that lets a cookie without a name
/// through sends its value where a name would stand.
pub(super) fn is_ours(cookie: &[u8]) -> bool {
    let text = cookie.trim_ascii_start();
    let text = text.strip_prefix(b"=").map_or(text, <[u8]>::trim_ascii_start);
    text.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS))
}

fn pieces(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, HeaderValue::from_str(field).expect("a field"))).collect()
    }

    const NAME: &str = "__Host-patapim-session";

    #[test]
    fn a_cookie_is_read_wherever_it_stands() {
        for fields in [
            &["__Host-patapim-session=v"][..],
            &["a=1; __Host-patapim-session=v; b=2"],
            &["a=1", "__Host-patapim-session=v"],
        ] {
            assert_eq!(only(&headers(fields), NAME), Some("v"), "{fields:?}");
        }
        assert_eq!(only(&headers(&["__Host-patapim-session=a=b"]), NAME), Some("a=b"));
    }

    #[test]
    fn a_cookie_that_comes_twice_or_only_looks_like_it_counts_as_absent() {
        for fields in [
            &["__Host-patapim-session=v; __Host-patapim-session=v"][..],
            &["__Host-patapim-session=v", "__Host-patapim-session=w"],
        ] {
            assert_eq!(only(&headers(fields), NAME), None, "{fields:?}");
            assert!(is_doubled(&headers(fields), NAME), "{fields:?}");
        }
        for fields in [
            &["__host-patapim-session=v"][..],
            &["__Host-patapim-session =v"],
            &["patapim-session=v"],
            &["x__Host-patapim-session=v"],
            &["__Host-patapim-session"],
        ] {
            assert_eq!(only(&headers(fields), NAME), None, "{fields:?}");
            assert!(!is_doubled(&headers(fields), NAME), "{fields:?}");
        }
    }

    #[test]
    fn the_app_gets_its_own_cookies_in_one_field() {
        let all = headers(&["a=1;  __Host-patapim-session=v ; b=\"x\"", "c", "__HOST-PATAPIM-bind=w"]);
        assert_eq!(of_the_app(&all).expect("some"), "a=1; b=\"x\"; c");
        assert_eq!(of_the_app(&headers(&["__Host-patapim-session=v"])), None);
        assert_eq!(of_the_app(&headers(&["=__Host-patapim-session=v"])), None);
    }
}
