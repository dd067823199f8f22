//! What every authenticator says (WebAuthn Level 3 §6.1): for whom it signs, and who was there.

/// A person was there.
pub const USER_PRESENT: u8 = 0x01;
/// And showed that it was them.
pub const USER_VERIFIED: u8 = 0x04;
/// The passkey may be synced.
pub const BACKUP_ELIGIBLE: u8 = 0x08;
/// It is.
pub const BACKED_UP: u8 = 0x10;
/// A new credential follows.
pub const ATTESTED: u8 = 0x40;
/// Extensions follow.
pub const EXTENDED: u8 = 0x80;

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorDataFault {
    /// Too short, or too long.
    #[error("the authenticator data cannot be read")]
    Unreadable,
    /// Made for another site.
    #[error("for another RP ID")]
    RpId,
    /// Nobody was there.
    #[error("no user present")]
    UserPresent,
    /// Anybody could have been.
    #[error("the user was not verified")]
    UserVerified,
    /// It contradicts itself.
    #[error("backed up, but not eligible for it")]
    BackupState,
}

/// The part that is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    rp_id_hash: &'a [u8; 32],
    /// Which of the above hold.
    pub flags: u8,
}

impl<'a> Header<'a> {
    /// Takes it off `bytes`; gives what follows it too.
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), AuthenticatorDataFault> {
        let split = || {
            let (rp_id_hash, rest) = bytes.split_first_chunk::<32>()?;
            let (&flags, rest) = rest.split_first()?;
            let (_counter, rest) = rest.split_first_chunk::<4>()?;
            Some((Self { rp_id_hash, flags }, rest))
        };
        split().ok_or(AuthenticatorDataFault::Unreadable)
    }

    /// Refuses what was not made for us, or not by a person who was there and verified, or contradicts itself.
    pub fn check(&self, rp_id_hash: &[u8; 32]) -> Result<(), AuthenticatorDataFault> {
        if self.rp_id_hash != rp_id_hash {
            return Err(AuthenticatorDataFault::RpId);
        }
        if !self.has(USER_PRESENT) {
            return Err(AuthenticatorDataFault::UserPresent);
        }
        if !self.has(USER_VERIFIED) {
            return Err(AuthenticatorDataFault::UserVerified);
        }
        if self.has(BACKED_UP) && !self.has(BACKUP_ELIGIBLE) {
            return Err(AuthenticatorDataFault::BackupState);
        }
        Ok(())
    }

    /// Whether `flag` holds.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [3; 32];
    const THERE: u8 = USER_PRESENT | USER_VERIFIED;

    fn judged(flags: u8) -> Result<(), AuthenticatorDataFault> {
        let bytes = [&HASH[..], &[flags], &[0, 0, 0, 1]].concat();
        Header::split(&bytes).and_then(|(header, _)| header.check(&HASH))
    }

    #[test]
    fn a_person_must_have_been_there_and_verified() {
        assert_eq!(judged(THERE), Ok(()));
        assert_eq!(judged(USER_VERIFIED), Err(AuthenticatorDataFault::UserPresent));
        assert_eq!(judged(USER_PRESENT), Err(AuthenticatorDataFault::UserVerified));
    }

    #[test]
    fn backed_up_needs_backup_eligible() {
        assert_eq!(judged(THERE | BACKUP_ELIGIBLE | BACKED_UP), Ok(()));
        assert_eq!(judged(THERE | BACKUP_ELIGIBLE), Ok(()));
        assert_eq!(judged(THERE | BACKED_UP), Err(AuthenticatorDataFault::BackupState));
    }

    #[test]
    fn another_rp_id_is_refused() {
        let header = Header { rp_id_hash: &HASH, flags: THERE };
        assert_eq!(header.check(&[4; 32]), Err(AuthenticatorDataFault::RpId));
    }

    #[test]
    fn what_follows_is_kept_apart_and_too_little_is_refused() {
        let bytes = [&HASH[..], &[THERE], &[0, 0, 0, 1], b"more"].concat();
        assert_eq!(
            Header::split(&bytes).map(|(header, rest)| (header.flags, rest)),
            Ok((THERE, &b"more"[..]))
        );
        for length in 0..37 {
            assert_eq!(Header::split(&bytes[..length]), Err(AuthenticatorDataFault::Unreadable), "{length}");
        }
    }
}
