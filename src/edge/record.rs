//! What is kept of a request while it runs, and the one line that the log keeps of it.
//!
//! The line is written when the record is dropped, so that a request that was cut, or whose visitor left, has one too.
//! It never holds a path, a query, a token, a cookie or a code.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::CONTENT_TYPE;
use pingora::http::ResponseHeader;
use tokio_util::sync::CancellationToken;

use super::crowd::Crowd;
use super::drain::{InFlight, RequestGuard};
use super::life::Life;
use super::request_kind::RequestKind;
use crate::access::assertion::Assertion;
use crate::access::{Permit, Session};
use crate::clock::{Clock, Timestamp};
use crate::metrics::{OpenStream, Route, StreamKind, metrics};
use crate::names::{SessionId, TunnelId, UserName};

/// One request's record.
pub(super) struct Record {
    pub(super) life: Option<Arc<Life>>,
    began: Instant,
    route: Route,
    tunnel: Option<TunnelId>,
    session: Option<Arc<Session>>,
    status: u16,
    kind: StreamKind,
    ended: bool,
    admitted: Option<Arc<Admitted>>,
    /// Its cookies, where they were many.
    pub(super) crowd: Option<Crowd>,
    stream: Option<OpenStream>,
    in_flight: InFlight,
    clock: Arc<dyn Clock>,
    guard: Option<RequestGuard>,
}

/// A request that the gate let in: leave to proxy it, and who is visiting.
pub struct Admitted {
    pub(super) permit: Permit,
    pub(super) assertion: Option<Arc<Assertion>>,
    pub(super) client: IpAddr,
    pub(super) own_host: String,
    /// The foreign page that may read the answer, if one may.
    pub(super) allowed_origin: Option<String>,
    /// What becomes of the answer in the browser.
    pub(super) kind: RequestKind,
}

impl Admitted {
    /// The admission of the request that `http` holds; `None` where the gate let none in.
    pub fn of(http: &pingora::proxy::Session) -> Option<&Self> {
        http.req_header().extensions.get::<Arc<Self>>().map(Arc::as_ref)
    }

    /// The tunnel that was visited.
    pub fn tunnel(&self) -> &TunnelId {
        self.permit.tunnel()
    }

    /// The person.
    pub fn user(&self) -> &UserName {
        self.permit.user_name()
    }

    /// The visit's session, as `session list` shows it.
    pub fn session(&self) -> &SessionId {
        self.permit.session().id()
    }

    /// The visitor's address.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Fires when the session ends. The request itself is ended by the gate; this is for work that it left behind.
    pub fn ended(&self) -> &CancellationToken {
        self.permit.cut()
    }
}

impl Record {
    /// Begins with the wait for a request.
    pub(super) fn new(in_flight: InFlight, clock: Arc<dyn Clock>) -> Self {
        Self {
            life: Life::current(),
            began: Instant::now(),
            route: Route::Other,
            tunnel: None,
            session: None,
            status: 0,
            kind: StreamKind::Http,
            ended: false,
            admitted: None,
            crowd: None,
            stream: None,
            in_flight,
            clock,
            guard: None,
        }
    }

    /// The request's head has come, and perhaps a body is to follow.
    pub(super) fn arrived(&mut self, has_body: bool) {
        if let Some(life) = &self.life {
            life.arrived(has_body);
        }
        self.began = Instant::now();
        self.stream = Some(metrics().stream(self.kind));
        self.guard = Some(self.in_flight.request());
    }

    /// It is for the deployer.
    pub(super) fn for_deployer(&mut self) {
        self.route = Route::Deployer;
    }

    /// It is for `tunnel`.
    pub(super) fn for_tunnel(&mut self, tunnel: &TunnelId) {
        self.route = Route::Tunnel;
        self.tunnel = Some(tunnel.clone());
    }

    /// By the clock that judges everything else.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The tunnel, for the log.
    pub(super) fn tunnel_name(&self) -> Option<&str> {
        self.tunnel.as_ref().map(TunnelId::as_str)
    }

    /// It was let in: from now on it ends with its session.
    pub(super) fn admit(&mut self, admitted: &Arc<Admitted>) {
        let permit = &admitted.permit;
        self.admitted = Some(Arc::clone(admitted));
        self.session = Some(Arc::clone(permit.session()));
        if let Some(life) = &self.life {
            life.ends_with(permit.cut().clone());
        }
    }

    /// What it was let in with.
    pub(super) fn admitted(&self) -> Option<&Arc<Admitted>> {
        self.admitted.as_ref()
    }

    /// The app's answer begins with `head`.
    pub(super) fn answered(&mut self, head: &ResponseHeader) {
        if head.status.is_informational() && head.status != 101 {
            return;
        }
        Life::settled();
        self.status = head.status.as_u16();
        let events = |kind: &http::HeaderValue| kind.as_bytes().starts_with(b"text/event-stream");
        self.kind = match head.headers.get(CONTENT_TYPE) {
            _ if head.status == 101 => StreamKind::WebSocket,
            Some(kind) if events(kind) => StreamKind::Sse,
            _ => StreamKind::Http,
        };
        if self.kind != StreamKind::Http {
            self.stream = Some(metrics().stream(self.kind));
        }
    }

    /// What is known so far, for who goes on with it elsewhere. Of what is left behind there is no line.
    pub(super) fn take(&mut self) -> Self {
        let rest = Self::new(self.in_flight.clone(), Arc::clone(&self.clock));
        std::mem::replace(self, rest)
    }

    /// It ran to its end; `sent` is the answer's head, if there was an answer.
    pub(super) fn ended(&mut self, sent: Option<&ResponseHeader>) {
        self.status = sent.map_or(self.status, |head| head.status.as_u16());
        self.ended = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.guard.is_none() {
            // The visitor left without having asked.
            return;
        }
        let took = self.began.elapsed();
        metrics().request(self.route, self.status, took);
        let cut = !self.ended;
        let revoked_at = self.session.as_ref().filter(|_| cut).and_then(|session| session.revoked_at());
        if let Some(at) = revoked_at {
            metrics().revocation_cut(self.clock.now().since(at));
        }
        tracing::info!(
            target: "request",
            route = self.route.as_str(),
            status = self.status,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            tunnel = self.tunnel.as_ref().map(TunnelId::as_str),
            session = self.session.as_ref().map(|session| session.id().as_str()),
            stream = (self.kind != StreamKind::Http).then(|| self.kind.as_str()),
            cut = cut.then_some(true),
        );
    }
}
