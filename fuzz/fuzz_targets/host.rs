//! Whose site a request is for: the same however the host is said, and never another's than the browser means.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::edge::fuzzing::{Said, site};
use patapim_edge::names::Site;
use patapim_fuzz::{hosts, lines, text};

// The host asked for; the host that hands were shaken for.
fuzz_target!(|data: &str| {
    let [host, server_name] = lines(data.as_bytes()).map(text);
    let server_name = Some(server_name).filter(|name| !name.is_empty());
    let hosts = hosts();
    let in_field = site(&hosts, Said::InHost(host.as_bytes()), server_name);
    if let (Some(field), Some(target)) = (&in_field, site(&hosts, Said::InTarget(host), server_name)) {
        assert_eq!(*field, target, "{host:?} in a target and in a field");
    }

    let Some(found) = in_field else { return };
    let name = match &found {
        Site::Unknown => return,
        Site::Deployer => hosts.deployer_host().to_owned(),
        Site::Tunnel(tunnel) => hosts.tunnel_host(tunnel),
    };
    let said = host.to_ascii_lowercase();
    assert!(
        said == name || said.strip_prefix(&*name).is_some_and(|port| port.parse() == Ok(Port)),
        "{host:?}"
    );
    assert_eq!(hosts.site(&name), found, "the name leads back");
    if let Some(server_name) = server_name {
        assert!(
            server_name.eq_ignore_ascii_case(&name),
            "shaken hands with {server_name:?}, asked for {host:?}"
        );
    }
    let seen = url::Url::parse(&format!("https://{host}/")).expect("a host that browsers take");
    assert_eq!(seen.host_str(), Some(&*name), "what a browser calls {host:?}");
    assert_eq!(site(&hosts, Said::InHost(host.as_bytes()), None), Some(found));
});

/// `:443`, with as many zeros before it as somebody likes.
#[derive(Debug, PartialEq, Eq)]
struct Port;

impl std::str::FromStr for Port {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix(':').ok_or(())?;
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        if digits.trim_start_matches('0') == "443" { Ok(Self) } else { Err(()) }
    }
}
