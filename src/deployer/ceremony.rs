//! A WebAuthn ceremony in progress: a sealed note that the browser carries and brings back.
//!
//! Whoever begins one costs us nothing. It is good for five minutes, in the browser that began it, once: after it was
//! verified, and only then, its use is written down.

use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use super::Site;
use super::browser::Browser;
use super::payload::DisplayName;
use super::sign_in::Wanted;
use crate::access::seal::Purpose;
use crate::accounts::{TicketHash, UserCode};
use crate::names::UserId;
use crate::proof::{Challenge, Commitment};
use crate::secret::same;
use crate::store::StoreError;

/// How long one may take.
pub(super) const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What it is about. A note of one kind does not open as the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Intent {
    /// Signing in.
    SignIn {
        /// Where to.
        wanted: Wanted,
        /// What the challenge was made of.
        commitment: Commitment,
    },
    /// Approving a desktop that asks to be linked.
    Linking {
        /// Which.
        code: UserCode,
        /// What the challenge was made of.
        commitment: Commitment,
    },
    /// Registering a passkey.
    Registration {
        /// For whom.
        user: UserId,
        /// What it will be called.
        name: DisplayName,
        /// By which invitation; none: by the session in this browser.
        invitation: Option<TicketHash>,
    },
}

#[derive(Serialize, Deserialize)]
struct Note {
    challenge: Challenge,
    /// The hash of the browser's mark.
    browser: String,
    intent: Intent,
}

/// Why a ceremony cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("not a ceremony of ours, or too late")]
    Unknown,
    #[error("begun in another browser")]
    Browser,
    #[error("a ceremony of another kind")]
    Kind,
    #[error("used before")]
    Used,
}

/// Begins one: gives its id, and the cookies to set.
pub(super) fn begin(
    site: &Site,
    browser: &Browser,
    challenge: &Challenge,
    intent: Intent,
) -> (String, Option<(HeaderName, HeaderValue)>) {
    let (mark, cookie) = browser.mark(&*site.entropy);
    let note = Note { challenge: *challenge, browser: mark.fingerprint(), intent };
    (site.sealer.seal(Purpose::Ceremony, &note, site.now() + LIFETIME), cookie)
}

/// One that was brought back in time, to the browser it was given to.
pub(super) struct Ceremony {
    id: String,
    pub(super) challenge: Challenge,
    pub(super) intent: Intent,
}

impl Ceremony {
    pub(super) fn open(site: &Site, browser: &Browser, id: String) -> Result<Self, Fault> {
        let note: Note = site.sealer.open(Purpose::Ceremony, &id, site.now()).ok_or(Fault::Unknown)?;
        let mark = browser.mark.as_ref().ok_or(Fault::Browser)?;
        if !same(mark.fingerprint().as_bytes(), note.browser.as_bytes()) {
            return Err(Fault::Browser);
        }
        Ok(Self { id, challenge: note.challenge, intent: note.intent })
    }

    /// Uses it up. Of several that come this far at once, one passes.
    pub(super) async fn spend(&self, site: &Site) -> Result<Result<(), Fault>, StoreError> {
        let first = site.once.spend(Purpose::Ceremony, &self.id, site.now() + LIFETIME).await?;
        Ok(if first { Ok(()) } else { Err(Fault::Used) })
    }
}
