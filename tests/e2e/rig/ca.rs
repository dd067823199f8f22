//! A certificate authority for one test, and the edge's certificate from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

use super::edge::deployer_label;

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
    root: CertifiedIssuer<'static, KeyPair>,
    names: Vec<String>,
    key: KeyPair,
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
        let at = |name: &str| folder.join(name);
        let ca = Self {
            root_file: at("root.pem"),
            cert_file: at("edge.pem"),
            key_file: at("edge.key"),
            names: names_under(base),
            key: KeyPair::generate().expect("a key"),
            root,
        };
        replace(&ca.root_file, &ca.root.pem());
        replace(&ca.key_file, &ca.key.serialize_pem());
        ca.certify(base, Dates::Always);
        ca
    }

    /// Gives the edge's key another certificate, for the names under `base`.
    pub(crate) fn certify(&self, base: &str, dates: Dates) {
        replace(&self.cert_file, &self.leaf(names_under(base), dates, &self.key).0);
    }

    /// A certificate of the same names for another key. The files stay as they are.
    pub(crate) fn renewed(&self) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let (chain, der) = self.leaf(self.names.clone(), Dates::Always, &key);
        Leaf { chain, key: key.serialize_pem(), der }
    }

    fn leaf(&self, names: Vec<String>, dates: Dates, key: &KeyPair) -> (String, CertificateDer<'static>) {
        let mut params = CertificateParams::new(names).expect("names");
        if let Dates::Hours(from, until) = dates {
            let now = time::OffsetDateTime::now_utc();
            params.not_before = now + time::Duration::hours(from);
            params.not_after = now + time::Duration::hours(until);
        }
        let leaf = params.signed_by(key, &self.root).expect("a certificate");
        (leaf.pem() + &self.root.pem(), leaf.der().clone())
    }

    /// SHA-256 of the edge's public key, as Chromium's `--ignore-certificate-errors-spki-list` wants it.
    pub(crate) fn spki(&self) -> String {
        STANDARD.encode(digest(&SHA256, &self.key.subject_public_key_info()))
    }

    /// TLS as a browser speaks it that trusts this authority alone.
    pub(crate) fn client(&self, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("the test's root");
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

/// A certificate of the edge's, and its key.
pub(crate) struct Leaf {
    /// The certificate and its issuer's, PEM.
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

fn names_under(base: &str) -> Vec<String> {
    vec![format!("{}.{base}", deployer_label(base)), format!("*.tunnel.{base}")]
}

/// Puts `text` at `path` in one step, as what renews certificates does; nobody else may read it, or the edge refuses it.
pub(crate) fn replace(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("a file in the test's folder");
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).expect("the test's own file");
    std::fs::rename(&beside, path).expect("in the same folder");
}
