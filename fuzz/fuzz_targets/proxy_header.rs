//! What a balancer says before all else: one header is taken, to its last byte and no further, and it says what its bytes say.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use patapim_edge::edge::fuzzing::proxied;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

// Whatever comes on a connection; and two addresses with what follows their header.
fuzz_target!(|data: &[u8]| {
    any(data);
    any(&[b"PROXY ", data].concat());
    any(&[SIGNATURE, data].concat());
    if let Some((addresses, after)) = data.split_first_chunk::<36>() {
        said(addresses, after);
    }
});

fn any(data: &[u8]) {
    let Some((address, left)) = proxied(data) else { return };
    let (header, after) = data.split_at(data.len() - left.len());
    assert_eq!(after, left, "what follows is as it was");
    assert_eq!(proxied(header), Some((address, &[][..])), "what follows is not looked at");
    assert_eq!(proxied(&header[..header.len() - 1]), None, "nothing of it can be missing");
    match header.strip_prefix(SIGNATURE) {
        Some(rest) => {
            let [command, family, high, low, rest @ ..] = rest else { panic!("too short: {header:?}") };
            assert_eq!(usize::from(u16::from_be_bytes([*high, *low])), rest.len());
            let named: Option<(IpAddr, u16)> = match (command, family) {
                (0x21, 0x11) => {
                    Some((Ipv4Addr::from(first::<4>(rest)).into(), u16::from_be_bytes(first(&rest[8..]))))
                }
                (0x21, 0x21) => {
                    Some((Ipv6Addr::from(first::<16>(rest)).into(), u16::from_be_bytes(first(&rest[32..]))))
                }
                _ => None,
            };
            assert_eq!(address, named.map(SocketAddr::from), "{header:?}");
        }
        None => {
            let line = std::str::from_utf8(header).expect("text");
            let words =
                line.strip_prefix("PROXY ").and_then(|line| line.strip_suffix("\r\n")).expect("a line");
            assert!(line.len() <= 107 && !words.contains(['\r', '\n']), "{line:?}");
            let words: Vec<_> = words.split(' ').collect();
            match (address, &words[..]) {
                (None, ["UNKNOWN", ..]) => {}
                (Some(SocketAddr::V4(from)), ["TCP4", ip, _, port, _]) => {
                    assert_eq!(
                        (from.ip().to_string(), from.port().to_string()),
                        (ip.to_string(), port.to_string())
                    );
                }
                (Some(SocketAddr::V6(from)), ["TCP6", ip, _, port, _]) => {
                    assert_eq!((ip.parse(), from.port().to_string()), (Ok(*from.ip()), port.to_string()));
                }
                _ => panic!("{line:?} is not {address:?}"),
            }
        }
    }
}

/// A header that is as it should be is understood, whatever it names and whatever comes after it.
fn said(addresses: &[u8; 36], after: &[u8]) {
    let port = u16::from_be_bytes(first(&addresses[32..]));
    let four = SocketAddr::from((first::<4>(addresses), port));
    let six = SocketAddr::from((first::<16>(addresses), port));
    let more = &after[..after.len().min(usize::from(addresses[35]))];
    let binary = |family, named: &[u8]| {
        let length = u16::try_from(named.len() + more.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[0x21, family], &length, named, more].concat()
    };
    let line = |family, to| {
        format!("PROXY {family} {} {to} {port} 443\r\n", if family == "TCP4" { four.ip() } else { six.ip() })
    };
    let in_four = [&addresses[..8], &addresses[32..36]].concat();
    for (header, wanted) in [
        (line("TCP4", "10.0.0.1").into_bytes(), four),
        (line("TCP6", "::1").into_bytes(), six),
        (binary(0x11, &in_four), four),
        (binary(0x21, addresses), six),
    ] {
        assert_eq!(proxied(&[&header, after].concat()), Some((Some(wanted), after)), "{header:?}");
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("long enough")
}
