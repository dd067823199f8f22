//! The edge's certificate: read, checked, swapped while running; and how visitors shake hands with it. (How agents do is
//! told in [`crate::tunnel::client_cert`]: only they are asked for a certificate, since a browser would prompt.)

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use webpki::EndEntityCert;

use super::certificate_dates::Dates;
use crate::clock::Timestamp;
use crate::names::{PublicHosts, TunnelId};

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub cert: PathBuf,
    /// The leaf's private key, PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{file}: {cause}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        cause: String,
    },
    /// The chain holds no certificate.
    #[error("{0}: no certificate in it (PEM, the leaf first)")]
    Empty(PathBuf),
    /// The key is another certificate's.
    #[error("{key} is not the key of the certificate in {cert}: {cause}")]
    KeyMismatch {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls said.
        cause: rustls::Error,
    },
    /// The leaf is not a certificate.
    #[error("{file}: not a certificate for a server: {cause}")]
    Unreadable {
        /// The chain.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The leaf does not cover a name that the edge serves.
    #[error(
        "{file}: the certificate does not cover {name}; it must name both deployer and *.tunnel under the base domain"
    )]
    Uncovered {
        /// The chain.
        file: PathBuf,
        /// The name.
        name: String,
    },
}

/// The certificate in use. Connections keep the one they began with.
#[derive(Debug)]
pub struct CertificateStore {
    files: CertificateFiles,
    /// One host of each kind that the certificate must cover.
    covered: [String; 2],
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    dates: Dates,
}

impl CertificateStore {
    /// Reads and checks the files for `hosts`.
    pub fn open(files: CertificateFiles, hosts: &PublicHosts) -> Result<Arc<Self>, CertificateError> {
        // A wildcard covers any label, so one that nobody has stands for all.
        let any_tunnel =
            TunnelId::parse("0-any-tunnel").map(|tunnel| hosts.tunnel_host(&tunnel)).unwrap_or_default();
        let covered = [hosts.deployer_host().to_owned(), any_tunnel];
        let current = ArcSwap::from_pointee(load(&files, &covered)?);
        Ok(Arc::new(Self { files, covered, current }))
    }

    /// Reads the files again. On error the certificate in use stays.
    pub fn reload(&self) -> Result<(), CertificateError> {
        self.current.store(Arc::new(load(&self.files, &self.covered)?));
        Ok(())
    }

    /// Until when the certificate in use is good.
    pub fn expires_at(&self) -> Timestamp {
        self.current.load().dates.not_after
    }

    /// Whether the certificate in use is in its time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        let dates = self.current.load().dates;
        dates.not_before <= now && now < dates.not_after
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One certificate for every name; a name that is not ours gets its 421 above TLS, where it can be read.
        Some(Arc::clone(&self.current.load().key))
    }
}

fn load(files: &CertificateFiles, covered: &[String]) -> Result<Loaded, CertificateError> {
    let unreadable = |file: &Path, cause: String| CertificateError::File { file: file.to_owned(), cause };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&files.cert, error.to_string()))?;
    let leaf = chain.first().ok_or_else(|| CertificateError::Empty(files.cert.clone()))?.clone();
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable(&files.key, error.to_string()))?;

    let unfit = |cause: String| CertificateError::Unreadable { file: files.cert.clone(), cause };
    let parsed = EndEntityCert::try_from(&leaf).map_err(|error| unfit(error.to_string()))?;
    let dates = Dates::of(&leaf).ok_or_else(|| unfit("its dates cannot be read".to_owned()))?;
    for name in covered {
        let server_name = ServerName::try_from(name.as_str()).map_err(|error| unfit(error.to_string()))?;
        parsed
            .verify_is_valid_for_subject_name(&server_name)
            .map_err(|_| CertificateError::Uncovered { file: files.cert.clone(), name: name.clone() })?;
    }
    let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|cause| {
        CertificateError::KeyMismatch { cert: files.cert.clone(), key: files.key.clone(), cause }
    })?;
    Ok(Loaded { key: Arc::new(key), dates })
}

/// How a visitor's connection is secured: TLS 1.2 and 1.3, tickets, no early data.
pub(super) fn for_visitors(certificates: Arc<CertificateStore>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::test_certificate::{self, Written};
    use crate::names::{BaseDomain, Scheme};

    fn hosts() -> PublicHosts {
        PublicHosts::new(Scheme::Https, BaseDomain::parse("patapim.test").expect("a domain"), "deployer", 443)
            .expect("a label")
    }

    fn files(written: &Written) -> CertificateFiles {
        CertificateFiles { cert: written.cert.clone(), key: written.key.clone() }
    }

    const NAMES: &[&str] = &["deployer.patapim.test", "*.tunnel.patapim.test"];

    #[test]
    fn a_certificate_that_covers_both_kinds_of_host_is_taken() {
        let written = test_certificate::write(NAMES);
        let store = CertificateStore::open(files(&written), &hosts()).expect("usable");
        assert!(store.is_valid_at(Timestamp::from_secs(1_790_000_000)));
        assert!(!store.is_valid_at(Timestamp::from_secs(0)), "before its time");
        assert!(!store.is_valid_at(store.expires_at()));
    }

    #[test]
    fn a_certificate_that_misses_a_name_or_its_key_is_refused_with_the_name() {
        for names in
            [&["deployer.patapim.test"][..], &["*.tunnel.patapim.test"], &["patapim.test", "*.patapim.test"]]
        {
            let written = test_certificate::write(names);
            let error = CertificateStore::open(files(&written), &hosts()).expect_err("a name is missing");
            assert!(matches!(error, CertificateError::Uncovered { .. }), "{error}");
        }
        let (one, other) = (test_certificate::write(NAMES), test_certificate::write(NAMES));
        let mixed = CertificateFiles { cert: one.cert.clone(), key: other.key.clone() };
        let error = CertificateStore::open(mixed, &hosts()).expect_err("not its key");
        assert!(matches!(error, CertificateError::KeyMismatch { .. }), "{error}");
    }

    #[test]
    fn a_bad_new_file_leaves_the_old_certificate_in_use() {
        let written = test_certificate::write(NAMES);
        let store = CertificateStore::open(files(&written), &hosts()).expect("usable");
        let before = Arc::clone(&store.current.load().key);
        std::fs::write(&written.cert, "nothing").expect("written");
        assert!(matches!(store.reload(), Err(CertificateError::Empty(_) | CertificateError::File { .. })));
        assert!(Arc::ptr_eq(&before, &store.current.load().key));

        let renewed = test_certificate::write(NAMES);
        std::fs::copy(&renewed.cert, &written.cert).expect("copied");
        std::fs::copy(&renewed.key, &written.key).expect("copied");
        store.reload().expect("usable");
        assert!(!Arc::ptr_eq(&before, &store.current.load().key));
    }
}
