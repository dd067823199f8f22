//! Tying this desktop to a tunnel, once: with a token, or with a code that a person approves.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::address::EdgeAddress;
use super::api::{Api, CallError};
use super::dial::TrustError;
use super::identity::{DesktopKey, KeyError, Link};
use super::proof::SignInSite;
use crate::names::TunnelId;
use crate::secret::{SecretText, base64url};
use crate::wire::approval::PasskeyFacts;
use crate::wire::one_line;

/// What a link is asked for with.
pub struct LinkRequest {
    /// The sign-in site.
    pub edge: EdgeAddress,
    /// The origin that browsers know it by, where that is not the address that is dialed: in the demo.
    pub origin: Option<String>,
    /// The authorities to trust instead of the system's, in PEM.
    pub ca: Option<String>,
    /// What to call this desktop.
    pub name: String,
}

/// This desktop was not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkingError {
    /// The edge did not do it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It could not be tried.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A person said no.
    #[error("denied: somebody looked at this desktop's request and did not approve it")]
    Denied,
    /// Nobody said anything.
    #[error("expired: nobody approved the code in time; run the command again for a new one")]
    Expired,
    /// Whoever started it did not want to wait.
    #[error("not linked: interrupted before anybody approved it; the code is of no use any more")]
    Interrupted,
    /// No browser would make such passkeys there, so none of them could ever be checked here.
    #[error(
        "not linked: the edge says that its passkeys are made for {rp_id:?}, which cannot be at {origin}"
    )]
    RpId {
        /// What the edge says.
        rp_id: String,
        /// Where people sign in.
        origin: String,
    },
    /// Perhaps somebody did.
    #[error("expired: the edge could not be asked before the code ended ({0}); run the command again")]
    Unheard(String),
}

/// A desktop that is not linked yet: where it asks, and the key that it asks for.
pub(super) struct Candidate {
    pub(super) api: Api,
    pub(super) key: DesktopKey,
    asked: LinkRequest,
}

#[derive(Serialize)]
pub(super) struct Asked<'a> {
    name: &'a str,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// What the edge says of a link that was made.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Linked {
    tunnel: TunnelId,
    user: String,
    tunnel_url: String,
    /// What its passkeys are made for; none: for its host.
    #[serde(default)]
    rp_id: Option<String>,
    /// The passkey of whoever approved it; none for a token.
    #[serde(default)]
    approved_by: Option<PasskeyFacts>,
}

impl Candidate {
    pub(super) fn new(asked: LinkRequest) -> Result<Self, LinkingError> {
        let api = Api::of(&asked.edge, asked.origin.as_deref(), asked.ca.as_deref())?;
        Ok(Self { api, key: DesktopKey::generate()?, asked })
    }

    pub(super) fn asks<'a>(&'a self, token: Option<&'a SecretText>) -> Asked<'a> {
        Asked {
            name: &self.asked.name,
            public_key: base64url(self.key.public()),
            token: token.map(SecretText::reveal),
        }
    }

    /// The link, and the passkey that this desktop trusts from the start.
    pub(super) fn linked(self, linked: Linked) -> Result<(Link, Option<PasskeyFacts>), LinkingError> {
        let Linked { tunnel, user, tunnel_url, rp_id, approved_by } = linked;
        let Self { key, asked: LinkRequest { edge, origin, ca, name }, .. } = self;
        // Where people sign in is what was given to the command, not what the edge would have it be.
        let origin = origin.unwrap_or_else(|| edge.origin());
        let site = match rp_id {
            None => SignInSite::of(&origin),
            Some(rp_id) => SignInSite::with_rp_id(&origin, &rp_id)
                .ok_or_else(|| LinkingError::RpId { rp_id: one_line(&rp_id), origin })?,
        };
        let (user, tunnel_url) = (one_line(&user), one_line(&tunnel_url));
        let link = Link { edge, tunnel, user, tunnel_url, name, ca, site, key };
        let approved_by = approved_by.filter(PasskeyFacts::is_sound).map(|passkey| {
            let name = one_line(&passkey.name).chars().take(80).collect();
            PasskeyFacts { name, ..passkey }
        });
        Ok((link, approved_by))
    }
}

/// Makes a key and has the edge pin it, by its owner's leave: a one-time token. Nothing is kept yet: see [`Link::save`].
pub async fn link_desktop(asked: LinkRequest, token: &SecretText) -> Result<Link, LinkingError> {
    let candidate = Candidate::new(asked)?;
    let linked = candidate.api.post("/link", &candidate.asks(Some(token)), StatusCode::CREATED).await?;
    Ok(candidate.linked(linked)?.0)
}
