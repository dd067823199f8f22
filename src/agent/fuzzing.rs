//! Doors for the fuzz targets (`fuzz/`) to what this layer reads of strangers. In no program: only `cfg(fuzzing)` has it.

use std::sync::Arc;

use super::desk::Desk;
use super::home::{Home, HomeError};
use super::trust::TrustedDevices;
use crate::names::{DeviceId, SessionId};
use crate::wire::approval::{Answer, Ask, PublicKey, TrustedDevice};

/// The list of trusted passkeys in a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct DeviceFile(TrustedDevices);

impl DeviceFile {
    /// Reads it; the sentence says why it could not be used.
    pub fn load(home: &Home) -> Result<(Self, Option<String>), HomeError> {
        TrustedDevices::load(home).map(|(devices, report)| (Self(devices), report))
    }

    /// Writes it.
    pub fn save(&self, home: &Home) -> Result<(), HomeError> {
        self.0.save(home)
    }

    /// Who is on it.
    pub fn list(&self) -> Vec<TrustedDevice> {
        self.0.list()
    }

    /// Whether that very passkey is.
    pub fn trusts(&self, id: &DeviceId, key: &PublicKey) -> bool {
        use super::trust::Acquaintance;
        use crate::wire::approval::PasskeyFacts;
        let passkey = PasskeyFacts::new(id.clone(), String::new(), key.clone());
        self.0.acquaintance(&passkey) == Acquaintance::Trusted
    }

    /// Takes it off.
    pub fn remove(&mut self, id: &DeviceId) -> bool {
        self.0.remove(id)
    }
}

/// What stands at a desk after all that was asked there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many devices wait for the person's word.
    pub waiting: usize,
    /// Who is trusted.
    pub trusted: Vec<TrustedDevice>,
    /// How many sessions something was decided about, or is to be.
    pub sessions: usize,
}

/// The edge asks about a session; `None` where the answer could not be kept.
pub fn ask(desk: &Arc<Desk>, ask: &Ask) -> Option<Answer> {
    desk.ask(ask).ok()
}

/// Whether a stream of that session is served.
pub fn admits(desk: &Arc<Desk>, session: &SessionId) -> bool {
    desk.admits(session).is_some()
}

/// How things stand.
pub fn standing(desk: &Arc<Desk>) -> Standing {
    let all = desk.snapshot();
    Standing { waiting: all.waiting.len(), trusted: all.devices, sessions: all.sessions.len() }
}
