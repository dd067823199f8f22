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
use crate::clock::{Clock, Timestamp};
use crate::names::{PublicHosts, TunnelId};

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    #[error("{file}: the certificate does not cover {}; it names {}", listed(missing), listed(named))]
    Uncovered {
        /// The chain.
        file: PathBuf,
        /// The names that it must have and has not, as a certificate writes them.
        missing: Vec<String>,
        /// The names that it has.
        named: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(" and ") }
}

/// Browsers and agents refuse the certificate in use, because of the date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfTime {
    /// It was good until then.
    #[error("the certificate expired at {}: browsers and agents refuse it; renew it and send SIGHUP, or check this machine's clock", .0.rfc3339())]
    Expired(Timestamp),
    /// It will be good from then on.
    #[error("the certificate is not valid before {}: check this machine's clock, then the certificate", .0.rfc3339())]
    NotYet(Timestamp),
}

/// The certificate in use. Connections keep the one they began with.
#[derive(Debug)]
pub struct CertificateStore {
    covered: [Covered; 2],
    current: ArcSwap<Loaded>,
}

/// A kind of host that the certificate must cover.
#[derive(Debug)]
struct Covered {
    /// One of that kind.
    host: String,
    /// As a certificate writes it.
    written: String,
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
        const NOBODYS: &str = "0-any-tunnel";
        let deployer = hosts.deployer_host();
        let tunnel = TunnelId::parse(NOBODYS).map(|tunnel| hosts.tunnel_host(&tunnel)).unwrap_or_default();
        let covered = [
            Covered { host: deployer.to_owned(), written: deployer.to_owned() },
            Covered { written: tunnel.replacen(NOBODYS, "*", 1), host: tunnel },
        ];
        let current = ArcSwap::from_pointee(load(&files, &covered)?);
        Ok(Arc::new(Self { covered, current }))
    }

    /// Reads `files`, which may be others than before. On error the certificate in use stays.
    pub fn reload(&self, files: &CertificateFiles) -> Result<(), CertificateError> {
        self.current.store(Arc::new(load(files, &self.covered)?));
        Ok(())
    }

    /// Until when the certificate in use is good.
    pub fn expires_at(&self) -> Timestamp {
        self.current.load().dates.not_after
    }

    /// Says so where the certificate in use is out of its time. It is served all the same: a server that is up takes the
    /// next one by itself, and one that refused to start would have to be started again by hand.
    pub(super) fn report_dates(&self, clock: &dyn Clock) {
        if let Err(out_of_time) = self.in_time(clock.now()) {
            tracing::error!("{out_of_time}");
        }
    }

    /// Whether the certificate in use is in its time.
    pub fn in_time(&self, now: Timestamp) -> Result<(), OutOfTime> {
        let Dates { not_before, not_after } = self.current.load().dates;
        if now < not_before {
            return Err(OutOfTime::NotYet(not_before));
        }
        if now >= not_after {
            return Err(OutOfTime::Expired(not_after));
        }
        Ok(())
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One certificate for every name; a name that is not ours gets its 421 above TLS, where it can be read.
        Some(Arc::clone(&self.current.load().key))
    }
}

fn load(files: &CertificateFiles, covered: &[Covered]) -> Result<Loaded, CertificateError> {
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
    let mut missing = Vec::new();
    for Covered { host, written } in covered {
        let name = ServerName::try_from(host.as_str()).map_err(|error| unfit(error.to_string()))?;
        if parsed.verify_is_valid_for_subject_name(&name).is_err() {
            missing.push(written.clone());
        }
    }
    if !missing.is_empty() {
        let named = parsed.valid_dns_names().map(str::to_owned).collect();
        return Err(CertificateError::Uncovered { file: files.cert.clone(), missing, named });
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

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    const NAMES: &[&str] = &["deployer.patapim.test", "*.tunnel.patapim.test"];

    #[test]
    fn a_certificate_that_covers_both_kinds_of_host_is_taken() {
        let written = test_certificate::write(NAMES);
        let store = CertificateStore::open(files(&written), &hosts()).expect("usable");
        assert_eq!(store.in_time(Timestamp::from_secs(1_790_000_000)), Ok(()));
        assert!(matches!(store.in_time(Timestamp::from_secs(0)), Err(OutOfTime::NotYet(_))));
        assert_eq!(store.in_time(store.expires_at()), Err(OutOfTime::Expired(store.expires_at())));
    }

    #[test]
    fn a_certificate_that_misses_a_name_or_its_key_is_refused_with_the_name() {
        for (names, wanted) in [
            (&["deployer.patapim.test"][..], &NAMES[1..]),
            (&["*.tunnel.patapim.test"], &NAMES[..1]),
            (&["patapim.test", "*.patapim.test"], &NAMES[1..]),
            (&["other.test"], NAMES),
        ] {
            let written = test_certificate::write(names);
            let error = CertificateStore::open(files(&written), &hosts()).expect_err("a name is missing");
            let CertificateError::Uncovered { missing, named, .. } = error else { panic!("{error}") };
            assert_eq!((missing, named), (owned(wanted), owned(names)));
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
        assert!(matches!(
            store.reload(&files(&written)),
            Err(CertificateError::Empty(_) | CertificateError::File { .. })
        ));
        assert!(Arc::ptr_eq(&before, &store.current.load().key));

        let renewed = test_certificate::write(NAMES);
        std::fs::copy(&renewed.cert, &written.cert).expect("copied");
        std::fs::copy(&renewed.key, &written.key).expect("copied");
        store.reload(&files(&written)).expect("usable");
        assert!(!Arc::ptr_eq(&before, &store.current.load().key));
    }
}
