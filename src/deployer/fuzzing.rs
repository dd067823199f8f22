//! Doors for the fuzz targets (`fuzz/`) to what this layer reads of strangers. In no program: only `cfg(fuzzing)` has it.

use http::HeaderMap;
use serde_json::{Value, json};
use webauthn_rs_core::proto::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::return_to::ReturnTo;
use super::user_agent::UserAgent;
use super::webauthn::Webauthn;
use crate::accounts::Passkey;
use crate::clock::Timestamp;
use crate::names::{DeviceId, UserId};
use crate::proof::Challenge;
use crate::secret::base64url;

/// Where on a tunnel the text leads.
pub fn return_to(text: &str) -> String {
    ReturnTo::parse(text).as_str().to_owned()
}

/// The same with a token.
pub fn return_with(text: &str, token: &str) -> String {
    ReturnTo::parse(text).with_parameter("token", token)
}

/// The value of the cookie `name`.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    super::cookies::only(headers, name)
}

/// System and browser.
pub fn user_agent(text: &str) -> (&'static str, Option<&'static str>) {
    let read = UserAgent::read(text);
    (read.device_type, read.browser)
}

/// A new credential, as the relying party understood it.
#[derive(Debug)]
pub struct Registered {
    /// Its public key, byte for byte.
    pub public_key: Vec<u8>,
    /// Which device it is.
    pub id: DeviceId,
    passkey: Passkey,
}

/// The sign-in site's judgement of ceremonies.
pub struct RelyingParty(Webauthn);

impl RelyingParty {
    /// The one at `origin`.
    pub fn new(rp_id: &str, origin: &str) -> Self {
        Self(Webauthn::new(rp_id, origin))
    }

    /// Judges a registration; whose id is `id`.
    pub fn registers(
        &self,
        challenge: &Challenge,
        (id, user): (&[u8], &UserId),
        client_data: &[u8],
        attestation_object: &[u8],
    ) -> Option<Registered> {
        let text = base64url(id);
        let answer = json!({
            "id": text, "rawId": text, "type": "public-key", "response": {
                "clientDataJSON": base64url(client_data), "attestationObject": base64url(attestation_object),
            },
        });
        let answer: RegisterPublicKeyCredential = serde_json::from_value(answer).ok()?;
        let made = self.0.register(challenge, &answer).ok()?;
        let passkey = Passkey {
            id: made.id.clone(),
            user: user.clone(),
            rp_id: self.0.rp_id().to_owned(),
            name: String::new(),
            public_key: made.public_key.clone(),
            fingerprint: made.fingerprint,
            credential: made.record,
            aaguid: made.aaguid,
            device_type: String::new(),
            synced: made.synced,
            registered_at: Timestamp::from_secs(0),
            last_used_at: None,
        };
        let public_key = crate::secret::from_base64url(&made.public_key)?;
        Some(Registered { public_key, id: made.id, passkey })
    }

    /// Judges a sign-in with a passkey that was registered; gives the record of it as it is now.
    pub fn authenticates(
        &self,
        challenge: &Challenge,
        (id, registered): (&[u8], &Registered),
        (client_data, authenticator_data, signature): (&[u8], &[u8], &[u8]),
    ) -> Option<Value> {
        let text = base64url(id);
        let answer = json!({
            "id": text, "rawId": text, "type": "public-key", "response": {
                "clientDataJSON": base64url(client_data),
                "authenticatorData": base64url(authenticator_data),
                "signature": base64url(signature),
                "userHandle": base64url(registered.passkey.user.as_str()),
            },
        });
        let answer: PublicKeyCredential = serde_json::from_value(answer).ok()?;
        self.0.authenticate(challenge, &answer, &registered.passkey).ok()
    }
}

/// Authenticator data, taken apart: model, id and key of the new credential, if there is one.
pub fn credential_in(authenticator_data: &[u8]) -> Option<Option<[&[u8]; 3]>> {
    super::webauthn::credential_in(authenticator_data)
}
