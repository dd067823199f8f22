//! A person's passkeys: registered, listed, renamed, removed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use webauthn_rs_core::proto::RegisterPublicKeyCredential;

use super::Site;
use super::acts::{did, tried};
use super::browser::Browser;
use super::ceremony::{self, Ceremony, Intent};
use super::notices::{Notice, tell};
use super::payload::{DisplayName, Named, Payload};
use super::problem::Problem;
use super::providers::provider;
use super::sign_in::{NotProven, open_session};
use super::signed_in::{Fresh, SignedIn, is_fresh};
use super::user_agent::UserAgent;
use crate::access::{Cause, Method, Session, SignIn, Target};
use crate::accounts::{AccountError, Passkey, TicketHash, User};
use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, UserId};
use crate::proof::Challenge;
use crate::secret::SecretText;
use crate::trail::{Act, By};

/// A passkey as the API shows it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a DeviceId,
    name: &'a str,
    fingerprint: &'a str,
    #[serde(serialize_with = "clock::as_rfc3339")]
    registered_at: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339_option")]
    last_used_at: Option<Timestamp>,
    device_type: &'a str,
    synced: bool,
    provider: Option<&'static str>,
}

impl<'a> From<&'a Passkey> for Shown<'a> {
    fn from(passkey: &'a Passkey) -> Self {
        Self {
            id: &passkey.id,
            name: &passkey.name,
            fingerprint: &passkey.fingerprint,
            registered_at: passkey.registered_at,
            last_used_at: passkey.last_used_at,
            device_type: &passkey.device_type,
            synced: passkey.synced,
            provider: provider(&passkey.aaguid),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct NewPasskey {
    name: DisplayName,
    ticket: Option<String>,
}

/// `POST /passkeys/registration`: by an invitation's ticket, or by a fresh sign-in.
pub(super) async fn begin_registration(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(NewPasskey { name, ticket }): Payload<NewPasskey>,
) -> Result<Response, Problem> {
    let invitation = ticket.map(|ticket| TicketHash::from(&SecretText::new(ticket)));
    let user = match &invitation {
        Some(ticket) => invited(&site, ticket).await?,
        None => {
            let session = browser.session.as_ref().ok_or_else(Problem::sign_in_required)?;
            may_register(session)?;
            if !is_fresh(session, &site) {
                return Err(Problem::step_up_required());
            }
            site.accounts.active_user(session.user()).await?
        }
    };
    let own = site.accounts.passkeys_of(&user.id).await?;
    let challenge = Challenge::random(&*site.entropy);
    let options = site.webauthn.creation_options(&challenge, &user, &own).map_err(Problem::failed)?;
    let intent = Intent::Registration { user: user.id, name, invitation };
    let (ceremony, cookie) = ceremony::begin(&site, &browser, &challenge, intent);
    let body = Json(json!({ "ceremony": ceremony, "publicKey": options }));
    Ok((AppendHeaders(cookie), body).into_response())
}

/// `POST /passkeys/registration/{ceremony}`
pub(super) async fn finish_registration(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Named(ceremony): Named,
    Payload(answer): Payload<RegisterPublicKeyCredential>,
) -> Result<Response, Problem> {
    let refused = async |reason: String| {
        site.trail.note(tried(Act::PasskeyRegistrationRefused, &browser).because(reason));
        let problem = Problem::registration_refused();
        // The browser keeps what it made, and would offer it for ever.
        match site.accounts.passkey(&DeviceId::of_credential(&answer.raw_id)).await {
            Err(AccountError::Missing(_)) => problem.of_unknown_credential(),
            _ => problem,
        }
    };
    let ceremony = match Ceremony::open(&site, &browser, ceremony) {
        Ok(ceremony) => ceremony,
        Err(fault) => return Err(refused(fault.to_string()).await),
    };
    let Intent::Registration { user, name, invitation } = &ceremony.intent else {
        return Err(refused(ceremony::Fault::Kind.to_string()).await);
    };
    let user = match invitation {
        Some(ticket) => invited(&site, ticket).await?,
        None => still_signed_in(&site, &browser, user).await?,
    };
    let made = match site.webauthn.register(&ceremony.challenge, &answer) {
        Ok(made) => made,
        Err(fault) => return Err(refused(fault.to_string()).await),
    };
    if let Err(fault) = ceremony.spend(&site).await? {
        site.trail.note(tried(Act::PasskeyRegistrationRefused, &browser).because(fault.to_string()));
        // Whoever used the ceremony may be about to keep this very passkey.
        return Err(Problem::registration_refused());
    }

    let now = site.now();
    let passkey = Passkey {
        id: made.id,
        user: user.id.clone(),
        rp_id: site.webauthn.rp_id().to_owned(),
        name: name.as_str().to_owned(),
        public_key: made.public_key,
        fingerprint: made.fingerprint,
        credential: made.record,
        aaguid: made.aaguid,
        device_type: UserAgent::read(&browser.visitor.user_agent).device_type.to_owned(),
        synced: made.synced,
        registered_at: now,
        last_used_at: None,
    };
    site.accounts.add_passkey(&passkey, invitation.as_ref()).await?;
    let event = tried(Act::PasskeyRegistered, &browser).by(By::Person).of(&user.id, &user.name);
    let event = event.device(&passkey.id, &passkey.name).fingerprint(&passkey.fingerprint);
    let by = if invitation.is_some() { "by an invitation" } else { "by a fresh sign-in" };
    site.trail.record(event.because(by)).await?;

    tell(&site, &user.id, &user.name, &browser, Notice::PasskeyRegistered(&passkey.name)).await;
    let session = match invitation {
        Some(_) => Some(first_session(&site, &browser, user, &passkey, now).await?),
        None => None,
    };
    Ok((StatusCode::CREATED, AppendHeaders(session), Json(Shown::from(&passkey))).into_response())
}

/// Who is invited, if the invitation is good and they may sign in.
async fn invited(site: &Site, ticket: &TicketHash) -> Result<User, Problem> {
    let invitation = site.accounts.invitation(ticket).await?;
    match site.accounts.active_user(&invitation.user).await {
        Err(AccountError::Missing(_) | AccountError::Disabled) => Err(Problem::invitation_refused()),
        other => Ok(other?),
    }
}

/// The session that began a registration must be there at its end: it may have been ended for a reason.
async fn still_signed_in(site: &Site, browser: &Browser, user: &UserId) -> Result<User, Problem> {
    let session = browser.session.as_ref().filter(|session| session.user() == user);
    let session = session.ok_or_else(Problem::sign_in_required)?;
    may_register(session)?;
    Ok(site.accounts.active_user(session.user()).await?)
}

/// Whoever signed in by a fallback registers a passkey once their desktop has let them in.
fn may_register(session: &Session) -> Result<(), Problem> {
    if session.method().is_fallback() && session.approved_at().is_none() {
        return Err(Problem::approval_required());
    }
    Ok(())
}

/// Signs in by the registration itself: a person was there, verified, and holds the passkey.
async fn first_session(
    site: &Site,
    browser: &Browser,
    user: User,
    passkey: &Passkey,
    at: Timestamp,
) -> Result<(http::HeaderName, http::HeaderValue), Problem> {
    let who = SignIn {
        user: user.id,
        user_name: user.name,
        device: passkey.id.clone(),
        device_name: passkey.name.clone(),
        method: Method::Passkey,
        at,
        // It was made, not used: there is nothing to show to a desktop.
        evidence: None,
    };
    open_session(site, browser, &who).await.map_err(|not| match not {
        NotProven::Trouble(problem) => problem,
        _ => Problem::registration_refused(),
    })
}

/// `GET /passkeys`
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    let passkeys = site.accounts.passkeys_of(session.user()).await?;
    let shown: Vec<_> = passkeys.iter().map(Shown::from).collect();
    Ok(Json(shown).into_response())
}

#[derive(Deserialize)]
pub(super) struct Renamed {
    name: DisplayName,
}

/// `PATCH /passkeys/{id}`
pub(super) async fn rename(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Named(id): Named,
    Payload(Renamed { name }): Payload<Renamed>,
) -> Result<Response, Problem> {
    let passkey = site.accounts.rename_passkey(session.user(), &device(&id)?, name.as_str()).await?;
    let event = did(Act::PasskeyRenamed, &session, &browser).device(&passkey.id, &passkey.name);
    site.trail.record(event).await?;
    Ok(Json(Shown::from(&passkey)).into_response())
}

/// `DELETE /passkeys/{id}`: it signs nobody in any more, and what it opened ends now.
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    let device = device(&id)?;
    let theirs = site.accounts.passkeys_of(session.user()).await?;
    let name = theirs.iter().find(|passkey| passkey.id == device).map(|passkey| passkey.name.clone());
    if theirs.len() > 1 && theirs.iter().any(|passkey| passkey.id == device) {
        // Before, so that whatever fails leaves no session of a passkey that is gone and cannot be removed again.
        site.sessions.revoke(&Target::Device(device.clone()), Cause::Passkey).await?;
    }
    site.accounts.remove_passkey(session.user(), &device).await?;
    // And after, for a sign-in that came between.
    site.sessions.revoke(&Target::Device(device.clone()), Cause::Passkey).await?;
    let name = name.unwrap_or_default();
    site.trail.record(did(Act::PasskeyRevoked, &session, &browser).device(&device, &name)).await?;
    tell(&site, session.user(), session.user_name(), &browser, Notice::PasskeyRevoked(&name)).await;
    Ok(StatusCode::NO_CONTENT)
}

fn device(id: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(id).map_err(|_| Problem::not_found("such passkey"))
}
