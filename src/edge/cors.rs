//! Calls from origins that a tunnel's owner allowed (Fetch, §3.2). For all others there is none of this.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, VARY,
};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

/// Answers a browser that asks whether an allowed page may send what it wants to send. [`open`] makes it an answer for
/// that page.
pub(super) fn preflight(request: &RequestHeader) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(204, Some(8))?;
    for (asked, granted) in [
        (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
        (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = request.headers.get(&asked) {
            head.insert_header(granted, value.clone())?;
        }
        head.append_header(VARY, asked.as_str())?;
    }
    head.insert_header(ACCESS_CONTROL_MAX_AGE, "600")?;
    Ok(head)
}

/// Lets the allowed page at `origin` read the answer. The app's own word on it, if any, gives way to the owner's.
pub(super) fn open(head: &mut ResponseHeader, origin: &str) -> Result<()> {
    head.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
    head.insert_header(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")?;
    head.append_header(VARY, "Origin")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preflight_grants_what_was_asked_to_the_one_origin() {
        let mut request = RequestHeader::build("OPTIONS", b"/", None).expect("a request");
        request.insert_header("access-control-request-method", "PUT").expect("a field");
        request.insert_header("access-control-request-headers", "x-a, x-b").expect("a field");
        let mut head = preflight(&request).expect("a head");
        open(&mut head, "https://app.test").expect("opened");
        assert_eq!(head.status, 204);
        assert_eq!(head.headers["access-control-allow-origin"], "https://app.test");
        assert_eq!(head.headers["access-control-allow-methods"], "PUT");
        assert_eq!(head.headers["access-control-allow-headers"], "x-a, x-b");
        assert_eq!(head.headers["access-control-allow-credentials"], "true");
    }
}
