//! Signing in with a password, for those who chose to have one.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{NotProven, Proof, Proven, Wanted, enter, fallback};
use crate::accounts::{Fallback, PasswordTry};
use crate::deployer::Site;
use crate::deployer::browser::Browser;
use crate::deployer::payload::{Payload, TypedSecret};
use crate::deployer::problem::Problem;
use crate::metrics::SignInMethod;

#[derive(Deserialize)]
pub(in crate::deployer) struct Typed {
    user: String,
    password: TypedSecret,
    #[serde(flatten)]
    wanted: Wanted,
}

/// `POST /sign-in/password`
pub(in crate::deployer) async fn sign_in(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(typed): Payload<Typed>,
) -> Result<Response, Problem> {
    enter(&site, &browser, typed).await
}

impl Proof for Typed {
    const METHOD: SignInMethod = SignInMethod::Password;
    const REFUSED: &'static str =
        "This name and password do not go together, or passwords are not switched on for this account.";

    async fn judge(self, site: &Site, browser: &Browser) -> Result<Proven, NotProven> {
        let password = PasswordTry::new(self.password.reveal());
        let who = fallback::typed(site, browser, Fallback::Password, &self.user, async |user| {
            site.accounts.use_password(user, password).await
        });
        Ok(Proven { who: who.await?, wanted: self.wanted })
    }
}
