//! Tying this desktop to a tunnel, once: with a token, or with a code that a person approves.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::address::EdgeAddress;
use super::api::{Api, CallError};
use super::dial::TrustError;
use super::identity::{DesktopKey, KeyError, Link};
use super::proof::{Introduction, ProofFault, SignInSite};
use crate::names::TunnelId;
use crate::proof::{Nonce, Place, Proof};
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
    /// The edge names a passkey that has not done it.
    #[error(
        "not linked, because this desktop does not believe the edge: it says that the passkey “{name}” approved this, \
         and {why}. Nothing was kept here; look at the site whether something is linked that should not be"
    )]
    Unbelieved {
        /// What the edge calls the passkey.
        name: String,
        /// Why not.
        why: ProofFault,
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

/// Whom a desktop trusts from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstTrust {
    /// Nobody: no passkey approved the link.
    Nobody,
    /// The passkey that approved the link, and proved it to this desktop.
    Proven(PasskeyFacts),
    /// The passkey that is said to have approved it. The edge showed no proof.
    Unproven(PasskeyFacts),
}

impl FirstTrust {
    /// The passkey, if there is one.
    pub fn passkey(&self) -> Option<&PasskeyFacts> {
        match self {
            Self::Nobody => None,
            Self::Proven(passkey) | Self::Unproven(passkey) => Some(passkey),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Asked<'a> {
    name: &'a str,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<Nonce>,
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
    approved_by: Option<Approver>,
}

/// A passkey that is said to have approved a link, and what is shown for it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Approver {
    #[serde(flatten)]
    passkey: PasskeyFacts,
    #[serde(default)]
    proof: Option<Proof>,
}

impl Candidate {
    pub(super) fn new(asked: LinkRequest) -> Result<Self, LinkingError> {
        let api = Api::of(&asked.edge, asked.origin.as_deref(), asked.ca.as_deref())?;
        Ok(Self { api, key: DesktopKey::generate()?, asked })
    }

    /// For a link by its owner's leave, which they gave as a token.
    fn asks_with<'a>(&'a self, token: &'a SecretText) -> Asked<'a> {
        Asked { token: Some(token.reveal()), ..self.asks(None) }
    }

    /// For a link that somebody will approve, and prove it with this nonce.
    pub(super) fn asks(&self, nonce: Option<Nonce>) -> Asked<'_> {
        Asked { name: &self.asked.name, public_key: base64url(self.key.public()), nonce, token: None }
    }

    /// The link, and who is said to have approved it.
    pub(super) fn linked(self, linked: Linked) -> Result<(Link, Option<Approver>), LinkingError> {
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
        Ok((Link { edge, tunnel, user, tunnel_url, name, ca, site, key }, approved_by))
    }
}

impl Approver {
    /// What to make of it, for `link` that was approved under `code`. Proof that does not hold is worse than none: with it,
    /// somebody lies.
    pub(super) fn introduced(
        self,
        introduction: &Introduction,
        link: &Link,
        code: &str,
    ) -> Result<FirstTrust, LinkingError> {
        let name: String = one_line(&self.passkey.name).chars().take(80).collect();
        let passkey = PasskeyFacts { name, ..self.passkey };
        let place = Place::link(&link.key.pin().to_string(), code);
        let judged = match &self.proof {
            _ if !passkey.is_sound() => Err(ProofFault::Fingerprint),
            None => return Ok(FirstTrust::Unproven(passkey)),
            Some(proof) => introduction.judge(&place, &link.site, &passkey, proof),
        };
        match judged {
            Ok(()) => Ok(FirstTrust::Proven(passkey)),
            Err(why) => Err(LinkingError::Unbelieved { name: passkey.name, why }),
        }
    }
}

/// Makes a key and has the edge pin it, by its owner's leave: a one-time token. Nobody touched a passkey for it, so nobody is
/// trusted by it, whoever the edge may name. Nothing is kept yet: see [`Link::save`].
pub async fn link_desktop(asked: LinkRequest, token: &SecretText) -> Result<Link, LinkingError> {
    let candidate = Candidate::new(asked)?;
    let linked = candidate.api.post("/link", &candidate.asks_with(token), StatusCode::CREATED).await?;
    Ok(candidate.linked(linked)?.0)
}
