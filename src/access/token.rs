//! The token: a JWT (RFC 7519) signed with HS256, of exactly the shape we issue and no other.
//!
//! We are its only issuer and its only reader, so reading is strict: a header or claim that we do not write, a second
//! spelling of the same bytes, an algorithm other than ours, all fail. The header's `kid` chooses among our own keys;
//! nothing in a token ever makes the edge fetch anything.

use serde::{Deserialize, Serialize};

use super::keys::KeyRing;
use crate::clock::Timestamp;
use crate::names::{TokenId, TunnelId, UserId};
use crate::secret::{SecretText, base64url, from_base64url};

/// How far in the future `iat` may lie, in seconds: two edges' clocks may differ.
const LEEWAY: u64 = 60;
/// Longest token read, in bytes; ours have about 500.
const LONGEST: usize = 4096;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// What a token says; nothing else is in it (contract §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The deployer's origin.
    pub iss: String,
    /// The person, opaque.
    pub sub: UserId,
    /// The one tunnel it is for.
    pub aud: TunnelId,
    /// When the person signed in, in seconds.
    pub iat: u64,
    /// When it and its session end, in seconds.
    pub exp: u64,
    /// Its own id.
    pub jti: TokenId,
    /// SHA-256 of the bind cookie of the browser it is for, base64url.
    pub bind: String,
}

/// What is wrong with a token; for the log, the audit trail and the metric, never for the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a token that one of our keys signed, in the form in which we sign it.
    #[error("signature, algorithm, key, issuer or form wrong")]
    Signature,
    /// Its time is over, or has not come.
    #[error("expired")]
    Expired,
    /// For another tunnel.
    #[error("for another tunnel")]
    Audience,
}

/// A token that one of our keys signed, in its time, for this tunnel. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    claims: Claims,
    kid: String,
}

impl VerifiedToken {
    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The key that signed it.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// When the person signed in.
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.iat)
    }

    /// When it and its session end.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.claims.exp)
    }
}

/// Signs `claims` with the active key.
pub fn sign(keys: &KeyRing, claims: &Claims) -> SecretText {
    let key = keys.active();
    let header = Header { alg: "HS256".to_owned(), kid: key.kid.clone(), typ: "JWT".to_owned() };
    let encode = |json: Result<Vec<u8>, _>| base64url(json.unwrap_or_default());
    let signed = format!("{}.{}", encode(serde_json::to_vec(&header)), encode(serde_json::to_vec(claims)));
    let tag = base64url(key.sign(signed.as_bytes()));
    SecretText::new(format!("{signed}.{tag}"))
}

/// Verifies `text` for `tunnel` at `now`.
pub fn verify(
    keys: &KeyRing,
    issuer: &str,
    tunnel: &TunnelId,
    text: &str,
    now: Timestamp,
) -> Result<VerifiedToken, TokenFault> {
    let (claims, kid) = authentic(keys, issuer, text).ok_or(TokenFault::Signature)?;
    if claims.iat > now.secs() + LEEWAY || claims.exp <= now.secs() {
        return Err(TokenFault::Expired);
    }
    if claims.aud != *tunnel {
        return Err(TokenFault::Audience);
    }
    Ok(VerifiedToken { claims, kid })
}

/// The claims, if one of our keys signed exactly this text. Nothing is read from the claims before the signature holds.
fn authentic(keys: &KeyRing, issuer: &str, text: &str) -> Option<(Claims, String)> {
    if text.len() > LONGEST {
        return None;
    }
    let (signed, tag) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = serde_json::from_slice(&from_base64url(header)?).ok()?;
    if header.alg != "HS256" || header.typ != "JWT" {
        return None;
    }
    let key = keys.find(&header.kid)?;
    if !key.verify(signed.as_bytes(), &from_base64url(tag)?) {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&from_base64url(claims)?).ok()?;
    (claims.iss == issuer && claims.iat < claims.exp).then_some((claims, header.kid))
}

/// Whose token a `token=` parameter seems to be, before anything is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeming {
    /// It names us as its issuer: it is judged, and never reaches the app.
    Ours,
    /// Shaped like a JWT, whether or not it can be read as one, and not naming us.
    Foreign,
    /// Not shaped like a JWT: the app's own parameter.
    Opaque,
}

/// Looks at a `token=` value without believing it (contract §4.4).
pub fn seeming(text: &str, issuer: &str) -> Seeming {
    #[derive(Deserialize)]
    struct Iss {
        iss: Option<serde_json::Value>,
    }
    let mut parts = text.split('.');
    let (Some(header), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Seeming::Opaque;
    };
    let claims = from_base64url(claims.trim_end_matches('='))
        .and_then(|bytes| serde_json::from_slice::<Iss>(&bytes).ok())
        .and_then(|claims| claims.iss);
    match claims {
        Some(serde_json::Value::String(iss)) if iss == issuer => Seeming::Ours,
        _ if is_segment(header) && header.len() >= SHORTEST_HEADER => Seeming::Foreign,
        _ => Seeming::Opaque,
    }
}

/// `{"alg":"none"}` in base64url: what is shorter is a version number or a file's name.
const SHORTEST_HEADER: usize = 19;

fn is_segment(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
