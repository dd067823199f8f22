//! The desktop's own judgement of a sign-in: whether a passkey was used for it, here, minutes ago.
//!
//! The edge says who is there, and may lie. A [`Judge`] takes nothing of it on trust: the nonce is its own, the place where
//! people sign in was learnt when the desktop was linked, and the key is the one that somebody here approved. No network,
//! no server and no store is in this module; it reads bytes that anybody may have written, and so it is fuzzed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::names::{SessionId, TunnelId};
use crate::proof::authenticator_data::AuthenticatorDataFault;
use crate::proof::client_data::{ClientData, ClientDataFault};
use crate::proof::{Challenge, Nonce, Place, Proof};
use crate::secret::Entropy;

mod cose;
mod introduction;
mod nonces;
mod site;

pub use cose::CoseKey;
pub use introduction::Introduction;
use nonces::{Age, Nonces};
pub use site::SignInSite;

/// Why a sign-in is not believed. Each is a sentence for the person at the desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The edge showed nothing.
    #[error("no proof of the sign-in came with it")]
    Missing,
    /// It commits to a nonce of ours that is no longer good.
    #[error("the proof is an old one: it was made for an earlier moment")]
    Old,
    /// It commits to none of ours.
    #[error("the proof was not made for this desktop")]
    Elsewhere,
    /// It opened a session already.
    #[error("the same touch of the passkey has opened another session")]
    Used,
    /// What the browser says of it.
    #[error("{0}")]
    ClientData(ClientDataFault),
    /// What the authenticator says.
    #[error("{0}")]
    AuthenticatorData(AuthenticatorDataFault),
    /// The key that was pinned is not one that can be checked with.
    #[error("the passkey's public key cannot be read")]
    Key,
    /// The edge contradicts itself.
    #[error("the fingerprint that came with the passkey is not that of its key")]
    Fingerprint,
    /// Somebody else's, or made up.
    #[error("the signature is not that of the passkey")]
    Signature,
}

/// What judges.
#[derive(Debug)]
pub struct Judge {
    place: Place,
    site: SignInSite,
    /// In memory alone: with the process end its nonces, and so every proof that was not shown yet.
    nonces: Mutex<Nonces>,
}

impl Judge {
    /// For the desktop that serves `tunnel`.
    pub fn new(tunnel: &TunnelId, site: &SignInSite) -> Self {
        Self { place: Place::tunnel(tunnel), site: site.clone(), nonces: Mutex::default() }
    }

    /// The nonce to hand to the edge: the newest, or a new one when it is [time](crate::proof::NONCE_EVERY).
    pub fn nonce(&self, now: Timestamp, entropy: &dyn Entropy) -> Nonce {
        self.nonces().newest(now, entropy)
    }

    /// How long that one stays the newest.
    pub fn renewed_in(&self, now: Timestamp) -> Duration {
        self.nonces().renewed_in(now)
    }

    /// Whether `session` may rest on `proof`: the passkey with the public key `key` (COSE) was used at the sign-in site, by a
    /// person who was there and verified, for a challenge that commits to a nonce of this desktop which is still good.
    ///
    /// What opened a session opens no other; shown again for its own, it is good for as long as its nonce.
    pub fn judge(
        &self,
        session: &SessionId,
        proof: Option<&Proof>,
        key: &[u8],
        now: Timestamp,
    ) -> Result<(), ProofFault> {
        let proof = proof.ok_or(ProofFault::Missing)?;
        let said = said_in(proof)?;
        let challenge = self.challenge(proof, &said, now)?;
        self.site.check(&proof.assertion, &said, key)?;
        // At last, so that what anybody can make up takes no room.
        if self.nonces().spend(challenge, session, now) { Ok(()) } else { Err(ProofFault::Used) }
    }

    /// The challenge that was signed, if it commits to a nonce of ours that is still good.
    fn challenge(&self, proof: &Proof, said: &ClientData, now: Timestamp) -> Result<Challenge, ProofFault> {
        let challenge = |nonce: &Nonce| proof.challenge(&self.place, nonce);
        let found = self.nonces().find(now, |nonce| said.answers(&challenge(nonce)));
        match found {
            Some((nonce, Age::Good)) => Ok(challenge(&nonce)),
            Some((_, Age::Past)) => Err(ProofFault::Old),
            None => Err(ProofFault::Elsewhere),
        }
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn said_in(proof: &Proof) -> Result<ClientData, ProofFault> {
    ClientData::parse(proof.assertion.client_data.as_bytes()).map_err(ProofFault::ClientData)
}

#[cfg(test)]
#[path = "../proof_tests.rs"]
mod tests;
