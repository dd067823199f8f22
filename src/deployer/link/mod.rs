//! Linking a desktop: its key is pinned to a tunnel.
//!
//! A headless desktop brings a one-time token that its owner had made. Any other shows a code, as a television does, and
//! waits ([`by_code`]); a person who has signed in looks at it and decides ([`decide`]), with a touch that the desktop can
//! check ([`confirm`]). RFC 8628 in shape.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

pub(super) mod by_code;
pub(super) mod confirm;
pub(super) mod decide;

use super::Site;
use super::acts::tried;
use super::browser::Browser;
use super::payload::{DisplayName, Payload};
use super::problem::Problem;
use super::throttle::Throttle;
use crate::accounts::AccountError;
use crate::names::{DeviceId, TunnelId, UserName};
use crate::proof::{Nonce, Proof};
use crate::secret::{SecretText, base64url, from_base64url, sha256};
use crate::trail::{Act, By};

/// Longest key taken, in bytes: RSA of 4096 bits has 550.
const LONGEST_KEY: usize = 1024;

/// How often a desktop asks what became of it.
const POLLED_EVERY: Duration = Duration::from_secs(2);

/// What keeps codes from being guessed, and the edge from being asked too often.
pub(super) struct Limits {
    guesses_of_person: Throttle,
    guesses_from_network: Throttle,
    polls: Throttle,
}

impl Default for Limits {
    fn default() -> Self {
        const QUARTER: Duration = Duration::from_secs(15 * 60);
        Self {
            guesses_of_person: Throttle::new(10, QUARTER),
            guesses_from_network: Throttle::new(30, QUARTER),
            // A network may bring two polls closer together than they were sent.
            polls: Throttle::new(1, POLLED_EVERY.saturating_sub(Duration::from_millis(500))),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    name: DisplayName,
    /// SubjectPublicKeyInfo in DER (RFC 5280 §4.1), base64url.
    public_key: String,
    token: Option<String>,
    /// What a proof of its approval is to commit to.
    nonce: Option<Nonce>,
}

#[derive(Serialize)]
struct Linked {
    tunnel: TunnelId,
    user: UserName,
    tunnel_url: String,
    /// What the passkeys are made for that the desktop will see signatures of.
    rp_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<Approver>,
}

/// The passkey that approved a link, as the desktop is told of it.
#[derive(Serialize)]
struct Approver {
    id: DeviceId,
    name: String,
    fingerprint: String,
    public_key: String,
    /// That it was used to approve this link; none: nobody was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
}

impl Linked {
    fn new(site: &Site, tunnel: TunnelId, user: UserName) -> Self {
        let (tunnel_url, rp_id) = (site.hosts.tunnel_origin(&tunnel), site.webauthn.rp_id().to_owned());
        Self { tunnel, user, tunnel_url, rp_id, approved_by: None }
    }
}

/// `POST /link`
pub(super) async fn link(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(Asked { name, public_key, token, nonce }): Payload<Asked>,
) -> Result<Response, Problem> {
    let key = from_base64url(&public_key)
        .filter(|der| is_one_sequence(der))
        .ok_or_else(|| Problem::field("public_key", "not a SubjectPublicKeyInfo in DER, base64url"))?;
    let pin = base64url(sha256(key));
    match token {
        Some(token) => by_token(&site, &browser, &SecretText::new(token), &pin, name.as_str()).await,
        None => by_code::begin(&site, &browser, &pin, name.as_str(), nonce).await,
    }
}

async fn by_token(
    site: &Site,
    browser: &Browser,
    token: &SecretText,
    pin: &str,
    name: &str,
) -> Result<Response, Problem> {
    let linked = match site.accounts.link_by_token(token, pin, name).await {
        // The token is good for nobody then; which of these it was is no business of whoever holds it.
        Err(AccountError::Missing(_) | AccountError::Disabled) => Err(Problem::link_refused()),
        other => other.map_err(Problem::from),
    };
    let (agent, tunnel) = linked.inspect_err(|_| {
        let event = tried(Act::DesktopRefused, browser).because("no such link token").named(name);
        site.trail.note(event.fingerprint(pin));
    })?;
    // A tunnel that was taken over has forgotten its former desktop, which must not go on serving it.
    site.presence.unlinked(&tunnel.id);
    let user = site.accounts.user(&agent.user).await?;
    let event = tried(Act::DesktopLinked, browser).by(By::Desktop).of(&user.id, &user.name);
    let event = event.tunnel(&tunnel.id).named(name).fingerprint(pin).because("by a link token");
    site.trail.record(event).await?;
    Ok((StatusCode::CREATED, Json(Linked::new(site, tunnel.id, user.name))).into_response())
}

/// Whether `der` is one SEQUENCE and nothing after it. What is in it, the handshake will prove.
fn is_one_sequence(der: &[u8]) -> bool {
    let (header, length) = match *der {
        [0x30, short @ 0..=0x7f, ..] => (2, usize::from(short)),
        [0x30, 0x81, length @ 0x80..=0xff, ..] => (3, usize::from(length)),
        [0x30, 0x82, high @ 1..=0xff, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return false,
    };
    der.len() <= LONGEST_KEY && der.len() == header + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_sequence() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert!(is_one_sequence(&spki));
        assert!(!is_one_sequence(&spki[..spki.len() - 1]), "too short");
        assert!(!is_one_sequence(&[&spki[..], &[0]].concat()), "too long");
        assert!(
            !is_one_sequence(&[]) && !is_one_sequence(&[0x31, 0]) && !is_one_sequence(&[0x30, 0x81, 1, 0])
        );
    }
}
