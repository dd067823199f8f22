//! Backup codes: ten on paper, each good once.
//!
//! Each has a key of its own in the store, named by its hash: its use is one commit that deletes it, so that of fifty
//! tries at once one finds it there.

use std::fmt;

use super::fallbacks::{Fallback, FallbackDevice, fallbacks_key};
use super::users::user_key;
use super::{AccountError, Accounts, encode};
use crate::names::UserId;
use crate::secret::{Entropy, base32, base64url, random, sha256};
use crate::store::{Commit, Cond, Key, Tx};

/// How many there are at first.
pub const BACKUP_CODES: usize = 10;

/// Sixteen of a-z and 2-7: 80 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct BackupCode(String);

impl BackupCode {
    fn random(entropy: &dyn Entropy) -> Self {
        Self(base32(&random::<10>(entropy)))
    }

    /// Reads what a person typed: in either case, grouped in any way, with the digits that look like letters.
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '‐' | '–'));
        let meant = typed.map(|c| match c.to_ascii_lowercase() {
            '0' => 'o',
            '1' => 'l',
            '8' => 'b',
            other => other,
        });
        let code: String = meant.take(17).collect();
        let whole = code.len() == 16 && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        whole.then_some(Self(code))
    }

    /// What no person has: looked for where nothing was typed that could be one, for the same work.
    pub fn nobodys() -> Self {
        Self(String::new())
    }
}

/// In groups of four, as it is shown.
impl fmt::Display for BackupCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, c) in self.0.chars().enumerate() {
            let gap = if at > 0 && at % 4 == 0 { "-" } else { "" };
            write!(out, "{gap}{c}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BackupCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

fn codes_of(user: &UserId) -> String {
    format!("backup-codes/{user}/")
}

/// A hash without a salt will do: nobody guesses 80 random bits.
fn code_key(user: &UserId, code: &BackupCode) -> Key {
    Key::new(format!("{}{}", codes_of(user), base64url(sha256(&code.0))))
}

impl Accounts {
    /// Makes new codes, to be shown once; the old ones are good for nothing from this commit on.
    pub async fn make_backup_codes(&self, user: &UserId) -> Result<Vec<BackupCode>, AccountError> {
        let now = self.clock.now();
        for _ in 0..16 {
            let (mut fallbacks, unchanged) = self.fallbacks_at(user).await?;
            fallbacks.renewed(Fallback::BackupCodes, now);
            let tx = Tx::new().when(unchanged).when(Cond::Present(user_key(user)));
            let mut tx = self.backup_codes_removed_in(tx, user).await?;
            tx = tx.put(fallbacks_key(user), encode(&fallbacks));
            let codes: Vec<_> =
                std::iter::repeat_with(|| BackupCode::random(&*self.entropy)).take(BACKUP_CODES).collect();
            for code in &codes {
                tx = tx.put(code_key(user, code), "");
            }
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(codes);
            }
        }
        Err(AccountError::Contended)
    }

    /// How many are left.
    pub async fn backup_codes_left(&self, user: &UserId) -> Result<usize, AccountError> {
        Ok(self.store.range(&codes_of(user)).await?.entries.len())
    }

    /// Uses a code up. For a person who is not there it does the same work, and finds nothing.
    ///
    /// # Errors
    /// [`AccountError::Gone`] for a code that was used or never was, and where codes are off.
    pub async fn use_backup_code(
        &self,
        user: &UserId,
        code: &BackupCode,
    ) -> Result<FallbackDevice, AccountError> {
        const GONE: AccountError = AccountError::Gone("backup code");
        let key = code_key(user, code);
        for _ in 0..16 {
            let (fallbacks, unchanged) = self.fallbacks_at(user).await?;
            self.store.get(&key).await?.ok_or(GONE)?;
            let tx = Tx::new().when(unchanged).when(Cond::Present(key.clone())).delete(key.clone());
            let (tx, device) = self.signed_in_by(tx, user, &fallbacks, Fallback::BackupCodes).ok_or(GONE)?;
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(device);
            }
        }
        Err(AccountError::Contended)
    }

    pub(super) async fn backup_codes_removed_in(&self, tx: Tx, user: &UserId) -> Result<Tx, AccountError> {
        let codes = self.store.range(&codes_of(user)).await?.entries;
        Ok(codes.into_iter().fold(tx, |tx, entry| tx.delete(entry.key)))
    }
}
