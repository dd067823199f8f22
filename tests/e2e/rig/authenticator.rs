//! A FIDO2 authenticator in software: ES256, resident keys, user verification, attestation `none`.
//!
//! It is honest by default. Every field of what it answers can be bent before it is signed, so that a test can play
//! a dishonest one, or a dishonest page (WebAuthn Level 3 §5.8.1, §6.1, §6.5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

/// User present.
pub(crate) const UP: u8 = 0x01;
/// User verified.
pub(crate) const UV: u8 = 0x04;
/// Backup eligible.
pub(crate) const BE: u8 = 0x08;
/// Backed up.
pub(crate) const BS: u8 = 0x10;
/// Attested credential data follows.
const AT: u8 = 0x40;

/// One passkey, as the authenticator keeps it.
struct Passkey {
    id: Vec<u8>,
    key: KeyPair,
    rp_id: String,
    user: Vec<u8>,
}

/// The authenticator, with the browser around it that writes the client data.
pub(crate) struct Authenticator {
    origin: String,
    passkeys: Vec<Passkey>,
    counter: u32,
}

/// What is about to be signed, still soft.
pub(crate) struct Draft {
    /// `type`, `challenge`, `origin`, `crossOrigin`, and what a test adds.
    pub(crate) client_data: Map<String, Value>,
    pub(crate) rp_id: String,
    pub(crate) flags: u8,
    pub(crate) counter: u32,
    pub(crate) user_handle: Vec<u8>,
    /// Whose id the answer carries.
    pub(crate) credential: Vec<u8>,
    /// Flip a bit of the finished signature.
    pub(crate) spoil_signature: bool,
}

impl Draft {
    /// Sets a member of the client data.
    pub(crate) fn claim(&mut self, member: &str, value: impl Into<Value>) {
        self.client_data.insert(member.to_owned(), value.into());
    }
}

impl Authenticator {
    /// In a browser that shows a page of `origin`.
    pub(crate) fn at(origin: &str) -> Self {
        Self { origin: origin.to_owned(), passkeys: Vec::new(), counter: 0 }
    }

    /// Makes a passkey: creation options in, RegistrationResponseJSON out.
    pub(crate) fn register(&mut self, options: &Value) -> Value {
        self.register_bent(options, |_| {})
    }

    /// As [`Self::register`], bent.
    pub(crate) fn register_bent(&mut self, options: &Value, bend: impl FnOnce(&mut Draft)) -> Value {
        let algorithms = options["pubKeyCredParams"].as_array().expect("pubKeyCredParams");
        assert!(algorithms.iter().any(|param| param["alg"] == -7), "ES256 must be offered: {options}");
        let key = KeyPair::generate().expect("a key");
        let id = digest(&SHA256, key.der_bytes()).as_ref().to_vec();
        let user = text(&options["user"]["id"]);
        let rp_id = options["rp"]["id"].as_str().expect("rp.id");
        let passkey = Passkey {
            id,
            key,
            rp_id: rp_id.to_owned(),
            user: URL_SAFE_NO_PAD.decode(user).expect("user.id"),
        };

        let mut draft = self.draft("webauthn.create", options, &passkey);
        bend(&mut draft);
        let client_data = Value::Object(draft.client_data).to_string();
        let mut data = authenticator_data(&draft.rp_id, draft.flags | AT, draft.counter);
        data.extend([0; 16]);
        data.extend(u16::try_from(draft.credential.len()).expect("a short id").to_be_bytes());
        data.extend(&draft.credential);
        data.extend(cose_key(&passkey.key));
        let id = encode(&draft.credential);
        self.passkeys.push(passkey);
        json!({
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {
                "clientDataJSON": encode(client_data),
                "attestationObject": encode(attestation_none(&data)),
                "transports": ["internal"],
            },
        })
    }

    /// Signs in: request options in, AuthenticationResponseJSON out.
    pub(crate) fn assert(&mut self, options: &Value) -> Value {
        self.assert_bent(options, |_| {})
    }

    /// As [`Self::assert`], bent.
    pub(crate) fn assert_bent(&mut self, options: &Value, bend: impl FnOnce(&mut Draft)) -> Value {
        self.counter += 1;
        let rp_id = options["rpId"].as_str().expect("rpId");
        let passkey = self.passkeys.iter().rev().find(|passkey| passkey.rp_id == rp_id).expect("a passkey");
        let mut draft = self.draft("webauthn.get", options, passkey);
        bend(&mut draft);
        let client_data = Value::Object(draft.client_data).to_string();
        let data = authenticator_data(&draft.rp_id, draft.flags, draft.counter);
        let signed = [&data, digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let mut signature = passkey.key.sign(&signed).expect("a signature");
        if draft.spoil_signature {
            *signature.last_mut().expect("not empty") ^= 1;
        }
        let id = encode(&draft.credential);
        json!({
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encode(client_data),
                "authenticatorData": encode(data),
                "signature": encode(signature),
                "userHandle": encode(&draft.user_handle),
            },
        })
    }

    fn draft(&self, kind: &str, options: &Value, passkey: &Passkey) -> Draft {
        let mut client_data = Map::new();
        client_data.insert("type".into(), kind.into());
        client_data.insert("challenge".into(), text(&options["challenge"]).into());
        client_data.insert("origin".into(), self.origin.as_str().into());
        client_data.insert("crossOrigin".into(), false.into());
        Draft {
            client_data,
            rp_id: passkey.rp_id.clone(),
            flags: UP | UV | BE | BS,
            counter: self.counter,
            user_handle: passkey.user.clone(),
            credential: passkey.id.clone(),
            spoil_signature: false,
        }
    }

    /// The newest passkey's credential id.
    pub(crate) fn credential(&self) -> Vec<u8> {
        self.passkeys.last().expect("a passkey").id.clone()
    }

    /// The newest passkey's public key, as its authenticator data had it.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        cose_key(&self.passkeys.last().expect("a passkey").key)
    }

    /// The newest passkey's fingerprint, as people compare it (contract, section 6).
    pub(crate) fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.public_key());
        format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// rpIdHash, flags, signCount (§6.1).
fn authenticator_data(rp_id: &str, flags: u8, counter: u32) -> Vec<u8> {
    let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
    data.push(flags);
    data.extend(counter.to_be_bytes());
    data
}

/// The public key as CBOR `{1: 2, 3: -7, -1: 1, -2: x, -3: y}` (RFC 9053 §7.1.1).
fn cose_key(key: &KeyPair) -> Vec<u8> {
    let point = key.der_bytes();
    assert_eq!((point.len(), point[0]), (65, 4), "an uncompressed point of P-256");
    let mut cose = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 32];
    cose.extend(&point[1..33]);
    cose.extend([0x22, 0x58, 32]);
    cose.extend(&point[33..]);
    cose
}

/// `{"fmt": "none", "attStmt": {}, "authData": …}` in CBOR.
fn attestation_none(data: &[u8]) -> Vec<u8> {
    let mut object = vec![0xa3];
    object.extend(b"\x63fmt\x64none\x67attStmt\xa0\x68authData\x59");
    object.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
    object.extend(data);
    object
}
