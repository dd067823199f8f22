//! A visit to a tunnel: from what the request says to what is to be done. No I/O happens here.
//!
//! The path of an admitted request, from top to bottom:
//!
//! 1. [`Visit::read`] picks from the request what matters: the session cookie, the tokens in its query, what kind of
//!    request it is and from where the browser says it comes.
//! 2. A path under `/.patapim/` is the edge's own.
//! 3. The [`Gate`] looks the session up in memory and gives a [`Permit`], or a reason why not.
//! 4. With the permit, and where there is a desktop its leave ([`super::approval`]), the request gets its shape for the
//!    app ([`told`]) and goes where the tunnel leads.
//!
//! Everything else is somebody who has to sign in first, a token's first use, or an attack.

use std::net::IpAddr;

use http::header::ORIGIN;
use http::{HeaderMap, Method};
use pingora::http::RequestHeader;

use super::cross_site::{self, Sender};
use super::request_kind::RequestKind;
use super::token_query::{Target, TokenParam};
use super::{access_token, cookies, request_headers::Told};
use crate::access::assertion::Assertion;
use crate::access::cookies::{BIND, BindCookie, SESSION, SessionCookie};
use crate::access::gate::{Asking, Facts, Gate, Provenance, Verdict};
use crate::access::token::{self, Seeming, VerifiedToken};
use crate::access::{Beside, Permit, Refused};
use crate::clock::Timestamp;
use crate::names::{PublicHosts, TunnelId};
use crate::secret::SecretText;

/// Paths of the edge's own on every tunnel.
const RESERVED: &[u8] = b"/.patapim/";

/// What a request to a tunnel says.
pub(super) struct Visit<'r> {
    pub(super) tunnel: &'r TunnelId,
    pub(super) kind: RequestKind,
    pub(super) target: Target<'r>,
    hosts: &'r PublicHosts,
    headers: &'r HeaderMap,
    session: Option<SessionCookie>,
    access_token: Option<SecretText>,
    sender: Sender,
    tokens: Vec<TokenParam<'r>>,
    values: Vec<String>,
    /// The calling page's origin, where it is one that the tunnel's owner allowed.
    pub(super) allowed_origin: Option<String>,
    is_preflight: bool,
}

/// What is to be done.
pub(super) enum Step {
    /// Proxy it.
    Proxy(Permit),
    /// See whether the token is good for a session.
    Redeem(VerifiedToken, Option<Beside>),
    /// One of the edge's own paths, less its common beginning.
    Own(String),
    /// A question of CORS, answered in the app's stead.
    Preflight,
    /// Have the person sign in.
    SignIn,
    /// A token that is no good.
    Refuse(Refused),
    /// Another site's doing.
    CrossSite,
}

impl<'r> Visit<'r> {
    /// Picks what matters from `request`. `allowed` tells whether the tunnel's owner allowed an origin.
    pub(super) fn read(
        hosts: &'r PublicHosts,
        tunnel: &'r TunnelId,
        request: &'r RequestHeader,
        allowed: impl Fn(&str) -> bool,
    ) -> Self {
        let headers = &request.headers;
        let mut sender = cross_site::sender(&request.method, headers, || hosts.tunnel_origin(tunnel));
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let allowed_origin =
            origin.filter(|origin| sender == Sender::Foreign && allowed(origin)).map(str::to_owned);
        if allowed_origin.is_some() {
            sender = Sender::OwnOrPerson;
        }
        let target = Target::of(request);
        let tokens: Vec<_> = target.tokens().filter(|token| token.text().is_some()).collect();
        Self {
            tunnel,
            kind: RequestKind::of(&request.method, headers),
            hosts,
            headers,
            session: cookies::only(headers, SESSION).and_then(SessionCookie::parse),
            access_token: access_token::of(headers),
            sender,
            values: tokens.iter().filter_map(|token| token.text().map(str::to_owned)).collect(),
            tokens,
            target,
            is_preflight: request.method == Method::OPTIONS
                && headers.contains_key("access-control-request-method"),
            allowed_origin,
        }
    }

    /// What is to be done, at `now`.
    pub(super) fn decide(&self, gate: &Gate, now: Timestamp) -> Step {
        if self.is_preflight && self.allowed_origin.is_some() {
            return Step::Preflight;
        }
        if let Some(own) = self.target.path().strip_prefix(RESERVED) {
            return Step::Own(String::from_utf8_lossy(own).into_owned());
        }
        match gate.admit(&self.facts(), now) {
            Verdict::Admit(permit) => Step::Proxy(permit),
            Verdict::Redeem(token, beside) => Step::Redeem(token, beside),
            Verdict::SignIn => Step::SignIn,
            Verdict::Refuse(reason) => Step::Refuse(reason),
            Verdict::CrossSite => Step::CrossSite,
        }
    }

    /// Whether the answer may be a way to sign in: never to a foreign page that only says that it wants one.
    pub(super) fn may_be_sent_away(&self) -> bool {
        self.sender != Sender::Foreign
    }

    /// The request's target without the token that the gate judges: ours, else one that could be anybody's.
    pub(super) fn target_without_token(&self) -> Vec<u8> {
        let issuer = self.hosts.deployer_origin();
        let seeming = |wanted: Seeming| {
            let seems = |token: &&TokenParam<'_>| {
                token.text().is_some_and(|text| token::seeming(text, &issuer) == wanted)
            };
            self.tokens.iter().rev().find(seems)
        };
        match seeming(Seeming::Ours).or_else(|| seeming(Seeming::Foreign)) {
            Some(token) => self.target.without(token),
            None => self.target.whole().to_vec(),
        }
    }

    fn facts(&self) -> Facts<'_> {
        let asking = match self.kind {
            // Somebody else's page asks, and only says that it wants a page.
            RequestKind::Navigation if self.sender == Sender::Foreign => Asking::OtherNavigation,
            RequestKind::Navigation => Asking::Navigation,
            RequestKind::FormNavigation | RequestKind::FramedNavigation => Asking::OtherNavigation,
            RequestKind::ServiceWorkerScript => Asking::ServiceWorker,
            RequestKind::Script => Asking::Script,
        };
        let provenance = match self.sender {
            Sender::OwnOrPerson => Provenance::Own,
            Sender::ForeignLink | Sender::Foreign => Provenance::Foreign,
        };
        Facts {
            tunnel: self.tunnel,
            asking,
            provenance,
            session: self.session.as_ref(),
            access_token: self.access_token.clone(),
            tokens: &self.values,
        }
    }

    /// The cookies of ours that came more than once.
    pub(super) fn doubled(&self) -> impl Iterator<Item = &'static str> {
        [SESSION, BIND].into_iter().filter(|name| cookies::is_doubled(self.headers, name))
    }

    /// The browser's bind cookie, if it has a well-formed one.
    pub(super) fn bind(&self) -> Option<BindCookie> {
        cookies::only(self.headers, BIND).and_then(BindCookie::parse)
    }

    /// The browser's session cookie, if it has a well-formed one.
    pub(super) fn session(&self) -> Option<&SessionCookie> {
        self.session.as_ref()
    }

    /// What the gate says of the visitor's session, tokens aside.
    pub(super) fn verdict(&self, gate: &Gate, now: Timestamp) -> Verdict {
        gate.admit(&Facts { tokens: &[], ..self.facts() }, now)
    }
}

/// What the app is told about an admitted request.
pub(super) fn told<'a>(
    permit: &'a Permit,
    assertion: Option<&'a Assertion>,
    client: IpAddr,
    scheme: &'static str,
    host: &'a str,
) -> Told<'a> {
    Told {
        client,
        scheme,
        host,
        user: permit.user_name().as_str(),
        session: permit.session().id().as_str(),
        assertion: assertion.map(Assertion::as_str),
    }
}
