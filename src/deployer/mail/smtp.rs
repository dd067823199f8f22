//! Mails over SMTP (RFC 5321), to the one server that the operator named.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use zeroize::Zeroizing;

use super::{Carrier, Mail, MailSettings, Transport};

/// How long the server may keep silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why mail cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// A file that `[mail]` names.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server or its certificate.
    #[error("the mail server: {0}")]
    Server(#[from] lettre::transport::smtp::Error),
    /// The mail itself.
    #[error("the mail cannot be written: {0}")]
    Letter(#[from] lettre::error::Error),
    /// An address.
    #[error("the address cannot be written to: {0}")]
    Address(#[from] lettre::address::AddressError),
}

pub(super) struct Smtp {
    greeting: String,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    pub(super) fn open(settings: &MailSettings, greeting: &str) -> Result<Self, MailError> {
        let server = &settings.server;
        let parameters = || -> Result<TlsParameters, MailError> {
            let mut tls = TlsParameters::builder(server.host.clone());
            if let Some(ca) = &settings.ca {
                let roots = Certificate::from_pem(&read(ca)?)?;
                tls = tls.certificate_store(CertificateStore::None).add_root_certificate(roots);
            }
            Ok(tls.build_rustls()?)
        };
        let tls = match server.transport {
            Transport::Tls => Tls::Wrapper(parameters()?),
            Transport::StartTls => Tls::Required(parameters()?),
            Transport::PlainLoopback => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host.as_str())
            .port(server.port)
            .tls(tls)
            .timeout(Some(PATIENCE))
            .hello_name(ClientId::Domain(greeting.to_owned()));
        if let (Some(user), Some(password)) = (&server.user, password(settings)?) {
            transport = transport.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        let (transport, from) = (transport.build(), settings.from.0.clone());
        Ok(Self { greeting: greeting.to_owned(), transport, from })
    }
}

#[async_trait]
impl Carrier for Smtp {
    async fn carry(&self, mail: Mail) -> Result<(), MailError> {
        let to = Mailbox::new(None, mail.to.as_str().parse()?);
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(mail.subject)
            .message_id(Some(format!("<{}@{}>", mail.id, self.greeting)))
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))?;
        // RFC 3834 §5: so that no holiday greeting comes back.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
        self.transport.send(message).await?;
        Ok(())
    }
}

fn password(settings: &MailSettings) -> Result<Option<Zeroizing<String>>, MailError> {
    if let Some(password) = &settings.password {
        return Ok(Some(Zeroizing::new(password.reveal().to_owned())));
    }
    let Some(path) = &settings.password_file else { return Ok(None) };
    let bytes = Zeroizing::new(read(path)?);
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
}

fn read(path: &Path) -> Result<Vec<u8>, MailError> {
    std::fs::read(path).map_err(|source| MailError::File { path: path.to_owned(), source })
}
