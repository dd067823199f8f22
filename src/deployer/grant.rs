//! A ceremony that is good for one token yet to be asked for (contract §4.2).
//!
//! Somebody who signs in before a tunnel has planted its bind cookie is sent through the tunnel's `/.patapim/begin`,
//! which comes back to `/auth` with the cookie's hash. What lets `/auth` issue the token without another tap is a note
//! in a cookie of this host: it names the completed ceremony, opens for 60 seconds, and is used once.
//!
//! The note itself never leaves this host. What travels through the tunnel is a `state` derived from it for that one
//! tunnel: whoever reads addresses there (an app's service worker does) can bring it back, and do nothing else with it.

use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;
use serde::{Deserialize, Serialize};
use url::form_urlencoded::byte_serialize;

use super::Site;
use super::browser::Browser;
use super::cookies::{self, STATE, Sent};
use super::return_to::ReturnTo;
use crate::access::SignIn;
use crate::access::seal::Purpose;
use crate::names::TunnelId;
use crate::secret::{base64url, random, same, sha256};
use crate::store::StoreError;

const LIFETIME: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Note {
    who: SignIn,
    /// Two grants of one moment are two.
    nonce: String,
}

pub(super) struct Grant {
    sealed: String,
    pub(super) who: SignIn,
}

impl Grant {
    /// For a ceremony that was completed just now.
    pub(super) fn of(site: &Site, who: &SignIn) -> Self {
        let note = Note { who: who.clone(), nonce: base64url(random::<16>(&*site.entropy)) };
        let sealed = site.sealer.seal(Purpose::Grant, &note, who.at + LIFETIME);
        Self { sealed, who: note.who }
    }

    /// The one that a browser carries, if it is still good for something.
    pub(super) async fn carried(site: &Site, browser: &Browser) -> Result<Option<Self>, StoreError> {
        let Some(sealed) = browser.grant.clone() else { return Ok(None) };
        let Some(note) = site.sealer.open::<Note>(Purpose::Grant, &sealed, site.now()) else {
            return Ok(None);
        };
        let spent = site.once.is_spent(Purpose::Grant, &sealed).await?;
        Ok((!spent).then_some(Self { sealed, who: note.who }))
    }

    /// The cookie that keeps it. `Lax`, because it is wanted after a redirect from another host.
    pub(super) fn cookie(&self) -> (HeaderName, HeaderValue) {
        cookies::set(STATE, &self.sealed, Some(LIFETIME), Sent::Lax)
    }

    /// Where the browser gets its bind cookie for `tunnel`; from there it comes back to `/auth`.
    pub(super) fn begin_at(&self, site: &Site, tunnel: &TunnelId, return_to: &ReturnTo) -> String {
        let origin = site.hosts.tunnel_origin(tunnel);
        let path: String = byte_serialize(return_to.as_str().as_bytes()).collect();
        format!("{origin}/.patapim/begin?state={}&return_to={path}", self.state(tunnel))
    }

    /// Whether `state` is what went out with [`Self::begin_at`].
    pub(super) fn sent(&self, tunnel: &TunnelId, state: &str) -> bool {
        same(self.state(tunnel).as_bytes(), state.as_bytes())
    }

    fn state(&self, tunnel: &TunnelId) -> String {
        base64url(sha256(format!("patapim/state/1\0{tunnel}\0{}", self.sealed)))
    }

    /// Uses it up; false if another request was faster.
    pub(super) async fn spend(&self, site: &Site) -> Result<bool, StoreError> {
        site.once.spend(Purpose::Grant, &self.sealed, site.now() + LIFETIME).await
    }
}
