//! Who may ask the panel.
//!
//! Other pages in the person's browser can send requests to this address. A page whose name was made to lead here sends
//! its own name in `Host`, any other page its own `Origin`; neither is let in, nor is whoever lacks the key.

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::secret::{SecretText, same};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The panel's address and key.
pub(super) struct Door {
    hosts: [String; 2],
    key: SecretText,
}

impl Door {
    pub(super) fn new(bound: SocketAddr, key: SecretText) -> Self {
        Self { hosts: [bound.to_string(), format!("localhost:{}", bound.port())], key }
    }

    /// Whether the request was meant for the panel, and comes from its own page or from nobody's. Else the answer's status.
    pub(super) fn meant_for_us(&self, method: &Method, headers: &HeaderMap) -> Result<(), StatusCode> {
        let host = one(headers, &HOST)?.filter(|host| self.hosts.iter().any(|ours| ours == host));
        let host = host.ok_or(StatusCode::MISDIRECTED_REQUEST)?;
        let own_origin = match one(headers, &ORIGIN)? {
            Some(origin) => origin.strip_prefix("http://") == Some(host),
            None => matches!(*method, Method::GET | Method::HEAD),
        };
        let own_site =
            one(headers, &SEC_FETCH_SITE)?.is_none_or(|site| matches!(site, "same-origin" | "none"));
        if own_origin && own_site { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
    }

    /// Whether the request shows the key.
    pub(super) fn has_key(&self, headers: &HeaderMap) -> bool {
        let shown =
            one(headers, &AUTHORIZATION).ok().flatten().and_then(|value| value.strip_prefix("Bearer "));
        shown.is_some_and(|shown| same(shown.as_bytes(), self.key.reveal().as_bytes()))
    }
}

/// The field's only value. Two are nobody's honest request.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, StatusCode> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str()).transpose().map_err(|_| StatusCode::BAD_REQUEST)?;
    if values.next().is_some() { Err(StatusCode::BAD_REQUEST) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asked(method: &Method, fields: &[(&'static str, &'static str)]) -> Result<(), u16> {
        let door = Door::new(SocketAddr::from(([127, 0, 0, 1], 7717)), SecretText::new("key".into()));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        door.meant_for_us(method, &headers).map_err(|status| status.as_u16())
    }

    #[test]
    fn only_the_panels_own_page_gets_to_the_key() {
        const HERE: (&str, &str) = ("host", "127.0.0.1:7717");
        let own = ("origin", "http://127.0.0.1:7717");
        assert_eq!(asked(&Method::GET, &[HERE]), Ok(()));
        assert_eq!(asked(&Method::GET, &[("host", "localhost:7717")]), Ok(()));
        assert_eq!(asked(&Method::POST, &[HERE, own, ("sec-fetch-site", "same-origin")]), Ok(()));
        for host in ["evil.test:7717", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:7717.evil.test", ""] {
            assert_eq!(asked(&Method::GET, &[("host", host)]), Err(421), "{host}");
        }
        assert_eq!(asked(&Method::GET, &[]), Err(421));
        assert_eq!(asked(&Method::POST, &[HERE]), Err(403), "a change without an origin");
        for origin in [
            "http://evil.test",
            "null",
            "https://127.0.0.1:7717",
            "http://localhost:7717",
            "http://127.0.0.1:3000",
        ] {
            assert_eq!(asked(&Method::POST, &[HERE, ("origin", origin)]), Err(403), "{origin}");
            assert_eq!(asked(&Method::GET, &[HERE, ("origin", origin)]), Err(403), "{origin}");
        }
        assert_eq!(asked(&Method::GET, &[HERE, ("sec-fetch-site", "cross-site")]), Err(403));
        assert_eq!(asked(&Method::GET, &[HERE, ("sec-fetch-site", "same-site")]), Err(403), "another port");
        assert_eq!(asked(&Method::GET, &[HERE, HERE]), Err(400));
    }
}
