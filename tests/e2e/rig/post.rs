//! A mail server: SMTP (RFC 5321) on a socket, behind TLS from the start or after STARTTLS (RFC 3207), for whoever knows
//! the password. What it takes it keeps for the test to read.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::ca::replace;
use super::client::Stream;
use super::process::within;

const USER: &str = "edge";
const PASSWORD: &str = "hush, post office";

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// From its first byte.
    AtOnce,
    /// After STARTTLS.
    WhenAsked,
}

/// A running mail server.
pub(crate) struct Post {
    address: SocketAddr,
    secrecy: Secrecy,
    folder: tempfile::TempDir,
    mails: watch::Receiver<Vec<Mail>>,
}

/// What was handed in.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// Those of the envelope.
    pub(crate) recipients: Vec<String>,
    /// Head and body as they came.
    pub(crate) raw: String,
}

impl Post {
    /// Starts one with a certificate of its own, and the files that an edge needs to hand mail in here.
    pub(crate) async fn start(secrecy: Secrecy) -> Self {
        let folder = tempfile::TempDir::with_prefix("patapim-post-").expect("a temporary folder");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        replace(&folder.path().join("ca.pem"), &certificate.pem());
        replace(&folder.path().join("password"), &format!("{PASSWORD}\n"));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (taken, mails) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, taken) = (tls.clone(), taken.clone());
                tokio::spawn(async move {
                    match secrecy {
                        Secrecy::AtOnce => {
                            if let Ok(stream) = tls.accept(socket).await {
                                talk(Box::new(stream), None, true, &taken).await;
                            }
                        }
                        Secrecy::WhenAsked => talk(Box::new(socket), Some(tls), true, &taken).await,
                    }
                });
            }
        });
        Self { address, secrecy, folder, mails }
    }

    /// The `[mail]` section for an edge that hands its mail in here.
    pub(crate) fn section(&self) -> String {
        self.section_trusting(&self.folder.path().join("ca.pem"))
    }

    /// The same, for one that trusts other certificates.
    pub(crate) fn section_trusting(&self, ca: &Path) -> String {
        let (port, folder) = (self.address.port(), self.folder.path().display());
        let url = match self.secrecy {
            Secrecy::AtOnce => format!("smtps://{USER}@localhost:{port}"),
            Secrecy::WhenAsked => format!("smtp://{USER}@localhost:{port}?tls=required"),
        };
        let ca = ca.display();
        format!(
            "[mail]\nsmtp = \"{url}\"\nfrom = \"Patapim <no-reply@patapim.test>\"\n\
             password_file = \"{folder}/password\"\nca = \"{ca}\"\n"
        )
    }

    /// Waits until `count` mails with this subject are here, and gives them in the order of their arrival.
    pub(crate) async fn about(&self, subject: &str, count: usize) -> Vec<Mail> {
        let about = |mails: &[Mail]| -> Vec<Mail> {
            mails.iter().filter(|mail| mail.header("Subject") == subject).cloned().collect()
        };
        let mut mails = self.mails.clone();
        let arrived = mails.wait_for(|mails| about(mails).len() >= count);
        let found =
            within(&format!("{count} mails about {subject:?}"), arrived).await.expect("a mail server");
        about(&found)
    }

    /// All that is here.
    pub(crate) fn so_far(&self) -> Vec<Mail> {
        self.mails.borrow().clone()
    }
}

impl Mail {
    /// A field of the head; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> String {
        let head = self.raw.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let field = head.split("\r\n").find_map(|line| line.strip_prefix(&format!("{name}: ")));
        field.unwrap_or_default().to_owned()
    }

    /// The part of this content type, decoded.
    pub(crate) fn part(&self, kind: &str) -> String {
        let parts = self.raw.split("\r\n--").filter_map(|part| part.split_once("\r\n\r\n"));
        let (head, body) = parts
            .filter(|(head, _)| !head.contains("multipart/"))
            .find(|(head, _)| head.contains(kind))
            .unwrap_or_else(|| panic!("no {kind} in {}", self.raw));
        let head = head.to_lowercase();
        if head.contains("content-transfer-encoding: base64") {
            let bytes = STANDARD.decode(body.replace("\r\n", "")).expect("base64");
            String::from_utf8(bytes).expect("text")
        } else if head.contains("content-transfer-encoding: quoted-printable") {
            unquoted(body)
        } else {
            body.to_owned()
        }
    }

    /// The secret of the sign-in link in it.
    pub(crate) fn token(&self) -> String {
        self.link().split_once('#').expect("a secret after the #").1.to_owned()
    }

    /// The sign-in link in it.
    pub(crate) fn link(&self) -> String {
        let text = self.part("text/plain");
        let link = text.split_whitespace().find(|word| word.contains("/auth/email#"));
        link.unwrap_or_else(|| panic!("no link in {text}")).to_owned()
    }
}

/// Quoted-printable (RFC 2045 §6.7).
fn unquoted(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'=', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).expect("text")
}

/// One connection. With `tls` it can still be encrypted, and until it is, nobody may sign in.
async fn talk(
    stream: Box<dyn Stream>,
    tls: Option<TlsAcceptor>,
    greet: bool,
    taken: &watch::Sender<Vec<Mail>>,
) {
    let mut stream = BufReader::new(stream);
    let mut recipients = Vec::new();
    let mut known = false;
    if greet && say(&mut stream, "220 post.test here").await.is_none() {
        return;
    }
    while let Some(line) = hear(&mut stream).await {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match (verb.to_uppercase().as_str(), tls.is_some(), known) {
            ("EHLO", true, _) => "250-post.test\r\n250 STARTTLS".to_owned(),
            ("EHLO", false, _) => "250-post.test\r\n250 AUTH PLAIN".to_owned(),
            ("STARTTLS", true, _) => {
                if say(&mut stream, "220 go ahead").await.is_some()
                    && let Some(tls) = &tls
                    && let Ok(secret) = tls.accept(stream.into_inner()).await
                {
                    Box::pin(talk(Box::new(secret), None, false, taken)).await;
                }
                return;
            }
            ("AUTH", false, _) => {
                let told = rest.strip_prefix("PLAIN ").and_then(|told| STANDARD.decode(told).ok());
                known = told.is_some_and(|told| told == format!("\0{USER}\0{PASSWORD}").into_bytes());
                if known { "235 welcome".to_owned() } else { "535 who?".to_owned() }
            }
            ("MAIL", false, true) => "250 from whom".to_owned(),
            ("RCPT", false, true) => {
                let inner = rest.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                recipients.push(inner.map_or(rest, |(inner, _)| inner).to_owned());
                "250 to whom".to_owned()
            }
            ("DATA", false, true) => {
                if say(&mut stream, "354 go on").await.is_none() {
                    return;
                }
                let mut raw = String::new();
                while let Some(line) = hear(&mut stream).await.filter(|line| line != ".") {
                    raw += line.strip_prefix('.').unwrap_or(&line);
                    raw += "\r\n";
                }
                let recipients = std::mem::take(&mut recipients);
                taken.send_modify(|mails| mails.push(Mail { recipients, raw }));
                "250 taken".to_owned()
            }
            ("QUIT", ..) => {
                let _ = say(&mut stream, "221 bye").await;
                return;
            }
            _ => "530 not before you are known".to_owned(),
        };
        if say(&mut stream, &answer).await.is_none() {
            return;
        }
    }
}

async fn hear(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, text: &str) -> Option<()> {
    stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
    stream.get_mut().flush().await.ok()
}
