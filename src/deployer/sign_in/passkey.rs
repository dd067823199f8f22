//! Signing in with a passkey, without typing a name: the passkey says whose it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::{Value, json};
use webauthn_rs_core::proto::PublicKeyCredential;

use super::{NotProven, Proof, Proven, Wanted, enter};
use crate::access::{Method, SignIn};
use crate::accounts::{AccountError, Passkey, User};
use crate::deployer::Site;
use crate::deployer::acts::tried;
use crate::deployer::browser::Browser;
use crate::deployer::ceremony::{self, Ceremony, Intent};
use crate::deployer::payload::{Named, Payload};
use crate::deployer::problem::Problem;
use crate::deployer::webauthn::Fault;
use crate::metrics::SignInMethod;
use crate::names::DeviceId;
use crate::proof::{Assertion, Commitment, Evidence};
use crate::trail::Act;

/// `POST /sign-in/passkey`
pub(in crate::deployer) async fn begin(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(wanted): Payload<Wanted>,
) -> Result<Response, Problem> {
    let commitment = site.sessions.nonces().commit(wanted.tunnel.as_ref(), site.now(), &*site.entropy);
    let challenge = commitment.challenge();
    let options = site.webauthn.request_options(&challenge).map_err(Problem::failed)?;
    let (ceremony, cookie) =
        ceremony::begin(&site, &browser, &challenge, Intent::SignIn { wanted, commitment });
    let body = Json(json!({ "ceremony": ceremony, "publicKey": options }));
    Ok((AppendHeaders(cookie), body).into_response())
}

/// `POST /sign-in/passkey/{ceremony}`
pub(in crate::deployer) async fn finish(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Named(ceremony): Named,
    Payload(answer): Payload<PublicKeyCredential>,
) -> Result<Response, Problem> {
    enter(&site, &browser, Answer { ceremony, answer }).await
}

/// What the browser brings back.
struct Answer {
    ceremony: String,
    answer: PublicKeyCredential,
}

impl Proof for Answer {
    const METHOD: SignInMethod = SignInMethod::Passkey;
    const REFUSED: &'static str =
        "This passkey is not known here, or the attempt took too long. Please try again.";

    async fn judge(self, site: &Site, browser: &Browser) -> Result<Proven, NotProven> {
        let ceremony = Ceremony::open(site, browser, self.ceremony).map_err(refused)?;
        let Intent::SignIn { wanted, commitment } = &ceremony.intent else {
            return Err(refused(ceremony::Fault::Kind));
        };
        let touch = Touch::of(site, browser, &ceremony, &self.answer).await?;
        let passkey = &touch.passkey;
        if let Some(tunnel) = &wanted.tunnel
            && !site.sessions.nonces().serves(commitment, tunnel, site.now())
            // Whether somebody else's desktop has come back is not told.
            && site.accounts.standing_on(&passkey.user, &passkey.id, tunnel).await.is_ok()
        {
            return Err(Problem::ceremony_outlived().into());
        }
        let user = touch.spend(site, &ceremony).await?;
        let who = SignIn {
            user: user.id,
            user_name: user.name,
            device: touch.passkey.id,
            device_name: touch.passkey.name,
            method: Method::Passkey,
            at: site.now(),
            evidence: evidence(&self.answer, *commitment),
        };
        Ok(Proven { who, wanted: wanted.clone() })
    }
}

/// A passkey was used, for whatever ceremony.
pub(in crate::deployer) struct Touch {
    pub(in crate::deployer) passkey: Passkey,
    record: Value,
}

impl Touch {
    /// Of whichever passkey `answer` is of, if it answers `ceremony`.
    pub(in crate::deployer) async fn of(
        site: &Site,
        browser: &Browser,
        ceremony: &Ceremony,
        answer: &PublicKeyCredential,
    ) -> Result<Self, NotProven> {
        let device = DeviceId::of_credential(&answer.raw_id);
        let passkey = match site.accounts.passkey(&device).await {
            Ok(passkey) => passkey,
            Err(AccountError::Missing(_)) => return Err(NotProven::Unknown),
            Err(error) => return Err(error.into()),
        };
        match site.webauthn.authenticate(&ceremony.challenge, answer, &passkey) {
            Ok(record) => Ok(Self { passkey, record }),
            Err(fault) => {
                if fault == Fault::Counter {
                    copied(site, browser, &passkey).await;
                }
                Err(refused(fault))
            }
        }
    }

    /// Uses the ceremony up, and notes the use of the passkey; gives whose it is.
    pub(in crate::deployer) async fn spend(
        &self,
        site: &Site,
        ceremony: &Ceremony,
    ) -> Result<User, NotProven> {
        ceremony.spend(site).await?.map_err(refused)?;
        let user = match site.accounts.active_user(&self.passkey.user).await {
            Ok(user) => user,
            Err(error @ (AccountError::Missing(_) | AccountError::Disabled)) => return Err(refused(error)),
            Err(error) => return Err(error.into()),
        };
        match site.accounts.passkey_used(&user.id, &self.passkey.id, &self.record).await {
            Err(error @ AccountError::Missing(_)) => Err(refused(error)),
            other => Ok(other.map(|_| user)?),
        }
    }
}

/// What a desktop can be shown of it. What is longer than client data has any reason to be is shown to none.
pub(in crate::deployer) fn evidence(
    answer: &PublicKeyCredential,
    commitment: Commitment,
) -> Option<Evidence> {
    let signed = &answer.response;
    let assertion = Assertion::of(&signed.authenticator_data, &signed.client_data_json, &signed.signature)?;
    Some(Evidence { assertion, commitment })
}

/// A passkey's counter went back: it may have been copied, and its person should know.
async fn copied(site: &Site, browser: &Browser, passkey: &Passkey) {
    let event = tried(Act::PasskeyCounterWentBack, browser).device(&passkey.id, &passkey.name);
    site.trail.note(match site.accounts.user(&passkey.user).await {
        Ok(user) => event.of(&user.id, &user.name),
        Err(_) => event,
    });
}

pub(in crate::deployer) fn refused(reason: impl std::fmt::Display) -> NotProven {
    NotProven::Refused(reason.to_string())
}
