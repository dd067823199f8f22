//! WebSockets on their way through HTTP/2: the visitor's upgrade (RFC 6455) becomes an extended CONNECT (RFC 8441)
//! towards the agent, and the edge answers the handshake itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Concatenated to the key by both ends (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether this is a WebSocket's opening handshake, whole: a GET of HTTP/1.1, without a body, that asks for nothing else.
pub(super) fn is_handshake(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    request.method == Method::GET
        && request.version == Version::HTTP_11
        && headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && names_upgrade(headers)
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
        && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && accept_value(headers).is_some()
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// `Sec-WebSocket-Accept` for the request's `Sec-WebSocket-Key`.
pub(super) fn accept_value(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = headers.get(SEC_WEBSOCKET_KEY)?.to_str().ok()?.trim();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    HeaderValue::from_str(&STANDARD.encode(hash)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake() -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        request.set_version(Version::HTTP_11);
        for (name, value) in [
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request.insert_header(name, value).expect("a field");
        }
        request
    }

    #[test]
    fn the_answer_to_a_key_is_that_of_rfc_6455() {
        assert!(is_handshake(&handshake()));
        assert_eq!(accept_value(&handshake().headers).expect("a key"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn half_a_handshake_is_none() {
        for missing in ["Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
            let mut request = handshake();
            request.remove_header(missing);
            assert!(!is_handshake(&request), "{missing}");
        }
        let mut other = handshake();
        other.insert_header("Upgrade", "h2c").expect("a field");
        assert!(!is_handshake(&other));
        let mut with_body = handshake();
        with_body.insert_header("Content-Length", "5").expect("a field");
        assert!(!is_handshake(&with_body));
    }
}
