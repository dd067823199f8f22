//! The keys that sign tokens: made at first start, kept in a file that only we may read, found by `kid`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::hmac;
use zeroize::Zeroizing;

use super::keyfile::{self, KeyLine};
pub use super::keyfile::{Former, KeyError, folder_in};
use super::revocation::LONGEST_SESSION;
use crate::clock::{Clock, Timestamp};
use crate::secret::{Entropy, base32, random};

/// HS256 wants a key as long as its output at least (RFC 7518 §3.2).
const SHORTEST_KEY: usize = 32;
/// How long a retired key is kept: no token that it signed lasts longer.
const KEPT: Duration = LONGEST_SESSION;

/// One key.
pub struct SigningKey {
    /// Its name in a token's header.
    pub kid: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs nothing new; tokens it signed are good until they expire.
    pub retired_at: Option<Timestamp>,
    key: hmac::Key,
}

impl SigningKey {
    fn read(line: &KeyLine) -> Result<Arc<Self>, String> {
        let secret = line.secret()?;
        if secret.len() < SHORTEST_KEY {
            let (kid, bytes) = (&line.kid, secret.len());
            return Err(format!("key {kid:?} has {bytes} bytes, at least {SHORTEST_KEY} are needed"));
        }
        Ok(Arc::new(Self {
            kid: line.kid.clone(),
            created_at: line.created_at,
            retired_at: line.retired_at,
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        }))
    }

    /// When it is forgotten, if it is retired: by then all it signed has expired.
    pub fn until(&self) -> Option<Timestamp> {
        self.retired_at.map(|at| at + KEPT)
    }

    /// HMAC-SHA256 of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, message)
    }

    /// Whether `tag` is [`Self::sign`] of `message`; in constant time.
    pub(super) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.key, message, tag).is_ok()
    }
}

/// All keys that are good now, the signing one first.
pub struct KeyRing {
    path: PathBuf,
    keys: ArcSwap<Vec<Arc<SigningKey>>>,
    /// What is in the file; held while it is rewritten, so that two rotations follow one another.
    lines: Mutex<Vec<KeyLine>>,
}

impl KeyRing {
    /// Opens `<data_dir>/keys/token-keys.json`, or makes it with one new key.
    pub fn open(data_dir: &Path, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        let now = clock.now();
        let first = || Ok(new_line(now, entropy));
        let file = keyfile::open(data_dir, "token-keys.json", KEPT, now, first)?;
        let keys: Result<Vec<_>, _> = file.lines.iter().map(SigningKey::read).collect();
        let keys = keys.map_err(|reason| file.damaged(reason))?;
        Ok(Self { path: file.path, keys: ArcSwap::from_pointee(keys), lines: Mutex::new(file.lines) })
    }

    /// Makes a new key the signing one. When this returns, the file says so and the next token is signed with it.
    ///
    /// A key that is kept is dropped at a later rotation or start, once nothing that it signed can be good any more.
    pub fn rotate(
        &self,
        former: Former,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<String, KeyError> {
        let now = clock.now();
        let mut held = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = keyfile::rotated(new_line(now, entropy), &held, former, KEPT, now);
        let keys: Result<Vec<_>, _> = lines.iter().map(SigningKey::read).collect();
        let keys = keys.map_err(|reason| KeyError::Damaged { path: self.path.clone(), reason })?;
        keyfile::write(&self.path, lines.clone())
            .map_err(|source| KeyError::Io { path: self.path.clone(), source })?;
        let kid = keys[0].kid.clone();
        *held = lines;
        self.keys.store(Arc::new(keys));
        Ok(kid)
    }

    /// The key that signs.
    pub fn active(&self) -> Arc<SigningKey> {
        Arc::clone(&self.keys.load()[0])
    }

    /// The key a token names.
    pub fn find(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.keys.load().iter().find(|key| key.kid == kid).cloned()
    }

    /// All keys, the signing one first.
    pub fn all(&self) -> Arc<Vec<Arc<SigningKey>>> {
        self.keys.load_full()
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn new_line(now: Timestamp, entropy: &dyn Entropy) -> KeyLine {
    let secret = Zeroizing::new(random::<32>(entropy));
    KeyLine::new(base32(&random::<10>(entropy)), now, &*secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::ManualClock;
    use crate::secret::{SystemEntropy, base64url};

    fn open(folder: &Path) -> Result<KeyRing, KeyError> {
        KeyRing::open(folder, &*ManualClock::at(Timestamp::from_secs(1)), &*SystemEntropy::shared())
    }

    #[test]
    fn the_key_made_at_first_start_is_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path()).expect("made").active();
        let again = open(folder.path()).expect("found");
        assert!(again.find(&first.kid).expect("the same kid").verify(b"m", first.sign(b"m").as_ref()));
    }

    #[test]
    fn a_rotation_keeps_or_forgets_the_former_key_and_holds_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = open(folder.path()).expect("made");
        let rotate = |former| {
            let clock = ManualClock::at(Timestamp::from_secs(2));
            keys.rotate(former, &*clock, &*SystemEntropy::shared()).expect("rotated")
        };
        let first = keys.active().kid.clone();
        let second = rotate(Former::Kept);
        assert_eq!(keys.active().kid, second);
        assert!(keys.find(&first).expect("kept").retired_at.is_some());
        let third = rotate(Former::Forgotten);
        assert!(keys.find(&first).is_none() && keys.find(&second).is_none());
        assert_eq!(open(folder.path()).expect("found").active().kid, third);
    }

    #[test]
    fn a_retired_key_is_forgotten_at_the_first_start_after_all_it_signed_has_expired() {
        let folder = tempfile::tempdir().expect("a folder");
        let entropy = SystemEntropy::shared();
        let clock = ManualClock::at(Timestamp::from_secs(2));
        let keys = open(folder.path()).expect("made");
        let first = keys.active().kid.clone();
        keys.rotate(Former::Kept, &*clock, &*entropy).expect("rotated");
        clock.advance(KEPT - Duration::from_millis(1));
        let again = KeyRing::open(folder.path(), &*clock, &*entropy).expect("found");
        assert_eq!(again.find(&first).expect("kept").until(), Some(Timestamp::from_secs(2) + KEPT));
        clock.advance(Duration::from_millis(1));
        let again = KeyRing::open(folder.path(), &*clock, &*entropy).expect("found");
        assert!(again.find(&first).is_none() && again.active().kid == keys.active().kid);
        let written = std::fs::read_to_string(again.path()).expect("a file");
        assert!(!written.contains(&first), "its secret is gone from the disk too");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = open(folder.path()).expect("made").path().to_owned();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(open(folder.path()), Err(KeyError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn a_key_shorter_than_32_bytes_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = open(folder.path()).expect("made").path().to_owned();
        let short = format!(
            r#"{{"version":1,"keys":[{{"kid":"a","created_at":1,"retired_at":null,"secret":"{}"}}]}}"#,
            base64url([7; 31])
        );
        std::fs::write(&path, short).expect("written");
        assert!(
            matches!(open(folder.path()), Err(KeyError::Damaged { reason, .. }) if reason.contains("31 bytes"))
        );
    }
}
