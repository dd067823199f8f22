//! A sign-in that a desktop can check for itself.
//!
//! The edge verifies every sign-in, and the desktop need not believe it. Each agent hands the edge a [`Nonce`], a new
//! one every few minutes. The challenge of a ceremony commits to the nonces of the desktops that it may be shown to:
//!
//! ```text
//!  nonce of each desktop ─▶ leaf ─▶ … ─▶ root ┐
//!                             32 random bytes ┴▶ challenge ─▶ client data ─▶ signature of the passkey
//! ```
//!
//! With the session the edge passes on what was signed, the random bytes, and the [`Path`] from the leaf to the root: a
//! [`Proof`]. The agent goes the same way upwards from a nonce that it made itself. It ends at the challenge only if the
//! passkey signed after that nonce was made, which is minutes ago. `ARCHITECTURE.md` tells what follows from it, and
//! what does not.
//!
//! Here is what both sides must spell alike. The tree is the edge's (`access::nonces`), the judgement the agent's.

use serde::{Deserialize, Serialize};

pub mod authenticator_data;
pub mod client_data;
mod path;
mod spelled;

pub use path::{Hash, Path, Place, leaf, node};
use spelled::thirty_two_bytes;
pub use spelled::{Blob, NotThat};

use crate::secret::{Entropy, random, sha256};

/// How often an agent makes a new nonce.
pub const NONCE_EVERY: std::time::Duration = std::time::Duration::from_secs(4 * 60);

/// How long each is good: a ceremony that was begun with the newest has its own five minutes, and its token one.
pub const NONCE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(10 * 60);

thirty_two_bytes!(
    /// Made by an agent, so that what commits to it was not signed before. Not a secret.
    Nonce
);
thirty_two_bytes!(
    /// The random part of a challenge: ceremonies begun at one moment have one root and each its own challenge.
    Salt
);
thirty_two_bytes!(
    /// What stands for all nonces that a challenge commits to.
    Root
);
thirty_two_bytes!(
    /// What an authenticator is asked to sign.
    Challenge
);

impl Nonce {
    /// A new one.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(random(entropy))
    }
}

impl Challenge {
    /// One that commits to nothing: for what no desktop will be shown.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(random(entropy))
    }
}

/// What a ceremony's challenge is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// The random part.
    pub salt: Salt,
    /// The nonces.
    pub root: Root,
}

impl Commitment {
    /// To `root`, for one ceremony.
    pub fn to(root: Root, entropy: &dyn Entropy) -> Self {
        Self { salt: Salt(random(entropy)), root }
    }

    /// The challenge. Both parts are of fixed length, so that no other pair spells the same.
    pub fn challenge(&self) -> Challenge {
        Challenge(sha256([b"patapim/challenge/1\0", &self.salt.0[..], &self.root.0].concat()))
    }
}

/// What came back of a passkey's ceremony (WebAuthn Level 3 §5.2.2), as it was signed. Longer ones are nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// What the authenticator says.
    pub authenticator_data: Blob<512>,
    /// What the browser says, JSON.
    pub client_data: Blob<1024>,
    /// Over both.
    pub signature: Blob<1024>,
}

impl Assertion {
    /// Of the three parts; `None` if one is longer than it has any reason to be.
    pub fn of(authenticator_data: &[u8], client_data: &[u8], signature: &[u8]) -> Option<Self> {
        Some(Self {
            authenticator_data: Blob::of(authenticator_data)?,
            client_data: Blob::of(client_data)?,
            signature: Blob::of(signature)?,
        })
    }

    /// The bytes under the signature (§6.3.3).
    pub fn signed(&self) -> Vec<u8> {
        [self.authenticator_data.as_bytes(), &sha256(self.client_data.as_bytes())].concat()
    }
}

/// What is left of a completed ceremony: enough to prove it to whichever desktop it commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was signed.
    pub assertion: Assertion,
    /// What its challenge was made of.
    pub commitment: Commitment,
}

impl Evidence {
    /// For the desktop whose leaf `path` leads to the root.
    pub fn along(&self, path: Path) -> Proof {
        Proof { assertion: self.assertion.clone(), salt: self.commitment.salt, path }
    }
}

/// What one desktop is shown. There is no root in it: the desktop finds it, or the proof is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What was signed.
    pub assertion: Assertion,
    /// The random part of its challenge.
    pub salt: Salt,
    /// From the desktop's leaf to the root.
    pub path: Path,
}

impl Proof {
    /// The challenge that was signed, if it was made for `place` while `nonce` was its own.
    pub fn challenge(&self, place: &Place, nonce: &Nonce) -> Challenge {
        Commitment { salt: self.salt, root: self.path.root(place, nonce) }.challenge()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::TunnelId;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_challenge_is_found_from_its_nonce_and_from_no_other() {
        let entropy = SystemEntropy::shared();
        let place = Place::tunnel(&TunnelId::parse("ada-abc234").expect("a label"));
        let (nonce, other) = (Nonce::random(&*entropy), Nonce::random(&*entropy));
        let commitment = Commitment::to(Path::default().root(&place, &nonce), &*entropy);
        let assertion = Assertion::of(b"data", b"{}", b"signature").expect("short");
        let proof = Evidence { assertion, commitment }.along(Path::default());
        assert_eq!(proof.challenge(&place, &nonce), commitment.challenge());
        assert_ne!(proof.challenge(&place, &other), commitment.challenge());
        let elsewhere = Place::tunnel(&TunnelId::parse("ada-abc235").expect("a label"));
        assert_ne!(proof.challenge(&elsewhere, &nonce), commitment.challenge());
    }

    #[test]
    fn the_spelling_of_a_challenge_does_not_change() {
        // Both sides of the wire compute it; a change needs a new label, and agents that know both.
        let place = Place::tunnel(&TunnelId::parse("ada-abc234").expect("a label"));
        let nonce = Nonce::from([7; 32]);
        let below: Path = Path::of(vec![[1; 32], [2; 32]]).expect("short");
        let commitment = Commitment { salt: Salt::from([9; 32]), root: below.root(&place, &nonce) };
        assert_eq!(commitment.challenge().to_string(), "30C9KBYQN4IIYh-6E2z28pPHQ7zHGuY-SWJcbTCv7tQ");
    }
}
