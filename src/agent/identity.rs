//! Who this desktop is: its key, and the one link it has.

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::address::EdgeAddress;
use super::home::{Home, HomeError};
use super::proof::{Judge, SignInSite};
use crate::names::TunnelId;
use crate::wire::SpkiPin;

const FILE: &str = "link.json";

/// The key that this desktop proves itself with: P-256, made here, never leaving the folder.
pub struct DesktopKey(KeyPair);

/// A key cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("the desktop's key cannot be used: {0}")]
pub struct KeyError(#[from] rcgen::Error);

impl DesktopKey {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Its SubjectPublicKeyInfo in DER, which the edge is told when linking.
    pub fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// What the edge knows it by.
    pub fn pin(&self) -> SpkiPin {
        SpkiPin::of_spki(&self.public())
    }

    /// A certificate around it. All but the key in it is form: the edge looks at nothing else.
    pub(crate) fn certificate(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "patapim-agent");
        let certificate = params.self_signed(&self.0)?;
        let key = PrivatePkcs8KeyDer::from(self.0.serialize_der());
        Ok((certificate.der().clone(), key.into()))
    }
}

impl std::fmt::Debug for DesktopKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "DesktopKey({})", self.pin().fingerprint())
    }
}

/// A desktop's tie to a tunnel. Key and tie are one file, so that neither is there without the other.
#[derive(Debug)]
pub struct Link {
    /// The edge's sign-in site; agents dial the same host and port.
    pub edge: EdgeAddress,
    /// The tunnel it serves.
    pub tunnel: TunnelId,
    /// The tunnel's owner, by name.
    pub user: String,
    /// Where visitors find the tunnel.
    pub tunnel_url: String,
    /// What the desktop is called.
    pub name: String,
    /// The authorities to trust instead of the system's, in PEM.
    pub ca: Option<String>,
    /// Where its people sign in.
    pub site: SignInSite,
    /// The desktop's key.
    pub key: DesktopKey,
}

/// As it lies in the folder.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    edge: String,
    tunnel: TunnelId,
    user: String,
    tunnel_url: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    /// The site of a link that does not say is its edge's address, and the passkeys are made for its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    site: Option<SignInSite>,
    key: String,
}

/// The folder's link cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Its contents.
    #[error("{file}: {why}; remove the file and link this desktop again")]
    Contents {
        /// Which file.
        file: String,
        /// What about it.
        why: String,
    },
}

impl Link {
    /// The folder's link; `None` when the desktop is not linked.
    pub fn load(home: &Home) -> Result<Option<Self>, LinkError> {
        let Some(stored) = home.read::<Stored>(FILE)? else { return Ok(None) };
        let broken =
            |why: String| LinkError::Contents { file: home.path().join(FILE).display().to_string(), why };
        if stored.version != 1 {
            return Err(broken(format!("it is of version {}, made by a newer agent", stored.version)));
        }
        let edge = EdgeAddress::parse(&stored.edge).map_err(|error| broken(error.to_string()))?;
        Ok(Some(Self {
            site: stored.site.unwrap_or_else(|| SignInSite::of(&edge.origin())),
            edge,
            key: DesktopKey(KeyPair::from_pem(&stored.key).map_err(|error| broken(error.to_string()))?),
            tunnel: stored.tunnel,
            user: stored.user,
            tunnel_url: stored.tunnel_url,
            name: stored.name,
            ca: stored.ca,
        }))
    }

    /// Keeps it in the folder.
    pub fn save(&self, home: &Home) -> Result<(), HomeError> {
        let stored = Stored {
            version: 1,
            edge: self.edge.origin(),
            tunnel: self.tunnel.clone(),
            user: self.user.clone(),
            tunnel_url: self.tunnel_url.clone(),
            name: self.name.clone(),
            ca: self.ca.clone(),
            site: Some(self.site.clone()),
            key: self.key.0.serialize_pem(),
        };
        home.write(FILE, &stored)
    }

    /// What judges the sign-ins that are said to be for it.
    pub fn judge(&self) -> Judge {
        Judge::new(&self.tunnel, &self.site)
    }

    /// Forgets the folder's link, and with it the key.
    pub fn forget(home: &Home) -> Result<(), HomeError> {
        home.remove(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_kept_with_its_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        assert!(Link::load(&home).expect("readable").is_none());
        let key = DesktopKey::generate().expect("a key");
        let pin = key.pin();
        let link = Link {
            edge: EdgeAddress::parse("https://deployer.patapim.test").expect("an address"),
            tunnel: TunnelId::parse("ada-abc234").expect("a label"),
            user: "ada".into(),
            tunnel_url: "https://ada-abc234.tunnel.patapim.test".into(),
            name: "Laptop".into(),
            ca: None,
            site: SignInSite::of("https://deployer.patapim.test"),
            key,
        };
        link.save(&home).expect("saved");
        let loaded = Link::load(&home).expect("readable").expect("there");
        assert_eq!((loaded.key.pin(), loaded.tunnel.as_str()), (pin, "ada-abc234"));
        assert_eq!(loaded.site.rp_id, "deployer.patapim.test");
        let (certificate, _) = loaded.key.certificate().expect("a certificate");
        assert_eq!(SpkiPin::of_certificate(&certificate), Some(pin));
        Link::forget(&home).expect("forgotten");
        assert!(Link::load(&home).expect("readable").is_none());
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let key = DesktopKey::generate().expect("a key");
        let secret = key.0.serialize_pem();
        let body = secret.lines().nth(1).expect("base64");
        assert!(!format!("{key:?}").contains(body));
    }
}
