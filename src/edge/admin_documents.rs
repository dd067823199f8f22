//! The documents that answer an operator's commands: what `--json` prints (contract, section 2).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::access::Session;
use crate::accounts::UserState;
use crate::clock::Timestamp;
use crate::names::{DeviceId, EmailAddress, SessionId, TunnelId, UserId, UserName};
use crate::store::Examination;

/// Answer to `user add` and `user invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The name.
    pub user: UserName,
    /// The id.
    pub id: UserId,
    /// The link to enrol with. It works once.
    pub enrol_url: String,
}

/// One line of `user list`, and the answer to `user disable`, `enable` and `remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLine {
    /// The name.
    pub user: UserName,
    /// The id.
    pub id: UserId,
    /// The address for sign-in links.
    pub email: Option<EmailAddress>,
    /// `active` or `disabled`.
    pub state: UserState,
    /// How many passkeys.
    pub passkeys: usize,
    /// When the person was added, RFC 3339.
    pub since: String,
}

/// One line of `tunnel list`, and the answer to `tunnel remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelLine {
    /// The label.
    pub id: TunnelId,
    /// Whose.
    pub user: Option<UserName>,
    /// Where visitors find it.
    pub url: String,
    /// Whether it is served now.
    pub online: bool,
    /// The desktop's name.
    pub desktop: Option<String>,
    /// When its agent was last seen connected, RFC 3339.
    pub last_seen: Option<String>,
}

/// Answer to `agent token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkToken {
    /// The token. It works once.
    pub token: String,
    /// The tunnel that the desktop will serve.
    pub tunnel: TunnelId,
}

/// One line of `session list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// The id.
    pub id: SessionId,
    /// Whose.
    pub user: UserName,
    /// The tunnel; none: a session at the sign-in site.
    pub tunnel: Option<TunnelId>,
    /// The passkey it was opened with, by its id.
    pub device: DeviceId,
    /// What its owner calls it.
    pub device_name: String,
    /// What its owner calls the access token, if it is one.
    #[serde(default)]
    pub access_token: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// When it was last used, RFC 3339.
    pub last_seen: String,
    /// From where it was opened.
    pub address: String,
}

impl SessionLine {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            id: session.id().clone(),
            user: session.user_name().clone(),
            tunnel: session.realm().tunnel().cloned(),
            device: session.device().clone(),
            device_name: session.device_name().to_owned(),
            access_token: session.access_token_name().map(str::to_owned),
            since: session.created_at().rfc3339(),
            last_seen: session.last_seen().rfc3339(),
            address: session.address().to_owned(),
        }
    }
}

/// Answer to `session revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// How many sessions ended.
    pub revoked: usize,
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// The tokens that open sessions.
    Token,
    /// The assertions that tell apps who is visiting.
    Assertion,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Signs.
    Signing,
    /// Only verifies what it signed before.
    Retired,
}

/// One line of `key list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// Its name in the header of what it signs.
    pub kid: String,
    /// `token` or `assertion`.
    pub kind: KeyKind,
    /// When it was made, RFC 3339.
    pub created: String,
    /// `signing` or `retired`.
    pub state: KeyState,
    /// When a retired one is forgotten, RFC 3339.
    pub until: Option<String>,
}

impl KeyLine {
    pub(super) fn new(kid: &str, kind: KeyKind, created: Timestamp, until: Option<Timestamp>) -> Self {
        let state = if until.is_some() { KeyState::Retired } else { KeyState::Signing };
        let until = until.map(Timestamp::rfc3339);
        Self { kid: kid.to_owned(), kind, created: created.rfc3339(), state, until }
    }
}

/// Answer to `key rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRotated {
    /// The key that signs tokens from now on.
    pub token: String,
    /// The key that signs assertions from now on.
    pub assertion: String,
    /// How many sessions ended.
    pub revoked: usize,
}

/// Answer to `backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The file.
    pub backup: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was asked for: it holds all that was acknowledged before. RFC 3339.
    pub as_of: String,
}

/// Answer to what `doctor` asks: what only the running server knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub process: u32,
    /// The time that it goes by, RFC 3339.
    pub now: String,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// The end of the certificate that it serves, RFC 3339.
    pub certificate_until: String,
    /// How many files and connections it may have open; none: any number.
    pub open_files: Option<u64>,
    /// Its store.
    pub store: Examination,
    /// How many passkeys there are, by the RP ID they were made for.
    pub passkeys: BTreeMap<String, usize>,
}
