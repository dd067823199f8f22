//! The files that a configuration names: are they there, are they what they should be, who may read them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::fault::{Complaint, Place, complaint};
use super::section::Findings;
use crate::edge::{CertificateStore, Settings};
use crate::names::{PublicHosts, Scheme};

/// What is wrong with a certificate as a whole, where its files are good one by one.
const MEND_CERTIFICATE: &str =
    "name the certificate that covers the sign-in site and the tunnels, and its own key";

/// A file that the configuration names.
pub(super) struct Named {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    pub(super) place: Place,
}

/// What a file is for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Certificate,
    PrivateKey,
    Password,
    MailCa,
    DataDir,
}

impl Kind {
    const fn key(self) -> &'static str {
        match self {
            Self::Certificate => "tls.cert",
            Self::PrivateKey => "tls.key",
            Self::Password => "mail.password_file",
            Self::MailCa => "mail.ca",
            Self::DataDir => "data_dir",
        }
    }
}

impl Findings {
    /// Looks at every file and notes what is wrong with it.
    pub(super) fn files(&self, named: &[Named]) {
        for Named { kind, path, place } in named {
            let judged = match kind {
                Kind::Certificate | Kind::MailCa => certificate(path),
                Kind::PrivateKey => private_key(path),
                Kind::Password => read(path, "the password").and_then(|_| not_for_all(path, 0o077)),
                Kind::DataDir => folder(path),
            };
            if let Err(Complaint { wrong, mend }) = judged {
                self.fault(place, kind.key().to_owned(), wrong, mend);
            }
            if let (Kind::DataDir, Some(Complaint { wrong, mend })) = (kind, open_to_others(path)) {
                self.warning(place, kind.key().to_owned(), wrong, mend);
            }
        }
    }
}

impl Findings {
    /// Looks at certificate and key together, unless one of them is known to be no good.
    pub(super) fn certificate(&self, settings: &Settings, named: &[Named]) {
        let key = Kind::Certificate.key();
        let place = named.iter().find(|file| matches!(file.kind, Kind::Certificate)).map(|file| &file.place);
        let (Some(place), false) = (place, self.has_faults_in("tls.")) else { return };
        let Settings { base, deployer_label, .. } = settings;
        let hosts = PublicHosts::new(Scheme::Https, base.clone(), deployer_label, 443);
        let opened = hosts.map(|hosts| CertificateStore::open(settings.tls.clone(), &hosts));
        if let Ok(Err(error)) = opened {
            self.fault(place, key.to_owned(), error.to_string(), MEND_CERTIFICATE.to_owned());
        }
    }
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>, Complaint> {
    std::fs::read(file).map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "let the user who runs this program read it",
            _ => "write the path of an existing file; a relative one begins at this configuration's folder",
        };
        complaint(format!("{what} cannot be read from {}: {error}", file.display()), mend)
    })
}

fn certificate(file: &Path) -> Result<(), Complaint> {
    let text = read(file, "the certificate")?;
    match CertificateDer::pem_slice_iter(&text).next() {
        Some(Ok(_)) => Ok(()),
        _ => Err(complaint(
            format!("{} has no certificate in it", file.display()),
            "name the PEM file with the certificate and its chain, often fullchain.pem",
        )),
    }
}

fn private_key(file: &Path) -> Result<(), Complaint> {
    let text = zeroize::Zeroizing::new(read(file, "the private key")?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        complaint(
            format!("{} has no private key in it", file.display()),
            "name the PEM file with the private key, without a pass phrase, often privkey.pem",
        )
    })?;
    not_for_all(file, 0o007)
}

/// Refuses a secret that more people may read than `forbidden` leaves over.
fn not_for_all(file: &Path, forbidden: u32) -> Result<(), Complaint> {
    let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(complaint(
        format!("{} may be read by others (mode {:o})", file.display(), mode & 0o777),
        format!("run: chmod o-rwx{} {}", if forbidden == 0o077 { ",g-rwx" } else { "" }, file.display()),
    ))
}

/// A folder that is not there yet is made at start.
fn folder(path: &Path) -> Result<(), Complaint> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            let mend = "name a folder that only this server uses";
            Err(complaint(format!("{} is not a folder", path.display()), mend))
        }
        _ => Ok(()),
    }
}

fn open_to_others(path: &Path) -> Option<Complaint> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    let mode = metadata.permissions().mode() & 0o777;
    let wrong = || format!("others may look into {} (mode {mode:o})", path.display());
    (mode & 0o077 != 0).then(|| complaint(wrong(), format!("run: chmod 700 {}", path.display())))
}
