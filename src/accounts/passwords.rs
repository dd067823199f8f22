//! Passwords: what a new one must be, and whether one is right.
//!
//! Length is what is asked for, and nothing of its composition (NIST SP 800-63B-4 §3.1.1): at least 15 characters, as
//! code points of the normalised text, so that a passphrase in any script counts as long as it is. It is normalised to
//! NFC, since keyboards differ in how they spell the same letter. Nothing is ever cut off.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::User;
use super::argon::Hash;
use super::fallbacks::{Fallback, FallbackDevice};
use super::{AccountError, Accounts};
use crate::names::UserId;
use crate::secret::{SecretText, random};
use crate::store::{Commit, Tx};

const FEWEST_CHARACTERS: usize = 15;
/// Before a hash is asked for, so that nobody has us normalise a novel.
const MOST_BYTES: usize = 1024;

/// The most used passwords, in lower case: NordPass, "Top 200 Most Common Passwords", edition of November 2024.
const COMMONEST: &str = include_str!("commonest_passwords.txt");

/// Why a password will not do; the sentence is for the person who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Guessed too soon.
    #[error("Choose one of at least 15 characters. A sentence of four or five words is good.")]
    Short,
    /// Beyond reason.
    #[error("Choose one of at most 1024 bytes.")]
    Long,
    /// Tried first by everybody.
    #[error("This is made of the passwords that are guessed first. Choose something that nobody else would.")]
    Common,
    /// Tried second.
    #[error("This is little more than your own name or address. Choose something else.")]
    Own,
}

/// A password that may be set.
pub struct NewPassword(SecretText);

/// A password that somebody typed to sign in.
pub struct PasswordTry(SecretText);

fn normalised(text: &str) -> SecretText {
    SecretText::new(ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned())
}

impl NewPassword {
    /// Holds `text` against what a password of `user` must be.
    pub fn parse(text: &str, user: &User) -> Result<Self, PasswordFault> {
        if text.len() > MOST_BYTES {
            return Err(PasswordFault::Long);
        }
        let text = normalised(text);
        if text.reveal().chars().count() < FEWEST_CHARACTERS {
            return Err(PasswordFault::Short);
        }
        let folded = SecretText::new(text.reveal().to_lowercase());
        let email = user.email.as_ref().map(|email| email.folded()).unwrap_or_default();
        let own = [user.name.as_str(), &*email, email.split('@').next().unwrap_or_default()];
        if is_made_of(folded.reveal(), || COMMONEST.lines()) {
            Err(PasswordFault::Common)
        } else if is_made_of(folded.reveal(), || COMMONEST.lines().chain(own).filter(|word| word.len() > 2)) {
            Err(PasswordFault::Own)
        } else {
            Ok(Self(text))
        }
    }
}

impl PasswordTry {
    /// Takes `text` as it was typed. One that is too long to be anybody's is nobody's.
    pub fn new(text: &str) -> Self {
        Self(if text.len() > MOST_BYTES { SecretText::new(String::new()) } else { normalised(text) })
    }
}

/// Whether `text` is nothing but `words`, repeated characters, and what people put between them.
fn is_made_of<'w, W: Iterator<Item = &'w str>>(text: &str, words: impl Fn() -> W) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for (at, c) in text.char_indices() {
        if !reached[at] {
            continue;
        }
        let rest = &text[at..];
        for word in words().filter(|word| rest.starts_with(word)) {
            reached[at + word.len()] = true;
        }
        let run: usize = rest.chars().take_while(|other| *other == c).map(char::len_utf8).sum();
        if run >= 3 * c.len_utf8() || matches!(c, ' ' | '-' | '_' | '.' | '!') {
            reached[at + run] = true;
        }
    }
    reached[text.len()]
}

impl Accounts {
    /// Sets a person's password, and switches it on. What was signed in with a former one is over: ending its sessions is
    /// the caller's next step.
    pub async fn set_password(&self, user: &UserId, password: NewPassword) -> Result<(), AccountError> {
        let hash = self.argon.hash(password.0, random(&*self.entropy)).await?;
        let now = self.clock.now();
        self.change_fallbacks(user, |fallbacks| {
            fallbacks.password_hash = Some(hash.clone());
            fallbacks.renewed(Fallback::Password, now);
        })
        .await
        .map(drop)
    }

    /// Whether this is a person's password, on or off.
    pub async fn is_password(&self, user: &UserId, password: PasswordTry) -> Result<bool, AccountError> {
        let hash = self.fallbacks(user).await?.password_hash.unwrap_or_else(Hash::nobodys);
        self.argon.verify(password.0, hash).await
    }

    /// Signs in with a password. Where there is none, or nobody, it does the same work.
    ///
    /// # Errors
    /// [`AccountError::Gone`] for a wrong one, and where passwords are off; [`AccountError::Busy`] if too many wait.
    pub async fn use_password(
        &self,
        user: &UserId,
        password: PasswordTry,
    ) -> Result<FallbackDevice, AccountError> {
        const GONE: AccountError = AccountError::Gone("password");
        let (fallbacks, unchanged) = self.fallbacks_at(user).await?;
        let hash = fallbacks.password_hash.clone().filter(|_| fallbacks.password.enabled);
        if !self.argon.verify(password.0, hash.unwrap_or_else(Hash::nobodys)).await? {
            return Err(GONE);
        }
        let tx = Tx::new().when(unchanged);
        let (tx, device) = self.signed_in_by(tx, user, &fallbacks, Fallback::Password).ok_or(GONE)?;
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(device),
            // It was changed or switched off in this very moment; or another fallback was, and they try again.
            Commit::Conflict => Err(AccountError::Contended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::UserState;
    use crate::clock::Timestamp;
    use crate::names::{EmailAddress, UserName};
    use crate::secret::SystemEntropy;

    fn judged(text: &str) -> Result<(), PasswordFault> {
        let user = User {
            id: UserId::random(&*SystemEntropy::shared()),
            name: UserName::parse("lovelace").expect("a name"),
            email: Some(EmailAddress::parse("Ada.L@patapim.test").expect("an address")),
            state: UserState::Active,
            created_at: Timestamp::default(),
        };
        NewPassword::parse(text, &user).map(drop)
    }

    #[test]
    fn a_password_is_long_and_otherwise_what_its_person_likes() {
        for good in [
            "correct horse battery",
            "just fifteen ch",
            "жираф и пятнадцать",
            "öööö üüüü ääää ß",
            &"🦒🐘🦓🦁".repeat(4),
            "  two spaces first",
        ] {
            assert_eq!(judged(good), Ok(()), "{good}");
        }
        assert_eq!(judged("fourteen chars"), Err(PasswordFault::Short));
        assert_eq!(judged(&"🦒🐘🦓🦁".repeat(3)), Err(PasswordFault::Short), "bytes are not characters");
        assert_eq!(judged(&"o\u{308}q\u{308}".repeat(5)), Ok(()), "five of ten compose, and 15 are left");
        assert_eq!(judged(&"o\u{308}".repeat(14)), Err(PasswordFault::Short), "one letter, two spellings");
        assert_eq!(judged(&"ab".repeat(512)), Ok(()));
        assert_eq!(judged(&"ab".repeat(513)), Err(PasswordFault::Long));
    }

    #[test]
    fn what_is_guessed_first_is_refused_however_it_is_strung_together() {
        for common in [
            "123456789012345",
            "passwordpassword",
            "Password-Password1",
            "qwertyuiop12345",
            "iloveyou iloveyou",
            "aaaaaaaaaaaaaaaaaaaa",
            "letmein!letmein!",
        ] {
            assert_eq!(judged(common), Err(PasswordFault::Common), "{common}");
        }
        for own in ["lovelacelovelace", "lovelace-password1", "ada.l@patapim.test", "Lovelace 1234567"] {
            assert_eq!(judged(own), Err(PasswordFault::Own), "{own}");
        }
        assert_eq!(judged("password manager of choice"), Ok(()), "a common word among others");
    }
}
