//! Signing in with a link that was mailed.
//!
//! ```text
//!  browser ── address ──▶ 202, always            somewhere else, later: is there somebody? a link, a mail
//!  mail ── #token ──▶ page ── pressed ──▶ POST ──▶ used up, in the browser that asked
//! ```
//!
//! The request is over before anybody is looked up, so its time says nothing. The secret stands after the `#`, which no
//! browser sends: a scanner that opens the link, a log or a `Referer` sees a page that is the same for all. Only the press
//! of a button posts it, and only beside the mark of the browser that asked.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

use super::{NotProven, Proof, Proven, Wanted, enter, fallback};
use crate::accounts::{AccountError, UserState, network_of};
use crate::deployer::Site;
use crate::deployer::acts::tried;
use crate::deployer::browser::Browser;
use crate::deployer::mail::{Letter, Link};
use crate::deployer::payload::{Payload, TypedSecret};
use crate::deployer::problem::Problem;
use crate::metrics::SignInMethod;
use crate::names::EmailAddress;
use crate::secret::SecretText;
use crate::trail::Act;

/// The page that redeems a link: what stands before the `#`.
pub(in crate::deployer) const PAGE: &str = "/auth/email";

#[derive(Deserialize)]
pub(in crate::deployer) struct Asked {
    email: String,
    #[serde(flatten)]
    wanted: Wanted,
}

/// `POST /sign-in/magic-link`
pub(in crate::deployer) async fn ask(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(Asked { email, wanted }): Payload<Asked>,
) -> Response {
    let (mark, cookie) = browser.mark(&*site.entropy);
    let network = network_of(&browser.visitor.address);
    if let Ok(email) = EmailAddress::parse(email.trim())
        && site.guesses.links_from.take(&network, site.now())
    {
        let request = Request { email, wanted, mark: mark.fingerprint(), browser };
        tokio::spawn(async move {
            if let Err(problem) = request.answered(&site).await {
                problem.log();
            }
        });
    }
    (StatusCode::ACCEPTED, AppendHeaders(cookie)).into_response()
}

/// A request for a link, after its answer.
struct Request {
    email: EmailAddress,
    wanted: Wanted,
    /// The hash of the browser's mark.
    mark: String,
    browser: Browser,
}

impl Request {
    async fn answered(self, site: &Site) -> Result<(), Problem> {
        let not_sent = |reason: &'static str| tried(Act::MagicLinkNotSent, &self.browser).because(reason);
        let Some(outbox) = &site.outbox else { return Ok(()) };
        let user = match site.accounts.user_at(&self.email).await {
            Ok(user) => user,
            Err(AccountError::Missing(_)) => {
                site.trail.note(not_sent("an address that nobody has"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // To the address on record, however it was spelled in the request.
        let Some(to) = user.email.filter(|_| user.state == UserState::Active) else { return Ok(()) };
        if !site.accounts.fallbacks(&user.id).await?.magic_link.enabled {
            site.trail.note(not_sent("switched off").of(&user.id, &user.name));
            return Ok(());
        }
        if !site.guesses.links_to.take(user.id.as_str(), site.now()) {
            site.trail.note(not_sent("too many").of(&user.id, &user.name));
            return Ok(());
        }
        let wanted = serde_json::to_value(&self.wanted).map_err(Problem::failed)?;
        let token = match site.accounts.make_magic_link(&user.id, &self.mark, &wanted).await {
            Ok(token) => token,
            // Switched off in this moment.
            Err(AccountError::Gone(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let sent = tried(Act::MagicLinkSent, &self.browser).of(&user.id, &user.name);
        site.trail.record(sent).await?;
        outbox.post(letter(site, &token, &self.browser.visitor.address).to(to, &*site.entropy));
        Ok(())
    }
}

fn letter(site: &Site, token: &SecretText, address: &str) -> Letter {
    Letter {
        subject: "Your sign-in link".to_owned(),
        paragraphs: vec![format!("Somebody at {address} asked for a link to sign in to your account.")],
        link: Some(Link {
            text: "Open the sign-in page",
            href: format!("{}{PAGE}#{}", site.origin, token.reveal()),
            after: vec![
                "Open it in the browser in which you asked for it, then press the button on the page. It works once, \
                 for 10 minutes; an earlier link no longer works."
                    .to_owned(),
                "If it was not you, you need do nothing: without this mail nobody gets in.".to_owned(),
            ],
        }),
        site: site.origin.clone(),
    }
}

#[derive(Deserialize)]
pub(in crate::deployer) struct Redeemed {
    token: TypedSecret,
}

/// `POST /sign-in/magic-link/redeem`
pub(in crate::deployer) async fn redeem(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(redeemed): Payload<Redeemed>,
) -> Result<Response, Problem> {
    enter(&site, &browser, redeemed).await
}

impl Proof for Redeemed {
    const METHOD: SignInMethod = SignInMethod::MagicLink;
    const REFUSED: &'static str = "This link was used, is older than 10 minutes, was followed by a newer one, or was \
                                   asked for in another browser.";

    async fn judge(self, site: &Site, browser: &Browser) -> Result<Proven, NotProven> {
        let refused = |reason: &str| NotProven::Refused(reason.to_owned());
        let mark = browser.mark.as_ref().ok_or_else(|| refused("a browser that asked for nothing"))?;
        let used = site.accounts.use_magic_link(self.token.secret(), &mark.fingerprint()).await;
        let (device, wanted) = match used {
            Ok(used) => used,
            Err(AccountError::Gone(_)) => {
                return Err(refused("not a link of ours, used, late, not the newest, or of another browser"));
            }
            Err(error) => return Err(error.into()),
        };
        let user = match site.accounts.active_user(&device.user).await {
            Ok(user) => user,
            Err(error @ (AccountError::Missing(_) | AccountError::Disabled)) => {
                return Err(NotProven::Refused(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let wanted = serde_json::from_value(wanted).unwrap_or_default();
        Ok(Proven { who: fallback::signed_in(site, user, device), wanted })
    }
}
