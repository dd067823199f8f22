//! The PROXY protocol (HAProxy's, versions 1 and 2): a balancer says who it speaks for, before anything else is said.
//!
//! The two versions differ in their first twelve bytes, and no header is shorter, so exactly a header is read and the
//! bytes after it stay where they are. It is read to the letter: whoever sends something like it is misconfigured, or
//! no balancer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The beginning of version 2, which no other protocol begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1.
const LONGEST_LINE: usize = 107;
/// What may follow in version 2. Its addresses take 36 bytes; balancers add some hundred.
const LONGEST_REST: usize = 4096;

/// Reads a header off `stream`. Gives the address that it is for; none where the balancer speaks for itself, as in its
/// health checks, or does not know.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    let proxied = if first == SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]])).min(LONGEST_REST + 1)];
        stream.read_exact(&mut rest).await?;
        of_binary(head[0], head[1], &rest)
    } else {
        let mut line = first.to_vec();
        while line.last() != Some(&b'\n') && line.len() < LONGEST_LINE && line.starts_with(b"PROXY ") {
            line.push(stream.read_u8().await?);
        }
        of_line(&line)
    };
    proxied.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a malformed PROXY header"))
}

/// Version 1. The outer `None`: malformed.
fn of_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line.contains(['\r', '\n']) {
        return None;
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let [from, to, from_port, to_port] = [words.next()?, words.next()?, words.next()?, words.next()?];
    let from: IpAddr = match family {
        "TCP4" => pair::<Ipv4Addr>(from, to)?.into(),
        "TCP6" => pair::<Ipv6Addr>(from, to)?.into(),
        _ => return None,
    };
    let (from_port, _) = (port(from_port)?, port(to_port)?);
    words.next().is_none().then(|| Some(SocketAddr::new(from, from_port)))
}

fn pair<A: FromStr>(from: &str, to: &str) -> Option<A> {
    to.parse::<A>().ok()?;
    from.parse().ok()
}

/// As it is written and not as it could be: no sign, no leading zero.
fn port(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|port: &u16| port.to_string() == digits)
}

/// Version 2, from the byte after the signature; `rest` is what the length counts.
fn of_binary(version_and_command: u8, family: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    if rest.len() > LONGEST_REST {
        return None;
    }
    match version_and_command {
        // LOCAL: its addresses mean nothing.
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let address = match family {
        // What it does not know, and Unix sockets, are no addresses of ours.
        0x00 | 0x31 => return Some(None),
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *rest.first_chunk::<12>()?;
            SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
        }
        0x21 => {
            let addresses = rest.first_chunk::<36>()?;
            let from = Ipv6Addr::from(*addresses.first_chunk::<16>()?);
            SocketAddr::new(from.into(), u16::from_be_bytes([addresses[32], addresses[33]]))
        }
        _ => return None,
    };
    Some(Some(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a header says, and what is left in the stream after it.
    fn heard(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), io::ErrorKind> {
        let mut stream = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let proxied = runtime.block_on(read(&mut stream)).map_err(|error| error.kind())?;
        Ok((proxied.map(|address| address.to_string()), stream.to_vec()))
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x1f, 0x90, 1, 0xbb];

    #[test]
    fn a_header_says_who_is_spoken_for_and_takes_nothing_of_what_follows() {
        let v6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0, 80, 1, 0xbb]].concat();
        for (header, wanted) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 8080 443\r\n".to_vec(), Some("192.0.2.1:8080")),
            (b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n".to_vec(), Some("[2001:db8::1]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary(0x21, 0x11, &V4), Some("192.0.2.1:8080")),
            (binary(0x21, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat()), Some("192.0.2.1:8080")),
            (binary(0x21, 0x21, &v6), Some("[::1]:80")),
            (binary(0x20, 0x11, &V4), None),
            (binary(0x20, 0, &[]), None),
            (binary(0x21, 0, &[1, 2, 3]), None),
        ] {
            let (said, left) = heard(&[&header[..], b"\x16\x03"].concat()).expect("well-formed");
            assert_eq!((said.as_deref(), &left[..]), (wanted, &b"\x16\x03"[..]), "{header:?}");
        }
    }

    #[test]
    fn what_is_only_like_a_header_is_none() {
        let malformed = Err(io::ErrorKind::InvalidData);
        for line in [
            "PROXY TCP4 192.0.2.1 10.0.0.1 8080\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 8080 443 \r\n",
            "PROXY TCP4  192.0.2.1 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2.1 ::1 8080 443\r\n",
            "PROXY TCP4 192.0.2.01 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 +8080 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 08080 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 8080 65536\r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 8080 443\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 8080 443\n",
            "proxy TCP4 192.0.2.1 10.0.0.1 8080 443\r\n",
            "PROXYxTCP4 192.0.2.1 10.0.0.1 8080 443\r\n",
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\0\0\0",
            &format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE)),
        ] {
            assert_eq!(heard(line.as_bytes()), malformed, "{line:?}");
        }
        for header in [
            binary(0x31, 0x11, &V4),
            binary(0x22, 0x11, &V4),
            binary(0x21, 0x12, &V4),
            binary(0x21, 0x11, &V4[..11]),
            binary(0x21, 0x21, &V4),
            binary(0x21, 0x11, &[0; LONGEST_REST + 1]),
        ] {
            assert_eq!(heard(&header), malformed, "{header:?}");
        }
        assert_eq!(heard(b"PROXY TCP4 192.0.2.1"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(heard(&binary(0x21, 0x11, &V4)[..20]), Err(io::ErrorKind::UnexpectedEof));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), rest in any::<[u8; 40]>()) {
            let _ = heard(&bytes);
            let _ = heard(&[b"PROXY ", &bytes[..]].concat());
            let _ = heard(&binary(rest[0], rest[1], &rest[2..]));
        }
    }
}
