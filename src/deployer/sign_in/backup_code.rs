//! Signing in with a backup code: a name, and one of ten codes on paper.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::{NotProven, Proof, Proven, Wanted, enter, fallback};
use crate::accounts::{BackupCode, Fallback};
use crate::deployer::Site;
use crate::deployer::browser::Browser;
use crate::deployer::payload::Payload;
use crate::deployer::problem::Problem;
use crate::metrics::SignInMethod;

#[derive(Deserialize)]
pub(in crate::deployer) struct Typed {
    user: String,
    code: String,
    #[serde(flatten)]
    wanted: Wanted,
}

/// `POST /sign-in/backup-code`
pub(in crate::deployer) async fn sign_in(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(typed): Payload<Typed>,
) -> Result<Response, Problem> {
    enter(&site, &browser, typed).await
}

impl Proof for Typed {
    const METHOD: SignInMethod = SignInMethod::BackupCode;
    const REFUSED: &'static str = "This name and code do not go together, the code was used before, or backup codes \
                                   are not switched on for this account.";

    async fn judge(self, site: &Site, browser: &Browser) -> Result<Proven, NotProven> {
        let code = BackupCode::parse(&self.code).unwrap_or_else(BackupCode::nobodys);
        let who = fallback::typed(site, browser, Fallback::BackupCodes, &self.user, async |user| {
            site.accounts.use_backup_code(user, &code).await
        });
        Ok(Proven { who: who.await?, wanted: self.wanted })
    }
}
