//! A person's access tokens, for scripts: made, listed, revoked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Site;
use super::acts::did;
use super::browser::Browser;
use super::payload::{DisplayName, Named, Payload};
use super::problem::Problem;
use super::signed_in::{Fresh, SignedIn};
use crate::access::access_tokens::NewAccessToken;
use crate::access::sessions::SessionError;
use crate::access::{Cause, Session, Target};
use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, SessionId, TunnelId};
use crate::trail::Act;

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a SessionId,
    name: Option<&'a str>,
    tunnel: Option<&'a TunnelId>,
    /// The passkey whose sign-in made it, and with which it ends.
    device: &'a DeviceId,
    #[serde(serialize_with = "clock::as_rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339")]
    expires_at: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339_option")]
    last_used_at: Option<Timestamp>,
}

impl<'a> From<&'a Session> for Shown<'a> {
    fn from(token: &'a Session) -> Self {
        Self {
            id: token.id(),
            name: token.access_token_name(),
            tunnel: token.realm().tunnel(),
            device: token.device(),
            created_at: token.created_at(),
            expires_at: token.expires_at(),
            last_used_at: token.last_used(),
        }
    }
}

/// `GET /access-tokens`
pub(super) async fn list(State(site): State<Arc<Site>>, SignedIn(session): SignedIn) -> Response {
    let tokens = site.sessions.access_tokens(session.user());
    Json(tokens.iter().map(|token| Shown::from(&**token)).collect::<Vec<_>>()).into_response()
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    name: DisplayName,
    tunnel: TunnelId,
    expires_at: String,
}

#[derive(Serialize)]
struct Made {
    id: SessionId,
    token: String,
}

/// `POST /access-tokens`
pub(super) async fn make(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Payload(Wanted { name, tunnel, expires_at }): Payload<Wanted>,
) -> Result<Response, Problem> {
    let expires_at = Timestamp::parse_rfc3339(&expires_at)
        .ok_or_else(|| Problem::field("expires_at", "not a time such as 2030-01-31T12:00:00Z"))?;
    for _ in 0..4 {
        let standing = site.accounts.standing_on(session.user(), session.device(), &tunnel).await?;
        let new = NewAccessToken {
            name: name.as_str().to_owned(),
            tunnel: tunnel.clone(),
            expires_at,
            standing: standing.conds,
        };
        match site.sessions.make_access_token(&session, new, &browser.visitor).await {
            Ok((id, token)) => {
                let event =
                    did(Act::AccessTokenMade, &session, &browser).tunnel(&tunnel).named(name.as_str());
                site.trail.record(event).await?;
                let made = Made { id, token: token.reveal().to_owned() };
                return Ok((StatusCode::CREATED, Json(made)).into_response());
            }
            // The account was written meanwhile: see whether they are still who they were.
            Err(SessionError::Overtaken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SessionError::Overtaken.into())
}

/// `DELETE /access-tokens/{id}`: its next request is refused, and what it has open is cut.
pub(super) async fn revoke(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    let tokens = site.sessions.access_tokens(session.user());
    let token = tokens
        .iter()
        .find(|token| token.id().as_str() == id)
        .ok_or_else(|| Problem::not_found("such access token"))?;
    site.sessions.revoke(&Target::Session(token.id().clone()), Cause::Person).await?;
    let event = did(Act::AccessTokenRevoked, &session, &browser);
    site.trail.record(event.named(token.access_token_name().unwrap_or_default())).await?;
    Ok(StatusCode::NO_CONTENT)
}
