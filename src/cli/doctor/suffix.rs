//! The public-suffix list: below which names do browsers keep sites apart? And the RP ID, which must not be such a name.

use std::collections::BTreeMap;

use super::finding::{Check, Finding};
use crate::names::PublicHosts;

/// Whether strangers may have names right under `domain`, as browsers see it.
fn is_public(domain: &str) -> bool {
    psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == domain)
}

/// What the list says of the base domain and of the tunnels.
pub(super) fn public_suffix(hosts: &PublicHosts) -> Finding {
    let base = hosts.base();
    if is_public(base.as_str()) {
        return Finding::failed(
            Check::PublicSuffix,
            format!(
                "base_domain {base} is a public suffix: to browsers it is nobody's, and what is under it are strangers"
            ),
            "use a domain that was registered, or one under it",
        );
    }
    let tunnels = format!("tunnel.{base}");
    if is_public(&tunnels) {
        return Finding::ok(
            Check::PublicSuffix,
            format!(
                "{tunnels} is on the public-suffix list: browsers too keep each tunnel apart as a site of its own"
            ),
        );
    }
    Finding::ok(
        Check::PublicSuffix,
        format!(
            "{tunnels} is not on the public-suffix list: to browsers all tunnels are one site, and the edge alone keeps them apart; \
             apps behind them should use __Host- cookies, and where people do not trust one another, {tunnels} should be \
             listed (publicsuffix.org)"
        ),
    )
}

/// Whether browsers take the RP ID, and which passkeys it would leave behind: `passkeys` counts them by theirs.
pub(super) fn rp_id(rp_id: &str, passkeys: &BTreeMap<String, usize>) -> Finding {
    if is_public(rp_id) {
        return Finding::failed(
            Check::RpId,
            format!("webauthn.rp_id {rp_id} is a public suffix, which browsers refuse"),
            "leave rp_id out: the sign-in site's own host is the default",
        );
    }
    let others: Vec<_> = passkeys.iter().filter(|(other, _)| *other != rp_id).collect();
    if let [(former, _), ..] = others[..] {
        let count: usize = others.iter().map(|(_, count)| *count).sum();
        return Finding::failed(
            Check::RpId,
            format!(
                "webauthn.rp_id is {rp_id}, and {count} passkeys were made for another ({former}): they would never work again"
            ),
            format!("set rp_id to {former:?}, or have their owners register new ones and remove these first"),
        );
    }
    let count: usize = passkeys.values().sum();
    Finding::ok(Check::RpId, format!("passkeys are made for {rp_id}; {count} are registered, all for it"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Outcome;
    use super::*;
    use crate::names::{BaseDomain, Scheme};

    fn of(base: &str) -> Finding {
        let base = BaseDomain::parse(base).expect("a domain");
        public_suffix(&PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("a label"))
    }

    #[test]
    fn a_public_suffix_is_no_base_domain() {
        for public in ["co.uk", "com", "github.io"] {
            assert_eq!(of(public).result, Outcome::Failed, "{public}");
        }
        for own in ["patapim.ai", "patapim.co.uk", "patapim.test", "patapim.localhost"] {
            let found = of(own);
            assert_eq!(found.result, Outcome::Ok, "{own}");
            assert!(found.finding.contains("is not on the public-suffix list"), "{}", found.finding);
        }
    }

    #[test]
    fn passkeys_for_another_rp_id_are_orphans() {
        let passkeys =
            |of: &[(&str, usize)]| of.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect();
        assert_eq!(rp_id("deployer.patapim.test", &passkeys(&[])).result, Outcome::Ok);
        assert_eq!(
            rp_id("deployer.patapim.test", &passkeys(&[("deployer.patapim.test", 2)])).result,
            Outcome::Ok
        );
        let mixed = passkeys(&[("deployer.patapim.test", 2), ("patapim.test", 3)]);
        let orphans = rp_id("deployer.patapim.test", &mixed);
        assert!(orphans.result == Outcome::Failed && orphans.finding.contains("3 passkeys"), "{orphans:?}");
        assert_eq!(rp_id("co.uk", &passkeys(&[])).result, Outcome::Failed);
    }
}
