//! Reaching the edge, and saying in one line why it could not be reached and what would help.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, Error as TlsError, RootCertStore,
    SupportedProtocolVersion,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::EdgeAddress;
use super::identity::{DesktopKey, KeyError};
use crate::wire::{ALPN, Buffered};

/// Per address, so that one that swallows packets does not use up the time of those that answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Records of a long answer leave several at a time, and no more than a short one may stand behind.
const TOGETHER: usize = 32 * 1024;

/// What is written but not sent stays with us, where a short answer can still go before a long one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_LIMIT: u32 = 64 * 1024;

/// The edge could not be reached. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No such name.
    #[error("cannot resolve {edge}: {source}; check the name and this machine's network connection")]
    Resolve {
        /// Where to.
        edge: EdgeAddress,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens.
    #[error("connection refused by {edge}: check that the edge is running and that the port is right")]
    Refused {
        /// Where to.
        edge: EdgeAddress,
    },
    /// No way there, or no answer.
    #[error("cannot reach {edge}: {source}; check this machine's network connection and the edge's firewall")]
    Unreachable {
        /// Where to.
        edge: EdgeAddress,
        /// Why.
        source: io::Error,
    },
    /// Not the edge, or not provably so.
    #[error("certificate not trusted: {edge} shows one that {why}")]
    Untrusted {
        /// Where to.
        edge: EdgeAddress,
        /// What is wrong with it, and what helps.
        why: String,
    },
    /// It does not speak our protocol.
    #[error(
        "version mismatch: {edge} does not speak {}; update the agent or the edge, and check the address",
        String::from_utf8_lossy(ALPN)
    )]
    NotAnEdge {
        /// Where to.
        edge: EdgeAddress,
    },
    /// TLS did not come about.
    #[error(
        "no secure connection to {edge}: {source}; check that nothing between here and there intercepts TLS"
    )]
    Tls {
        /// Where to.
        edge: EdgeAddress,
        /// Why.
        source: io::Error,
    },
}

/// This machine cannot dial at all.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// `--ca` names something else.
    #[error("the file of --ca holds no certificate in PEM")]
    NoCertificate,
    /// There is nothing to trust.
    #[error("this system has no certificate authorities to trust: name the edge's with --ca FILE")]
    NoRoots,
    /// The desktop's own key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
}

/// Reaches one edge, for one purpose.
#[derive(Clone)]
pub struct Dialer {
    edge: EdgeAddress,
    connector: TlsConnector,
}

impl Dialer {
    /// For tunnels: TLS 1.3, the desktop's key as client certificate.
    pub fn for_tunnel(edge: EdgeAddress, ca: Option<&str>, key: &DesktopKey) -> Result<Self, TrustError> {
        let (certificate, key) = key.certificate()?;
        let mut config =
            trusting(ca, &[&rustls::version::TLS13])?.with_client_auth_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // The edge looks at the certificate each time.
        config.resumption = Resumption::disabled();
        Ok(Self { edge, connector: Arc::new(config).into() })
    }

    /// For a call of the edge's API.
    pub fn for_api(edge: EdgeAddress, ca: Option<&str>) -> Result<Self, TrustError> {
        let mut config = trusting(ca, rustls::ALL_VERSIONS)?.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { edge, connector: Arc::new(config).into() })
    }

    /// Dials.
    pub async fn dial(&self) -> Result<TlsStream<Buffered<TcpStream>>, DialError> {
        let tcp = self.connect().await?;
        let handshake = self.connector.connect(self.edge.server_name(), Buffered::new(tcp, TOGETHER));
        let tls = match timeout(TLS_TIMEOUT, handshake).await {
            Ok(shaken) => shaken.map_err(|error| self.explain(error))?,
            Err(_) => return Err(self.explain(io::ErrorKind::TimedOut.into())),
        };
        let wanted = &self.connector.config().alpn_protocols;
        let agreed = tls.get_ref().1.alpn_protocol();
        if agreed.is_none() && wanted.iter().any(|protocol| protocol == ALPN) {
            return Err(DialError::NotAnEdge { edge: self.edge.clone() });
        }
        Ok(tls)
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let edge = || self.edge.clone();
        let addresses =
            self.edge.resolve().await.map_err(|source| DialError::Resolve { edge: edge(), source })?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    tune(&tcp);
                    return Ok(tcp);
                }
                // Of several failures the one that says that there is a machine is the more telling.
                Ok(Err(error)) if last.kind() != io::ErrorKind::ConnectionRefused => last = error,
                Ok(Err(_)) => {}
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
            }
        }
        Err(match last.kind() {
            io::ErrorKind::ConnectionRefused => DialError::Refused { edge: edge() },
            io::ErrorKind::NotFound => DialError::Resolve { edge: edge(), source: last },
            _ => DialError::Unreachable { edge: edge(), source: last },
        })
    }

    fn explain(&self, source: io::Error) -> DialError {
        let edge = self.edge.clone();
        let cause = source.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match cause {
            Some(TlsError::InvalidCertificate(fault)) => DialError::Untrusted { edge, why: mend(fault) },
            Some(TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                DialError::NotAnEdge { edge }
            }
            _ => DialError::Tls { edge, source },
        }
    }
}

fn mend(fault: &CertificateError) -> String {
    match fault {
        // An authority of the right name and another key is another authority.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "this machine knows no issuer of; if the edge has an authority of its own, link again with --ca FILE".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired; check this machine's clock, then renew the edge's certificate".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; check this machine's clock".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name; check the address".to_owned()
        }
        other => format!("cannot be verified ({other:?}); check the edge's certificate"),
    }
}

fn trusting(
    ca: Option<&str>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TrustError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|_| TrustError::NoCertificate)?;
                roots.add(certificate).map_err(|_| TrustError::NoCertificate)?;
            }
            if roots.is_empty() {
                return Err(TrustError::NoCertificate);
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TrustError::NoRoots);
            }
        }
    }
    let mut provider = rustls::crypto::ring::default_provider();
    // The one with the shorter key is as safe and a fifth cheaper; the edge takes what is named first.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Ok(ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots))
}

/// What TCP cannot be made to do it does without.
fn tune(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_LIMIT);
}
