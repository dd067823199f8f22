//! What the authenticator says (WebAuthn Level 3 §6.1), read from its bytes.
//!
//! The library reads it too; here are the checks it does not make, and the bytes it does not keep: those of the public
//! key, whose hash is the device's fingerprint.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Fault;

/// Longest public key taken, in bytes: RSA of 4096 bits has 530.
const LONGEST_KEY: usize = 1024;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENDED: u8 = 0x80;

/// Authenticator data, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AuthData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
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
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::read(bytes).ok_or(Fault::AuthData)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_at_checked(32)?;
        let (&flags, rest) = rest.split_first()?;
        let (_counter, mut rest) = rest.split_at_checked(4)?;
        let mut attested = None;
        if flags & ATTESTED != 0 {
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
        if flags & EXTENDED != 0 {
            rest = rest.split_at_checked(cbor_length(rest)?)?.1;
        }
        rest.is_empty().then_some(Self { rp_id_hash, flags, attested })
    }

    /// Refuses what was not made for us, or not by a person who was there and verified, or contradicts itself.
    pub(super) fn check(&self, rp_id_hash: &[u8; 32]) -> Result<(), Fault> {
        if self.rp_id_hash != rp_id_hash {
            return Err(Fault::RpId);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Fault::UserPresent);
        }
        if self.flags & USER_VERIFIED == 0 {
            return Err(Fault::UserVerified);
        }
        if self.flags & BACKED_UP != 0 && !self.backup_eligible() {
            return Err(Fault::BackupState);
        }
        Ok(())
    }

    /// Whether the passkey may be synced between devices.
    pub(super) fn backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }
}

/// How many bytes the CBOR item has that `bytes` begins with.
fn cbor_length(bytes: &[u8]) -> Option<usize> {
    let mut reader = serde_cbor_2::Deserializer::from_slice(bytes);
    IgnoredAny::deserialize(&mut reader).ok()?;
    Some(reader.byte_offset())
}

/// The authenticator data within an attestation object (§6.5). The statement beside it is not asked for.
pub(super) fn of_attestation_object(bytes: &[u8]) -> Result<&[u8], Fault> {
    #[derive(Deserialize)]
    struct AttestationObject<'a> {
        #[serde(rename = "authData")]
        auth_data: &'a [u8],
    }
    serde_cbor_2::from_slice::<AttestationObject<'_>>(bytes)
        .map(|object| object.auth_data)
        .map_err(|_| Fault::AuthData)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [3; 32];

    fn with(flags: u8, rest: &[u8]) -> Vec<u8> {
        [&HASH[..], &[flags], &[0, 0, 0, 1], rest].concat()
    }

    fn judged(flags: u8) -> Result<(), Fault> {
        AuthData::parse(&with(flags, &[])).and_then(|data| data.check(&HASH))
    }

    #[test]
    fn a_person_must_have_been_there_and_verified() {
        assert_eq!(judged(USER_PRESENT | USER_VERIFIED), Ok(()));
        assert_eq!(judged(USER_VERIFIED), Err(Fault::UserPresent));
        assert_eq!(judged(USER_PRESENT), Err(Fault::UserVerified));
    }

    #[test]
    fn backed_up_needs_backup_eligible() {
        let there = USER_PRESENT | USER_VERIFIED;
        assert_eq!(judged(there | BACKUP_ELIGIBLE | BACKED_UP), Ok(()));
        assert_eq!(judged(there | BACKUP_ELIGIBLE), Ok(()));
        assert_eq!(judged(there | BACKED_UP), Err(Fault::BackupState));
    }

    #[test]
    fn another_rp_id_is_refused() {
        let bytes = with(USER_PRESENT | USER_VERIFIED, &[]);
        assert_eq!(AuthData::parse(&bytes).and_then(|data| data.check(&[4; 32])), Err(Fault::RpId));
    }

    #[test]
    fn the_public_key_is_kept_byte_for_byte() {
        // {1: 2, 3: -7}, the number 2 spelled longer than it need be.
        let key = [0xa2, 0x01, 0x18, 0x02, 0x03, 0x26];
        let rest = [&[9; 16][..], &[0, 2], b"id", &key, &[0xa0]].concat();
        let bytes = with(USER_PRESENT | ATTESTED | EXTENDED, &rest);
        let attested = AuthData::parse(&bytes).expect("whole").attested.expect("attested");
        assert_eq!((attested.credential_id, attested.public_key), (&b"id"[..], &key[..]));
    }

    #[test]
    fn bytes_too_few_or_too_many_are_refused() {
        let whole = with(USER_PRESENT | ATTESTED, &[&[9; 16][..], &[0, 2], b"id", &[0xa0]].concat());
        assert!(AuthData::parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert_eq!(AuthData::parse(&whole[..length]), Err(Fault::AuthData), "{length}");
        }
        assert_eq!(AuthData::parse(&[&whole[..], &[0]].concat()), Err(Fault::AuthData));
    }
}
