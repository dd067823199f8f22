//! The browser behind a request: what it carries of ours, and what is worth noting about it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{HeaderName, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::cookies::Sent;
use super::{Site, cookies};
use crate::access::cookies::{DEPLOYER, SessionCookie};
use crate::access::{Session, Visitor};
use crate::secret::{Entropy, SecretText, from_base64url};

/// Where a request comes from. The edge, which has the connection, puts it among the request's extensions.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The address, without a port.
    pub address: String,
}

pub(super) struct Browser {
    /// For the list of sessions.
    pub(super) visitor: Visitor,
    /// The live session it has here.
    pub(super) session: Option<Arc<Session>>,
    /// The random value that ceremonies are tied to, if it has one.
    pub(super) mark: Option<SecretText>,
    /// The grant it carries, unopened.
    pub(super) grant: Option<String>,
}

impl Browser {
    /// The mark that ceremonies and sign-in links are tied to, and the cookie that makes one if there is none yet.
    ///
    /// It goes with requests from our own pages only (`Strict`), where all of them begin and end; one that is there is
    /// kept, so that two tabs work.
    pub(super) fn mark(&self, entropy: &dyn Entropy) -> (SecretText, Option<(HeaderName, HeaderValue)>) {
        match &self.mark {
            Some(mark) => (mark.clone(), None),
            None => {
                let mark = SecretText::random(entropy);
                let cookie = cookies::set(cookies::BROWSER, mark.reveal(), None, Sent::Strict);
                (mark, Some(cookie))
            }
        }
    }
}

impl FromRequestParts<Arc<Site>> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Client>();
        let headers = &parts.headers;
        Ok(Self {
            visitor: Visitor {
                address: client.map(|client| client.address.clone()).unwrap_or_default(),
                user_agent: user_agent(headers),
            },
            session: session(headers, site),
            mark: cookies::only(headers, cookies::BROWSER)
                .filter(|mark| from_base64url(mark).is_some_and(|bytes| bytes.len() == 32))
                .map(|mark| SecretText::new(mark.to_owned())),
            grant: cookies::only(headers, cookies::STATE).map(str::to_owned),
        })
    }
}

/// The live session at the deployer that a request carries.
pub(super) fn session(headers: &HeaderMap, site: &Site) -> Option<Arc<Session>> {
    let cookie = SessionCookie::parse(cookies::only(headers, DEPLOYER)?)?;
    site.sessions.at_deployer(&cookie, site.now())
}

/// The user agent, cut to what a list can show.
fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).map(|value| value.as_bytes()).unwrap_or_default();
    text.iter().copied().filter(|b| matches!(b, b' '..=b'~')).take(256).map(char::from).collect()
}
