//! Names that have been checked: hosts, tunnels, users, and the ids that tie records together.
//!
//! A value of one of these types was parsed; code that holds one need not look again.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::secret::{Entropy, base32, random, random_id};

/// Why a name was refused; the sentence is fit for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error("{0:?} is not a DNS label: use 1 to 63 of a-z, 0-9 and inner hyphens")]
    Label(String),
    /// Not a user name.
    #[error("{0:?} is not a user name: use 1 to 32 of a-z, 0-9 and inner hyphens")]
    User(String),
    /// Not a domain name.
    #[error("{0:?} is not a domain name: use labels of a-z, 0-9 and inner hyphens, joined by dots")]
    Domain(String),
    /// Not an e-mail address.
    #[error("{0:?} is not an e-mail address: write it as name@example.com")]
    Email(String),
    /// Not an id of ours.
    #[error("{0:?} is not an id")]
    Id(String),
}

/// One DNS label in lower case (RFC 1035 §2.3.1, digits allowed in front).
fn is_label(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// A browser would show another name than this, or refuse it (RFC 5890 §2.3.2.1).
fn is_encoded(label: &str) -> bool {
    label.starts_with("xn--")
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps `text`.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(NameError::$error(text.to_owned())) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// A tunnel's public name: one DNS label.
    TunnelId, Label, |text| is_label(text, 63) && !is_encoded(text)
);
text_name!(
    /// A person's name at the edge. Short enough to begin a tunnel's label.
    UserName, User, |text| is_label(text, 32) && !is_encoded(text)
);
text_name!(
    /// The domain that the deployer and all tunnels live under.
    BaseDomain, Domain, |text| text.len() <= 200 && text.split('.').all(|label| is_label(label, 63))
);

text_name!(
    /// An e-mail address of the plain form that people have: `name@example.com`.
    EmailAddress, Email, is_email_address
);

/// What RFC 5321 §4.1.2 calls a Dot-string before the `@`, and a domain of ASCII labels after it.
fn is_email_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    (1..=64).contains(&local.len())
        && local.split('.').all(atom)
        && BaseDomain::parse(&domain.to_ascii_lowercase()).is_ok()
}

impl EmailAddress {
    /// The same for all spellings of one address, as people take them to be: mail servers that tell `Ada@` from `ada@`
    /// are not to be met with.
    pub fn folded(&self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

fn is_random_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
}

text_name!(
    /// An opaque user id: the token's `sub` and, as bytes, the WebAuthn user handle.
    UserId, Id, is_random_id
);
text_name!(
    /// A session's id. Not a secret: it is listed and logged.
    SessionId, Id, is_random_id
);
text_name!(
    /// A token's `jti`.
    TokenId, Id, is_random_id
);
text_name!(
    /// A device: a passkey (the first 16 bytes of its credential id's SHA-256), or one fallback session.
    DeviceId, Id, is_random_id
);

macro_rules! random_ids {
    ($($name:ident),+) => {$(
        impl $name {
            /// A new one, never used before.
            pub fn random(entropy: &dyn Entropy) -> Self {
                Self(random_id(entropy).into())
            }
        }
    )+};
}
random_ids!(UserId, SessionId, TokenId, DeviceId);

impl DeviceId {
    /// The device that a passkey is, found from its credential id.
    pub fn of_credential(credential_id: &[u8]) -> Self {
        Self(base32(&crate::secret::sha256(credential_id)[..16]).into())
    }
}

impl TunnelId {
    /// `<user>-<6 of a-z2-7>`, made up by the edge. The caller makes sure that it was never given away before.
    pub fn made_up(user: &UserName, entropy: &dyn Entropy) -> Self {
        let tail = base32(&random::<4>(entropy));
        Self(format!("{user}-{}", &tail[..6]).into())
    }
}

/// How the visitor's browser reaches us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Everywhere but in the demo.
    Https,
    /// Only for names under `.localhost`, only on loopback.
    Http,
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// Whose site a host name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The sign-in site.
    Deployer,
    /// A tunnel, existing or not: strangers cannot tell.
    Tunnel(TunnelId),
    /// Nobody's.
    Unknown,
}

/// The public host names and URLs of one edge. The only place that puts them together or takes them apart.
#[derive(Clone, Debug)]
pub struct PublicHosts {
    scheme: Scheme,
    base: BaseDomain,
    port: u16,
    deployer_host: Arc<str>,
    tunnel_suffix: Arc<str>,
}

impl PublicHosts {
    /// `label` is the deployer's, "deployer" by default; `port` is the one that browsers see.
    pub fn new(scheme: Scheme, base: BaseDomain, label: &str, port: u16) -> Result<Self, NameError> {
        if !is_label(label, 63) {
            return Err(NameError::Label(label.to_owned()));
        }
        let deployer_host = format!("{label}.{base}").into();
        let tunnel_suffix = format!(".tunnel.{base}").into();
        Ok(Self { scheme, base, port, deployer_host, tunnel_suffix })
    }

    /// The base domain.
    pub fn base(&self) -> &BaseDomain {
        &self.base
    }

    /// The scheme of every public URL.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The port that browsers see.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The deployer's host name, without a port.
    pub fn deployer_host(&self) -> &str {
        &self.deployer_host
    }

    /// A tunnel's host name, without a port.
    pub fn tunnel_host(&self, tunnel: &TunnelId) -> String {
        [tunnel.as_str(), &self.tunnel_suffix].concat()
    }

    /// `host` as a browser names it: with its port, where that is unusual.
    pub fn authority<'h>(&self, host: &'h str) -> Cow<'h, str> {
        match (self.scheme, self.port) {
            (Scheme::Https, 443) | (Scheme::Http, 80) => Cow::Borrowed(host),
            (_, port) => Cow::Owned(format!("{host}:{port}")),
        }
    }

    /// The deployer's origin (RFC 6454), the token's `iss`.
    pub fn deployer_origin(&self) -> String {
        self.origin(&self.deployer_host)
    }

    /// A tunnel's origin.
    pub fn tunnel_origin(&self, tunnel: &TunnelId) -> String {
        self.origin(&self.tunnel_host(tunnel))
    }

    fn origin(&self, host: &str) -> String {
        [self.scheme.as_str(), "://", &self.authority(host)].concat()
    }

    /// Whose site `host` is: a host name without a port, in any case. A trailing dot makes it unknown.
    pub fn site(&self, host: &str) -> Site {
        let is_spelt_so = !host.bytes().any(|byte| byte.is_ascii_uppercase());
        let host = if is_spelt_so { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
        if *host == *self.deployer_host {
            return Site::Deployer;
        }
        host.strip_suffix(&*self.tunnel_suffix)
            .and_then(|label| TunnelId::parse(label).ok())
            .map_or(Site::Unknown, Site::Tunnel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(port: u16) -> PublicHosts {
        let base = BaseDomain::parse("patapim.test").expect("a domain");
        PublicHosts::new(Scheme::Https, base, "deployer", port).expect("a label")
    }

    #[test]
    fn a_host_belongs_to_the_deployer_to_a_tunnel_or_to_nobody() {
        let hosts = hosts(443);
        assert_eq!(hosts.site("Deployer.Patapim.test"), Site::Deployer);
        let tunnel = TunnelId::parse("ada-abc234").expect("a label");
        assert_eq!(hosts.site("ada-abc234.tunnel.patapim.test"), Site::Tunnel(tunnel));
        for other in [
            "patapim.test",
            "tunnel.patapim.test",
            "a.b.tunnel.patapim.test",
            "-a.tunnel.patapim.test",
            "deployer.patapim.test.",
            "",
            "ada_.tunnel.patapim.test",
            "xn--80ak6aa92e.tunnel.patapim.test",
            "evil.test",
        ] {
            assert_eq!(hosts.site(other), Site::Unknown, "{other}");
        }
    }

    #[test]
    fn only_an_unusual_port_appears_in_urls() {
        assert_eq!(hosts(443).deployer_origin(), "https://deployer.patapim.test");
        assert_eq!(hosts(8443).deployer_origin(), "https://deployer.patapim.test:8443");
    }

    #[test]
    fn an_address_is_one_that_a_mail_can_be_sent_to() {
        for good in ["ada@patapim.test", "a.b+c@x.y.test", "Ada_1@PATAPIM.test", "ada@localhost"] {
            assert!(EmailAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ada",
            "@x.test",
            "ada@",
            "a b@x.test",
            "a..b@x.test",
            "a@b@x.test",
            "a@x.test\r\nTo: b@x.test",
            "<a@x.test>",
            "a@x_y",
        ] {
            assert!(EmailAddress::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_made_up_tunnel_begins_with_its_owner() {
        let user = UserName::parse("ada").expect("a name");
        let id = TunnelId::made_up(&user, &*crate::secret::SystemEntropy::shared());
        assert!(id.as_str().starts_with("ada-") && id.as_str().len() == 10, "{id}");
    }
}
