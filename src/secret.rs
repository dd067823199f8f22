//! Secrets and randomness: values that do not print themselves, and the one door to the system's random numbers.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's random numbers.
pub struct SystemEntropy(ring::rand::SystemRandom);

impl SystemEntropy {
    /// The one place that opens it.
    #[expect(clippy::disallowed_methods, reason = "the one door to randomness")]
    pub fn shared() -> Arc<dyn Entropy> {
        Arc::new(Self(ring::rand::SystemRandom::new()))
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        #[expect(clippy::expect_used, reason = "without randomness nothing here is safe to continue")]
        self.0.fill(out).expect("the operating system gives random numbers");
    }
}

/// The system's random numbers in the form that `ring`'s signatures want them.
#[expect(clippy::disallowed_methods, reason = "the same door, for ring's own use")]
pub fn ring_random() -> ring::rand::SystemRandom {
    ring::rand::SystemRandom::new()
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// Lower-case base32 (RFC 4648 alphabet `a-z2-7`), unpadded: what ids and tunnel labels are spelled in.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0u32, 0u32);
    for &byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(char::from(ALPHABET[((bits >> held) & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(char::from(ALPHABET[((bits << (5 - held)) & 31) as usize]));
    }
    out
}

/// A random id of 128 bits in [`base32`]: 26 characters.
pub fn random_id(entropy: &dyn Entropy) -> String {
    base32(&random::<16>(entropy))
}

/// Base64url without padding (RFC 4648 §5).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes unpadded base64url; refuses padding and non-zero trailing bits, so that one value has one spelling.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Whether `text` is the one spelling in [`base64url`] of so many bytes, of which there are few.
pub fn is_base64url_of(bytes: usize, text: &str) -> bool {
    URL_SAFE_NO_PAD.decode_slice(text, &mut [0; 64]) == Ok(bytes)
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes.as_ref()).as_ref());
    out
}

/// Compares without telling by its duration where the two differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |seen, (x, y)| std::hint::black_box(seen | (x ^ y))) == 0
}

/// Text that must not reach a log: a token, a cookie, a code. It prints as `[redacted]` and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes charge of `text`.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// 256 random bits, base64url.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::new(base64url(random::<32>(entropy)))
    }

    /// The text itself; every call is a place to look at in review.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored in its place: SHA-256, base64url. Only for values of high entropy.
    pub fn fingerprint(&self) -> String {
        base64url(sha256(self.0.as_bytes()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_agrees_with_the_vectors_of_rfc_4648() {
        for (plain, spelled) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(base32(plain.as_bytes()), spelled);
        }
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", SecretText::new("hush".into())), "[redacted]");
    }

    #[test]
    fn base64url_has_one_spelling_for_a_value() {
        assert!(from_base64url("AA").is_some());
        assert!(from_base64url("AB").is_none(), "trailing bits");
        assert!(from_base64url("AA==").is_none(), "padding");
        assert!(is_base64url_of(1, "AA"));
        for not in ["AB", "AA==", "AAA", "A", "", "AAAA", "é"] {
            assert!(!is_base64url_of(1, not), "{not}");
        }
    }
}
