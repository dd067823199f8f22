//! What comes back to a visitor: whole, or piece by piece.

use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use serde_json::Value;
use url::Url;

use super::client::Connection;
use super::cookies::SetCookie;
use super::process::within;

/// An answer whose body is still coming. Dropped, its connection is closed, as by a closed tab.
pub(crate) struct Live {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(super) body: Incoming,
    /// None: somebody else keeps it open.
    pub(super) _connection: Option<Connection>,
}

impl Live {
    /// The next piece of the body; `None` at its proper end.
    pub(crate) async fn piece(&mut self) -> Option<hyper::Result<Bytes>> {
        loop {
            match within("the next piece", self.body.frame()).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_trailers) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next piece as text.
    pub(crate) async fn text(&mut self) -> String {
        let piece = self.piece().await.expect("a piece, not the end").expect("a piece, not an error");
        String::from_utf8(piece.to_vec()).expect("text")
    }

    /// Waits until it is over: broken off, or whole.
    pub(crate) async fn broke_off(&mut self) -> bool {
        loop {
            match self.piece().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return true,
                None => return false,
            }
        }
    }

    /// Waits until the edge ends it, cleanly or not.
    pub(crate) async fn cut(&mut self) {
        while let Some(Ok(_)) = self.piece().await {}
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header's text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// Whether it leads elsewhere.
    pub(crate) fn is_redirect(&self) -> bool {
        self.status.is_redirection() && self.headers.contains_key(header::LOCATION)
    }

    /// Where it leads.
    pub(crate) fn location(&self) -> Url {
        let to = self.header("location");
        assert!(!to.is_empty(), "{} {} has no location: {}", self.status, self.url, self.text());
        self.url.join(to).unwrap_or_else(|error| panic!("{to}: {error}"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{} {}: {error}: {}", self.status, self.url, self.text()))
    }

    /// The `type` of a problem (RFC 9457).
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        self.json()["type"].as_str().expect("a type").to_owned()
    }

    /// The cookies it sets.
    pub(crate) fn set_cookies(&self) -> Vec<SetCookie> {
        SetCookie::all(&self.headers)
    }

    /// One cookie it sets.
    pub(crate) fn sets(&self, name: &str) -> Option<SetCookie> {
        self.set_cookies().into_iter().find(|cookie| cookie.name == name)
    }

    /// Fails unless the status is `wanted`.
    #[track_caller]
    pub(crate) fn must_be(self, wanted: u16) -> Self {
        assert_eq!(self.status.as_u16(), wanted, "{}: {:?}\n{}", self.url, self.headers, self.text());
        self
    }
}
