//! Acts, on their way to the audit trail.
//!
//! A handler writes down what it did before it answers: an act that could not be written down is not acknowledged. While
//! the trail is not to be trusted nothing new is done here; what takes something away (`DELETE`) is done even so, because
//! whoever ends a stolen session should not have to wait for a disk.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use super::Site;
use super::browser::Browser;
use super::problem::Problem;
use crate::access::Session;
use crate::trail::{Act, By, Event};

/// Lets acts through only while they can be written down.
pub(super) async fn guard(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE) {
        site.trail.trusted()?;
    }
    Ok(next.run(request).await)
}

/// What somebody who is signed in does.
pub(super) fn did(act: Act, session: &Session, browser: &Browser) -> Event {
    tried(act, browser).by(By::Person).of(session.user(), session.user_name()).session(session.id())
}

/// What somebody does, or tries, of whom only the address is known.
pub(super) fn tried(act: Act, browser: &Browser) -> Event {
    Event::new(act).from(&browser.visitor.address)
}
