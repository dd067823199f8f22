//! What may stand between a visitor and the edge, and whose word on a visitor's address is taken: nobody's, unless the
//! operator names them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;

/// Addresses that begin alike, such as `10.0.0.0/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// The address cannot be read.
    #[error("this is neither an address nor a network")]
    Unreadable,
    /// The number after the `/` is not one that there is.
    #[error("the number after the / is not a prefix's length")]
    Prefix,
    /// Bits beyond the prefix: perhaps a slip, so it is not guessed what was meant.
    #[error("the address has bits beyond the prefix")]
    Beyond,
}

impl Network {
    /// Whether `address` is one of these; an IPv4 address is the same through an IPv6 socket.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                u64::from(net.to_bits() ^ address.to_bits()) >> (32 - self.prefix) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let differ = net.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Unreadable)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or(NotANetwork::Prefix)?
            }
            Some(_) => return Err(NotANetwork::Prefix),
        };
        let tail = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        if tail.trailing_zeros() < u32::from(longest - prefix) && tail != 0 {
            return Err(NotANetwork::Beyond);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

/// Those who are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// They begin each connection with the PROXY protocol.
    pub proxy_protocol: Vec<Network>,
    /// They name the visitor in `X-Forwarded-For`.
    pub forwarded_for: Vec<Network>,
}

impl ProxySettings {
    /// Whether connections from `peer` begin with the PROXY protocol.
    pub(super) fn speaks_proxy_protocol(&self, peer: SocketAddr) -> bool {
        is_in(&self.proxy_protocol, peer.ip())
    }

    /// Whether `address` is a proxy's rather than a visitor's: it carries many visitors, and names each.
    pub(super) fn carries_many(&self, address: IpAddr) -> bool {
        is_in(&self.forwarded_for, address)
    }

    /// The visitor's address, for a request with `headers` that came from `from`: from the end of `X-Forwarded-For`, the
    /// first that is no proxy of ours. What stands before that, the visitor may have written.
    pub(super) fn visitor(&self, from: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = from;
        let fields = headers.get_all("x-forwarded-for").iter().rev();
        let mut named = fields.flat_map(|field| field.as_bytes().rsplit(|&byte| byte == b','));
        while self.carries_many(nearest) {
            let Some(address) = named.next().and_then(forwarded_address) else { break };
            nearest = address;
        }
        nearest
    }
}

fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// One entry, as proxies write it: an address, some with a port.
fn forwarded_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_is_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::192.0.2.7"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            let parsed: Network = network.parse().expect(network);
            assert!(parsed.contains(address(inside)) && !parsed.contains(address(outside)), "{network}");
        }
        for (text, printed) in
            [("10.0.0.0/8", "10.0.0.0/8"), ("::1/128", "::1"), ("192.0.2.7/32", "192.0.2.7")]
        {
            assert_eq!(text.parse::<Network>().expect(text).to_string(), printed);
        }
        for (text, wrong) in [
            ("lb.test", NotANetwork::Unreadable),
            ("", NotANetwork::Unreadable),
            ("10.0.0.0/33", NotANetwork::Prefix),
            ("10.0.0.0/+8", NotANetwork::Prefix),
            ("10.0.0.1/8", NotANetwork::Beyond),
            ("2001:db8::1/64", NotANetwork::Beyond),
        ] {
            assert_eq!(text.parse::<Network>(), Err(wrong), "{text}");
        }
    }

    #[test]
    fn the_visitor_is_who_the_last_proxy_of_ours_saw() {
        let networks = |all: &[&str]| all.iter().map(|one| one.parse().expect("a network")).collect();
        let proxies = ProxySettings {
            forwarded_for: networks(&["10.0.0.0/8"]),
            proxy_protocol: networks(&["192.0.2.0/24"]),
        };
        let seen = |from: &str, fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for &field in fields {
                headers.append("x-forwarded-for", http::HeaderValue::from_static(field));
            }
            proxies.visitor(address(from), &headers).to_string()
        };
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, 203.0.113.9"]), "203.0.113.9", "what it wrote itself");
        assert_eq!(
            seen("10.0.0.1", &["1.2.3.4", "[2001:db8::1]:443"]),
            "2001:db8::1",
            "the last line counts"
        );
        assert_eq!(seen("10.0.0.1", &["203.0.113.9:5000"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["nobody"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, nobody, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"]), "192.0.2.1", "nobody believes it");
        assert_eq!(
            ProxySettings::default().visitor(address("10.0.0.1"), &HeaderMap::new()),
            address("10.0.0.1")
        );
    }
}
