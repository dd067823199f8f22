//! A certificate authority for one test, and the edge's certificate from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// The authority, with the edge's certificate and key as files.
pub(crate) struct Ca {
    root: CertificateDer<'static>,
    spki: String,
    pub(crate) root_file: PathBuf,
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Ca {
    /// Makes an authority in `folder` and has it certify the deployer and all tunnels of `base`.
    pub(crate) fn for_edge(base: &str, folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Patapim test authority");
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");

        let names = vec![format!("deployer.{base}"), format!("*.tunnel.{base}")];
        let key = KeyPair::generate().expect("a key");
        let leaf =
            CertificateParams::new(names).expect("names").signed_by(&key, &root).expect("a certificate");

        let file = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a file in the test's folder");
            restrict(&path);
            path
        };
        Self {
            spki: STANDARD.encode(digest(&SHA256, &key.subject_public_key_info())),
            root_file: file("root.pem", root.pem()),
            cert_file: file("edge.pem", leaf.pem() + &root.pem()),
            key_file: file("edge.key", key.serialize_pem()),
            root: root.der().clone(),
        }
    }

    /// SHA-256 of the edge's public key, as Chromium's `--ignore-certificate-errors-spki-list` wants it.
    pub(crate) fn spki(&self) -> &str {
        &self.spki
    }

    /// TLS as a browser speaks it that trusts this authority alone.
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).expect("the test's root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Keys that others may read are refused by the edge.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("the test's own file");
}
