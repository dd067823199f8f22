//! A passkey in software with the browser around it, honest unless it is bent.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::secret::{SystemEntropy, base64url, from_base64url, random, sha256};

pub(super) const UP: u8 = 0x01;
pub(super) const UV: u8 = 0x04;
pub(super) const BE: u8 = 0x08;
pub(super) const BS: u8 = 0x10;
const AT: u8 = 0x40;

/// One passkey.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    pub(super) id: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) counter: u32,
}

/// What is about to be signed.
pub(super) struct Draft {
    pub(super) client_data: Value,
    pub(super) rp_id: String,
    pub(super) flags: u8,
    pub(super) counter: u32,
    pub(super) credential: Vec<u8>,
    pub(super) user_handle: Option<Vec<u8>>,
    pub(super) spoil_signature: bool,
    pub(super) trailing: &'static [u8],
}

impl Key {
    pub(super) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test's own key")]
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).expect("a key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &rng).expect("a key");
        Self { pair, id: random::<24>(&*SystemEntropy::shared()).to_vec(), user: Vec::new(), counter: 0 }
    }

    /// The public key as COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}.
    pub(super) fn cose(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        [
            &[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..],
            &point[1..33],
            &[0x22, 0x58, 32],
            &point[33..65],
        ]
        .concat()
    }

    fn draft(&self, kind: &str, options: &Value, origin: &str, rp_id: &str) -> Draft {
        Draft {
            client_data: json!({
                "type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": false
            }),
            rp_id: rp_id.to_owned(),
            flags: UP | UV,
            counter: self.counter,
            credential: self.id.clone(),
            user_handle: Some(self.user.clone()),
            spoil_signature: false,
            trailing: &[],
        }
    }

    /// Creation options in, RegistrationResponseJSON out.
    pub(super) fn create(&mut self, options: &Value, origin: &str, bend: impl FnOnce(&mut Draft)) -> Value {
        self.user = from_base64url(options["user"]["id"].as_str().expect("an id")).expect("base64url");
        let rp_id = options["rp"]["id"].as_str().expect("an RP ID");
        let mut draft = self.draft("webauthn.create", options, origin, rp_id);
        bend(&mut draft);
        let length = u16::try_from(self.id.len()).expect("short").to_be_bytes();
        let attested = [&[0xaa; 16][..], &length, &self.id, &self.cose()].concat();
        let data = [auth_data(&draft, draft.flags | AT), attested, draft.trailing.to_vec()].concat();
        let length = u8::try_from(data.len()).expect("under 256 bytes");
        let object = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"[..], &[length], &data].concat();
        let id = base64url(&draft.credential);
        json!({
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}, "a-new-kind": {}},
            "response": {
                "clientDataJSON": base64url(draft.client_data.to_string()),
                "attestationObject": base64url(object),
                "transports": ["internal", "a-new-kind"],
                "authenticatorData": base64url(data), "publicKeyAlgorithm": -7,
            },
        })
    }

    /// Request options in, AuthenticationResponseJSON out.
    pub(super) fn get(&mut self, options: &Value, origin: &str, bend: impl FnOnce(&mut Draft)) -> Value {
        let rp_id = options["rpId"].as_str().expect("an RP ID");
        let mut draft = self.draft("webauthn.get", options, origin, rp_id);
        bend(&mut draft);
        let data = [auth_data(&draft, draft.flags), draft.trailing.to_vec()].concat();
        let client_data = draft.client_data.to_string();
        #[expect(clippy::disallowed_methods, reason = "a test's own signature")]
        let rng = SystemRandom::new();
        let signed = [&data[..], &sha256(&client_data)].concat();
        let mut signature = self.pair.sign(&rng, &signed).expect("signed").as_ref().to_vec();
        if draft.spoil_signature {
            *signature.last_mut().expect("bytes") ^= 1;
        }
        let id = base64url(&draft.credential);
        json!({
            "id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": base64url(client_data),
                "authenticatorData": base64url(data),
                "signature": base64url(signature),
                "userHandle": draft.user_handle.map(base64url),
            },
        })
    }
}

fn auth_data(draft: &Draft, flags: u8) -> Vec<u8> {
    [&sha256(&draft.rp_id)[..], &[flags], &draft.counter.to_be_bytes()].concat()
}
