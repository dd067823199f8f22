//! A certificate authority for one test, and the edge's certificate from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dates {
    /// As long as there are dates.
    Always,
    /// So many hours from now, and until so many.
    Hours(i64, i64),
}

/// The authority, with the edge's certificate and key as files.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    key: KeyPair,
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

        let key = KeyPair::generate().expect("a key");
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a file in the test's folder");
            restrict(&path);
            path
        };
        let ca = Self {
            spki: STANDARD.encode(digest(&SHA256, &key.subject_public_key_info())),
            root_file: file("root.pem", root.pem()),
            cert_file: file("edge.pem", String::new()),
            key_file: file("edge.key", key.serialize_pem()),
            root: root.der().clone(),
            key,
            issuer: root,
        };
        ca.certify(base, Dates::Always);
        ca
    }

    /// Gives the edge's key another certificate, for the names under `base`.
    pub(crate) fn certify(&self, base: &str, dates: Dates) {
        let names = vec![format!("deployer.{base}"), format!("*.tunnel.{base}")];
        let mut params = CertificateParams::new(names).expect("names");
        if let Dates::Hours(from, until) = dates {
            let now = time::OffsetDateTime::now_utc();
            params.not_before = now + time::Duration::hours(from);
            params.not_after = now + time::Duration::hours(until);
        }
        let leaf = params.signed_by(&self.key, &self.issuer).expect("a certificate");
        // Whole or not at all: a running edge may be reading it.
        let beside = self.cert_file.with_extension("new");
        std::fs::write(&beside, leaf.pem() + &self.issuer.pem()).expect("a file in the test's folder");
        std::fs::rename(&beside, &self.cert_file).expect("a file in the test's folder");
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
