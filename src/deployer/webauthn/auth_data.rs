//! All that an authenticator says (WebAuthn Level 3 §6.1), read from its bytes.
//!
//! The library reads it too, and does not keep the bytes of the public key, whose hash is the device's fingerprint.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::proof::authenticator_data::{ATTESTED, AuthenticatorDataFault, BACKUP_ELIGIBLE, EXTENDED, Header};

/// Longest public key taken, in bytes: RSA of 4096 bits has 530.
const LONGEST_KEY: usize = 1024;

/// Authenticator data, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AuthData<'a> {
    header: Header<'a>,
    /// The new credential, at a registration.
    pub(super) attested: Option<Attested<'a>>,
}

/// A new credential.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attested<'a> {
    /// The authenticator's model.
    pub(super) aaguid: &'a [u8],
    pub(super) credential_id: &'a [u8],
    /// `credentialPublicKey`: a COSE_Key (RFC 9052), byte for byte.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthData<'a> {
    /// Reads all of `bytes`; what is too short or too long is not authenticator data.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AuthenticatorDataFault> {
        let (header, rest) = Header::split(bytes)?;
        Self::read(header, rest).ok_or(AuthenticatorDataFault::Unreadable)
    }

    fn read(header: Header<'a>, mut rest: &'a [u8]) -> Option<Self> {
        let mut attested = None;
        if header.has(ATTESTED) {
            let (aaguid, after) = rest.split_at_checked(16)?;
            let (length, after) = after.split_first_chunk::<2>()?;
            let (credential_id, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            let (public_key, after) = after.split_at_checked(cbor_length(after)?)?;
            if public_key.len() > LONGEST_KEY {
                return None;
            }
            attested = Some(Attested { aaguid, credential_id, public_key });
            rest = after;
        }
        if header.has(EXTENDED) {
            rest = rest.split_at_checked(cbor_length(rest)?)?.1;
        }
        rest.is_empty().then_some(Self { header, attested })
    }

    /// Refuses what [its header](Header::check) gives reason to.
    pub(super) fn check(&self, rp_id_hash: &[u8; 32]) -> Result<(), AuthenticatorDataFault> {
        self.header.check(rp_id_hash)
    }

    /// Whether the passkey may be synced between devices.
    pub(super) fn backup_eligible(&self) -> bool {
        self.header.has(BACKUP_ELIGIBLE)
    }
}

/// How many bytes the CBOR item has that `bytes` begins with.
fn cbor_length(bytes: &[u8]) -> Option<usize> {
    let mut reader = serde_cbor_2::Deserializer::from_slice(bytes);
    IgnoredAny::deserialize(&mut reader).ok()?;
    Some(reader.byte_offset())
}

/// The authenticator data within an attestation object (§6.5). The statement beside it is not asked for.
pub(super) fn of_attestation_object(bytes: &[u8]) -> Result<&[u8], AuthenticatorDataFault> {
    #[derive(Deserialize)]
    struct AttestationObject<'a> {
        #[serde(rename = "authData")]
        auth_data: &'a [u8],
    }
    serde_cbor_2::from_slice::<AttestationObject<'_>>(bytes)
        .map(|object| object.auth_data)
        .map_err(|_| AuthenticatorDataFault::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(flags: u8, rest: &[u8]) -> Vec<u8> {
        [&[3; 32][..], &[flags], &[0, 0, 0, 1], rest].concat()
    }

    #[test]
    fn the_public_key_is_kept_byte_for_byte() {
        // {1: 2, 3: -7}, the number 2 spelled longer than it need be.
        let key = [0xa2, 0x01, 0x18, 0x02, 0x03, 0x26];
        let rest = [&[9; 16][..], &[0, 2], b"id", &key, &[0xa0]].concat();
        let bytes = with(ATTESTED | EXTENDED, &rest);
        let attested = AuthData::parse(&bytes).expect("whole").attested.expect("attested");
        assert_eq!((attested.credential_id, attested.public_key), (&b"id"[..], &key[..]));
    }

    #[test]
    fn bytes_too_few_or_too_many_are_refused() {
        let whole = with(ATTESTED, &[&[9; 16][..], &[0, 2], b"id", &[0xa0]].concat());
        assert!(AuthData::parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert_eq!(
                AuthData::parse(&whole[..length]),
                Err(AuthenticatorDataFault::Unreadable),
                "{length}"
            );
        }
        assert_eq!(AuthData::parse(&[&whole[..], &[0]].concat()), Err(AuthenticatorDataFault::Unreadable));
    }
}
