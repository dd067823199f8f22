//! A touch that approves one desktop: whoever looked at its name and its key signs for that key and its code.
//!
//! What was signed goes to the desktop, which then need not take our word for who approved it ([`crate::proof`]).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use webauthn_rs_core::proto::PublicKeyCredential;

use super::Site;
use super::decide::{Named, with_code};
use crate::access::Session;
use crate::accounts::UserCode;
use crate::deployer::acts::did;
use crate::deployer::browser::Browser;
use crate::deployer::ceremony::{self, Ceremony, Intent};
use crate::deployer::payload::Payload;
use crate::deployer::problem::Problem;
use crate::deployer::sign_in::NotProven;
use crate::deployer::sign_in::passkey::{Touch, evidence, refused};
use crate::deployer::signed_in::WithPasskey;
use crate::metrics::SignInMethod;
use crate::names::DeviceId;
use crate::proof::Evidence;
use crate::trail::Act;

/// `POST /link/confirm`: begins the ceremony.
pub(in crate::deployer) async fn begin(
    State(site): State<Arc<Site>>,
    WithPasskey(session): WithPasskey,
    browser: Browser,
    Payload(Named { user_code }): Payload<Named>,
) -> Result<Response, Problem> {
    let (code, request) = with_code(&site, &session, &browser, &user_code, async |code| {
        Ok((code.clone(), site.accounts.link_request(code).await?))
    })
    .await?;
    let commitment = request.commitment(&*site.entropy);
    let challenge = commitment.challenge();
    let options = site.webauthn.request_options(&challenge).map_err(Problem::failed)?;
    let (ceremony, cookie) =
        ceremony::begin(&site, &browser, &challenge, Intent::Linking { code, commitment });
    let body = Json(json!({ "ceremony": ceremony, "publicKey": options }));
    Ok((AppendHeaders(cookie), body).into_response())
}

/// What the browser brings back, with the approval.
#[derive(Deserialize)]
pub(in crate::deployer) struct Confirmation {
    ceremony: String,
    credential: PublicKeyCredential,
}

impl Confirmation {
    /// The passkey that was used, and what it signed; for nobody but the person whose `session` it is.
    pub(super) async fn judged(
        self,
        site: &Site,
        browser: &Browser,
        session: &Session,
        user_code: &str,
    ) -> Result<(DeviceId, Option<Evidence>), Problem> {
        self.judge(site, browser, session, user_code).await.map_err(|not| {
            let reason = match not {
                NotProven::Trouble(problem) => return problem,
                NotProven::Refused(reason) => reason,
                _ => "no such passkey".to_owned(),
            };
            let event = did(Act::SignInRefused, session, browser).method(SignInMethod::Passkey.as_str());
            site.trail.note(event.because(reason));
            Problem::confirmation_refused()
        })
    }

    async fn judge(
        self,
        site: &Site,
        browser: &Browser,
        session: &Session,
        user_code: &str,
    ) -> Result<(DeviceId, Option<Evidence>), NotProven> {
        let ceremony = Ceremony::open(site, browser, self.ceremony).map_err(refused)?;
        let commitment = match &ceremony.intent {
            Intent::Linking { code, commitment } if UserCode::parse(user_code).as_ref() == Some(code) => {
                *commitment
            }
            _ => return Err(refused(ceremony::Fault::Kind)),
        };
        let touch = Touch::of(site, browser, &ceremony, &self.credential).await?;
        if touch.passkey.user != *session.user() {
            return Err(refused("a passkey of another person"));
        }
        touch.spend(site, &ceremony).await?;
        Ok((touch.passkey.id, evidence(&self.credential, commitment)))
    }
}
