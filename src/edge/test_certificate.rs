//! Certificates for tests, made on the spot.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;

/// A self-signed certificate on disk, gone when dropped.
pub(super) struct Written {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) der: CertificateDer<'static>,
    _dir: tempfile::TempDir,
}

/// Makes one that covers `names`.
pub(super) fn write(names: &[&str]) -> Written {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    Written { cert, key, der: made.cert.der().clone(), _dir: dir }
}
