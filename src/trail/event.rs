//! What can be written down: a closed list of acts, and what is said of each.
//!
//! Never a secret: no token, code, cookie or mail address has a place here. Names that people gave are other people's
//! input: one line, of bounded length, without marks that turn the direction of what follows.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, SessionId, TunnelId, UserId, UserName};

/// Longest text that is kept of anything, in characters.
const LONGEST: usize = 96;

/// What was done, or refused. The names are stable: scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each name says what happened")]
pub enum Act {
    // At the sign-in site.
    SignIn,
    SignInRefused,
    SignedOut,
    PasskeyRegistered,
    PasskeyRegistrationRefused,
    PasskeyRenamed,
    PasskeyRevoked,
    PasskeyCounterWentBack,
    SessionEnded,
    AllSessionsEnded,
    AccessTokenMade,
    AccessTokenRevoked,
    FallbackTurnedOn,
    FallbackTurnedOff,
    BackupCodesMade,
    PasswordSet,
    MagicLinkSent,
    MagicLinkNotSent,
    PhoneCodeMade,
    PhoneCodeUsed,
    PhoneCodeRefused,
    PhoneApproved,
    PhoneDenied,
    // Tunnels and their desktops.
    TunnelChanged,
    TunnelRemoved,
    DesktopAsked,
    DesktopLinked,
    DesktopDenied,
    DesktopRefused,
    LinkCodeRefused,
    // On a tunnel.
    SessionOpened,
    TokenRefused,
    CrossSiteRefused,
    DeviceAsked,
    DeviceApproved,
    DeviceDenied,
    DeviceExpired,
    DeviceRemoved,
    // By the operator.
    UserAdded,
    UserInvited,
    UserDisabled,
    UserEnabled,
    UserRemoved,
    LinkTokenMade,
    KeysRotated,
    BackupMade,
    // Of the edge itself.
    Started,
    StoreReplaced,
    TrailRepaired,
    TrailDamaged,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The person it is about, signed in.
    Person,
    /// Whoever may open the admin socket.
    Operator,
    /// Whoever sits at the desktop.
    Desktop,
}

/// One event. Made by naming the act, then what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub(super) event: Act,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<UserName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tunnel: Option<TunnelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "clock::as_rfc3339_option",
        deserialize_with = "moment"
    )]
    pub(super) since: Option<Timestamp>,
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(|text| Timestamp::parse_rfc3339(&text)))
}

impl Event {
    /// That `act` happened.
    pub fn new(act: Act) -> Self {
        Self {
            event: act,
            by: None,
            user: None,
            user_id: None,
            tunnel: None,
            session: None,
            device: None,
            device_name: None,
            name: None,
            fingerprint: None,
            address: None,
            method: None,
            reason: None,
            count: None,
            since: None,
        }
    }

    /// Who did it.
    #[must_use]
    pub fn by(mut self, by: By) -> Self {
        self.by = Some(by);
        self
    }

    /// Whom it concerns: it is among what this person sees of their account.
    #[must_use]
    pub fn of(mut self, id: &UserId, name: &UserName) -> Self {
        self.user_id = Some(id.clone());
        self.user = Some(name.clone());
        self
    }

    /// On which tunnel.
    #[must_use]
    pub fn tunnel(mut self, tunnel: &TunnelId) -> Self {
        self.tunnel = Some(tunnel.clone());
        self
    }

    /// In which session.
    #[must_use]
    pub fn session(mut self, session: &SessionId) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// With which device, or about which: a passkey, or a fallback sign-in; and what its person calls it.
    #[must_use]
    pub fn device(mut self, device: &DeviceId, name: &str) -> Self {
        self.device = Some(device.clone());
        self.device_name = text(name);
        self
    }

    /// What it is called that was made, changed or removed: a desktop, an access token.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = text(name);
        self
    }

    /// Of which public key.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: &str) -> Self {
        self.fingerprint = text(fingerprint);
        self
    }

    /// From which address.
    #[must_use]
    pub fn from(mut self, address: &str) -> Self {
        self.address = text(address);
        self
    }

    /// By which kind of proof.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Why. Sentences of ours: they are told to the operator and, where it concerns one, to the person.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = text(&reason.into());
        self
    }

    /// How many.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }
}

/// What is kept of a text: what can be seen of its beginning.
fn text(text: &str) -> Option<String> {
    let seen = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let kept: String = text.chars().filter(seen).take(LONGEST).collect();
    (!kept.is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_one_short_line() {
        let name = format!("a\n\u{1b}[2J\u{202e}{}", "x".repeat(500));
        let event = Event::new(Act::PasskeyRenamed).named(&name);
        let kept = event.name.expect("a name");
        assert!(kept.starts_with("a[2Jxxx") && kept.chars().count() == LONGEST, "{kept:?}");
        assert_eq!(Event::new(Act::SignIn).from("\n").address, None);
    }

    #[test]
    fn what_is_not_known_is_not_written() {
        let event = Event::new(Act::TokenRefused).because("bind");
        assert_eq!(
            serde_json::to_string(&event).expect("JSON"),
            r#"{"event":"token-refused","reason":"bind"}"#
        );
    }
}
