//! Magic links: a secret that is mailed to a person, good once, for ten minutes, in the browser that asked for it. Only
//! the newest of a person is good.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fallbacks::{Fallback, FallbackDevice};
use super::users::user_key;
use super::{AccountError, Accounts, encode};
use crate::names::UserId;
use crate::secret::{SecretText, same};
use crate::store::{Commit, Cond, Key, Tx};

/// How long one is good.
pub const MAGIC_LINK_LIFETIME: Duration = Duration::from_secs(10 * 60);

const GONE: AccountError = AccountError::Gone("magic link");

#[derive(Serialize, Deserialize)]
struct MagicLink {
    user: UserId,
    /// The hash of the asking browser's mark.
    browser: String,
    /// Where the person wanted to go; opaque here.
    wanted: serde_json::Value,
}

fn link_key(hash: &str) -> Key {
    Key::new(format!("magic-links/{hash}"))
}

/// Which of a person's links is the newest.
fn newest_key(user: &UserId) -> Key {
    Key::new(format!("newest-magic-links/{user}"))
}

impl Accounts {
    /// Makes a link's secret for the browser whose mark has this hash. Any earlier one is good for nothing from this
    /// commit on.
    ///
    /// # Errors
    /// [`AccountError::Gone`] if the person has not switched links on.
    pub async fn make_magic_link(
        &self,
        user: &UserId,
        browser: &str,
        wanted: &serde_json::Value,
    ) -> Result<SecretText, AccountError> {
        let token = SecretText::random(&*self.entropy);
        let (hash, newest) = (token.fingerprint(), newest_key(user));
        let link = MagicLink { user: user.clone(), browser: browser.to_owned(), wanted: wanted.clone() };
        for _ in 0..16 {
            let (fallbacks, unchanged) = self.fallbacks_at(user).await?;
            if !fallbacks.magic_link.enabled {
                return Err(GONE);
            }
            let until = Some(self.clock.now() + MAGIC_LINK_LIFETIME);
            let mut tx = Tx::new().when(unchanged).when(Cond::Present(user_key(user)));
            tx = match self.store.get(&newest).await? {
                Some(entry) => tx
                    .when(Cond::AtRevision(newest.clone(), entry.revision))
                    .delete(link_key(std::str::from_utf8(&entry.value).unwrap_or_default())),
                None => tx.when(Cond::Absent(newest.clone())),
            };
            tx = tx.put_until(newest.clone(), hash.clone(), until);
            tx = tx.put_until(link_key(&hash), encode(&link), until);
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(token);
            }
        }
        Err(AccountError::Contended)
    }

    /// Uses a link up, in the browser whose mark has this hash; gives where the person wanted to go. In another browser it
    /// is refused, and not used up.
    ///
    /// # Errors
    /// [`AccountError::Gone`] for whatever is wrong with it.
    pub async fn use_magic_link(
        &self,
        token: &SecretText,
        browser: &str,
    ) -> Result<(FallbackDevice, serde_json::Value), AccountError> {
        let key = link_key(&token.fingerprint());
        for _ in 0..16 {
            let (link, _) = self.read::<MagicLink>(&key).await?.ok_or(GONE)?;
            if !same(link.browser.as_bytes(), browser.as_bytes()) {
                return Err(GONE);
            }
            let (fallbacks, unchanged) = self.fallbacks_at(&link.user).await?;
            let tx = Tx::new().when(unchanged).when(Cond::Present(key.clone())).delete(key.clone());
            let (tx, device) =
                self.signed_in_by(tx, &link.user, &fallbacks, Fallback::MagicLink).ok_or(GONE)?;
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok((device, link.wanted));
            }
        }
        Err(AccountError::Contended)
    }
}
