//! The assertion: a short-lived ES256 JWT that tells the app who is visiting, checkable with the public keys at
//! `/.well-known/jwks.json`. The app need not trust the network between the agent and itself.
//!
//! Signing costs more than all the rest of an admitted request, so one assertion serves a session for a while.
//!
//! A rotation signs with the new key at once: who verifies fetches the keys again when a `kid` is unknown, as the common
//! libraries do. The former key stays published until its last assertion has expired, and twice that time over.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Serialize;
use serde_json::json;

use super::gate::Permit;
use super::keyfile::{self, Former, KeyError, KeyLine};
use crate::clock::{Clock, Timestamp};
use crate::names::{PublicHosts, SessionId, UserName};
use crate::secret::{Entropy, base32, base64url, random};

/// `exp - iat`, in seconds (contract §4).
const LIFETIME: u64 = 300;
/// An assertion is handed out again until it has less than this left, in seconds.
const FRESH: u64 = 120;
/// How long a retired key is published: twice as long as anything it signed is good.
const KEPT: Duration = Duration::from_secs(2 * LIFETIME);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    name: &'a UserName,
    sid: &'a SessionId,
    iat: u64,
    exp: u64,
}

/// A signed assertion.
#[derive(Debug)]
pub struct Assertion {
    exp: u64,
    kid: Arc<str>,
    text: String,
}

impl Assertion {
    /// The JWT, as the app receives it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// One key pair.
pub struct AssertionKey {
    /// Its name in an assertion's header and in the key set.
    pub kid: Arc<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs nothing new.
    pub retired_at: Option<Timestamp>,
    pair: EcdsaKeyPair,
    header: String,
}

impl AssertionKey {
    fn read(line: &KeyLine, random: &SystemRandom) -> Result<Arc<Self>, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &line.secret()?, random)
            .map_err(|error| format!("key {:?} is no P-256 key: {error}", line.kid))?;
        Ok(Arc::new(Self {
            kid: line.kid.as_str().into(),
            created_at: line.created_at,
            retired_at: line.retired_at,
            pair,
            header: base64url(json!({"alg": "ES256", "kid": line.kid, "typ": "JWT"}).to_string()),
        }))
    }

    /// Until when it is published, if it is retired.
    pub fn until(&self) -> Option<Timestamp> {
        self.retired_at.map(|at| at + KEPT)
    }

    /// The public half (RFC 7517, RFC 7518 §6.2).
    fn jwk(&self) -> serde_json::Value {
        // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": &*self.kid, "x": base64url(x), "y": base64url(y),
        })
    }
}

/// Signs assertions.
pub struct Assertor {
    hosts: PublicHosts,
    path: PathBuf,
    /// The signing one first.
    keys: ArcSwap<Vec<Arc<AssertionKey>>>,
    /// What is in the file; held while it is rewritten.
    lines: Mutex<Vec<KeyLine>>,
    random: SystemRandom,
}

impl Assertor {
    /// Opens `<data_dir>/keys/assertion-keys.json`, or makes it with one new key.
    pub fn open(
        data_dir: &Path,
        hosts: PublicHosts,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyError> {
        let (random, now) = (crate::secret::ring_random(), clock.now());
        let first = || new_line(now, entropy, &random);
        let file = keyfile::open(data_dir, "assertion-keys.json", KEPT, now, first)?;
        let keys = file.lines.iter().map(|line| AssertionKey::read(line, &random));
        let keys = keys.collect::<Result<_, _>>().map_err(|reason| file.damaged(reason))?;
        let (path, lines) = (file.path, Mutex::new(file.lines));
        Ok(Self { hosts, path, keys: ArcSwap::from_pointee(keys), lines, random })
    }

    /// Makes a new key the signing one. When this returns, the file says so and no assertion of a former key is handed
    /// out any more.
    pub fn rotate(
        &self,
        former: Former,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Arc<str>, KeyError> {
        let now = clock.now();
        let io = |source| KeyError::Io { path: self.path.clone(), source };
        let mut held = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = new_line(now, entropy, &self.random).map_err(|reason| io(std::io::Error::other(reason)))?;
        let lines = keyfile::rotated(new, &held, former, KEPT, now);
        let keys = lines.iter().map(|line| AssertionKey::read(line, &self.random));
        let keys = keys.collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|reason| KeyError::Damaged { path: self.path.clone(), reason })?;
        keyfile::write(&self.path, lines.clone()).map_err(io)?;
        let kid = Arc::clone(&keys[0].kid);
        *held = lines;
        self.keys.store(Arc::new(keys));
        Ok(kid)
    }

    /// The keys that are published at `now`, the signing one first.
    pub fn published(&self, now: Timestamp) -> Vec<Arc<AssertionKey>> {
        self.keys.load().iter().filter(|key| key.until().is_none_or(|until| now < until)).cloned().collect()
    }

    /// The assertion for a visitor who was admitted; none if the system has no random numbers to sign with.
    pub fn assertion_for(&self, permit: &Permit, now: Timestamp) -> Option<Arc<Assertion>> {
        let now = now.secs();
        let keys = self.keys.load();
        let key = keys.first()?;
        let kept = permit.session().assertion();
        let good = |signed: &Arc<Assertion>| signed.exp > now + FRESH && signed.kid == key.kid;
        if let Some(signed) = kept.load_full().filter(good) {
            return Some(signed);
        }
        let exp = now + LIFETIME;
        let text = self.sign(key, permit, now, exp)?;
        let signed = Arc::new(Assertion { exp, kid: Arc::clone(&key.kid), text });
        kept.store(Some(Arc::clone(&signed)));
        Some(signed)
    }

    fn sign(&self, key: &AssertionKey, permit: &Permit, iat: u64, exp: u64) -> Option<String> {
        let claims = Claims {
            iss: &self.hosts.deployer_origin(),
            aud: &self.hosts.tunnel_origin(permit.tunnel()),
            sub: permit.session().user().as_str(),
            name: permit.user_name(),
            sid: permit.session().id(),
            iat,
            exp,
        };
        let text = format!("{}.{}", key.header, base64url(serde_json::to_vec(&claims).ok()?));
        let signature = key.pair.sign(&self.random, text.as_bytes()).ok()?;
        Some(format!("{text}.{}", base64url(signature)))
    }

    /// The JSON Web Key Set (RFC 7517) that apps verify with at `now`.
    pub fn jwks(&self, now: Timestamp) -> serde_json::Value {
        json!({ "keys": self.published(now).iter().map(|key| key.jwk()).collect::<Vec<_>>() })
    }
}

fn new_line(now: Timestamp, entropy: &dyn Entropy, rng: &SystemRandom) -> Result<KeyLine, String> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, rng)
        .map_err(|_| "the system gave no key".to_owned())?;
    Ok(KeyLine::new(base32(&random::<10>(entropy)), now, pkcs8.as_ref()))
}
