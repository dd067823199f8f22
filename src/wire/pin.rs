//! How the edge knows an agent again: by its public key, and by nothing else in its certificate.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::secret::{base64url, from_base64url, sha256};

/// SHA-256 of a public key's SubjectPublicKeyInfo in DER (RFC 7469 §2.4), spelled in base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpkiPin([u8; 32]);

/// Not a pin.
#[derive(Debug, thiserror::Error)]
#[error("a pin is 32 bytes in base64url")]
pub struct NotAPin;

impl SpkiPin {
    /// Of a SubjectPublicKeyInfo in DER.
    pub fn of_spki(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// Of the key in a certificate; `None` when it is none.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Self::of_spki(&certificate.subject_public_key_info()))
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        from_base64url(text)?.try_into().ok().map(Self)
    }

    /// As people compare it, and as `ssh-keygen -l` would show it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&base64url(self.0))
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl TryFrom<String> for SpkiPin {
    type Error = NotAPin;
    fn try_from(text: String) -> Result<Self, NotAPin> {
        Self::parse(&text).ok_or(NotAPin)
    }
}

impl From<SpkiPin> for String {
    fn from(pin: SpkiPin) -> Self {
        pin.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_bare_key_have_one_pin() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(SpkiPin::of_certificate(certificate.der()), Some(SpkiPin::of_spki(&spki)));
    }

    #[test]
    fn a_pin_has_one_spelling() {
        let pin = SpkiPin::of_spki(b"key");
        assert_eq!(SpkiPin::parse(&pin.to_string()), Some(pin));
        assert_eq!(SpkiPin::parse(&format!("{pin}=")), None);
        assert!(pin.fingerprint().starts_with("SHA256:"));
    }
}
