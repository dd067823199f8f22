//! A person's fallbacks: seen, set up, switched on and off.
//!
//! All of it is a change to factors: it takes a passkey and a fresh sign-in, and every channel of the account is told.
//! Whoever signed in by a fallback that is changed, made anew or switched off is signed out at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Site;
use super::acts::did;
use super::browser::Browser;
use super::notices::{Notice, tell};
use super::payload::{Payload, TypedSecret};
use super::problem::Problem;
use super::sign_in::Guess;
use super::signed_in::{Fresh, SignedIn};
use crate::access::{Cause, Session, Target};
use crate::accounts::{Fallback, FallbackState, NewPassword, PasswordTry};
use crate::clock::{self, Timestamp};
use crate::names::{EmailAddress, UserId};
use crate::trail::Act;

#[derive(Serialize)]
struct Shown {
    backup_codes: ShownCodes,
    magic_link: ShownLink,
    password: ShownPassword,
}

#[derive(Serialize)]
struct ShownCodes {
    #[serde(flatten)]
    state: ShownState,
    /// How many are left.
    left: usize,
}

#[derive(Serialize)]
struct ShownLink {
    #[serde(flatten)]
    state: ShownState,
    /// Whether this edge sends mail at all.
    available: bool,
    /// Where links go; the person who runs the edge has set it.
    email: Option<EmailAddress>,
}

#[derive(Serialize)]
struct ShownPassword {
    #[serde(flatten)]
    state: ShownState,
    /// Whether there is one, on or off.
    set_up: bool,
}

#[derive(Serialize)]
struct ShownState {
    enabled: bool,
    #[serde(serialize_with = "clock::as_rfc3339_option")]
    changed_at: Option<Timestamp>,
}

impl From<&FallbackState> for ShownState {
    fn from(state: &FallbackState) -> Self {
        Self { enabled: state.enabled, changed_at: state.changed_at }
    }
}

async fn shown(site: &Site, user: &UserId) -> Result<Response, Problem> {
    let fallbacks = site.accounts.fallbacks(user).await?;
    let shown = Shown {
        backup_codes: ShownCodes {
            state: (&fallbacks.backup_codes).into(),
            left: site.accounts.backup_codes_left(user).await?,
        },
        magic_link: ShownLink {
            state: (&fallbacks.magic_link).into(),
            available: site.outbox.is_some(),
            email: site.accounts.user(user).await?.email,
        },
        password: ShownPassword { state: (&fallbacks.password).into(), set_up: fallbacks.has_password() },
    };
    Ok(Json(shown).into_response())
}

/// `GET /fallbacks`
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    shown(&site, session.user()).await
}

#[derive(Deserialize)]
pub(super) struct Switched {
    enabled: bool,
}

/// `PUT /fallbacks/backup-codes`
pub(super) async fn switch_backup_codes(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Payload(Switched { enabled }): Payload<Switched>,
) -> Result<Response, Problem> {
    switch(&site, &session, &browser, Fallback::BackupCodes, enabled).await
}

/// `PUT /fallbacks/magic-link`
pub(super) async fn switch_magic_link(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Payload(Switched { enabled }): Payload<Switched>,
) -> Result<Response, Problem> {
    if enabled {
        if site.outbox.is_none() {
            return Err(Problem::no_mail());
        }
        if site.accounts.user(session.user()).await?.email.is_none() {
            return Err(Problem::no_address());
        }
    }
    switch(&site, &session, &browser, Fallback::MagicLink, enabled).await
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum PasswordChange {
    Set { current: Option<TypedSecret>, new: TypedSecret },
    Switch { enabled: bool },
}

/// `PUT /fallbacks/password`: sets or changes it, or switches it on and off.
///
/// The fresh sign-in with a passkey is proof enough: whoever forgot the current password can set another. One that is
/// given all the same must be right.
pub(super) async fn change_password(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Payload(change): Payload<PasswordChange>,
) -> Result<Response, Problem> {
    let (current, new) = match change {
        PasswordChange::Switch { enabled } => {
            return switch(&site, &session, &browser, Fallback::Password, enabled).await;
        }
        PasswordChange::Set { current, new } => (current, new),
    };
    let user = site.accounts.active_user(session.user()).await?;
    let new = NewPassword::parse(new.reveal(), &user).map_err(Problem::weak_password)?;
    if let Some(current) = current {
        let guess = Guess::count(&site, &browser, Fallback::Password, session.user_name().as_str())
            .ok_or_else(Problem::too_many_sign_ins)?;
        if !site.accounts.is_password(&user.id, PasswordTry::new(current.reveal())).await? {
            let refused = did(Act::SignInRefused, &session, &browser).method("password");
            site.trail.note(refused.because("not the current password"));
            return Err(Problem::wrong_password());
        }
        guess.forgiven();
    }
    end_sessions(&site, &user.id, Fallback::Password).await?;
    site.accounts.set_password(&user.id, new).await?;
    end_sessions(&site, &user.id, Fallback::Password).await?;
    site.trail.record(did(Act::PasswordSet, &session, &browser)).await?;
    tell(&site, session.user(), session.user_name(), &browser, Notice::Renewed(Fallback::Password)).await;
    shown(&site, &user.id).await
}

/// `POST /fallbacks/backup-codes`: new ones, shown this once; the old ones are good for nothing any more.
pub(super) async fn make_backup_codes(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
) -> Result<Response, Problem> {
    let user = session.user();
    end_sessions(&site, user, Fallback::BackupCodes).await?;
    let codes = site.accounts.make_backup_codes(user).await?;
    end_sessions(&site, user, Fallback::BackupCodes).await?;
    site.trail.record(did(Act::BackupCodesMade, &session, &browser)).await?;
    tell(&site, session.user(), session.user_name(), &browser, Notice::Renewed(Fallback::BackupCodes)).await;
    let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
    Ok((StatusCode::CREATED, Json(json!({ "codes": codes }))).into_response())
}

async fn switch(
    site: &Site,
    session: &Session,
    browser: &Browser,
    fallback: Fallback,
    enabled: bool,
) -> Result<Response, Problem> {
    let user = session.user();
    let was = site.accounts.fallbacks(user).await?.of(fallback).enabled;
    if !enabled {
        end_sessions(site, user, fallback).await?;
    }
    site.accounts.switch_fallback(user, fallback, enabled).await?;
    if !enabled {
        end_sessions(site, user, fallback).await?;
    }
    if was != enabled {
        let act = if enabled { Act::FallbackTurnedOn } else { Act::FallbackTurnedOff };
        site.trail.record(did(act, session, browser).named(fallback.device_name())).await?;
        let notice = if enabled { Notice::SwitchedOn(fallback) } else { Notice::SwitchedOff(fallback) };
        tell(site, user, session.user_name(), browser, notice).await;
    }
    shown(site, user).await
}

/// Ends what was signed in by a fallback: before it changes, so that whatever fails leaves nothing open that should be
/// shut; and after, for a sign-in that came between.
async fn end_sessions(site: &Site, user: &UserId, fallback: Fallback) -> Result<(), Problem> {
    for device in site.accounts.fallback_devices(user, fallback).await? {
        site.sessions.revoke(&Target::Device(device.clone()), Cause::Fallback).await?;
        site.accounts.forget_fallback_device(user, &device).await?;
    }
    Ok(())
}
