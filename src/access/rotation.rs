//! New keys: what an operator does by habit, or at once when somebody may have read the old ones.
//!
//! With [`Former::Forgotten`] the order matters. First the keys: from then on nothing that the old ones signed is
//! believed, and what is signed from then on is of the new. Then the revocation of all that rests on a signed token, from
//! sign-ins up to that moment: it covers the sessions that are open, and those that a redemption, begun before with an
//! old key, is about to open. The other way round, a token signed between the two steps with an old key would open a
//! session that nothing ends. A crash between the two leaves new keys and old sessions; the command was not answered
//! then, and done again it completes.

use std::sync::Arc;

use super::assertion::Assertor;
use super::keyfile::{Former, KeyError};
use super::revocation::{Cause, Target};
use super::sessions::{SessionError, Sessions};

/// Why keys were not rotated, or not with all that goes with it.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Nothing has changed, or only one of the two kinds of key.
    #[error("the keys could not be rotated: {0}; try again")]
    Keys(#[from] KeyError),
    /// The server is ending.
    #[error("the rotation was interrupted: {0}; try again")]
    Interrupted(#[from] tokio::task::JoinError),
    /// There are new keys, and the sessions of the old ones go on.
    #[error("there are new keys, but the sessions of the old ones could not be ended: {0}; try again")]
    Sessions(#[from] SessionError),
}

/// What a rotation did.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The key that signs tokens now.
    pub token_kid: String,
    /// The key that signs assertions now.
    pub assertion_kid: Arc<str>,
    /// How many sessions were ended.
    pub ended: usize,
}

impl Sessions {
    /// Makes new keys the signing ones, for tokens and for assertions. With [`Former::Forgotten`] all that the old ones
    /// signed ends now; access tokens and the deployer's own sessions rest on no key and go on.
    pub async fn rotate_keys(
        &self,
        assertor: &Arc<Assertor>,
        former: Former,
    ) -> Result<Rotated, RotateError> {
        let (keys, assertor) = (Arc::clone(&self.keys), Arc::clone(assertor));
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        // Files are written and synced.
        let rotate = move || {
            let token_kid = keys.rotate(former, &*clock, &*entropy)?;
            Ok::<_, KeyError>((token_kid, assertor.rotate(former, &*clock, &*entropy)?))
        };
        let (token_kid, assertion_kid) = tokio::task::spawn_blocking(rotate).await??;
        tracing::info!(token_kid, %assertion_kid, ?former, "signing keys rotated");
        let ended = match former {
            Former::Kept => 0,
            Former::Forgotten => self.revoke(&Target::Signed, Cause::Keys).await?,
        };
        Ok(Rotated { token_kid, assertion_kid, ended })
    }
}
