//! What the panel answers: the page and its files to anybody, what there is to know and to do to who has the key.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Shows;
use super::door::Door;
use crate::agent::Trust;
use crate::agent::decisions::{Decided, Ground};
use crate::agent::desk::{Desk, DeskError, Snapshot};
use crate::agent::listing::{checked, listed};
use crate::agent::run::AgentState;

type Body = UnsyncBoxBody<Bytes, Infallible>;

const PAGE: &str = include_str!("../../../web/panel/panel.html");
const SCRIPT: &str = include_str!("../../../web/panel/panel.js");
const STYLE: &str =
    concat!(include_str!("../../../web/assets/style.css"), include_str!("../../../web/panel/panel.css"));
const ICON: &str = include_str!("../../../web/assets/icon.svg");

/// A page that hears nothing for so long is told that the agent is still there.
const STILL_THERE: Duration = Duration::from_secs(15);

/// Nothing inline, nothing from elsewhere, never framed; no other page gets a hold of this one.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Where the panel's requests are answered.
pub(super) struct Room {
    pub(super) door: Door,
    pub(super) shows: Shows,
    pub(super) desk: Arc<Desk>,
    pub(super) state: watch::Receiver<AgentState>,
}

/// A session that is served, as it is shown.
#[derive(Serialize)]
struct Live<'a> {
    device: &'a str,
    name: &'a str,
    address: &'a str,
    browser: &'a str,
    since: String,
    until: String,
    script: bool,
    checked: Option<&'static str>,
}

impl<'a> From<&'a Decided> for Live<'a> {
    fn from(decided: &'a Decided) -> Self {
        Self {
            device: decided.device.as_str(),
            name: &decided.name,
            address: &decided.address,
            browser: &decided.browser,
            since: decided.since.rfc3339(),
            until: decided.expires_at.rfc3339(),
            script: decided.ground() == Some(Ground::AccessToken),
            checked: decided.ground().map(checked),
        }
    }
}

impl Room {
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (method, headers) = (request.method().clone(), request.headers());
        if let Err(status) = self.door.meant_for_us(&method, headers) {
            return text(status, "text/plain; charset=utf-8", "This is not meant for the panel.\n");
        }
        let path = request.uri().path();
        if let Some(call) = path.strip_prefix("/api/") {
            if !self.door.has_key(headers) {
                return problem(StatusCode::UNAUTHORIZED, "Open the link that the agent printed.");
            }
            let call = call.to_owned();
            return self.call(&method, &call).await;
        }
        match (&method, path) {
            (&Method::GET | &Method::HEAD, path) => file(path),
            _ => problem(StatusCode::METHOD_NOT_ALLOWED, "Not with this method."),
        }
    }

    async fn call(self: Arc<Self>, method: &Method, call: &str) -> Response<Body> {
        let parts: Vec<&str> = call.split('/').collect();
        match (method, &*parts) {
            (&Method::GET, ["live"]) => self.live(),
            (&Method::POST, ["devices", id, what @ ("approve" | "deny" | "remove")]) => {
                let (desk, id, what) = (Arc::clone(&self.desk), (*id).to_owned(), (*what).to_owned());
                match spawn_blocking(move || decide(&desk, &id, &what)).await {
                    Ok(Ok(())) => text(StatusCode::NO_CONTENT, "text/plain", ""),
                    Ok(Err(DeskError::Home(error))) => {
                        problem(StatusCode::INSUFFICIENT_STORAGE, &error.to_string())
                    }
                    Ok(Err(error)) => problem(StatusCode::CONFLICT, &error.to_string()),
                    Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here."),
                }
            }
            _ => problem(StatusCode::NOT_FOUND, "There is no such call."),
        }
    }

    /// Everything there is to show, a line of JSON at once and again whenever it changes.
    fn live(self: Arc<Self>) -> Response<Body> {
        let (mut changes, states) = (self.desk.changes(), self.state.clone());
        changes.mark_changed();
        let lines = stream::unfold((self, changes, states), |(room, mut changes, mut states)| async move {
            let changed = async {
                tokio::select! {
                    changed = changes.changed() => changed.is_ok(),
                    changed = states.changed() => changed.is_ok(),
                }
            };
            let line = match timeout(STILL_THERE, changed).await {
                Ok(true) => format!("{}\n", room.everything()),
                Ok(false) => return None,
                Err(_) => "\n".to_owned(),
            };
            Some((Ok(Frame::data(Bytes::from(line))), (room, changes, states)))
        });
        let body = StreamBody::new(lines).boxed_unsync();
        with_headers(StatusCode::OK, "application/x-ndjson", body)
    }

    fn everything(&self) -> Value {
        let Snapshot { waiting, devices, sessions, refusals } = self.desk.snapshot();
        json!({
            "desktop": self.shows.name,
            "url": self.shows.url,
            "asks": self.shows.trust == Trust::Ask,
            "tunnel": *self.state.borrow(),
            "reports": self.desk.reports(),
            "waiting": waiting,
            "devices": listed(&devices, &sessions),
            "sessions": sessions.iter().map(Live::from).collect::<Vec<_>>(),
            "refused": refusals,
        })
    }
}

fn decide(desk: &Desk, id: &str, what: &str) -> Result<(), DeskError> {
    let id = desk.device_meant(id)?;
    match what {
        "approve" => desk.approve(&id).map(drop),
        "deny" => desk.deny(&id).map(drop),
        _ => desk.remove(&id),
    }
}

fn file(path: &str) -> Response<Body> {
    let (kind, file) = match path {
        "/" => ("text/html; charset=utf-8", PAGE),
        "/panel.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/style.css" => ("text/css; charset=utf-8", STYLE),
        "/icon.svg" => ("image/svg+xml", ICON),
        _ => return problem(StatusCode::NOT_FOUND, "There is no such page."),
    };
    text(StatusCode::OK, kind, file)
}

fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = json!({"title": title, "status": status.as_u16(), "detail": detail});
    with_headers(
        status,
        "application/problem+json",
        Full::new(Bytes::from(problem.to_string())).boxed_unsync(),
    )
}

fn text(status: StatusCode, kind: &'static str, text: &'static str) -> Response<Body> {
    with_headers(status, kind, Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync())
}

fn with_headers(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
