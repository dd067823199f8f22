//! The keys that sign tokens: made at first start, kept in a file that only we may read, found by `kid`.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::{Clock, Timestamp};
use crate::secret::{Entropy, base32, base64url, from_base64url, random};

/// HS256 wants a key as long as its output at least (RFC 7518 §3.2).
const SHORTEST_KEY: usize = 32;

/// Why the signing keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or its folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Others may read the keys.
    #[error("{path} may be read by others (mode {mode:o}): run `chmod 600 {path}`, then `patapim-edge key rotate --now`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not the file that we wrote.
    #[error("{path} is damaged ({reason}): restore it from a backup, or remove it to end every session and begin with a new key", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// One key.
pub struct SigningKey {
    /// Its name in a token's header.
    pub kid: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs nothing new; tokens it signed are good until they expire.
    pub retired_at: Option<Timestamp>,
    key: hmac::Key,
    secret: Zeroizing<Vec<u8>>,
}

impl SigningKey {
    /// HMAC-SHA256 of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, message)
    }

    /// Whether `tag` is [`Self::sign`] of `message`; in constant time.
    pub(super) fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.key, message, tag).is_ok()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    keys: Vec<KeyLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    kid: String,
    created_at: Timestamp,
    retired_at: Option<Timestamp>,
    secret: Zeroizing<String>,
}

/// All keys that are good now, the signing one first.
pub struct KeyRing {
    path: PathBuf,
    keys: ArcSwap<Vec<Arc<SigningKey>>>,
}

impl KeyRing {
    /// Opens `<data_dir>/keys/token-keys.json`, or makes it with one new key.
    pub fn open(data_dir: &Path, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        let folder = data_dir.join("keys");
        let path = folder.join("token-keys.json");
        let io = |source| KeyError::Io { path: path.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io)?;
        if !path.try_exists().map_err(io)? {
            let keys = vec![Arc::new(new_key(clock.now(), entropy))];
            write(&path, &keys).map_err(io)?;
        }
        let mode = std::fs::metadata(&path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path, mode });
        }
        let text = Zeroizing::new(std::fs::read(&path).map_err(io)?);
        let keys = read(&text).map_err(|reason| KeyError::Damaged { path: path.clone(), reason })?;
        Ok(Self { path, keys: ArcSwap::from_pointee(keys) })
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

fn new_key(now: Timestamp, entropy: &dyn Entropy) -> SigningKey {
    let secret = Zeroizing::new(random::<32>(entropy).to_vec());
    let kid = base32(&random::<10>(entropy));
    SigningKey {
        kid,
        created_at: now,
        retired_at: None,
        key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        secret,
    }
}

fn read(text: &[u8]) -> Result<Vec<Arc<SigningKey>>, String> {
    let file: KeyFile = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if file.version != 1 {
        return Err(format!("version {}, and this program knows version 1", file.version));
    }
    let keys = file.keys.into_iter().map(|line| {
        let secret = Zeroizing::new(from_base64url(&line.secret).ok_or("a key that is not base64url")?);
        if secret.len() < SHORTEST_KEY {
            return Err(format!(
                "key {:?} has {} bytes, at least {SHORTEST_KEY} are needed",
                line.kid,
                secret.len()
            ));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Arc::new(SigningKey {
            kid: line.kid,
            created_at: line.created_at,
            retired_at: line.retired_at,
            key,
            secret,
        }))
    });
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    match keys.first() {
        Some(first) if first.retired_at.is_none() => Ok(keys),
        _ => Err("no key that signs".to_owned()),
    }
}

/// Writes beside, syncs, renames: a crash leaves the old file or the new one.
fn write(path: &Path, keys: &[Arc<SigningKey>]) -> std::io::Result<()> {
    let lines = keys.iter().map(|key| KeyLine {
        kid: key.kid.clone(),
        created_at: key.created_at,
        retired_at: key.retired_at,
        secret: Zeroizing::new(base64url(&*key.secret)),
    });
    let text = Zeroizing::new(serde_json::to_vec_pretty(&KeyFile { version: 1, keys: lines.collect() })?);
    let beside = path.with_extension("json.new");
    // A leftover of a crash may have another mode; the new one must not inherit it.
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::secret::SystemEntropy;

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
