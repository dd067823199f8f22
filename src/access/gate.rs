//! The gate: what was asked, by whom, from where — and whether it may pass.
//!
//! It decides from memory alone. Only [`Gate::admit`] makes a [`Permit`], and without one no request reaches an app.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::cookies::SessionCookie;
use super::redeem::{Beside, Refused};
use super::session::Session;
use super::sessions::Sessions;
use super::token::{self, Seeming, VerifiedToken};
use crate::clock::Timestamp;
use crate::names::{TunnelId, UserName};
use crate::secret::SecretText;

/// What kind of request it is, as far as the gate cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// A top-level GET navigation: may be redirected, may redeem a token.
    Navigation,
    /// A navigation that cannot be redirected through a sign-in: a POST, or inside a frame.
    OtherNavigation,
    /// The fetch of a service worker's script.
    ServiceWorker,
    /// A script, an image, a WebSocket, a command-line tool.
    Script,
}

/// From where the browser says the request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The tunnel's own pages, the address bar, or a client that does not say.
    Own,
    /// Another origin, a sibling tunnel included.
    Foreign,
}

/// What the gate decides from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The tunnel that is asked.
    pub tunnel: &'a TunnelId,
    /// The kind of request.
    pub asking: Asking,
    /// From where.
    pub provenance: Provenance,
    /// The session cookie, if one well-formed one came.
    pub session: Option<&'a SessionCookie>,
    /// The access token, if one came in a header.
    pub access_token: Option<SecretText>,
    /// The values of all `token` parameters, decoded, in order.
    pub tokens: &'a [String],
}

/// What is to be done.
#[derive(Debug)]
pub enum Verdict {
    /// Proxy it.
    Admit(Permit),
    /// Redeem this token ([`Sessions::redeem`]), beside the session that the browser may have here.
    Redeem(VerifiedToken, Option<Beside>),
    /// No session: send the person to sign in, as far as this kind of request can be sent.
    SignIn,
    /// A token that is no good.
    Refuse(Refused),
    /// A foreign page tries to use the visitor's session.
    CrossSite,
}

/// Leave to proxy a request: a live session on this tunnel. Cannot be made elsewhere.
#[derive(Clone, Debug)]
pub struct Permit {
    session: Arc<Session>,
    tunnel: TunnelId,
    cut: Arc<CancellationToken>,
}

impl Permit {
    fn new(session: Arc<Session>, tunnel: &TunnelId) -> Self {
        Self { cut: session.switch(), session, tunnel: tunnel.clone() }
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The tunnel it is for.
    pub fn tunnel(&self) -> &TunnelId {
        &self.tunnel
    }

    /// The person's name.
    pub fn user_name(&self) -> &UserName {
        self.session.user_name()
    }

    /// Fires when the session ends, or is being revoked: what was admitted must end then.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}

/// Decides over the sessions of one edge.
#[derive(Clone)]
pub struct Gate {
    sessions: Arc<Sessions>,
}

impl Gate {
    /// Over `sessions`.
    pub fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }

    /// Decides at `now`. No I/O.
    pub fn admit(&self, facts: &Facts<'_>, now: Timestamp) -> Verdict {
        if let Some(token) = &facts.access_token {
            let session = self.sessions.by_access_token(token, facts.tunnel, now);
            return session.map_or(Verdict::Refuse(Refused::Unknown), |session| {
                Verdict::Admit(Permit::new(session, facts.tunnel))
            });
        }
        let live = facts.session.and_then(|cookie| self.sessions.on_tunnel(cookie, facts.tunnel, now));
        if live.is_some() && facts.provenance == Provenance::Foreign && facts.asking != Asking::Navigation {
            return Verdict::CrossSite;
        }
        if let Some(judged) = self.judged_token(facts, live.is_some()) {
            // Only a navigation can be answered with the cookie and the redirect; nothing else may spend a token.
            if facts.asking != Asking::Navigation {
                return Verdict::Refuse(Refused::Signature);
            }
            let keys = &self.sessions.keys;
            return match token::verify(keys, &self.sessions.issuer, facts.tunnel, judged, now) {
                Ok(token) => {
                    let beside =
                        |(session, cookie): (_, &SessionCookie)| Beside { session, cookie: cookie.clone() };
                    Verdict::Redeem(token, live.zip(facts.session).map(beside))
                }
                Err(fault) => Verdict::Refuse(fault.into()),
            };
        }
        match live {
            Some(session) => Verdict::Admit(Permit::new(session, facts.tunnel)),
            None => Verdict::SignIn,
        }
    }

    /// The `token` parameter to be judged, if any: with a live session only one that names us; without, any JWT.
    fn judged_token<'a>(&self, facts: &'a Facts<'_>, live: bool) -> Option<&'a str> {
        let seeming = |text: &&String| token::seeming(text, &self.sessions.issuer);
        let ours = facts.tokens.iter().rev().find(|text| seeming(text) == Seeming::Ours);
        let foreign = || facts.tokens.iter().rev().find(|text| !live && seeming(text) == Seeming::Foreign);
        ours.or_else(foreign).map(String::as_str)
    }
}
