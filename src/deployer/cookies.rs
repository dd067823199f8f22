//! The deployer's cookies: read strictly, written in one form.

use std::time::Duration;

use http::header::{COOKIE, HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// What ties a ceremony to the browser that began it.
pub(super) const BROWSER: &str = "__Host-patapim-browser";
/// What one completed ceremony is still good for: see [`super::grant`].
pub(super) const STATE: &str = "__Host-patapim-state";

/// The value of the cookie `name`, if it came exactly once: of two, nobody can tell which is ours and which was tossed
/// over by a sibling.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let pieces =
        headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
    let mut values =
        pieces.filter_map(|piece| piece.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = values.next()?;
    if values.next().is_some() { None } else { std::str::from_utf8(value).ok() }
}

/// With which requests the browser sends a cookie.
#[derive(Clone, Copy)]
pub(super) enum Sent {
    /// Only from pages of this site.
    Strict,
    /// Also when another site's link or redirect opens a page here.
    Lax,
}

/// A `Set-Cookie` field. Without `lasts` the cookie ends with the browser.
pub(super) fn set(name: &str, value: &str, lasts: Option<Duration>, sent: Sent) -> (HeaderName, HeaderValue) {
    let same_site = match sent {
        Sent::Strict => "Strict",
        Sent::Lax => "Lax",
    };
    let max_age = lasts.map(|lasts| format!("; Max-Age={}", lasts.as_secs())).unwrap_or_default();
    let text = format!("{name}={value}; Path=/{max_age}; Secure; HttpOnly; SameSite={same_site}");
    // Values are base64url, dots and names of ours: always a valid field.
    let mut field = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    field.set_sensitive(true);
    (SET_COOKIE, field)
}

/// The `Set-Cookie` field that takes a cookie away.
pub(super) fn expire(name: &str) -> (HeaderName, HeaderValue) {
    set(name, "", Some(Duration::ZERO), Sent::Lax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&str]) -> Option<String> {
        let headers: HeaderMap =
            fields.iter().map(|field| (COOKIE, HeaderValue::from_str(field).expect("a field"))).collect();
        only(&headers, BROWSER).map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_read_where_it_comes_once_under_its_exact_name() {
        assert_eq!(read(&["a=1; __Host-patapim-browser=x; b=2"]).as_deref(), Some("x"));
        assert_eq!(read(&["a=1", "__Host-patapim-browser=x"]).as_deref(), Some("x"));
        for none in [
            &["__Host-patapim-browser=x; __Host-patapim-browser=x"][..],
            &["__Host-patapim-browser=x", "__Host-patapim-browser=y"],
            &["__host-patapim-browser=x"],
            &["__Host-patapim-browser2=x"],
            &["__Host-patapim-browser"],
            &[],
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_cookie_is_set_for_this_host_alone() {
        let (_, field) = set("__Host-a", "v", Some(Duration::from_secs(60)), Sent::Strict);
        assert_eq!(field, "__Host-a=v; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Strict");
    }
}
