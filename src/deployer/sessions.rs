//! A person's sessions: listed, ended.
//!
//! Ending one needs no fresh sign-in: it takes something away from whoever has it, and should never be put off.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use super::Site;
use super::acts::did;
use super::browser::Browser;
use super::cookies::{STATE, expire};
use super::payload::Named;
use super::problem::Problem;
use super::signed_in::SignedIn;
use super::user_agent::UserAgent;
use crate::access::cookies::DEPLOYER;
use crate::access::{Cause, Method, Session, Target};
use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, SessionId, TunnelId, UserName};
use crate::trail::Act;

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a SessionId,
    user: &'a UserName,
    /// None: at the deployer.
    tunnel: Option<&'a TunnelId>,
    device: &'a DeviceId,
    device_name: &'a str,
    method: Method,
    #[serde(serialize_with = "clock::as_rfc3339")]
    since: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339")]
    last_seen: Timestamp,
    address: &'a str,
    user_agent: &'a str,
    device_type: &'static str,
    browser: Option<&'static str>,
    /// The one that asks.
    current: bool,
}

impl<'a> Shown<'a> {
    fn new(session: &'a Session, current: &Session) -> Self {
        let UserAgent { device_type, browser } = UserAgent::read(session.user_agent());
        Self {
            id: session.id(),
            user: session.user_name(),
            tunnel: session.realm().tunnel(),
            device: session.device(),
            device_name: session.device_name(),
            method: session.method(),
            since: session.created_at(),
            last_seen: session.last_seen(),
            address: session.address(),
            user_agent: session.user_agent(),
            device_type,
            browser,
            current: session.id() == current.id(),
        }
    }
}

/// `GET /sessions`
pub(super) async fn list(State(site): State<Arc<Site>>, SignedIn(current): SignedIn) -> Response {
    let theirs = site.sessions.of_user(current.user());
    Json(theirs.iter().map(|session| Shown::new(session, &current)).collect::<Vec<_>>()).into_response()
}

/// `DELETE /sessions/{id}`
pub(super) async fn end(
    State(site): State<Arc<Site>>,
    SignedIn(current): SignedIn,
    browser: Browser,
    Named(id): Named,
) -> Result<Response, Problem> {
    let theirs =
        |session: &Arc<Session>| session.user() == current.user() && session.method() != Method::AccessToken;
    let session = SessionId::parse(&id).ok().and_then(|id| site.sessions.get(&id)).filter(theirs);
    let session = session.ok_or_else(|| Problem::not_found("such session"))?;
    site.sessions.revoke(&Target::Session(session.id().clone()), Cause::Person).await?;
    let mut event =
        did(Act::SessionEnded, &current, &browser).device(session.device(), session.device_name());
    if let Some(tunnel) = session.realm().tunnel() {
        event = event.tunnel(tunnel);
    }
    site.trail.record(event).await?;
    Ok(if session.id() == current.id() { signed_out() } else { StatusCode::NO_CONTENT.into_response() })
}

/// `DELETE /sessions`: all of them, this one included, and every sign-in not yet used. Access tokens go on: who signs
/// out everywhere does not mean the script that runs every night; each has a button of its own.
pub(super) async fn end_all(
    State(site): State<Arc<Site>>,
    SignedIn(current): SignedIn,
    browser: Browser,
) -> Result<Response, Problem> {
    let ended = site.sessions.revoke(&Target::Browsers(current.user().clone()), Cause::Person).await?;
    let event = did(Act::AllSessionsEnded, &current, &browser).count(ended as u64);
    site.trail.record(event).await?;
    Ok(signed_out())
}

/// `POST /sign-out`. Without a session there is nothing to end, and that is fine.
pub(super) async fn sign_out(State(site): State<Arc<Site>>, browser: Browser) -> Result<Response, Problem> {
    if let Some(session) = &browser.session {
        site.sessions.revoke(&Target::Session(session.id().clone()), Cause::Logout).await?;
        site.trail.record(did(Act::SignedOut, session, &browser)).await?;
    }
    Ok(signed_out())
}

fn signed_out() -> Response {
    (StatusCode::NO_CONTENT, AppendHeaders([expire(DEPLOYER), expire(STATE)])).into_response()
}
