//! Whose site a request is for, judged by its host and by nothing else that it says.

use http::header::HOST;
use pingora::http::RequestHeader;

use super::life::Connection;
use crate::names::{PublicHosts, Scheme, Site};

/// The site that `request`, come over `connection`, is for. Unknown: a host that is not ours, is missing, is malformed,
/// has another port, or is not the one that the TLS handshake was for.
pub(super) fn site_of(hosts: &PublicHosts, request: &RequestHeader, connection: &Connection) -> Site {
    // In the demo browsers come in plain http, and what comes through TLS is its agent, at a port of its own.
    let any_port = hosts.scheme() == Scheme::Http && connection.server_name.is_some();
    let Some((host, port)) = host_of(request) else { return Site::Unknown };
    // A number, and not what else passes for one.
    let number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
    if port.is_some_and(|port| number(port) != Some(hosts.port()) && !any_port) {
        return Site::Unknown;
    }
    let same = |name: &String| name.eq_ignore_ascii_case(host);
    // A browser reuses one connection for all hosts of a certificate; it takes the 421 and opens another.
    if connection.server_name.as_ref().is_some_and(|name| !same(name)) {
        return Site::Unknown;
    }
    hosts.site(host)
}

/// The host and its port. Behind a forwarded port the browser's own is the public one.
fn host_of(request: &RequestHeader) -> Option<(&str, Option<&str>)> {
    let authority = authority_of(request)?;
    Some(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

/// HTTP/2 has it in the target; Pingora has seen to it that no two are named.
fn authority_of(request: &RequestHeader) -> Option<&str> {
    if let Some(authority) = request.uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::edge::test_listener::hosts;
    use crate::names::TunnelId;

    fn site(host: Option<&str>, server_name: Option<&str>) -> Site {
        let mut request = RequestHeader::build("GET", b"/", None).expect("a request");
        if let Some(host) = host {
            request.insert_header(HOST, host).expect("a host");
        }
        let connection = Connection {
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            server_name: server_name.map(str::to_owned),
            course: Default::default(),
            limits: Default::default(),
        };
        site_of(&hosts(), &request, &connection)
    }

    #[test]
    fn the_host_decides() {
        let tunnel = Site::Tunnel(TunnelId::parse("ada-abc234").expect("a label"));
        assert_eq!(site(Some("Ada-abc234.tunnel.patapim.test"), None), tunnel);
        assert_eq!(site(Some("ada-abc234.tunnel.patapim.test:443"), None), tunnel);
        assert_eq!(site(Some("deployer.patapim.test"), Some("deployer.patapim.test")), Site::Deployer);
        for host in [
            None,
            Some(""),
            Some("deployer.patapim.test:8443"),
            Some("deployer.patapim.test:"),
            Some("deployer.patapim.test:+443"),
            Some("deployer.patapim.test:443:443"),
            Some("u@deployer.patapim.test"),
            Some("evil.test"),
            Some("deployer.patapim.test."),
            Some("[::1]:443"),
        ] {
            assert_eq!(site(host, None), Site::Unknown, "{host:?}");
        }
    }

    #[test]
    fn a_host_other_than_the_handshakes_is_unknown() {
        assert_eq!(site(Some("deployer.patapim.test"), Some("ada.tunnel.patapim.test")), Site::Unknown);
    }
}
