//! Heads on their way between HTTP/2 and the app's HTTP/1.1.

use http::header::{
    self, CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, request, response};

use crate::wire::{AGENT_ERROR_HEADER, http2::HEADER_LIST_LIMIT};

/// Meant for one connection only (RFC 9110 §7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes what is not to be passed on.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Makes a request's head one that an HTTP/1.1 app expects.
pub(super) fn prepare_request(
    head: &mut request::Parts,
    host: Option<&HeaderValue>,
    ended: bool,
) -> Result<(), header::InvalidHeaderValue> {
    let takes_trailers = head.headers.get(TE).is_some_and(|te| te == "trailers");
    strip_hop_by_hop(&mut head.headers);
    if takes_trailers {
        // For this hop, because the next one can carry them.
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
        head.headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    // Answered by the edge: behind an HTTP/2 hop nobody would.
    head.headers.remove(header::EXPECT);
    join_cookies(&mut head.headers)?;
    let host = match (host, head.uri.authority()) {
        (Some(host), _) => Some(host.clone()),
        (None, Some(authority)) => Some(authority.as_str().parse()?),
        (None, None) => None,
    };
    if let Some(host) = host {
        head.headers.insert(HOST, host);
    }
    // HTTP/2 ends a request without saying how long it was; some HTTP/1.1 apps want to hear it (RFC 9110 §8.6).
    let may_have_body = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    if ended
        && may_have_body
        && let Entry::Vacant(length) = head.headers.entry(CONTENT_LENGTH)
    {
        length.insert(HeaderValue::from_static("0"));
    }
    Ok(())
}

/// HTTP/2 may cut a cookie header into crumbs; HTTP/1.1 knows only one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), header::InvalidHeaderValue> {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))?;
        headers.insert(COOKIE, whole);
    }
    Ok(())
}

/// Makes the app's answer one that may be passed on. `false` when its head is larger than the edge takes.
pub(super) fn prepare_response(head: &mut response::Parts) -> bool {
    strip_hop_by_hop(&mut head.headers);
    head.headers.remove(AGENT_ERROR_HEADER);
    // As RFC 9113 §6.5.2 counts; 42 is `:status` with its three digits.
    let size =
        head.headers.iter().fold(42, |sum, (name, value)| sum + name.as_str().len() + value.len() + 32);
    size <= HEADER_LIST_LIMIT as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};

    fn prepared(request: http::request::Builder, host: Option<&str>, ended: bool) -> request::Parts {
        let (mut head, ()) = request.body(()).expect("a request").into_parts();
        let host = host.map(|host| HeaderValue::from_str(host).expect("a host"));
        prepare_request(&mut head, host.as_ref(), ended).expect("prepared");
        head
    }

    #[test]
    fn hop_by_hop_headers_go_and_those_that_connection_names() {
        let request = Request::get("https://t.test/")
            .header("connection", "x-mine, keep-alive")
            .header("x-mine", "1")
            .header("te", "gzip")
            .header("x-yours", "2");
        let head = prepared(request, None, true);
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-yours", "host"]);
    }

    #[test]
    fn the_app_sees_the_visitors_host_or_the_one_that_it_was_promised() {
        let request = || Request::get("https://t.test:8443/").header("host", "evil.test");
        assert_eq!(prepared(request(), None, true).headers["host"], "t.test:8443");
        assert_eq!(prepared(request(), Some("localhost:3000"), true).headers["host"], "localhost:3000");
    }

    #[test]
    fn cookie_crumbs_become_one_header() {
        let head = prepared(
            Request::get("https://t.test/").header("cookie", "a=1").header("cookie", "b=2"),
            None,
            true,
        );
        assert_eq!(head.headers["cookie"], "a=1; b=2");
        assert_eq!(head.headers.get_all("cookie").iter().count(), 1);
    }

    #[test]
    fn an_empty_post_says_so() {
        assert_eq!(prepared(Request::post("https://t.test/"), None, true).headers["content-length"], "0");
        assert!(
            !prepared(Request::post("https://t.test/"), None, false).headers.contains_key("content-length")
        );
        assert!(
            !prepared(Request::get("https://t.test/"), None, true).headers.contains_key("content-length")
        );
    }

    #[test]
    fn an_app_cannot_speak_as_the_agent_or_without_end() {
        let (mut head, ()) =
            Response::builder().header(AGENT_ERROR_HEADER, "x").body(()).expect("a response").into_parts();
        assert!(prepare_response(&mut head));
        assert!(head.headers.is_empty());
        head.headers.insert("x-long", HeaderValue::from_str(&"a".repeat(200_000)).expect("a value"));
        assert!(!prepare_response(&mut head));
    }
}
