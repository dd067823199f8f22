//! Do the two kinds of name lead here?

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use super::finding::{Check, Finding};
use crate::names::{PublicHosts, TunnelId};

/// A resolver that does not answer is as good as none.
const PATIENCE: Duration = Duration::from_secs(10);

/// The world as far as names go.
pub(super) trait Names {
    /// Where a name leads, or why it leads nowhere.
    fn resolve(&self, host: &str) -> Result<BTreeSet<IpAddr>, String>;
    /// Whether an address is one of this machine.
    fn is_here(&self, address: IpAddr) -> bool;
}

/// The system's resolver and interfaces.
pub(super) struct System;

impl Names for System {
    fn resolve(&self, host: &str) -> Result<BTreeSet<IpAddr>, String> {
        let (answer, answered) = mpsc::channel();
        let name = host.to_owned();
        // It may outlive its patience; nothing waits for it then.
        std::thread::spawn(move || {
            let found = (name.as_str(), 443).to_socket_addrs();
            let _ =
                answer.send(found.map(|found| found.map(|at: SocketAddr| at.ip().to_canonical()).collect()));
        });
        match answered.recv_timeout(PATIENCE) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer in {PATIENCE:?}")),
        }
    }

    /// The kernel lets a socket have an address of this machine, and no other.
    fn is_here(&self, address: IpAddr) -> bool {
        UdpSocket::bind((address, 0)).is_ok()
    }
}

/// Asks for the deployer, and for a label that nobody has, which stands for all tunnels.
pub(super) fn dns(hosts: &PublicHosts, nobodys: &TunnelId, names: &dyn Names) -> Vec<Finding> {
    let base = hosts.base();
    if base.as_str() == "localhost" || base.as_str().ends_with(".localhost") {
        let found =
            format!("names under {base} lead to this machine in browsers and agents, whatever the DNS says");
        return vec![Finding::ok(Check::Dns, found)];
    }
    let (deployer, tunnel) = (hosts.deployer_host(), hosts.tunnel_host(nobodys));
    let wildcard = format!("*.tunnel.{base}");
    let (to_deployer, to_tunnel) = (names.resolve(deployer), names.resolve(&tunnel));
    let mut findings = vec![judged(deployer, &to_deployer, names), judged(&wildcard, &to_tunnel, names)];
    if let (Ok(one), Ok(other)) = (to_deployer, to_tunnel)
        && one.is_disjoint(&other)
    {
        findings.push(Finding::warning(
            Check::Dns,
            format!("{deployer} and {wildcard} lead to different addresses"),
            "give both the same address: one server, and one port, serves them",
        ));
    }
    findings
}

fn judged(name: &str, found: &Result<BTreeSet<IpAddr>, String>, names: &dyn Names) -> Finding {
    let found = match found {
        Ok(found) if !found.is_empty() => found,
        Ok(_) => return nowhere(name, "no address"),
        Err(why) => return nowhere(name, why),
    };
    let listed = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if found.iter().all(IpAddr::is_loopback) {
        let finding = format!("{name} leads to {listed}: this machine finds itself, and nobody else does");
        return Finding::warning(
            Check::Dns,
            finding,
            "give the name a public address in the DNS, not in /etc/hosts",
        );
    }
    let elsewhere: Vec<_> = found.iter().filter(|address| !names.is_here(**address)).collect();
    if elsewhere.is_empty() {
        return Finding::ok(Check::Dns, format!("{name} leads here: {listed}"));
    }
    Finding::warning(
        Check::Dns,
        format!("{name} leads to {listed}, not all of which are addresses of this machine"),
        "fine behind a port forward, a load balancer or a cloud's address translation; else correct the DNS record",
    )
}

fn nowhere(name: &str, why: &str) -> Finding {
    let mend = format!("add an A (and AAAA) record for {name} with this server's public address");
    Finding::failed(Check::Dns, format!("{name} leads nowhere: {why}"), mend)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::finding::Outcome;
    use super::*;
    use crate::names::{BaseDomain, Scheme};

    /// Names and where they lead; addresses that begin with 10 are here.
    struct Made(HashMap<&'static str, &'static str>);

    impl Names for Made {
        fn resolve(&self, host: &str) -> Result<BTreeSet<IpAddr>, String> {
            let found = self.0.get(host).ok_or("no such name")?;
            Ok(found.split(' ').map(|address| address.parse().expect("an address")).collect())
        }

        fn is_here(&self, address: IpAddr) -> bool {
            address.to_string().starts_with("10.")
        }
    }

    fn found(base: &str, names: &[(&'static str, &'static str)]) -> Vec<Outcome> {
        let base = BaseDomain::parse(base).expect("a domain");
        let hosts = PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("a label");
        let nobodys = TunnelId::parse("x").expect("a label");
        let findings = dns(&hosts, &nobodys, &Made(names.iter().copied().collect()));
        findings.iter().map(|finding| finding.result).collect()
    }

    const DEPLOYER: &str = "deployer.patapim.test";
    const TUNNEL: &str = "x.tunnel.patapim.test";

    #[test]
    fn both_names_must_lead_somewhere_and_should_lead_here() {
        use Outcome::{Failed, Ok, Warning};
        let found = |names: &[_]| found("patapim.test", names);
        assert_eq!(found(&[(DEPLOYER, "10.0.0.1"), (TUNNEL, "10.0.0.1 10.0.0.2")]), [Ok, Ok]);
        assert_eq!(found(&[(DEPLOYER, "10.0.0.1")]), [Ok, Failed]);
        assert_eq!(found(&[(TUNNEL, "10.0.0.1")]), [Failed, Ok]);
        assert_eq!(found(&[(DEPLOYER, "10.0.0.1"), (TUNNEL, "192.0.2.1")]), [Ok, Warning, Warning]);
        assert_eq!(found(&[(DEPLOYER, "127.0.0.1"), (TUNNEL, "127.0.0.1")]), [Warning, Warning]);
    }

    #[test]
    fn localhost_needs_no_dns() {
        assert_eq!(found("patapim.localhost", &[]), [Outcome::Ok]);
    }

    #[test]
    fn the_system_tells_its_own_addresses_from_others() {
        assert!(System.is_here(IpAddr::from([127, 0, 0, 1])));
        assert!(!System.is_here(IpAddr::from([192, 0, 2, 1])));
    }
}
