//! The certificate beyond what a start insists on: its time, and the chain that clients need to trust it.

use std::path::Path;
use std::time::Duration;

use super::finding::{Check, Finding};
use crate::clock::Timestamp;
use crate::edge::{Link, certificate_chain};

/// Renewal clients begin a month before the end; whoever has less left has a renewal that does not work.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Looks at a file that is known to hold a usable certificate. `served_until` is the end of the one that a running server
/// holds in memory.
pub(super) fn certificate(file: &Path, now: Timestamp, served_until: Option<&str>) -> Vec<Finding> {
    match certificate_chain(file).as_deref() {
        Some(chain @ [leaf, ..]) => {
            let mut findings = vec![in_time(leaf, now)];
            findings.extend(chain_faults(chain, file, now));
            findings.extend(served_until.and_then(|served| stale(leaf, served)));
            findings
        }
        _ => vec![Finding::warning(
            Check::Certificate,
            format!("a certificate of the chain in {} cannot be read", file.display()),
            "leave in it only the certificate and the intermediates that your authority gave you",
        )],
    }
}

fn in_time(leaf: &Link, now: Timestamp) -> Finding {
    let until = leaf.until.rfc3339();
    if now < leaf.from {
        let finding = format!("the certificate is not valid before {}", leaf.from.rfc3339());
        return Finding::failed(
            Check::Certificate,
            finding,
            "check this machine's clock, then the certificate",
        );
    }
    if now >= leaf.until {
        let finding = format!("the certificate expired at {until}: browsers and agents refuse it");
        return Finding::failed(Check::Certificate, finding, "renew it");
    }
    let left = leaf.until.since(now);
    let days = left.as_secs() / (24 * 3600);
    if left < SOON {
        let finding = format!("the certificate ends in {days} days, at {until}");
        return Finding::warning(
            Check::Certificate,
            finding,
            "renew it, and see why that did not happen by itself",
        );
    }
    Finding::ok(
        Check::Certificate,
        format!("covers both names, its key fits, and it is good until {until}, for {days} days"),
    )
}

fn chain_faults(chain: &[Link], file: &Path, now: Timestamp) -> Option<Finding> {
    let file = file.display();
    if chain[0].is_self_signed() {
        return Some(Finding::warning(
            Check::Certificate,
            "the certificate vouches for itself: browsers warn of it, and agents need it as --ca",
            "have one issued by an authority that browsers know",
        ));
    }
    if chain.len() == 1 {
        return Some(Finding::warning(
            Check::Certificate,
            format!(
                "{file} holds the certificate alone: who does not know its issuer already cannot trust it"
            ),
            "name the file with the whole chain, often fullchain.pem",
        ));
    }
    let out_of_order = (1..chain.len()).find(|&next| !chain[next - 1].is_issued_by(&chain[next]));
    if let Some(next) = out_of_order {
        return Some(Finding::failed(
            Check::Certificate,
            format!("in {file}, certificate {} did not issue the one before it", next + 1),
            "put the server's own certificate first, and after each the one that issued it",
        ));
    }
    let expired = chain.iter().skip(1).position(|link| now >= link.until);
    expired.map(|at| {
        Finding::failed(
            Check::Certificate,
            format!("in {file}, certificate {} has expired", at + 2),
            "get the present intermediates from your authority; a renewal brings them",
        )
    })
}

fn stale(leaf: &Link, served: &str) -> Option<Finding> {
    let written = leaf.until.rfc3339();
    (served != written).then(|| {
        Finding::warning(
            Check::Certificate,
            format!(
                "the running server serves a certificate that ends at {served}; the file's ends at {written}"
            ),
            "have it read the file: kill -HUP, or systemctl reload patapim-edge; its log says if it refuses",
        )
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::super::finding::Outcome::{self, Failed, Ok, Warning};
    use super::*;

    fn params(name: &str, until: i32) -> CertificateParams {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params
    }

    fn authority(name: &str, until: i32) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = params(name, until);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
    }

    fn found(pem: &str, at: &str) -> Vec<Outcome> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chain.pem");
        std::fs::write(&file, pem).expect("written");
        let now = Timestamp::parse_rfc3339(at).expect("a time");
        certificate(&file, now, None).iter().map(|finding| finding.result).collect()
    }

    #[test]
    fn a_chain_is_whole_in_its_order_and_in_its_time() {
        let (root, other) = (authority("root", 2040), authority("other", 2040));
        let old = authority("old", 2030);
        let key = KeyPair::generate().expect("a key");
        let leaf = |issuer| params("a.test", 2035).signed_by(&key, issuer).expect("signed").pem();
        let whole = leaf(&root) + &root.pem();
        assert_eq!(found(&whole, "2030-06-01T00:00:00Z"), [Ok]);
        assert_eq!(found(&whole, "2034-12-25T00:00:00Z"), [Warning]);
        assert_eq!(found(&whole, "2035-01-01T00:00:00Z"), [Failed]);
        assert_eq!(found(&whole, "2019-01-01T00:00:00Z"), [Failed]);
        assert_eq!(found(&leaf(&root), "2030-06-01T00:00:00Z"), [Ok, Warning], "alone");
        assert_eq!(found(&(leaf(&root) + &other.pem()), "2030-06-01T00:00:00Z"), [Ok, Failed], "of another");
        assert_eq!(found(&(leaf(&old) + &old.pem()), "2030-06-01T00:00:00Z"), [Ok, Failed], "expired");
        let own = params("a.test", 2035).self_signed(&key).expect("signed").pem();
        assert_eq!(found(&own, "2030-06-01T00:00:00Z"), [Ok, Warning]);
    }

    #[test]
    fn a_server_that_has_not_read_the_renewed_file_is_noticed() {
        let root = authority("root", 2040);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chain.pem");
        std::fs::write(&file, root.pem()).expect("written");
        let now = Timestamp::from_secs(1_790_000_000);
        let count = |served| certificate(&file, now, Some(served)).len();
        assert_eq!(count("2039-01-01T00:00:00Z"), count("2040-01-01T00:00:00Z") + 1);
    }
}
