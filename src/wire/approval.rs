//! Whether the desktop will have a session: the edge asks, the agent decides.
//!
//! Before the first request of a session goes over a connection, the edge posts an [`Ask`] to [`SESSION_PATH`] and gets an
//! [`Answer`]. What is decided later comes as an [`AgentEvent`](super::AgentEvent). The agent holds each stream against
//! its own decisions ([`SESSION_HEADER`]), so that an edge that does not ask is not served either.
//!
//! Fields and kinds that are not known are taken for the careful case: an unknown credential is one to ask about, an
//! unknown answer is no leave.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId};
use crate::proof::Proof;
use crate::secret::{base64url, from_base64url, sha256};

/// Where the edge asks about a session.
pub const SESSION_PATH: &str = "/session";

/// Where the edge asks whom the desktop trusts; with `/` and a device's id, and DELETE, it has it trusted no longer. There
/// is no call that has one trusted.
pub const DEVICES_PATH: &str = "/devices";

/// Names the session on each of its streams. The app gets it too.
pub const SESSION_HEADER: &str = "x-patapim-session";

/// The longest list of devices, in bytes.
pub const DEVICES_LIMIT: usize = 512 * 1024;

/// The longest public key of a passkey that is taken, in bytes: RSA of 4096 bits has some 550.
const LONGEST_KEY: usize = 2048;

/// A passkey's `credentialPublicKey`, byte for byte as in its authenticator data (COSE_Key, RFC 9052); on the wire and in
/// files base64url.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(Vec<u8>);

/// Not a public key.
#[derive(Debug, thiserror::Error)]
#[error("a public key is 1 to {LONGEST_KEY} bytes in base64url")]
pub struct NotAPublicKey;

impl PublicKey {
    /// Takes the bytes of one. What they mean is for whoever verifies with it.
    pub fn of_bytes(bytes: Vec<u8>) -> Option<Self> {
        (1..=LONGEST_KEY).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// Reads base64url.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_bytes(from_base64url(text)?)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As people compare it (contract, section 6).
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(&self.0)))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NotAPublicKey;
    fn try_from(text: String) -> Result<Self, NotAPublicKey> {
        Self::parse(&text).ok_or(NotAPublicKey)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        base64url(key.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.fingerprint())
    }
}

/// A passkey, as the agent comes to know it: at a session's first request, or because it approved the linking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyFacts {
    /// Which.
    pub id: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// That of the key; the agent makes its own, and takes no passkey where the two differ.
    pub fingerprint: String,
    /// The key.
    pub public_key: PublicKey,
}

impl PasskeyFacts {
    /// Of a passkey called `name`.
    pub fn new(id: DeviceId, name: String, public_key: PublicKey) -> Self {
        Self { id, name, fingerprint: public_key.fingerprint(), public_key }
    }

    /// Whether it says of itself what is so.
    pub fn is_sound(&self) -> bool {
        self.fingerprint == self.public_key.fingerprint()
    }
}

/// What a session was opened with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Credential {
    /// A passkey.
    Passkey(PasskeyFacts),
    /// A backup code.
    BackupCode(Passing),
    /// A link in a mail.
    MagicLink(Passing),
    /// A password.
    Password(Passing),
    /// An access token that a person made for a script.
    AccessToken(Passing),
    /// Something of a later version.
    #[serde(untagged)]
    Other(Passing),
}

/// A device that is known by nothing lasting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passing {
    /// Which.
    pub id: DeviceId,
    /// What to call it.
    pub name: String,
}

impl Credential {
    /// The device that it makes of the visitor.
    pub fn device(&self) -> &DeviceId {
        match self {
            Self::Passkey(passkey) => &passkey.id,
            Self::BackupCode(device)
            | Self::MagicLink(device)
            | Self::Password(device)
            | Self::AccessToken(device)
            | Self::Other(device) => &device.id,
        }
    }

    /// What the device is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Passkey(passkey) => &passkey.name,
            Self::BackupCode(device)
            | Self::MagicLink(device)
            | Self::Password(device)
            | Self::AccessToken(device)
            | Self::Other(device) => &device.name,
        }
    }
}

/// The edge's question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The session.
    pub session: SessionId,
    /// Whose it is, by name.
    pub user: String,
    /// With what the person signed in.
    pub device: Credential,
    /// From where.
    #[serde(default)]
    pub address: String,
    /// In which browser.
    #[serde(default)]
    pub user_agent: String,
    /// When the session ends by itself, in milliseconds since the Unix epoch.
    pub expires_at: Timestamp,
    /// Of the sign-in with a passkey; none: the sign-in left none, or it is of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// The agent's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Its streams are served.
    Approved,
    /// Somebody at the desktop is asked.
    Pending {
        /// Two digits, shown here and there, for the person to compare.
        number: u8,
        /// When it is too late, in milliseconds since the Unix epoch.
        until: Timestamp,
    },
    /// It will not be served, ever.
    Denied,
    /// Nobody is asked, for too many were lately; it may be asked again after that moment.
    Crowded {
        /// In milliseconds since the Unix epoch.
        until: Timestamp,
    },
    /// Something of a later version; no leave.
    #[serde(other)]
    Unknown,
}

/// A passkey that the desktop trusts, for a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedDevice {
    /// Which.
    pub id: DeviceId,
    /// What it was called when it was approved.
    pub name: String,
    /// That of its key.
    pub fingerprint: String,
    /// When it was approved, in milliseconds since the Unix epoch.
    pub approved_at: Timestamp,
    /// When a session of its was last opened; none: not yet.
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;
    use serde_json::json;

    fn key() -> PublicKey {
        PublicKey::of_bytes(vec![0xa5, 1, 2]).expect("a key")
    }

    #[test]
    fn a_passkey_is_sound_only_under_its_own_fingerprint() {
        let id = DeviceId::random(&*SystemEntropy::shared());
        let mut passkey = PasskeyFacts::new(id, "Phone".into(), key());
        assert!(passkey.is_sound());
        passkey.fingerprint.push('A');
        assert!(!passkey.is_sound());
    }

    #[test]
    fn a_key_has_one_spelling_and_a_bounded_length() {
        let text = String::from(key());
        assert_eq!(PublicKey::parse(&text), Some(key()));
        assert_eq!(PublicKey::parse(""), None);
        assert!(PublicKey::of_bytes(vec![0; LONGEST_KEY + 1]).is_none());
    }

    #[test]
    fn an_ask_is_read_with_fields_and_credentials_that_are_not_known() {
        let entropy = SystemEntropy::shared();
        let (session, id) = (SessionId::random(&*entropy), DeviceId::random(&*entropy));
        let ask = |device: serde_json::Value| {
            let ask =
                json!({"session": session, "user": "ada", "device": device, "expires_at": 7, "mood": "good"});
            serde_json::from_value::<Ask>(ask).map(|ask| ask.device)
        };
        let known = ask(json!({"kind": "password", "id": id, "name": "Firefox", "since": 3})).expect("read");
        assert_eq!(known, Credential::Password(Passing { id: id.clone(), name: "Firefox".into() }));
        let other = ask(json!({"kind": "telepathy", "id": id, "name": "Ada"})).expect("read");
        assert!(matches!(&other, Credential::Other(device) if device.id == id), "{other:?}");
        let broken =
            ask(json!({"kind": "passkey", "id": id, "name": "x", "fingerprint": "", "public_key": "!"}));
        assert!(!matches!(broken, Ok(Credential::Passkey(_))), "{broken:?}");
    }

    #[test]
    fn an_answer_of_a_later_version_is_no_leave() {
        let read = |text: &str| serde_json::from_str::<Answer>(text).expect("an answer");
        assert_eq!(read(r#"{"answer":"approved","by":"ada"}"#), Answer::Approved);
        assert_eq!(read(r#"{"answer":"perhaps","until":1}"#), Answer::Unknown);
    }
}
