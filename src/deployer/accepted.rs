//! `GET /passkeys/accepted`: what a browser's list of passkeys should know about this account.
//!
//! Named as the members that `PublicKeyCredential.signalAllAcceptedCredentials` and `signalCurrentUserDetails` take
//! (WebAuthn Level 3 §5.1.10), so that the page hands them on as they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Site;
use super::problem::Problem;
use super::signed_in::SignedIn;
use crate::names::UserName;
use crate::secret::base64url;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    rp_id: &'a str,
    /// The user handle, base64url.
    user_id: String,
    name: &'a UserName,
    display_name: &'a UserName,
    /// Every passkey that signs this person in, base64url; somebody who came without one may have none.
    all_accepted_credential_ids: Vec<String>,
}

/// `GET /passkeys/accepted`
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    let passkeys = site.accounts.passkeys_of(session.user()).await?;
    let ids: Result<Vec<_>, _> =
        passkeys.iter().map(|passkey| site.webauthn.credential_id(passkey).map(base64url)).collect();
    let accepted = Accepted {
        rp_id: site.webauthn.rp_id(),
        user_id: base64url(session.user().as_str()),
        name: session.user_name(),
        display_name: session.user_name(),
        all_accepted_credential_ids: ids.map_err(Problem::failed)?,
    };
    Ok(Json(accepted).into_response())
}
