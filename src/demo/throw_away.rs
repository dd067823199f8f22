//! What the demo throws away when it ends: a folder, and a certificate authority of its own.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::names::PublicHosts;
use crate::secret::{Entropy, random_id};

/// A folder that goes when this is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one in the system's folder for temporary files, for us alone.
    pub(super) fn new(entropy: &dyn Entropy) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("patapim-demo-{}", random_id(entropy)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only we may read, and gives its path.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "the demo's data is not removed");
        }
    }
}

/// A certificate for the names of one edge, and the authority to trust for it; all PEM.
pub(super) struct Identity {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Identity {
    /// Makes an authority, has it sign once, and forgets its key.
    pub(super) fn for_edge(hosts: &PublicHosts) -> Result<Self, rcgen::Error> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "patapim-edge demo");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?;
        let names = vec![hosts.deployer_host().to_owned(), format!("*.tunnel.{}", hosts.base())];
        let key = KeyPair::generate()?;
        let issuer = Issuer::new(authority, authority_key);
        let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        Ok(Self { authority: root.pem(), certificate: leaf.pem(), key: key.serialize_pem() })
    }
}
