//! What was decided about sessions, kept for as long as each would last: `sessions.json` in the agent's folder.
//!
//! An approved session is served, also by an agent that was started anew. One that was refused stays refused: an edge
//! that missed the word and asks again hears it, and nobody is asked a second time.

use serde::{Deserialize, Serialize};

use super::home::{Home, HomeError};
use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId};
use crate::secret::{base64url, sha256};
use crate::wire::approval::Credential;

const FILE: &str = "sessions.json";
/// Before the second there was no sum.
const VERSION: u32 = 2;

/// More sessions than a person's browsers have in a day. Beyond it the first to end are forgotten, and asked about anew.
const MOST_SESSIONS: usize = 2000;

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ground {
    /// Its passkey is trusted.
    Trusted,
    /// It is the owner's, and any passkey of the owner's will do.
    Owner,
    /// Somebody was asked about this very sign-in.
    Asked,
    /// It is a script, with an access token that the owner made.
    AccessToken,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
pub(super) enum Standing {
    /// Its streams are served.
    Approved {
        /// Why.
        ground: Ground,
    },
    /// Not yet decided. But the sign-in was proven, which it cannot be once more after the agent was started anew.
    Proven {
        /// That of the passkey's key.
        fingerprint: String,
    },
    /// They are not, ever.
    Refused,
}

/// A session that was decided about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decided {
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    /// What the device is called.
    pub(super) name: String,
    pub(super) address: String,
    pub(super) browser: String,
    pub(super) since: Timestamp,
    pub(super) expires_at: Timestamp,
    #[serde(flatten)]
    pub(super) standing: Standing,
}

impl Decided {
    /// What it was approved for, if it was.
    pub(super) fn ground(&self) -> Option<Ground> {
        match self.standing {
            Standing::Approved { ground } => Some(ground),
            Standing::Proven { .. } | Standing::Refused => None,
        }
    }
}

/// All of them, the first to end first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decisions(Vec<Decided>);

impl Decisions {
    /// What was decided about `session`.
    pub(super) fn of(&self, session: &SessionId) -> Option<&Decided> {
        self.0.iter().find(|decided| decided.session == *session)
    }

    /// Whether the sign-in of `session` with `device`, a passkey, was proven before anybody decided about it.
    pub(super) fn is_proven(&self, session: &SessionId, device: &Credential) -> bool {
        let Credential::Passkey(passkey) = device else { return false };
        let standing = self.of(session).filter(|one| one.device == passkey.id).map(|one| &one.standing);
        let key = passkey.public_key.fingerprint();
        matches!(standing, Some(Standing::Proven { fingerprint }) if *fingerprint == key)
    }

    /// Notes a decision, in place of an earlier one about the same session.
    pub(super) fn note(&mut self, decided: Decided) {
        self.0.retain(|one| one.session != decided.session);
        let at = self.0.partition_point(|one| one.expires_at <= decided.expires_at);
        self.0.insert(at, decided);
        if self.0.len() > MOST_SESSIONS {
            self.0.remove(0);
        }
    }

    /// Forgets sessions that have ended by themselves.
    pub(super) fn forget_ended(&mut self, now: Timestamp) {
        self.0.retain(|decided| decided.expires_at > now);
    }

    /// Refuses the approved sessions that `which` picks, and names them.
    pub(super) fn refuse(&mut self, which: impl Fn(&Decided, Ground) -> bool) -> Vec<SessionId> {
        let mut refused = Vec::new();
        for decided in &mut self.0 {
            if decided.ground().is_some_and(|ground| which(decided, ground)) {
                decided.standing = Standing::Refused;
                refused.push(decided.session.clone());
            }
        }
        refused
    }

    /// The approved ones.
    pub(super) fn approved(&self) -> impl Iterator<Item = &Decided> {
        self.0.iter().filter(|decided| decided.ground().is_some())
    }
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    sessions: &'a [Decided],
    sum: String,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    sessions: Vec<Decided>,
    sum: String,
}

/// Against a disk that changes a digit of somebody's end.
fn sum(sessions: &[Decided]) -> String {
    base64url(sha256(serde_json::to_vec(sessions).unwrap_or_default()))
}

impl Decisions {
    /// The folder's. A file that cannot be read is set aside, and all is asked about anew.
    pub(super) fn load(home: &Home) -> Result<(Self, Option<String>), HomeError> {
        match home.read::<Read>(FILE) {
            Ok(None) => return Ok((Self::default(), None)),
            Ok(Some(read)) if read.version == VERSION && read.sum == sum(&read.sessions) => {
                return Ok((Self(read.sessions), None));
            }
            Ok(Some(_)) | Err(HomeError::Unreadable { .. }) => {}
            Err(error) => return Err(error),
        }
        let aside = home.set_aside(FILE)?;
        let report = format!(
            "{FILE} cannot be used; it was set aside as {}, and all sessions are asked about anew",
            aside.display()
        );
        Ok((Self::default(), Some(report)))
    }

    /// Keeps them in the folder.
    pub(super) fn save(&self, home: &Home) -> Result<(), HomeError> {
        home.write(FILE, &Written { version: VERSION, sessions: &self.0, sum: sum(&self.0) })
    }

    /// Forgets all of the folder's.
    pub(super) fn forget(home: &Home) -> Result<(), HomeError> {
        home.remove(FILE)
    }
}
