//! A certificate file as an operator should know it: is it a chain, in its order, and in its time?

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use webpki::EndEntityCert;

use super::certificate_dates::Dates;
use crate::clock::Timestamp;

/// One certificate of the file.
#[derive(Clone, Debug)]
pub struct Link {
    /// From when it is good.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

impl Link {
    /// Whether `next` could have issued it: the names agree.
    pub fn is_issued_by(&self, next: &Self) -> bool {
        self.issuer == next.subject
    }

    /// Whether it vouches for itself.
    pub fn is_self_signed(&self) -> bool {
        self.issuer == self.subject
    }
}

/// The certificates of a PEM file, the leaf first. None if one of them cannot be read.
pub fn certificate_chain(file: &Path) -> Option<Vec<Link>> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).ok()?;
    chain.iter().map(link).collect()
}

fn link(certificate: &CertificateDer<'_>) -> Option<Link> {
    let Dates { not_before, not_after } = Dates::of(certificate)?;
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let (subject, issuer) = (parsed.subject().to_vec(), parsed.issuer().to_vec());
    Some(Link { from: not_before, until: not_after, subject, issuer })
}
