//! The `[mail]` part of the configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use lettre::message::Mailbox;
use url::{Host, Url};

use crate::secret::SecretText;

/// Where mail is handed in.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The server.
    pub server: MailServer,
    /// The sender.
    pub from: Sender,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The password itself, which only the environment may carry.
    pub password: Option<SecretText>,
    /// The certificates to trust in place of the system's, PEM.
    pub ca: Option<PathBuf>,
}

/// How the connection is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS from the first byte: `smtps://`.
    Tls,
    /// Plain, then TLS or nothing: `smtp://…?tls=required`.
    StartTls,
    /// Plain, to this very machine: `smtp://127.0.0.1`.
    PlainLoopback,
}

/// A mail server: `smtps://user@host`, `smtp://user@host?tls=required`, or `smtp://` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub transport: Transport,
    /// Who signs in there, if anybody does.
    pub user: Option<String>,
    text: String,
}

/// Why a text is not the URL of a mail server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailServerError {
    /// Not a URL at all, or of something else.
    #[error("this is not the URL of a mail server")]
    NotSmtp,
    /// The password stands in it.
    #[error("a secret never stands in this file")]
    Password,
    /// Something after the host that is not known.
    #[error("{0:?} is not known here")]
    Unknown(String),
    /// Mail would cross the network in the clear.
    #[error("sign-in links would cross the network in the clear")]
    Plain,
}

impl FromStr for MailServer {
    type Err = MailServerError;

    fn from_str(text: &str) -> Result<Self, MailServerError> {
        let url = Url::parse(text).map_err(|_| MailServerError::NotSmtp)?;
        // For these schemes a host is a text: an address in it is read here.
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailServerError::NotSmtp)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        if url.password().is_some() {
            return Err(MailServerError::Password);
        }
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(MailServerError::Unknown(url.path().to_owned()));
        }
        let transport = match (url.scheme(), url.query()) {
            ("smtps", None) => Transport::Tls,
            ("smtp", Some("tls=required")) => Transport::StartTls,
            ("smtp", None) if is_loopback(&host) => Transport::PlainLoopback,
            ("smtp", None) => return Err(MailServerError::Plain),
            ("smtp" | "smtps", Some(query)) => return Err(MailServerError::Unknown(query.to_owned())),
            _ => return Err(MailServerError::NotSmtp),
        };
        let usual = match transport {
            Transport::Tls => 465,
            Transport::StartTls => 587,
            Transport::PlainLoopback => 25,
        };
        let user = Some(url.username()).filter(|user| !user.is_empty());
        let user = user.map(|user| percent_decoded(user).ok_or(MailServerError::NotSmtp)).transpose()?;
        Ok(Self { host, port: url.port().unwrap_or(usual), transport, user, text: text.to_owned() })
    }
}

impl fmt::Display for MailServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    address || Host::parse(host).is_ok_and(|host| matches!(host, Host::Domain(name) if name == "localhost"))
}

/// A user name there is often an address, whose `@` stands as `%40`.
fn percent_decoded(text: &str) -> Option<String> {
    let query = format!("x={}", text.replace('+', "%2B"));
    let (_, decoded) = url::form_urlencoded::parse(query.as_bytes()).next()?;
    (!decoded.chars().any(char::is_control)).then(|| decoded.into_owned())
}

/// Whom mail is from: an address, with a name before it if you like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(pub(super) Mailbox);

impl FromStr for Sender {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mailbox = if text.chars().any(char::is_control) { None } else { text.parse().ok() };
        mailbox.map(Self).ok_or("this is not a sender")
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_spoken_to_in_secret_or_on_this_machine() {
        let read = |text: &str| {
            let server: MailServer = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            (server.host, server.port, server.transport, server.user)
        };
        let host = || "mail.test".to_owned();
        assert_eq!(read("smtps://mail.test"), (host(), 465, Transport::Tls, None));
        let ada = Some("ada@mail.test".to_owned());
        assert_eq!(read("smtps://ada%40mail.test@mail.test:2465"), (host(), 2465, Transport::Tls, ada));
        let ada = Some("ada".to_owned());
        assert_eq!(read("smtp://ada@mail.test?tls=required"), (host(), 587, Transport::StartTls, ada));
        for here in ["smtp://127.0.0.1:2525", "smtp://[::1]:2525", "smtp://localhost:2525"] {
            assert_eq!((read(here).1, read(here).2), (2525, Transport::PlainLoopback), "{here}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_server_is_said() {
        let fault = |text: &str| text.parse::<MailServer>().expect_err(text);
        assert_eq!(fault("smtp://mail.test"), MailServerError::Plain);
        assert_eq!(fault("smtps://ada:hush@mail.test"), MailServerError::Password);
        assert_eq!(fault("smtp://mail.test?tls=perhaps"), MailServerError::Unknown("tls=perhaps".into()));
        assert_eq!(fault("smtps://mail.test/inbox"), MailServerError::Unknown("/inbox".into()));
        for not in ["mail.test", "https://mail.test", "smtps://", ""] {
            assert_eq!(fault(not), MailServerError::NotSmtp, "{not}");
        }
    }

    #[test]
    fn a_sender_is_one_line() {
        assert!("Patapim <no-reply@patapim.test>".parse::<Sender>().is_ok());
        assert!("no-reply@patapim.test".parse::<Sender>().is_ok());
        for bad in ["", "Patapim", "a@x.test\r\nBcc: b@x.test", "<a@x.test"] {
            assert!(bad.parse::<Sender>().is_err(), "{bad}");
        }
    }
}
