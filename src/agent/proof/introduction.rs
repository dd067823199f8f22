//! The first passkey of a desktop: whether the one that is said to have approved the linking did.
//!
//! Somebody looks at the code and at this desktop's key, at the sign-in site, and approves with a touch of a passkey. What
//! is signed then commits to a nonce that was made here for this one linking, and to the key and the code that were looked
//! at. The passkey's own key comes with it, from the edge, and nothing here can say whose it is: that is for the person
//! to compare.

use super::{ProofFault, SignInSite, said_in};
use crate::proof::{Nonce, Place, Proof};
use crate::secret::Entropy;
use crate::wire::approval::PasskeyFacts;

/// One linking, as far as its proof goes.
#[derive(Debug)]
pub struct Introduction(Nonce);

impl Introduction {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> Self {
        Self(Nonce::random(entropy))
    }

    /// What the edge is to commit to.
    pub fn nonce(&self) -> Nonce {
        self.0
    }

    /// Whether `passkey` was used at `site` to approve the linking at `place`, and for nothing else.
    pub fn judge(
        &self,
        place: &Place,
        site: &SignInSite,
        passkey: &PasskeyFacts,
        proof: &Proof,
    ) -> Result<(), ProofFault> {
        let said = said_in(proof)?;
        // What commits to others as well is a sign-in, in which nobody looked at this desktop's key.
        if proof.path.depth() > 0 || !said.answers(&proof.challenge(place, &self.0)) {
            return Err(ProofFault::Elsewhere);
        }
        site.check(&proof.assertion, &said, passkey.public_key.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agent::test_passkey::{Draft, ORIGIN, Passkey};
    use crate::names::DeviceId;
    use crate::proof::Path;
    use crate::proof::authenticator_data::{AuthenticatorDataFault, USER_PRESENT, USER_VERIFIED};
    use crate::proof::client_data::ClientDataFault;
    use crate::secret::SystemEntropy;
    use crate::wire::approval::PublicKey;

    /// A desktop that asked, and Ada's passkey, with which somebody approves it.
    struct Linking {
        introduction: Introduction,
        place: Place,
        passkey: Passkey,
    }

    impl Linking {
        fn new() -> Self {
            let introduction = Introduction::new(&*SystemEntropy::shared());
            Self { introduction, place: Place::link("pin", "BCDF-2345"), passkey: Passkey::new() }
        }

        fn signed(&self, bend: impl FnOnce(&mut Draft)) -> Proof {
            self.passkey.proof_alone(self.place, self.introduction.nonce(), bend)
        }

        fn judges(&self, proof: &Proof) -> Result<(), ProofFault> {
            self.judges_for(&self.passkey, proof)
        }

        fn judges_for(&self, named: &Passkey, proof: &Proof) -> Result<(), ProofFault> {
            let key = PublicKey::of_bytes(named.public()).expect("a key");
            let passkey = PasskeyFacts::new(DeviceId::of_credential(b"ada"), "Phone".into(), key);
            self.introduction.judge(&self.place, &SignInSite::of(ORIGIN), &passkey, proof)
        }
    }

    #[test]
    fn a_passkey_that_approved_this_linking_is_believed() {
        let linking = Linking::new();
        assert_eq!(linking.judges(&linking.signed(|_| ())), Ok(()));
    }

    #[test]
    fn one_that_approved_another_or_signed_in_meanwhile_is_not() {
        let (linking, another) = (Linking::new(), Linking::new());
        let (nonce, passkey) = (linking.introduction.nonce(), &linking.passkey);
        let elsewhere = Err(ProofFault::Elsewhere);
        let of_another = passkey.proof_alone(linking.place, another.introduction.nonce(), |_| ());
        assert_eq!(linking.judges(&of_another), elsewhere, "another nonce, so another time");
        for place in [Place::link("another", "BCDF-2345"), Place::link("pin", "BCDF-2346")] {
            assert_eq!(linking.judges(&passkey.proof_alone(place, nonce, |_| ())), elsewhere, "{place:?}");
        }
        let sign_in = passkey.proof(linking.place, nonce, |_| ());
        assert_eq!(linking.judges(&sign_in), elsewhere, "good for others too");
        let astray = Proof { path: Path::of(vec![[1; 32]]).expect("short"), ..linking.signed(|_| ()) };
        assert_eq!(linking.judges(&astray), elsewhere);
    }

    #[test]
    fn what_is_bent_or_signed_by_another_is_not() {
        let linking = Linking::new();
        let client_data = |fault| Err(ProofFault::ClientData(fault));
        let sibling =
            linking.signed(|draft| draft.client_data["origin"] = "https://eve.tunnel.patapim.test".into());
        assert_eq!(linking.judges(&sibling), client_data(ClientDataFault::Origin));
        let registered = linking.signed(|draft| draft.client_data["type"] = "webauthn.create".into());
        assert_eq!(linking.judges(&registered), client_data(ClientDataFault::Type));
        let framed = linking.signed(|draft| draft.client_data["crossOrigin"] = true.into());
        assert_eq!(linking.judges(&framed), client_data(ClientDataFault::CrossOrigin));
        let strange = linking.signed(|draft| draft.client_data = json!(["strange"]));
        assert_eq!(linking.judges(&strange), client_data(ClientDataFault::Unreadable));
        let data = |fault| Err(ProofFault::AuthenticatorData(fault));
        let unverified = linking.signed(|draft| draft.flags = USER_PRESENT);
        assert_eq!(linking.judges(&unverified), data(AuthenticatorDataFault::UserVerified));
        let nobody = linking.signed(|draft| draft.flags = USER_VERIFIED);
        assert_eq!(linking.judges(&nobody), data(AuthenticatorDataFault::UserPresent));
        let elsewhere = linking.signed(|draft| draft.rp_id = "eve.test");
        assert_eq!(linking.judges(&elsewhere), data(AuthenticatorDataFault::RpId));
        let swapped = linking.judges_for(&Passkey::new(), &linking.signed(|_| ()));
        assert_eq!(swapped, Err(ProofFault::Signature));
    }
}
