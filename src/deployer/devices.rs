//! The devices that a desktop trusts. It keeps them itself, so it is asked; the site can take one away and add none.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use super::acts::did;
use super::browser::Browser;
use super::payload::Named;
use super::problem::Problem;
use super::signed_in::{Fresh, SignedIn};
use super::{Site, TrustedDevice};
use crate::access::Session;
use crate::accounts::TunnelKind;
use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, TunnelId};
use crate::trail::Act;

#[derive(Serialize)]
struct Shown {
    id: DeviceId,
    name: String,
    fingerprint: String,
    #[serde(serialize_with = "clock::as_rfc3339")]
    since: Timestamp,
    #[serde(serialize_with = "clock::as_rfc3339_option")]
    last_used: Option<Timestamp>,
}

impl From<TrustedDevice> for Shown {
    fn from(device: TrustedDevice) -> Self {
        let TrustedDevice { id, name, fingerprint, since, last_used } = device;
        Self { id, name, fingerprint, since, last_used }
    }
}

/// `GET /tunnels/{id}/devices`
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
    Named(tunnel): Named,
) -> Result<Response, Problem> {
    let tunnel = desktop_of(&site, &session, &tunnel).await?;
    let devices = site.presence.devices(&tunnel).await?;
    Ok(Json(devices.into_iter().map(Shown::from).collect::<Vec<_>>()).into_response())
}

/// `DELETE /tunnels/{id}/devices/{device}`: the desktop trusts it no longer, and its sessions there end.
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Path((tunnel, device)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let tunnel = desktop_of(&site, &session, &tunnel).await?;
    let device = DeviceId::parse(&device).map_err(|_| Problem::not_found("such device"))?;
    site.presence.remove_device(&tunnel, &device).await?;
    site.trail
        .record(did(Act::DeviceRemoved, &session, &browser).tunnel(&tunnel).device(&device, ""))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The person's tunnel of that name, if a desktop serves it.
async fn desktop_of(site: &Site, session: &Session, tunnel: &str) -> Result<TunnelId, Problem> {
    let missing = || Problem::not_found("such desktop");
    let tunnel = site.accounts.tunnel(&TunnelId::parse(tunnel).map_err(|_| missing())?).await?;
    let theirs = tunnel.user == *session.user() && tunnel.kind != TunnelKind::Fixed;
    theirs.then_some(tunnel.id).ok_or_else(missing)
}
