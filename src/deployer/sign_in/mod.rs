//! Signing in: whatever the proof, what follows is the same.
//!
//! Each way to sign in is a [`Proof`] in a file of its own. [`enter`] takes any of them to a deployer session and a
//! place to go, counts it and writes it down.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::HeaderValue;
use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use super::acts::tried;
use super::browser::Browser;
use super::cookies::Sent;
use super::problem::Problem;
use super::return_to::ReturnTo;
use super::{Site, cookies, destination, notices};
use crate::access::SignIn;
use crate::access::cookies::{BindHash, DEPLOYER};
use crate::access::sessions::{DEPLOYER_SESSION, SessionError};
use crate::accounts::{AccountError, User};
use crate::metrics::{SignInMethod, SignInResult, metrics};
use crate::names::TunnelId;
use crate::trail::{Act, By};

pub(super) mod backup_code;
mod fallback;
pub(super) mod magic_link;
pub(super) mod passkey;
pub(super) mod password;

pub(super) use fallback::{Guess, Limits};

/// Where the person wants to go: asked for at the beginning, honoured at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The tunnel; none: the only one, or the list.
    pub(super) tunnel: Option<TunnelId>,
    /// The hash of the bind cookie that the browser has for it.
    pub(super) bind: Option<BindHash>,
    #[serde(default)]
    pub(super) return_to: ReturnTo,
}

/// Evidence of who somebody is.
pub(super) trait Proof: Send {
    /// Its kind.
    const METHOD: SignInMethod;

    /// What is said when it is no good: one sentence for all that can be wrong with it, so that a stranger learns nothing.
    const REFUSED: &'static str;

    /// Judges it, and uses it up: of one proof given twice, one passes.
    async fn judge(self, site: &Site, browser: &Browser) -> Result<Proven, NotProven>;
}

/// Somebody is who they say.
pub(super) struct Proven {
    pub(super) who: SignIn,
    pub(super) wanted: Wanted,
}

/// Nobody got in.
pub(super) enum NotProven {
    /// The proof is no good. The reason is for the log; the answer is the same for all.
    Refused(String),
    /// A guess at the secret of somebody who is there, or of nobody.
    Guessed(String, Option<Box<User>>),
    /// There were too many tries before it.
    Throttled,
    /// It is of a passkey that no account holds, which the browser may be told: a credential's id is random, and whoever
    /// can name one holds the passkey or made the id up.
    Unknown,
    /// It could not be judged.
    Trouble(Problem),
}

impl<E: Into<Problem>> From<E> for NotProven {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

#[derive(Serialize)]
struct Entered {
    redirect: String,
}

#[derive(Serialize)]
struct Ways {
    /// Whether sign-in links can be sent.
    magic_link: bool,
}

/// `GET /sign-in`: what the sign-in page may offer. It says what this edge can do, and nothing of anybody.
pub(super) async fn ways(State(site): State<Arc<Site>>) -> Response {
    Json(Ways { magic_link: site.outbox.is_some() }).into_response()
}

/// Judges `proof` and lets its person in.
pub(super) async fn enter<P: Proof>(site: &Site, browser: &Browser, proof: P) -> Result<Response, Problem> {
    let method = P::METHOD.as_str();
    let entered = match proof.judge(site, browser).await {
        Ok(Proven { who, wanted }) => match open_session(site, browser, &who).await {
            Ok(cookie) => Ok((who, wanted, cookie)),
            Err(error) => Err(error),
        },
        Err(not) => Err(not),
    };
    match entered {
        Ok((who, wanted, session)) => {
            metrics().sign_in(P::METHOD, SignInResult::Ok);
            let event =
                tried(Act::SignIn, browser).by(By::Person).of(&who.user, &who.user_name).method(method);
            site.trail.record(event.device(&who.device, &who.device_name)).await?;
            if who.method.is_fallback() {
                notices::tell_of_sign_in(site, &who, browser).await;
            }
            let destination = destination::of(site, &who, &wanted).await?;
            let cookies = std::iter::once(session).chain(destination.grant.map(|grant| grant.cookie()));
            let body = Json(Entered { redirect: destination.redirect });
            Ok((AppendHeaders(cookies.collect::<Vec<_>>()), body).into_response())
        }
        Err(NotProven::Refused(reason)) => {
            metrics().sign_in(P::METHOD, SignInResult::Refused);
            site.trail.note(tried(Act::SignInRefused, browser).method(method).because(reason));
            Err(Problem::sign_in_refused(P::REFUSED))
        }
        Err(NotProven::Guessed(reason, at)) => {
            metrics().sign_in(P::METHOD, SignInResult::Refused);
            let event = tried(Act::SignInRefused, browser).method(method).because(reason);
            site.trail.note(match at {
                Some(user) => event.of(&user.id, &user.name),
                None => event,
            });
            Err(Problem::sign_in_refused(P::REFUSED))
        }
        Err(NotProven::Throttled) => {
            metrics().sign_in(P::METHOD, SignInResult::Refused);
            site.trail.note(tried(Act::SignInRefused, browser).method(method).because("too many tries"));
            Err(Problem::too_many_sign_ins())
        }
        Err(NotProven::Unknown) => {
            metrics().sign_in(P::METHOD, SignInResult::Refused);
            site.trail.note(tried(Act::SignInRefused, browser).method(method).because("no such passkey"));
            Err(Problem::sign_in_refused(P::REFUSED).of_unknown_credential())
        }
        Err(NotProven::Trouble(problem)) => Err(problem),
    }
}

/// Opens a session here, in place of the one this browser may have; gives its cookie.
pub(super) async fn open_session(
    site: &Site,
    browser: &Browser,
    who: &SignIn,
) -> Result<(HeaderName, HeaderValue), NotProven> {
    for _ in 0..4 {
        let standing = match site.accounts.standing(&who.user, &who.device).await {
            Ok(standing) => standing,
            Err(error @ (AccountError::Missing(_) | AccountError::Disabled)) => {
                return Err(NotProven::Refused(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let former = browser.session.as_deref();
        match site.sessions.open_deployer(who, &browser.visitor, standing.conds, former).await {
            Ok((_, cookie)) => {
                let value = cookie.to_value();
                return Ok(cookies::set(DEPLOYER, value.reveal(), Some(DEPLOYER_SESSION), Sent::Strict));
            }
            // The account was written meanwhile: see whether they are still who they were.
            Err(SessionError::Overtaken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SessionError::Overtaken.into())
}
