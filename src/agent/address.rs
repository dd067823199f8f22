//! Where the edge is: the sign-in site's URL, which agents dial too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use rustls::pki_types::ServerName;

/// The edge's address, read from `https://deployer.patapim.ai`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeAddress {
    host: String,
    port: u16,
    name: ServerName<'static>,
}

/// Not the address of an edge.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the address of an edge: use https://HOST, as the sign-in site shows it")]
pub struct NotAnEdge(String);

impl EdgeAddress {
    /// Reads `https://HOST[:PORT]`.
    pub fn parse(url: &str) -> Result<Self, NotAnEdge> {
        Self::read(url).ok_or_else(|| NotAnEdge(url.to_owned()))
    }

    fn read(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let bare = matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/"));
        if uri.scheme_str() != Some("https") || !bare || url.contains(['@', '#']) {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().len() == authority.host().len() {
            true => 443,
            false => authority.port_u16()?,
        };
        let name =
            ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()?;
        Some(Self { host, port, name })
    }

    /// As browsers write it in `Origin`.
    pub fn origin(&self) -> String {
        match self.port {
            443 => format!("https://{}", self.host),
            port => format!("https://{}:{port}", self.host),
        }
    }

    /// As it stands in a `Host` header.
    pub(super) fn authority(&self) -> String {
        self.origin().split_off("https://".len())
    }

    /// What its certificate must be good for.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// Where to dial. Names under `.localhost` are loopback without asking anybody (RFC 6761 §6.3): not every
    /// system's resolver knows them.
    pub(super) async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        if let ServerName::IpAddress(ip) = &self.name {
            return Ok(vec![SocketAddr::new(IpAddr::from(*ip), self.port)]);
        }
        if self.host == "localhost" || self.host.ends_with(".localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(loopback.map(|ip| SocketAddr::new(ip, self.port)).to_vec());
        }
        Ok(tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect())
    }
}

impl fmt::Display for EdgeAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_an_https_origin() {
        let read = |url| EdgeAddress::parse(url).map(|address| (address.origin(), address.to_string())).ok();
        let found = |origin: &str, dial: &str| Some((origin.to_owned(), dial.to_owned()));
        assert_eq!(
            read("https://Deployer.patapim.test/"),
            found("https://deployer.patapim.test", "deployer.patapim.test:443")
        );
        assert_eq!(read("https://d.test:8443"), found("https://d.test:8443", "d.test:8443"));
        assert_eq!(read("https://[::1]:8443"), found("https://[::1]:8443", "[::1]:8443"));
        for bad in [
            "d.test",
            "http://d.test",
            "https://",
            "https://d.test/auth",
            "https://u@d.test",
            "https://d.test:",
            "https://d.test:0x1",
            "https://d test",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn names_under_localhost_are_loopback() {
        let address = EdgeAddress::parse("https://deployer.patapim.localhost:8443").expect("an address");
        let found = address.resolve().await.expect("resolved");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 8443));
    }
}
