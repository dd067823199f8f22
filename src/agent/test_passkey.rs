//! A passkey in software, for tests of what a desktop makes of it: honest unless it is bent.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::proof::authenticator_data::{USER_PRESENT, USER_VERIFIED};
use crate::proof::{Assertion, Commitment, Evidence, Nonce, Path, Place, Proof};
use crate::secret::{SystemEntropy, ring_random, sha256};

pub(super) const ORIGIN: &str = "https://deployer.patapim.test";
pub(super) const RP_ID: &str = "deployer.patapim.test";

pub(super) struct Passkey(EcdsaKeyPair);

/// What is about to be signed.
pub(super) struct Draft {
    pub(super) client_data: Value,
    pub(super) rp_id: &'static str,
    pub(super) flags: u8,
    pub(super) more: &'static [u8],
}

impl Passkey {
    pub(super) fn new() -> Self {
        let rng = ring_random();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &rng);
        Self(pair.expect("a key"))
    }

    /// {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    pub(super) fn public(&self) -> Vec<u8> {
        let point = self.0.public_key().as_ref();
        let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
        [&head[..], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat()
    }

    fn sign(&self, draft: &Draft) -> Assertion {
        let client_data = draft.client_data.to_string();
        let data = [&sha256(draft.rp_id)[..], &[draft.flags], &[0; 4], draft.more].concat();
        let rng: SystemRandom = ring_random();
        let signed = [&data[..], &sha256(&client_data)].concat();
        let signature = self.0.sign(&rng, &signed).expect("a signature");
        Assertion::of(&data, client_data.as_bytes(), signature.as_ref()).expect("short")
    }

    /// What a ceremony for `place` leaves, bent before it is signed.
    pub(super) fn proof(&self, place: Place, nonce: Nonce, bend: impl FnOnce(&mut Draft)) -> Proof {
        self.along(Path::of(vec![[1; 32], [2; 32], [3; 32]]).expect("short"), place, nonce, bend)
    }

    /// What a ceremony for `place` and nothing else leaves, bent before it is signed.
    pub(super) fn proof_alone(&self, place: Place, nonce: Nonce, bend: impl FnOnce(&mut Draft)) -> Proof {
        self.along(Path::default(), place, nonce, bend)
    }

    fn along(&self, path: Path, place: Place, nonce: Nonce, bend: impl FnOnce(&mut Draft)) -> Proof {
        let commitment = Commitment::to(path.root(&place, &nonce), &*SystemEntropy::shared());
        let mut draft = Draft {
            client_data: json!({
                "type": "webauthn.get", "challenge": commitment.challenge(), "origin": ORIGIN,
                "crossOrigin": false,
            }),
            rp_id: RP_ID,
            flags: USER_PRESENT | USER_VERIFIED,
            more: &[],
        };
        bend(&mut draft);
        Evidence { assertion: self.sign(&draft), commitment }.along(path)
    }
}
