//! Who is signed in, as an argument of a handler: one that takes it runs for nobody else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::problem::Problem;
use super::{Site, browser};
use crate::access::Session;

/// How old a sign-in may be for what could lock the person out, or let somebody else in.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Somebody is signed in.
pub(super) struct SignedIn(pub(super) Arc<Session>);

/// Somebody has signed in with a passkey. A fallback lets its person use what there is, and change nothing of it.
pub(super) struct WithPasskey(pub(super) Arc<Session>);

/// Somebody has signed in with a passkey within the last ten minutes.
pub(super) struct Fresh(pub(super) Arc<Session>);

impl FromRequestParts<Arc<Site>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        browser::session(&parts.headers, site).map(Self).ok_or_else(Problem::sign_in_required)
    }
}

impl FromRequestParts<Arc<Site>> for WithPasskey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let SignedIn(session) = SignedIn::from_request_parts(parts, site).await?;
        if session.method().is_fallback() { Err(Problem::passkey_required()) } else { Ok(Self(session)) }
    }
}

impl FromRequestParts<Arc<Site>> for Fresh {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Problem> {
        let WithPasskey(session) = WithPasskey::from_request_parts(parts, site).await?;
        if is_fresh(&session, site) { Ok(Self(session)) } else { Err(Problem::step_up_required()) }
    }
}

/// Whether the sign-in behind a session is fresh.
pub(super) fn is_fresh(session: &Session, site: &Site) -> bool {
    site.now().since(session.signed_in_at()) <= FRESH
}
