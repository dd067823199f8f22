//! The person's side of a link by code: they look at who asks, and decide.
//!
//! A code is short, so guessing is: ten wrong ones in a quarter of an hour, thirty from one network, and then even a
//! right one gets no answer. Why a code is no good is not told.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::by_code::approver;
use super::confirm::Confirmation;
use super::{Linked, Site};
use crate::access::Session;
use crate::accounts::{AccountError, Approval, TunnelKind, UserCode, network_of};
use crate::clock::{self, Timestamp};
use crate::deployer::acts::did;
use crate::deployer::browser::Browser;
use crate::deployer::payload::Payload;
use crate::deployer::problem::Problem;
use crate::deployer::signed_in::{SignedIn, WithPasskey, is_fresh};
use crate::names::TunnelId;
use crate::trail::Act;

#[derive(Deserialize)]
pub(in crate::deployer) struct Named {
    pub(super) user_code: String,
}

#[derive(Deserialize)]
pub(in crate::deployer) struct Approved {
    user_code: String,
    /// The tunnel whose desktop is to be replaced; none: a new tunnel.
    tunnel: Option<TunnelId>,
    /// A touch for this very desktop. Without one a fresh sign-in will do, and the desktop is shown no proof.
    confirmation: Option<Confirmation>,
}

/// Who asks to be linked, and what it could be linked to.
#[derive(Serialize)]
struct Shown {
    name: String,
    address: String,
    fingerprint: String,
    #[serde(serialize_with = "clock::as_rfc3339")]
    requested_at: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339")]
    expires_at: Timestamp,
    /// The person's own, whose desktop this one could replace.
    tunnels: Vec<Replaceable>,
}

#[derive(Serialize)]
struct Replaceable {
    id: TunnelId,
    name: Option<String>,
    desktop: Option<String>,
    online: bool,
}

/// `POST /link/lookup`
pub(in crate::deployer) async fn lookup(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
    browser: Browser,
    Payload(Named { user_code }): Payload<Named>,
) -> Result<Response, Problem> {
    let request =
        with_code(&site, &session, &browser, &user_code, async |code| site.accounts.link_request(code).await)
            .await?;
    let theirs = site.accounts.tunnels_of(session.user()).await?;
    let tunnels = theirs
        .into_iter()
        .filter(|tunnel| tunnel.kind == TunnelKind::Agent)
        .map(|tunnel| Replaceable {
            online: site.presence.online(&tunnel.id),
            desktop: site.presence.desktop(&tunnel.id).or(tunnel.desktop),
            name: tunnel.name,
            id: tunnel.id,
        })
        .collect();
    let shown = Shown {
        fingerprint: request.fingerprint(),
        name: request.desktop,
        address: request.address,
        requested_at: request.requested_at,
        expires_at: request.expires_at,
        tunnels,
    };
    Ok(Json(shown).into_response())
}

/// `POST /link/approve`
pub(in crate::deployer) async fn approve(
    State(site): State<Arc<Site>>,
    WithPasskey(session): WithPasskey,
    browser: Browser,
    Payload(Approved { user_code, tunnel, confirmation }): Payload<Approved>,
) -> Result<Response, Problem> {
    let (device, evidence) = match confirmation {
        Some(confirmation) => confirmation.judged(&site, &browser, &session, &user_code).await?,
        None if is_fresh(&session, &site) => (session.device().clone(), None),
        None => return Err(Problem::step_up_required()),
    };
    let approval = Approval { user: session.user().clone(), device, evidence, take_over: tunnel };
    let (request, tunnel) = with_code(&site, &session, &browser, &user_code, async |code| {
        site.accounts.approve_link(code, &approval).await
    })
    .await?;
    if approval.take_over.is_some() {
        // It has forgotten its former desktop, which must not go on serving it.
        site.presence.unlinked(&tunnel.id);
    }
    let how = if approval.take_over.is_some() { "in place of the former desktop" } else { "by a code" };
    let event = did(Act::DesktopLinked, &session, &browser).tunnel(&tunnel.id).because(how);
    site.trail.record(event.named(&request.desktop).fingerprint(&request.pin)).await?;
    let linked = Linked::new(&site, tunnel.id, session.user_name().clone());
    let approved_by = approver(&site, Some(approval.device), None).await?;
    Ok(Json(Linked { approved_by, ..linked }).into_response())
}

/// `POST /link/deny`. It takes something away, so any sign-in will do.
pub(in crate::deployer) async fn deny(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
    browser: Browser,
    Payload(Named { user_code }): Payload<Named>,
) -> Result<StatusCode, Problem> {
    let request =
        with_code(&site, &session, &browser, &user_code, async |code| site.accounts.deny_link(code).await)
            .await?;
    let event = did(Act::DesktopDenied, &session, &browser).named(&request.desktop);
    site.trail.record(event.fingerprint(&request.pin)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Does something with the code that was given; one that is no good counts as a guess of this person, from this network.
pub(super) async fn with_code<T>(
    site: &Site,
    session: &Session,
    browser: &Browser,
    code: &str,
    act: impl AsyncFnOnce(&UserCode) -> Result<T, AccountError>,
) -> Result<T, Problem> {
    let address = &*browser.visitor.address;
    let (person, network, now) = (session.user().as_str(), network_of(address), site.now());
    let limits = &site.limits;
    if !limits.guesses_of_person.take(person, now) {
        return Err(Problem::too_many_guesses());
    }
    if !limits.guesses_from_network.take(&network, now) {
        limits.guesses_of_person.give_back(person);
        return Err(Problem::too_many_guesses());
    }
    let done = match UserCode::parse(code) {
        Some(code) => act(&code).await,
        None => Err(AccountError::Gone("link code")),
    };
    if let Err(AccountError::Gone(_)) = done {
        site.trail.note(did(Act::LinkCodeRefused, session, browser));
    } else {
        limits.guesses_of_person.give_back(person);
        limits.guesses_from_network.give_back(&network);
    }
    Ok(done?)
}
