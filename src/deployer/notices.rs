//! Telling a person what happened to their account, by mail if there is an address. The audit trail, which they see as
//! their recent activity, has it in any case.
//!
//! Whoever signs in by a fallback, or changes how one may sign in, does not do so quietly.

use super::Site;
use super::browser::Browser;
use super::mail::Letter;
use crate::access::{Method, SignIn};
use crate::accounts::Fallback;
use crate::names::{UserId, UserName};

/// What happened.
pub(super) enum Notice<'a> {
    /// A passkey was registered.
    PasskeyRegistered(&'a str),
    /// A passkey was revoked.
    PasskeyRevoked(&'a str),
    /// A password was set, or codes were made.
    Renewed(Fallback),
    /// A fallback was switched on.
    SwitchedOn(Fallback),
    /// A fallback was switched off.
    SwitchedOff(Fallback),
}

impl Notice<'_> {
    const fn subject(&self) -> &'static str {
        match self {
            Self::PasskeyRegistered(_) => "A passkey was registered for your account",
            Self::PasskeyRevoked(_) => "A passkey of your account was revoked",
            Self::Renewed(Fallback::BackupCodes) => "New backup codes were made for your account",
            Self::Renewed(Fallback::Password) => "The password of your account was set",
            Self::SwitchedOn(Fallback::BackupCodes) => "Backup codes were switched on for your account",
            Self::SwitchedOff(Fallback::BackupCodes) => "Backup codes were switched off for your account",
            Self::SwitchedOn(Fallback::Password) => "The password of your account was switched on",
            Self::SwitchedOff(Fallback::Password) => "The password of your account was switched off",
            Self::SwitchedOn(Fallback::MagicLink) | Self::Renewed(Fallback::MagicLink) => {
                "Sign-in links by e-mail were switched on for your account"
            }
            Self::SwitchedOff(Fallback::MagicLink) => {
                "Sign-in links by e-mail were switched off for your account"
            }
        }
    }

    const fn passkey(&self) -> Option<&str> {
        match self {
            Self::PasskeyRegistered(name) | Self::PasskeyRevoked(name) => Some(name),
            _ => None,
        }
    }
}

/// Tells a person of something that was done to their account.
pub(super) async fn tell(site: &Site, user: &UserId, name: &UserName, browser: &Browser, notice: Notice<'_>) {
    let what = notice.subject();
    let happened = match notice.passkey() {
        Some(name) => format!("{what}: “{name}”."),
        None => format!("{what}."),
    };
    mail(site, user, name, browser, what, happened).await;
}

/// Tells of a sign-in by a fallback.
pub(super) async fn tell_of_sign_in(site: &Site, who: &SignIn, browser: &Browser) {
    let with = match who.method {
        Method::BackupCode => "a backup code",
        Method::MagicLink => "a link sent to this address",
        Method::Password => "your password",
        Method::Passkey | Method::AccessToken => return,
    };
    let happened = format!("Somebody signed in to your account with {with}.");
    mail(site, &who.user, &who.user_name, browser, "Somebody signed in to your account", happened).await;
}

/// A mail that cannot be sent holds nothing up: what it tells of has happened.
async fn mail(
    site: &Site,
    user: &UserId,
    name: &UserName,
    browser: &Browser,
    subject: &str,
    happened: String,
) {
    let Some(outbox) = &site.outbox else { return };
    let to = match site.accounts.user(user).await {
        Ok(user) => user.email,
        Err(error) => {
            tracing::error!(%error, user = %name, "a person could not be told what happened to their account");
            return;
        }
    };
    let Some(to) = to else { return };
    let agent = Some(&*browser.visitor.user_agent).filter(|agent| !agent.is_empty());
    let letter = Letter {
        subject: subject.to_owned(),
        paragraphs: vec![
            happened,
            format!(
                "Account: {name}. When: {}. From: {}. Browser: {}.",
                site.now().rfc3339(),
                browser.visitor.address,
                agent.unwrap_or("unknown"),
            ),
            format!(
                "If this was you, you need do nothing. If not: sign in with a passkey, open {}/settings/security, end \
                 all sessions and switch off what you did not set up; and tell the person who runs this edge.",
                site.origin
            ),
        ],
        link: None,
        site: site.origin.clone(),
    };
    outbox.post(letter.to(to, &*site.entropy));
}
