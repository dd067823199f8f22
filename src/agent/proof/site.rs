//! Where this desktop's people sign in.

use serde::{Deserialize, Serialize};

use super::{CoseKey, ProofFault};
use crate::proof::Assertion;
use crate::proof::authenticator_data::{ATTESTED, AuthenticatorDataFault, EXTENDED, Header};
use crate::proof::client_data::{ClientData, Kind};
use crate::secret::sha256;

/// The sign-in site, as it was when the desktop was linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInSite {
    /// Its origin, as browsers spell it.
    pub origin: String,
    /// What its passkeys are made for.
    pub rp_id: String,
}

impl SignInSite {
    /// The one at `origin`, whose passkeys are made for its own host.
    pub fn of(origin: &str) -> Self {
        Self { origin: origin.to_owned(), rp_id: host_of(origin).to_owned() }
    }

    /// The one at `origin`, whose passkeys are made for `rp_id`; `None` where no browser would make them there: an RP ID is the
    /// page's host, or a domain above it (WebAuthn Level 3 §5.1.3).
    pub fn with_rp_id(origin: &str, rp_id: &str) -> Option<Self> {
        let host = host_of(origin);
        let above =
            || host.strip_suffix(rp_id).is_some_and(|below| below.ends_with('.')) && rp_id.contains('.');
        (host == rp_id || above()).then(|| Self { rp_id: rp_id.to_owned(), ..Self::of(origin) })
    }

    /// Whether the passkey with the public key `key` (COSE) was used here, by a person who was there and verified. Whether
    /// for the right challenge is for the caller to have seen, in `said`, the assertion's client data.
    pub(super) fn check(
        &self,
        assertion: &Assertion,
        said: &ClientData,
        key: &[u8],
    ) -> Result<(), ProofFault> {
        said.check(Kind::Get, &self.origin).map_err(ProofFault::ClientData)?;
        let (header, rest) =
            Header::split(assertion.authenticator_data.as_bytes()).map_err(ProofFault::AuthenticatorData)?;
        header.check(&sha256(&self.rp_id)).map_err(ProofFault::AuthenticatorData)?;
        // What an extension says is under the signature, and nobody asks for it.
        if !rest.is_empty() && !header.has(ATTESTED | EXTENDED) {
            return Err(ProofFault::AuthenticatorData(AuthenticatorDataFault::Unreadable));
        }
        let key = CoseKey::parse(key).ok_or(ProofFault::Key)?;
        let signed = key.has_signed(&assertion.signed(), assertion.signature.as_bytes());
        if signed { Ok(()) } else { Err(ProofFault::Signature) }
    }
}

fn host_of(origin: &str) -> &str {
    let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_made_for_the_sites_own_host_or_a_domain_above_it() {
        let origin = "https://deployer.patapim.test:8443";
        let site = |rp_id| SignInSite::with_rp_id(origin, rp_id).map(|site| site.rp_id);
        for good in ["deployer.patapim.test", "patapim.test"] {
            assert_eq!(site(good).as_deref(), Some(good));
        }
        for bad in
            ["", "test", "evil.test", "atapim.test", ".patapim.test", "a.deployer.patapim.test", "8443"]
        {
            assert_eq!(site(bad), None, "{bad:?}");
        }
        assert_eq!(SignInSite::of(origin).rp_id, "deployer.patapim.test");
        assert_eq!(SignInSite::of("http://d.test").rp_id, "d.test");
    }
}
