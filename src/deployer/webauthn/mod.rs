//! The relying party: options for the browser, and the judgement of what comes back (WebAuthn Level 3 §7).
//!
//! `webauthn-rs-core` verifies; around it stand the checks that it leaves to its caller ([`ClientData`],
//! [`auth_data`]), of which the desktop makes its own later. It keeps its own state between the two halves of a ceremony; ours is in a sealed note, so its state
//! is made anew each time and given our challenge, which the caller chooses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use url::Url;
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;
use webauthn_rs_core::proto::{
    COSEAlgorithm, Credential, PublicKeyCredential, RegisterPublicKeyCredential, UserVerificationPolicy,
};

use self::auth_data::AuthData;
use super::ceremony::LIFETIME;
use crate::accounts::{Passkey, User};
use crate::names::DeviceId;
use crate::proof::Challenge;
use crate::proof::authenticator_data::AuthenticatorDataFault;
use crate::proof::client_data::{ClientData, ClientDataFault, Kind};
use crate::secret::{base64url, sha256};

mod auth_data;

/// What a new passkey may sign with, in the order of preference. The library verifies no EdDSA; authenticators that
/// have it have ES256 too.
const ALGORITHMS: [COSEAlgorithm; 2] = [COSEAlgorithm::ES256, COSEAlgorithm::RS256];

/// Why an answer is refused; for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    ClientData(#[from] ClientDataFault),
    #[error(transparent)]
    AuthData(#[from] AuthenticatorDataFault),
    #[error("backup eligibility has changed since the registration")]
    BackupEligibility,
    #[error("the ids of the credential contradict each other")]
    CredentialId,
    #[error("the user handle is missing or somebody else's")]
    UserHandle,
    #[error("the signature counter went back: there may be a copy of the authenticator")]
    Counter,
    #[error("{0}")]
    Library(String),
}

impl From<WebauthnError> for Fault {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::CredentialPossibleCompromise => Self::Counter,
            error => Self::Library(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// A credential that was made and verified.
pub(super) struct NewCredential {
    pub(super) id: DeviceId,
    /// `credentialPublicKey` as in the authenticator data, base64url.
    pub(super) public_key: String,
    pub(super) fingerprint: String,
    /// 32 hex digits.
    pub(super) aaguid: String,
    /// Whether it may be synced.
    pub(super) synced: bool,
    /// The library's record.
    pub(super) record: Value,
}

/// The relying party that we are.
pub(super) struct Webauthn {
    core: WebauthnCore,
    origin: String,
    rp_id: String,
    rp_id_hash: [u8; 32],
}

impl Webauthn {
    pub(super) fn new(rp_id: &str, origin: &str) -> Self {
        // An origin that is no URL is nobody's: then every ceremony is refused.
        let origins = Url::parse(origin).into_iter().collect();
        let core = WebauthnCore::new_unsafe_experts_only(
            "patapim",
            rp_id,
            origins,
            LIFETIME,
            Some(false),
            Some(false),
        );
        Self { core, origin: origin.to_owned(), rp_id: rp_id.to_owned(), rp_id_hash: sha256(rp_id) }
    }

    pub(super) fn rp_id(&self) -> &str {
        &self.rp_id
    }

    /// The credential's id as browsers know it.
    pub(super) fn credential_id(&self, passkey: &Passkey) -> Result<Vec<u8>, Fault> {
        Ok(credential(passkey)?.cred_id)
    }

    /// PublicKeyCredentialCreationOptionsJSON, for somebody who has the passkeys `own` already.
    pub(super) fn creation_options(
        &self,
        challenge: &Challenge,
        user: &User,
        own: &[Passkey],
    ) -> Result<Value, Fault> {
        let own: Vec<_> = own.iter().map(credential).collect::<Result<_, _>>()?;
        let exclude = own.into_iter().map(|credential| credential.cred_id).collect();
        let (id, name) = (user.id.as_str().as_bytes(), user.name.as_str());
        let builder = self
            .core
            .new_challenge_register_builder(id, name, name)?
            .user_verification_policy(UserVerificationPolicy::Required)
            .require_resident_key(true)
            .credential_algorithms(ALGORITHMS.to_vec())
            .exclude_credentials(Some(exclude));
        let (mut options, _) = self.core.generate_challenge_register(builder)?;
        options.public_key.challenge = challenge.as_bytes().to_vec();
        Ok(serde_json::to_value(options.public_key)?)
    }

    /// Judges a new credential.
    pub(super) fn register(
        &self,
        challenge: &Challenge,
        answer: &RegisterPublicKeyCredential,
    ) -> Result<NewCredential, Fault> {
        self.check_client_data(&answer.response.client_data_json, Kind::Create, challenge)?;
        let data = AuthData::parse(auth_data::of_attestation_object(&answer.response.attestation_object)?)?;
        data.check(&self.rp_id_hash)?;
        let attested = data.attested.as_ref().ok_or(AuthenticatorDataFault::Unreadable)?;
        check_ids(&answer.id, &answer.type_, &answer.raw_id)?;
        if attested.credential_id != answer.raw_id {
            return Err(Fault::CredentialId);
        }
        let builder = self
            .core
            .new_challenge_register_builder(b"-", "-", "-")?
            .user_verification_policy(UserVerificationPolicy::Required)
            .require_resident_key(true)
            .credential_algorithms(ALGORITHMS.to_vec());
        let (_, state) = self.core.generate_challenge_register(builder)?;
        let mut record = self.core.register_credential(answer, &with_challenge(&state, challenge)?, None)?;
        // Not asked for and not judged: nothing of a stranger's certificates is kept.
        record.attestation = webauthn_rs_core::proto::ParsedAttestation::default();
        Ok(NewCredential {
            id: DeviceId::of_credential(&answer.raw_id),
            public_key: base64url(attested.public_key),
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(attested.public_key))),
            aaguid: attested.aaguid.iter().map(|byte| format!("{byte:02x}")).collect(),
            synced: data.backup_eligible(),
            record: serde_json::to_value(record)?,
        })
    }

    /// PublicKeyCredentialRequestOptionsJSON: whichever passkey for this RP ID the person chooses.
    pub(super) fn request_options(&self, challenge: &Challenge) -> Result<Value, Fault> {
        let builder = self
            .core
            .new_challenge_authenticate_builder(Vec::new(), Some(UserVerificationPolicy::Required))?;
        let (mut options, _) = self.core.generate_challenge_authenticate(builder)?;
        options.public_key.challenge = challenge.as_bytes().to_vec();
        let mut options = serde_json::to_value(options.public_key)?;
        if let Some(members) = options.as_object_mut() {
            members.remove("allowCredentials");
        }
        Ok(options)
    }

    /// Judges an assertion of `passkey`; gives the library's record of it as it is now.
    ///
    /// A counter that does not grow is refused: an authenticator that counts says by it that it cannot be copied.
    /// Passkeys that are synced do not count.
    pub(super) fn authenticate(
        &self,
        challenge: &Challenge,
        answer: &PublicKeyCredential,
        passkey: &Passkey,
    ) -> Result<Value, Fault> {
        self.check_client_data(&answer.response.client_data_json, Kind::Get, challenge)?;
        let data = AuthData::parse(&answer.response.authenticator_data)?;
        data.check(&self.rp_id_hash)?;
        check_ids(&answer.id, &answer.type_, &answer.raw_id)?;
        if answer.get_user_unique_id() != Some(passkey.user.as_str().as_bytes()) {
            return Err(Fault::UserHandle);
        }
        if passkey.rp_id != self.rp_id {
            return Err(AuthenticatorDataFault::RpId.into());
        }
        let mut record = credential(passkey)?;
        if record.backup_eligible != data.backup_eligible() {
            return Err(Fault::BackupEligibility);
        }
        let builder = self
            .core
            .new_challenge_authenticate_builder(Vec::new(), Some(UserVerificationPolicy::Required))?;
        let (_, state) = self.core.generate_challenge_authenticate(builder)?;
        let state = with_challenge(&state, challenge)?;
        let result = self.core.authenticate_single_credential(answer, &state, &record)?;
        record.counter = result.counter();
        record.backup_state = result.backup_state();
        Ok(serde_json::to_value(record)?)
    }

    fn check_client_data(
        &self,
        json: &[u8],
        kind: Kind,
        challenge: &Challenge,
    ) -> Result<(), ClientDataFault> {
        let data = ClientData::parse(json)?;
        if !data.answers(challenge) {
            return Err(ClientDataFault::Challenge);
        }
        data.check(kind, &self.origin)
    }
}

/// The library's record of a passkey.
fn credential(passkey: &Passkey) -> Result<Credential, Fault> {
    Ok(Credential::deserialize(&passkey.credential)?)
}

/// The library's state with our challenge in it: it has no other way in than the state's stored form.
fn with_challenge<T: Serialize + DeserializeOwned>(state: &T, challenge: &Challenge) -> Result<T, Fault> {
    let mut stored = serde_json::to_value(state)?;
    stored["challenge"] = challenge.to_string().into();
    Ok(serde_json::from_value(stored)?)
}

fn check_ids(id: &str, kind: &str, raw: &[u8]) -> Result<(), Fault> {
    if kind == "public-key" && id == base64url(raw) { Ok(()) } else { Err(Fault::CredentialId) }
}

/// Authenticator data, taken apart for the fuzz targets: model, id and key of the new credential, if there is one.
#[cfg(fuzzing)]
pub(super) fn credential_in(authenticator_data: &[u8]) -> Option<Option<[&[u8]; 3]>> {
    let data = AuthData::parse(authenticator_data).ok()?;
    Some(data.attested.map(|new| [new.aaguid, new.credential_id, new.public_key]))
}
