//! What each kind of value must look like, and the sentence for when it does not.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::duration;
use super::fault::{Complaint, complaint};
use crate::deployer::mail::{MailServer, MailServerError, Sender};
use crate::edge::Network;
use crate::names::{BaseDomain, TunnelId, UserName};
use crate::secret::SecretText;

const HOUR: Duration = Duration::from_secs(3600);

/// Longer sessions than this would outlive the record of their revocation.
const LONGEST_TOKEN: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn any(text: &str) -> Result<String, Complaint> {
    if text.is_empty() {
        Err(complaint("this is empty", "write a value or remove the key"))
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn base_domain(text: &str) -> Result<BaseDomain, Complaint> {
    const MEND: &str =
        "write the domain that the deployer and the tunnels live under, such as \"patapim.example\"";
    let base = BaseDomain::parse(text).map_err(|error| complaint(error.to_string(), MEND))?;
    if text.parse::<IpAddr>().is_ok() {
        return Err(complaint("an address has no passkeys and no names under it", MEND));
    }
    Ok(base)
}

pub(super) fn label(text: &str) -> Result<String, Complaint> {
    let checked = TunnelId::parse(text)
        .map_err(|error| complaint(error.to_string(), "the usual one is \"deployer\""))?;
    if text == "tunnel" {
        return Err(complaint(
            "the name \"tunnel\" is where the tunnels are",
            "the usual one is \"deployer\"",
        ));
    }
    Ok(checked.as_str().to_owned())
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        complaint(
            format!("{text:?} is not an address with a port"),
            "write one such as \"0.0.0.0:443\", \"[::]:443\" or \"127.0.0.1:9090\"; names are not looked up here",
        )
    })
}

/// A name as it stands in `Host`, without a port.
pub(super) fn host(text: &str) -> Result<String, Complaint> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(complaint(
            format!("{text:?} is not a host's name"),
            "such as \"edge.internal\", with no port",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

pub(super) fn network(text: &str) -> Result<Network, Complaint> {
    text.parse().map_err(|error| {
        complaint(format!("{text:?}: {error}"), "write an address, or a network such as \"10.0.0.0/8\"")
    })
}

fn any_duration(text: &str) -> Result<Duration, Complaint> {
    duration::parse(text).ok_or_else(|| {
        complaint(
            format!("{text:?} is not a duration"),
            "write numbers with units, such as \"24h\", \"90s\" or \"1h30m\"",
        )
    })
}

fn bounded(text: &str, least: Duration, most: Duration) -> Result<Duration, Complaint> {
    let found = any_duration(text)?;
    if (least..=most).contains(&found) {
        return Ok(found);
    }
    let (least, most) = (duration::print(least), duration::print(most));
    Err(complaint(format!("{text:?} is out of bounds"), format!("choose from {least} to {most}")))
}

pub(super) fn token_ttl(text: &str) -> Result<Duration, Complaint> {
    bounded(text, Duration::from_secs(1), LONGEST_TOKEN)
}

pub(super) fn redeem_within(text: &str) -> Result<Duration, Complaint> {
    bounded(text, Duration::from_secs(1), HOUR)
}

pub(super) fn idle_timeout(text: &str) -> Result<Duration, Complaint> {
    bounded(text, Duration::ZERO, LONGEST_TOKEN)
}

pub(super) fn grace(text: &str) -> Result<Duration, Complaint> {
    bounded(text, Duration::ZERO, HOUR)
}

/// How long somebody may keep a visitor's connection waiting.
pub(super) fn patience(text: &str) -> Result<Duration, Complaint> {
    bounded(text, Duration::from_secs(1), HOUR)
}

pub(super) fn engine(text: &str) -> Result<(), Complaint> {
    match text {
        "sqlite" => Ok(()),
        "etcd" => Err(complaint(
            "\"etcd\" is reserved for a later version and cannot be used yet",
            "use \"sqlite\": one server, one file in data_dir",
        )),
        other => Err(complaint(format!("there is no store {other:?}"), "use \"sqlite\"")),
    }
}

pub(super) fn tunnel(text: &str) -> Result<TunnelId, Complaint> {
    TunnelId::parse(text).map_err(|error| complaint(error.to_string(), "such as \"ada-abc234\""))
}

pub(super) fn user(text: &str) -> Result<UserName, Complaint> {
    UserName::parse(text).map_err(|error| complaint(error.to_string(), "such as \"ada\""))
}

/// `http://host:port` and nothing more.
pub(super) fn upstream(text: &str) -> Result<(String, u16), Complaint> {
    let bad = |wrong: String| complaint(wrong, "write it as \"http://127.0.0.1:3000\"");
    let url = url::Url::parse(text).map_err(|error| bad(format!("{text:?} is not a URL: {error}")))?;
    if url.scheme() != "http" {
        return Err(bad(format!("{:?} is not served: a fixed upstream is plain http", url.scheme())));
    }
    // The URL as a whole, because the parser tidies: it drops a default port and adds the path "/".
    let after = text.strip_prefix("http://").unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    match after.strip_prefix(host).and_then(|rest| rest.strip_prefix(':')).map(str::parse) {
        Some(Ok(port)) if port > 0 => Ok((host.trim_matches(['[', ']']).to_owned(), port)),
        _ => Err(bad(format!("{text:?} is not just a host and a port"))),
    }
}

pub(super) fn smtp(text: &str) -> Result<MailServer, Complaint> {
    text.parse().map_err(|error: MailServerError| {
        let mend = match error {
            MailServerError::Password => "put the password into mail.password_file",
            MailServerError::Plain => "write \"smtps://…\", or \"smtp://…?tls=required\" for STARTTLS",
            MailServerError::NotSmtp | MailServerError::Unknown(_) => {
                "write it as \"smtps://user@mail.example\", \"smtp://user@mail.example?tls=required\" or \
                 \"smtp://127.0.0.1:25\"; an @ in the user's name is written %40"
            }
        };
        complaint(error.to_string(), mend)
    })
}

pub(super) fn sender(text: &str) -> Result<Sender, Complaint> {
    text.parse().map_err(|_| {
        complaint(format!("{text:?} is not a sender"), "write it as \"Patapim <no-reply@patapim.example>\"")
    })
}

pub(super) fn secret(text: &str) -> Result<SecretText, Complaint> {
    any(text).map(SecretText::new)
}
