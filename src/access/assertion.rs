//! The assertion: a short-lived ES256 JWT that tells the app who is visiting, checkable with the public keys at
//! `/.well-known/jwks.json`. The app need not trust the network between the agent and itself.
//!
//! Signing costs more than all the rest of an admitted request, so one assertion serves a session for a while.

use std::path::Path;
use std::sync::Arc;

use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::gate::Permit;
use super::keyfile::{self, KeyError, KeyLine};
use crate::clock::{Clock, Timestamp};
use crate::names::{PublicHosts, SessionId, UserName};
use crate::secret::{Entropy, base32, base64url, random};

/// `exp - iat`, in seconds (contract §4).
const LIFETIME: u64 = 300;
/// An assertion is handed out again until it has less than this left, in seconds.
const FRESH: u64 = 120;

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
    text: String,
}

impl Assertion {
    /// The JWT, as the app receives it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

struct SigningKey {
    kid: String,
    pair: EcdsaKeyPair,
    header: String,
}

/// Signs assertions.
pub struct Assertor {
    hosts: PublicHosts,
    /// The signing one first; the others are published until what they signed has expired.
    keys: Vec<SigningKey>,
    random: ring::rand::SystemRandom,
}

impl Assertor {
    /// Opens `<data_dir>/keys/assertion-keys.json`, or makes it with one new key.
    pub fn open(
        data_dir: &Path,
        hosts: PublicHosts,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyError> {
        let random = crate::secret::ring_random();
        let lines = keyfile::open(data_dir, "assertion-keys.json", || {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map_err(|_| "the system gave no key".to_owned())?;
            Ok(KeyLine::new(new_kid(entropy), clock.now(), pkcs8.as_ref()))
        })?;
        let keys = lines.lines.iter().map(|line| {
            let secret: Zeroizing<Vec<u8>> = line.secret()?;
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &secret, &random)
                .map_err(|error| format!("key {:?} is no P-256 key: {error}", line.kid))?;
            let header = base64url(json!({"alg": "ES256", "kid": line.kid, "typ": "JWT"}).to_string());
            Ok(SigningKey { kid: line.kid.clone(), pair, header })
        });
        let keys = keys.collect::<Result<Vec<_>, String>>().map_err(|reason| lines.damaged(reason))?;
        Ok(Self { hosts, keys, random })
    }

    /// The assertion for a visitor who was admitted; none if the system has no random numbers to sign with.
    pub fn assertion_for(&self, permit: &Permit, now: Timestamp) -> Option<Arc<Assertion>> {
        let now = now.secs();
        let kept = permit.session().assertion();
        if let Some(signed) = kept.load_full().filter(|signed| signed.exp > now + FRESH) {
            return Some(signed);
        }
        let exp = now + LIFETIME;
        let signed = Arc::new(Assertion { exp, text: self.sign(permit, now, exp)? });
        kept.store(Some(Arc::clone(&signed)));
        Some(signed)
    }

    fn sign(&self, permit: &Permit, iat: u64, exp: u64) -> Option<String> {
        let key = self.keys.first()?;
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

    /// The JSON Web Key Set (RFC 7517) that apps verify with.
    pub fn jwks(&self) -> serde_json::Value {
        let keys = self.keys.iter().map(|key| {
            // An uncompressed point: 0x04, x, y (SEC 1 §2.3.3).
            let (x, y) = key.pair.public_key().as_ref()[1..].split_at(32);
            json!({
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
                "kid": key.kid, "x": base64url(x), "y": base64url(y),
            })
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }
}

fn new_kid(entropy: &dyn Entropy) -> String {
    base32(&random::<10>(entropy))
}
