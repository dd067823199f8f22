//! The desktop's side of a link by code: it asks, then asks what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Approver, Linked, POLLED_EVERY, Site};
use crate::accounts::{AccountError, Candidate, LinkAnswer};
use crate::deployer::acts::tried;
use crate::deployer::browser::Browser;
use crate::deployer::payload::Payload;
use crate::deployer::problem::Problem;
use crate::names::DeviceId;
use crate::proof::{Nonce, Proof};
use crate::secret::SecretText;
use crate::trail::Act;

/// As RFC 8628 §3.2 has it.
#[derive(Serialize)]
struct Begun {
    user_code: String,
    device_code: String,
    verification_url: String,
    interval: u64,
    expires_in: u64,
}

/// A desktop has no token: it gets a code for its person to approve, and one of its own to hear of it.
pub(super) async fn begin(
    site: &Site,
    browser: &Browser,
    pin: &str,
    name: &str,
    nonce: Option<Nonce>,
) -> Result<Response, Problem> {
    let candidate = Candidate { pin, desktop: name, address: &browser.visitor.address, nonce };
    let (code, device_code, request) = site.accounts.ask_to_link(candidate).await?;
    site.trail.note(tried(Act::DesktopAsked, browser).named(name).fingerprint(pin));
    let begun = Begun {
        user_code: code.to_string(),
        device_code: device_code.reveal().to_owned(),
        verification_url: format!("{}/link?code={code}", site.origin),
        interval: POLLED_EVERY.as_secs(),
        expires_in: request.expires_at.since(request.requested_at).as_secs(),
    };
    Ok(Json(begun).into_response())
}

#[derive(Deserialize)]
pub(in crate::deployer) struct Asked {
    device_code: String,
}

/// `POST /link/poll`: not yet (RFC 8628 §3.5), or what the desktop is linked to.
pub(in crate::deployer) async fn poll(
    State(site): State<Arc<Site>>,
    Payload(asked): Payload<Asked>,
) -> Result<Response, Problem> {
    let device_code = SecretText::new(asked.device_code);
    let answer = match site.accounts.link_answer(&device_code).await {
        Err(AccountError::Gone(_)) => return Err(Problem::expired_token()),
        other => other?,
    };
    if !site.limits.polls.take(&device_code.fingerprint(), site.now()) {
        return Err(Problem::slow_down());
    }
    match answer {
        LinkAnswer::Pending => Err(Problem::authorization_pending()),
        LinkAnswer::Denied => Err(Problem::access_denied()),
        LinkAnswer::Approved { user, tunnel, device, proof } => match site.accounts.user(&user).await {
            Ok(user) => {
                let approved_by = approver(&site, device, proof).await?;
                Ok(Json(Linked { approved_by, ..Linked::new(&site, tunnel, user.name) }).into_response())
            }
            // Removed since, and the link with them.
            Err(AccountError::Missing(_)) => Err(Problem::access_denied()),
            Err(error) => Err(error.into()),
        },
    }
}

/// The passkey that approved, for the desktop to trust. None where it was another way to sign in, or is gone since.
pub(super) async fn approver(
    site: &Site,
    device: Option<DeviceId>,
    proof: Option<Proof>,
) -> Result<Option<Approver>, Problem> {
    let Some(device) = device else { return Ok(None) };
    match site.accounts.passkey(&device).await {
        Ok(passkey) => Ok(Some(Approver {
            id: passkey.id,
            name: passkey.name,
            fingerprint: passkey.fingerprint,
            public_key: passkey.public_key,
            proof,
        })),
        Err(AccountError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `POST /link/withdraw`: the desktop waits no longer. Says the same whether there was anything to withdraw.
pub(in crate::deployer) async fn withdraw(
    State(site): State<Arc<Site>>,
    Payload(asked): Payload<Asked>,
) -> Result<StatusCode, Problem> {
    site.accounts.withdraw_link(&SecretText::new(asked.device_code)).await?;
    Ok(StatusCode::NO_CONTENT)
}
