//! Notes that the edge hands to a browser and takes back: signed, dated, for one purpose.
//!
//! A ceremony begun by a stranger then costs no memory and survives a restart. Sealing does not hide the content, and
//! does not make it one-use: what must happen once is recorded in the store when it happens.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::KeyRing;
use crate::clock::Timestamp;
use crate::secret::{base64url, from_base64url};

/// What a note is for; a note sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A WebAuthn ceremony in progress.
    Ceremony,
    /// A ceremony that is good for one token yet to be asked for (contract §4.2).
    Grant,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Ceremony => "patapim/ceremony/1",
            Self::Grant => "patapim/grant/1",
        }
    }
}

/// Longest sealed note taken back, in bytes.
const LONGEST: usize = 16 * 1024;

#[derive(Serialize, Deserialize)]
struct Dated<T> {
    until: Timestamp,
    note: T,
}

/// Seals and opens notes with the token keys.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<KeyRing>,
}

impl Sealer {
    /// Over `keys`; a rotation leaves notes sealed with a retired key readable.
    pub fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys }
    }

    /// `<base64url JSON>.<base64url MAC>`, good until `until`.
    pub fn seal<T: Serialize>(&self, purpose: Purpose, note: &T, until: Timestamp) -> String {
        #[expect(clippy::expect_used, reason = "our notes have string keys and no failing serialisers")]
        let body = base64url(serde_json::to_vec(&Dated { until, note }).expect("a note serialises"));
        let tag = self.keys.active().sign(&message(purpose, &body));
        format!("{body}.{}", base64url(tag))
    }

    /// The note, if we sealed it for this purpose and it is still good.
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, sealed: &str, now: Timestamp) -> Option<T> {
        if sealed.len() > LONGEST {
            return None;
        }
        let (body, tag) = sealed.split_once('.')?;
        let tag = from_base64url(tag)?;
        let message = message(purpose, body);
        if !self.keys.all().iter().any(|key| key.verify(&message, &tag)) {
            return None;
        }
        let dated: Dated<T> = serde_json::from_slice(&from_base64url(body)?).ok()?;
        (now < dated.until).then_some(dated.note)
    }
}

/// A token's signed text has two dots and begins with a JSON header; this begins with a label and a NUL, so that
/// neither can stand for the other.
fn message(purpose: Purpose, body: &str) -> Vec<u8> {
    [purpose.label().as_bytes(), b"\0", body.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_note_opens_for_its_purpose_until_its_time_and_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_secs(100));
        let keys = KeyRing::open(folder.path(), &*clock, &*SystemEntropy::shared()).expect("keys");
        let sealer = Sealer::new(Arc::new(keys));
        let until = Timestamp::from_secs(200);
        let sealed = sealer.seal(Purpose::Ceremony, &"note", until);
        let open = |purpose, text: &str, now| sealer.open::<String>(purpose, text, Timestamp::from_secs(now));
        assert_eq!(open(Purpose::Ceremony, &sealed, 199).as_deref(), Some("note"));
        assert_eq!(open(Purpose::Ceremony, &sealed, 200), None, "too late");
        assert_eq!(open(Purpose::Grant, &sealed, 199), None, "another purpose");
        assert_eq!(open(Purpose::Ceremony, &sealed[1..], 199), None, "changed");
    }
}
