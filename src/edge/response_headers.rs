//! What of an app's answer reaches the browser (contract, section 4).
//!
//! An app is a guest on its host: siblings are other people's. It may say what it likes about its own host, and
//! nothing about the others, nor about the edge's cookies; and nothing that would keep the edge from having its say
//! there once the session is over.

use http::HeaderMap;
use http::header::{
    ALT_SVC, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderName,
    HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY, VARY,
};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::cookies;
use crate::wire::AGENT_ERROR_HEADER;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Makes `response`, from the app at `own_host`, what the browser may see.
pub(super) fn rewrite(response: &mut ResponseHeader, own_host: &str) -> Result<()> {
    response.remove_header(&ALT_SVC);
    // By it the browser would tell whoever the app names of every address that is asked for here, tokens included.
    response.remove_header("nel");
    if response.headers.get(CONTENT_TYPE).is_some_and(is_script) {
        // What a page fetched and keeps for a year must not pass for a worker's script, which is to be asked for.
        response.append_header(VARY, "Service-Worker")?;
    }
    filter_values(response, &SET_COOKIE, |cookie| {
        (!cookies::is_ours(cookie) && !reaches_beyond(cookie, own_host)).then(|| cookie.to_vec())
    })?;
    filter_values(response, &STRICT_TRANSPORT_SECURITY, |field| {
        Some(without_pieces(field, b';', |name| name.eq_ignore_ascii_case(b"includesubdomains")))
    })?;
    filter_values(response, &CLEAR_SITE_DATA, |field| {
        let kept = without_pieces(field, b',', |kind| {
            let kind = kind.strip_prefix(b"\"").and_then(|kind| kind.strip_suffix(b"\"")).unwrap_or(kind);
            kind == b"*" || kind.eq_ignore_ascii_case(b"cookies") || kind.eq_ignore_ascii_case(b"clienthints")
        });
        (!kept.is_empty()).then_some(kept)
    })
}

/// Whether a final head means one thing to whoever reads it: a status that there is (RFC 9110 §15), and at most one length,
/// which is a number.
pub(super) fn is_sound(response: &ResponseHeader) -> bool {
    let is_number = |length: &HeaderValue| {
        !length.is_empty() && length.len() < 20 && length.as_bytes().iter().all(u8::is_ascii_digit)
    };
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    (200..600).contains(&response.status.as_u16())
        && lengths.next().is_none_or(is_number)
        && lengths.next().is_none()
}

/// Has the browser ask for a service worker's script each time it looks for a newer one. With the session over it gets one
/// that goes away by itself; from a cache it would get the app's for another day.
pub(super) fn have_asked_again(response: &mut ResponseHeader) -> Result<()> {
    response.insert_header(CACHE_CONTROL, "no-cache")
}

/// Whether a browser would run it (HTML's JavaScript MIME types, and a few more).
fn is_script(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    [&b"javascript"[..], b"ecmascript", b"jscript", b"livescript"]
        .iter()
        .any(|kind| essence.windows(kind.len()).any(|part| part == *kind))
}

/// Removes the fields that belong to one connection, for answers that did not come through Pingora's own upstreams.
pub(super) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer"] {
        response.remove_header(name);
    }
}

/// Makes an app's trailers what the browser may see: none of what [`rewrite`] looks after belongs there (RFC 9110 §6.5.1),
/// nor what frames or explains a body, and a reader who merges them with the head must not find it.
pub(super) fn rewrite_trailers(trailers: &mut HeaderMap) {
    for name in [SET_COOKIE, STRICT_TRANSPORT_SECURITY, CLEAR_SITE_DATA, ALT_SVC] {
        trailers.remove(name);
    }
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_RANGE, HOST] {
        trailers.remove(name);
    }
    trailers.remove(AGENT_ERROR_HEADER);
}

/// Whether a `Set-Cookie` names any domain but the app's own host. An empty domain is as good as none (RFC 6265 §5.2.3).
fn reaches_beyond(cookie: &[u8], own_host: &str) -> bool {
    cookie.split(|&byte| byte == b';').skip(1).any(|attribute| {
        let (name, value) = halves(attribute, b'=');
        let domain = value.strip_prefix(b".").unwrap_or(value);
        name.eq_ignore_ascii_case(b"domain")
            && !value.is_empty()
            && !domain.eq_ignore_ascii_case(own_host.as_bytes())
    })
}

/// Runs every value of the field through `keep`, which gives the value to send or `None` for none. Where all stay as
/// they are, nothing is touched.
fn filter_values(
    response: &mut ResponseHeader,
    name: &HeaderName,
    keep: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<()> {
    let before: Vec<&HeaderValue> = response.headers.get_all(name).iter().collect();
    let after: Vec<Vec<u8>> = before.iter().filter_map(|value| keep(value.as_bytes())).collect();
    if before.iter().map(|value| value.as_bytes()).eq(after.iter().map(Vec::as_slice)) {
        return Ok(());
    }
    response.remove_header(name);
    for value in after {
        response.append_header(name.clone(), value)?;
    }
    Ok(())
}

/// The list without the pieces whose name, before any `=`, is `unwanted`; as it was when there is none.
fn without_pieces(list: &[u8], separator: u8, unwanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let pieces = || list.split(|&byte| byte == separator);
    if !pieces().any(|piece| unwanted(halves(piece, b'=').0)) {
        return list.to_vec();
    }
    let kept: Vec<&[u8]> =
        pieces().filter(|piece| !unwanted(halves(piece, b'=').0)).map(<[u8]>::trim_ascii).collect();
    kept.join(&[separator, b' '][..])
}

/// The trimmed text before and after the first `at`.
fn halves(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == at) {
        Some(place) => (text[..place].trim_ascii(), text[place + 1..].trim_ascii()),
        None => (text.trim_ascii(), b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut response = ResponseHeader::build(200, None).expect("a response");
        for (name, value) in fields {
            response.append_header(*name, *value).expect("a field");
        }
        rewrite(&mut response, "ada.tunnel.patapim.test").expect("rewritten");
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        response.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn cookies_for_siblings_or_in_the_edges_name_are_removed() {
        let kept = rewritten(&[
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=1; Domain=patapim.test"),
            ("set-cookie", "c=1; domain = .tunnel.patapim.test"),
            ("set-cookie", "d=1; Domain=ada.tunnel.patapim.test; Domain=patapim.test"),
            ("set-cookie", "e=1; Domain=.Ada.tunnel.patapim.test"),
            ("set-cookie", "f=1; Domain="),
            ("set-cookie", "__Host-patapim-session=x; Secure; Path=/"),
            ("set-cookie", " __HOST-PATAPIM-bind=x"),
            ("set-cookie", "=__Host-patapim-session=x"),
            ("set-cookie", "__Host-patapim-session"),
        ]);
        let names: Vec<&str> = kept.iter().map(|(_, value)| &value[..1]).collect();
        assert_eq!(names, ["a", "e", "f"]);
    }

    #[test]
    fn what_the_head_may_not_say_the_trailers_may_not_either() {
        let mut trailers = HeaderMap::new();
        for name in ["set-cookie", "alt-svc", "clear-site-data", "strict-transport-security", "grpc-status"] {
            trailers.append(name, HeaderValue::from_static("__Host-patapim-session=x"));
            trailers.append(name, HeaderValue::from_static("0"));
        }
        rewrite_trailers(&mut trailers);
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["grpc-status"]);
    }

    #[test]
    fn a_script_that_a_page_keeps_is_no_workers() {
        for script in [
            "text/javascript",
            "Application/JavaScript; charset=utf-8",
            "text/x-ecmascript",
            "text/javascript1.5",
        ] {
            let kept = rewritten(&[("content-type", script), ("vary", "Accept")]);
            let vary: Vec<_> =
                kept.iter().filter(|(name, _)| name == "vary").map(|(_, value)| &**value).collect();
            assert_eq!(vary, ["Accept", "Service-Worker"], "{script}");
        }
        assert_eq!(rewritten(&[("content-type", "text/html; charset=javascript")]).len(), 1);
    }

    #[test]
    fn an_app_speaks_of_its_own_host_only() {
        for (field, before, after) in [
            (
                "strict-transport-security",
                "max-age=5; includeSubDomains; preload",
                Some("max-age=5; preload"),
            ),
            ("strict-transport-security", "max-age=5 ;INCLUDESUBDOMAINS", Some("max-age=5")),
            ("strict-transport-security", "max-age=5", Some("max-age=5")),
            ("clear-site-data", "\"cache\", \"cookies\",\"storage\"", Some("\"cache\", \"storage\"")),
            ("clear-site-data", "\"*\"", None),
            ("clear-site-data", "\"Cookies\", \"clientHints\"", None),
            ("clear-site-data", "\"cache\",\"storage\"", Some("\"cache\",\"storage\"")),
            ("alt-svc", "h3=\":443\"", None),
            ("nel", "{\"report_to\":\"x\",\"max_age\":9,\"success_fraction\":1}", None),
        ] {
            let kept = rewritten(&[(field, before)]);
            assert_eq!(kept.first().map(|(_, value)| value.as_str()), after, "{field}: {before}");
        }
    }
}
