//! Why an edge cannot run.

use std::io;

use super::admin_socket::AdminSocketError;
use super::{CertificateError, DataDirError, HandoverError, ListenError};
use crate::access::keys::KeyError;
use crate::accounts::AccountError;
use crate::deployer::RpIdError;
use crate::deployer::mail::MailError;
use crate::names::{NameError, TunnelId};
use crate::store::StoreError;
use crate::store::sqlite::OpenError;
use crate::trail::TrailError;

/// Why the edge cannot run. Each is a sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store's file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A name in the settings.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate cannot be served.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The RP ID.
    #[error(transparent)]
    RpId(#[from] RpIdError),
    /// Mail.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// An `[[upstream]]`.
    #[error("the [[upstream]] for {tunnel} cannot be served: {source}")]
    Upstream {
        /// Its tunnel.
        tunnel: TunnelId,
        /// Why.
        source: AccountError,
    },
    /// The sites over plain http.
    #[error("plain http serves the sites only under .localhost and on loopback, which {0} is not")]
    PlainHttp(String),
    /// The audit trail.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// The admin socket.
    #[error(transparent)]
    AdminSocket(#[from] AdminSocketError),
    /// The running server did not hand over, or this one not to its successor.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// The system.
    #[error("the system does not let the edge run: {0}")]
    System(#[from] io::Error),
}
