//! The secrets that browsers keep for us, as values. How a `Cookie` header is read is the edge's business.

use crate::names::SessionId;
use crate::secret::{SecretText, base64url, is_base64url_of, same, sha256};

/// The visitor's session on a tunnel.
pub const SESSION: &str = "__Host-patapim-session";
/// What binds a token to the browser that asked for it.
pub const BIND: &str = "__Host-patapim-bind";
/// The person's session at the deployer.
pub const DEPLOYER: &str = "__Host-patapim-deployer";

fn is_secret(text: &str) -> bool {
    text.len() == 43 && is_base64url_of(32, text)
}

/// A session cookie's value: `<session id>.<secret>`. Well-formed, not yet believed.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    /// Which session it claims to be.
    pub id: SessionId,
    secret: SecretText,
}

impl SessionCookie {
    /// Reads a cookie's value.
    pub fn parse(value: &str) -> Option<Self> {
        let (id, secret) = value.split_once('.')?;
        let id = SessionId::parse(id).ok()?;
        is_secret(secret).then(|| Self { id, secret: SecretText::new(secret.to_owned()) })
    }

    pub(super) fn new(id: SessionId, secret: SecretText) -> Self {
        Self { id, secret }
    }

    /// The cookie's value, for `Set-Cookie`.
    pub fn to_value(&self) -> SecretText {
        SecretText::new(format!("{}.{}", self.id, self.secret.reveal()))
    }

    pub(super) fn fingerprint(&self) -> String {
        self.secret.fingerprint()
    }

    pub(super) fn matches(&self, secret_sha256: &[u8; 32]) -> bool {
        same(&sha256(self.secret.reveal()), secret_sha256)
    }
}

/// A bind cookie: 256 random bits, base64url.
#[derive(Clone, Debug)]
pub struct BindCookie(SecretText);

impl BindCookie {
    /// Reads a cookie's value.
    pub fn parse(value: &str) -> Option<Self> {
        is_secret(value).then(|| Self(SecretText::new(value.to_owned())))
    }

    /// A new one.
    pub fn random(entropy: &dyn crate::secret::Entropy) -> Self {
        Self(SecretText::random(entropy))
    }

    /// The cookie's value, for `Set-Cookie`.
    pub fn value(&self) -> &SecretText {
        &self.0
    }

    /// What the deployer is told: SHA-256 of the value, base64url.
    pub fn hash(&self) -> BindHash {
        BindHash(base64url(sha256(self.0.reveal())))
    }
}

/// The hash of a bind cookie, as it travels in a URL and in the token's `bind` claim.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BindHash(String);

impl BindHash {
    /// Reads a `bind=` parameter.
    pub fn parse(text: &str) -> Option<Self> {
        is_secret(text).then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BindHash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the base64url of a SHA-256")
    }
}

impl From<BindHash> for String {
    fn from(hash: BindHash) -> Self {
        hash.0
    }
}
