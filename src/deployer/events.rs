//! `GET /events`: the [news](super::changes) as server-sent events.
//!
//! The stream ends with the session, and when this server begins to stop: a browser comes back by itself, and finds the
//! next server, or the sign-in.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Site;
use super::problem::Problem;
use super::signed_in::SignedIn;
use crate::access::Session;

/// So often something is said, for proxies between that end what is silent, and to find out who is gone.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// A browser that lost the stream tries again after a second. The comment has the head sent at once.
const HELLO: &str = "retry: 1000\n: here\n\n";
const CHANGED: &str = "event: changed\ndata: {}\n\n";
const STILL_HERE: &str = ": still here\n\n";

/// Somebody who listens.
struct Listener {
    session: Arc<Session>,
    leaving: CancellationToken,
    told: watch::Receiver<()>,
    greeted: bool,
}

impl Listener {
    /// What is said next; none: it is over.
    async fn next(&mut self) -> Option<&'static str> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(HELLO);
        }
        tokio::select! {
            biased;
            () = self.session.over() => None,
            () = self.leaving.cancelled() => None,
            news = self.told.changed() => news.ok().map(|()| CHANGED),
            () = tokio::time::sleep(HEARTBEAT) => Some(STILL_HERE),
        }
    }
}

/// `GET /events`
pub(super) async fn listen(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    let told = site.changes.of(session.user()).ok_or_else(Problem::too_many_pages)?;
    let listener = Listener { session, leaving: site.leaving.clone(), told, greeted: false };
    let events = stream::unfold(listener, |mut listener| async move {
        let said = listener.next().await?;
        Some((Ok::<_, Infallible>(said), listener))
    });
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response())
}
