//! What happened to a person's account lately, as the audit trail has it. A person sees their own and nobody else's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Site;
use super::problem::Problem;
use super::signed_in::SignedIn;
use crate::trail::Entry;

/// How far back it goes.
const MOST: usize = 50;

#[derive(Serialize)]
struct Shown<'a> {
    at: Option<&'a str>,
    event: Option<&'a str>,
    by: Option<&'a str>,
    tunnel: Option<&'a str>,
    device_name: Option<&'a str>,
    name: Option<&'a str>,
    address: Option<&'a str>,
    method: Option<&'a str>,
    reason: Option<&'a str>,
    count: Option<u64>,
}

impl<'a> From<&'a Entry> for Shown<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            at: entry.text("at"),
            event: entry.text("event"),
            by: entry.text("by"),
            tunnel: entry.text("tunnel"),
            device_name: entry.text("device_name"),
            name: entry.text("name"),
            address: entry.text("address"),
            method: entry.text("method"),
            reason: entry.text("reason"),
            count: entry.number("count"),
        }
    }
}

/// `GET /activity`: the newest first.
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    let entries = site.trail.recent(session.user(), MOST).await?;
    Ok(Json(entries.iter().map(Shown::from).collect::<Vec<_>>()).into_response())
}
