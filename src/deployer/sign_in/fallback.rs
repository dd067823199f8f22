//! What signing in by a typed secret has in common, whichever secret: a name that may be nobody's, and guesses.
//!
//! Whoever tries learns nothing of who there is: a name that nobody has goes the same way as one that somebody has, does
//! the same work, counts the same, and gets the same answer. Guesses are counted for each way to sign in by itself, and
//! passkeys are not counted at all, so that nobody is locked out by somebody who guesses.

use std::time::Duration;

use super::NotProven;
use crate::access::{Method, SignIn};
use crate::accounts::{AccountError, Fallback, FallbackDevice, User, UserState, network_of};
use crate::deployer::Site;
use crate::deployer::browser::Browser;
use crate::deployer::throttle::Throttle;
use crate::names::{UserId, UserName};
use crate::secret::{base64url, sha256};

/// How long a count lasts.
const QUARTER: Duration = Duration::from_secs(15 * 60);

/// How often secrets may be guessed, and links be asked for.
pub(in crate::deployer) struct Limits {
    of_account: Throttle,
    from_network: Throttle,
    /// Mails to one person.
    pub(super) links_to: Throttle,
    /// Requests for mails, to whomever.
    pub(super) links_from: Throttle,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            of_account: Throttle::new(10, QUARTER),
            from_network: Throttle::new(50, QUARTER),
            links_to: Throttle::new(3, QUARTER),
            links_from: Throttle::new(30, QUARTER),
        }
    }
}

/// A guess that was counted before it was made.
pub(in crate::deployer) struct Guess<'s> {
    site: &'s Site,
    account: String,
    network: String,
}

impl<'s> Guess<'s> {
    /// Counts one more guess at `name`'s secret; none if it is one too many.
    pub(in crate::deployer) fn count(
        site: &'s Site,
        browser: &Browser,
        fallback: Fallback,
        name: &str,
    ) -> Option<Self> {
        // What was typed may be anything; it is kept as a hash.
        let account = base64url(sha256(format!("{}\0{name}", fallback.device_name())));
        let guess = Self { site, account, network: network_of(&browser.visitor.address) };
        let (limits, now) = (&site.guesses, site.now());
        if !limits.from_network.take(&guess.network, now) {
            return None;
        }
        if !limits.of_account.take(&guess.account, now) {
            limits.from_network.give_back(&guess.network);
            return None;
        }
        Some(guess)
    }

    /// It was right, or was never judged: it does not count.
    pub(in crate::deployer) fn forgiven(self) {
        self.site.guesses.of_account.give_back(&self.account);
        self.site.guesses.from_network.give_back(&self.network);
    }
}

/// Judges a secret that was typed beside `claimed`, a name. `judge` is asked about the person, or about nobody.
pub(super) async fn typed(
    site: &Site,
    browser: &Browser,
    fallback: Fallback,
    claimed: &str,
    judge: impl AsyncFnOnce(&UserId) -> Result<FallbackDevice, AccountError>,
) -> Result<SignIn, NotProven> {
    let name = claimed.trim().to_lowercase();
    let guess = Guess::count(site, browser, fallback, &name).ok_or(NotProven::Throttled)?;
    let nobody = UserId::random(&*site.entropy);
    let user = match found(site, &name, &nobody).await {
        Ok(user) => user,
        Err(error) => {
            guess.forgiven();
            return Err(error.into());
        }
    };
    match judge(user.as_ref().map_or(&nobody, |user| &user.id)).await {
        Ok(device) => {
            guess.forgiven();
            let user = user.ok_or_else(|| NotProven::Refused("nobody of that name".to_owned()))?;
            Ok(signed_in(site, user, device))
        }
        Err(AccountError::Gone(what)) => {
            Err(NotProven::Guessed(format!("no such {what}, or it is off"), user.map(Box::new)))
        }
        Err(error) => {
            guess.forgiven();
            Err(error.into())
        }
    }
}

/// Who has that name and may sign in. It takes two readings either way.
async fn found(site: &Site, name: &str, nobody: &UserId) -> Result<Option<User>, AccountError> {
    let known = match UserName::parse(name) {
        Ok(name) => site.accounts.user_named(&name).await,
        Err(_) => Err(AccountError::Missing("such user")),
    };
    match known {
        Ok(user) => Ok(Some(user).filter(|user| user.state == UserState::Active)),
        Err(AccountError::Missing(_)) => match site.accounts.user(nobody).await {
            Ok(_) | Err(AccountError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// A sign-in of `user` by a fallback, just now.
pub(super) fn signed_in(site: &Site, user: User, device: FallbackDevice) -> SignIn {
    SignIn {
        user: user.id,
        user_name: user.name,
        device_name: device.fallback.device_name().to_owned(),
        method: match device.fallback {
            Fallback::BackupCodes => Method::BackupCode,
            Fallback::MagicLink => Method::MagicLink,
            Fallback::Password => Method::Password,
        },
        device: device.id,
        at: site.now(),
        evidence: None,
    }
}
