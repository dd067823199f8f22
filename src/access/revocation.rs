//! What was revoked. A revocation is a put and never a delete, so that nothing lost, restored or late can undo it.
//!
//! It names a [`Target`] and a moment: every token and session of that target from sign-ins up to that moment is over.
//! It is kept until the longest-lived of them would have ended anyway: a year where it ends access tokens too, else as
//! long as a signed token may last.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId, TunnelId, UserId};
use crate::store::Key;

/// Longer than a signed token, and the session that rests on it, may last.
pub(super) const LONGEST_SESSION: Duration = Duration::from_secs(31 * 24 * 3600);
/// As long as an access token may last: a year, whichever.
pub const LONGEST_ACCESS_TOKEN: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whose tokens and sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// One session.
    Session(SessionId),
    /// Every session that this passkey, or this fallback sign-in, opened.
    Device(DeviceId),
    /// Every session of a person.
    User(UserId),
    /// Every session that a person has in a browser; their access tokens go on.
    Browsers(UserId),
    /// Every session on a tunnel.
    Tunnel(TunnelId),
    /// Every session that a signed token opened; access tokens and the deployer's own sessions go on.
    Signed,
}

/// What ended it; a label of `revocations_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The person logged out.
    Logout,
    /// The person ended it from the settings.
    Person,
    /// An operator ended it.
    Operator,
    /// Its passkey was removed.
    Passkey,
    /// The fallback it came from was changed or switched off.
    Fallback,
    /// Its tunnel was removed.
    Tunnel,
    /// Its person was disabled or removed.
    User,
    /// A newer token of another person or passkey took its place in the same browser.
    Replaced,
    /// Nobody used it for the idle time.
    Idle,
    /// The keys that had signed its token were forgotten.
    Keys,
    /// The desktop would not have its device.
    Denied,
    /// Nobody at the desktop said anything about its device in time.
    Unanswered,
    /// The desktop no longer trusts its device.
    Untrusted,
}

impl Cause {
    /// Every cause.
    pub const ALL: &[Self] = &[
        Self::Logout,
        Self::Person,
        Self::Operator,
        Self::Passkey,
        Self::Fallback,
        Self::Tunnel,
        Self::User,
        Self::Replaced,
        Self::Idle,
        Self::Keys,
        Self::Denied,
        Self::Unanswered,
        Self::Untrusted,
    ];

    /// As a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Person => "person",
            Self::Operator => "operator",
            Self::Passkey => "passkey",
            Self::Fallback => "fallback",
            Self::Tunnel => "tunnel",
            Self::User => "user",
            Self::Replaced => "replaced",
            Self::Idle => "idle",
            Self::Keys => "keys",
            Self::Denied => "denied",
            Self::Unanswered => "unanswered",
            Self::Untrusted => "untrusted",
        }
    }
}

/// Where revocations are kept, within [`super::table::PREFIX`].
pub(super) const SEGMENT: &str = "revoked/";

impl Target {
    /// The target's part of its key, after [`SEGMENT`].
    pub(super) fn path(&self) -> String {
        match self {
            Self::Session(id) => format!("session/{id}"),
            Self::Device(id) => format!("device/{id}"),
            Self::User(id) => format!("user/{id}"),
            Self::Browsers(id) => format!("browsers/{id}"),
            Self::Tunnel(id) => format!("tunnel/{id}"),
            Self::Signed => "signed/all".to_owned(),
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::new(format!("{}{SEGMENT}{}", super::table::PREFIX, self.path()))
    }

    pub(super) fn parse(path: &str) -> Option<Self> {
        let (kind, id) = path.split_once('/')?;
        match kind {
            "session" => SessionId::parse(id).ok().map(Self::Session),
            "device" => DeviceId::parse(id).ok().map(Self::Device),
            "user" => UserId::parse(id).ok().map(Self::User),
            "browsers" => UserId::parse(id).ok().map(Self::Browsers),
            "tunnel" => TunnelId::parse(id).ok().map(Self::Tunnel),
            "signed" => Some(Self::Signed),
            _ => None,
        }
    }

    /// Until when its revocation at `at` matters. `end` is that of the session it names, if that is known.
    ///
    /// A session that a signed token opened may be joined by a later token in the moment in which it is revoked, so it
    /// can end later than it seems to.
    pub(super) fn matters_until(&self, at: Timestamp, end: Option<Timestamp>) -> Timestamp {
        match self {
            Self::Session(_) => end.map_or(at + LONGEST_ACCESS_TOKEN, |end| end.max(at + LONGEST_SESSION)),
            Self::Device(_) | Self::User(_) | Self::Tunnel(_) => at + LONGEST_ACCESS_TOKEN,
            Self::Browsers(_) | Self::Signed => at + LONGEST_SESSION,
        }
    }
}

/// A revocation as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Revocation {
    /// Sign-ins up to this moment are over.
    pub(super) at: Timestamp,
    #[serde(deserialize_with = "known_cause")]
    pub(super) cause: Cause,
}

/// A cause that only a newer program knows ends what it ends all the same; here it is told as an operator's.
fn known_cause<'de, D: Deserializer<'de>>(cause: D) -> Result<Cause, D::Error> {
    let name = String::deserialize(cause)?;
    Ok(Cause::ALL.iter().copied().find(|one| one.as_str() == name).unwrap_or(Cause::Operator))
}

/// Whose a session or token is, for asking whether it was revoked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage<'a> {
    pub(super) session: Option<&'a SessionId>,
    pub(super) device: &'a DeviceId,
    pub(super) user: &'a UserId,
    pub(super) tunnel: Option<&'a TunnelId>,
    /// What opens, or opened, it.
    pub(super) opened_by: OpenedBy,
    /// When the ceremony it rests on was completed.
    pub(super) signed_in_at: Timestamp,
}

/// What opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenedBy {
    /// A token that one of our keys signed.
    SignedToken,
    /// The ceremony itself: at the deployer.
    Ceremony,
    /// An access token, request by request.
    AccessToken,
}

impl Lineage<'_> {
    /// Whether a revocation of `target` at `at` ends it.
    pub(super) fn is_of(&self, target: &Target, at: Timestamp) -> bool {
        match target {
            Target::Session(id) => self.session == Some(id),
            Target::Device(id) => self.device == id && self.signed_in_at <= at,
            Target::User(id) => self.user == id && self.signed_in_at <= at,
            Target::Tunnel(id) => self.tunnel == Some(id) && self.signed_in_at <= at,
            Target::Browsers(id) => {
                self.opened_by != OpenedBy::AccessToken && self.user == id && self.signed_in_at <= at
            }
            Target::Signed => self.opened_by == OpenedBy::SignedToken && self.signed_in_at <= at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_revocation_counts_whatever_its_cause_is_called() {
        let at = Timestamp::from_secs(10);
        for &cause in Cause::ALL {
            let kept = serde_json::to_string(&Revocation { at, cause }).expect("JSON");
            let read: Revocation = serde_json::from_str(&kept).expect("a revocation");
            assert_eq!((read.at, read.cause), (at, cause));
        }
        let newer = serde_json::to_string(&Revocation { at, cause: Cause::Denied }).expect("JSON");
        let newer = newer.replace("denied", "of-next-year");
        let read: Revocation = serde_json::from_str(&newer).expect("it still ends what it ended");
        assert_eq!((read.at, read.cause), (at, Cause::Operator));
    }

    #[test]
    fn a_target_is_read_back_from_its_key() {
        let entropy = SystemEntropy::shared();
        for target in [
            Target::Session(SessionId::random(&*entropy)),
            Target::Device(DeviceId::random(&*entropy)),
            Target::User(UserId::random(&*entropy)),
            Target::Browsers(UserId::random(&*entropy)),
            Target::Tunnel(TunnelId::parse("ada-abc234").expect("a label")),
            Target::Signed,
        ] {
            assert_eq!(Target::parse(&target.path()), Some(target));
        }
        assert_eq!(Target::parse("planet/x"), None);
    }

    #[test]
    fn a_revocation_is_kept_as_long_as_anything_it_can_end() {
        let entropy = SystemEntropy::shared();
        let at = Timestamp::from_secs(10);
        let (user, session) = (UserId::random(&*entropy), Target::Session(SessionId::random(&*entropy)));
        assert_eq!(Target::User(user.clone()).matters_until(at, None), at + LONGEST_ACCESS_TOKEN);
        assert_eq!(Target::Browsers(user).matters_until(at, None), at + LONGEST_SESSION);
        let end = at + LONGEST_ACCESS_TOKEN;
        assert_eq!(session.matters_until(at, Some(end)), end, "an access token's own end");
        assert_eq!(session.matters_until(at, Some(at)), at + LONGEST_SESSION, "it may be joined meanwhile");
        assert_eq!(session.matters_until(at, None), at + LONGEST_ACCESS_TOKEN, "it may be anything");
    }
}
