//! How an edge comes to what it serves with: by itself, or from the server whose place it takes.

use std::sync::Arc;

use super::handover::Predecessor;
use super::listen::{Bound, Sockets};
use super::store_file;
use super::{Browsers, CertificateStore, EdgeError, Settings, Start};
use crate::clock::Clock;
use crate::names::{PublicHosts, Scheme};
use crate::store::replaceable::Replaceable;

/// All that is there before anything is served.
pub(super) struct Arrival {
    pub(super) sockets: Sockets,
    pub(super) hosts: PublicHosts,
    pub(super) certificates: Arc<CertificateStore>,
    pub(super) store: Arc<Replaceable>,
    pub(super) clock: Arc<dyn Clock>,
    /// The server whose place it takes, which waits to hear that it may stop.
    pub(super) predecessor: Option<Predecessor>,
}

impl Arrival {
    pub(super) async fn by(start: Start, settings: &Settings) -> Result<Self, EdgeError> {
        let met = match start {
            Start::Alone => None,
            Start::InPlaceOfTheRunning => Predecessor::meet(&settings.data_dir).await?,
        };
        let Some((mut predecessor, inherited)) = met else {
            if start == Start::InPlaceOfTheRunning {
                tracing::info!("no server runs on this data_dir: there is nothing to take over");
            }
            // First the store: its lock keeps a second server from everything else.
            let (store, clock) = store_file::open(&settings.data_dir)?;
            let sockets = Sockets::bind(&settings.listen)?;
            let (hosts, certificates) = named(settings, &sockets)?;
            return Ok(Self { sockets, hosts, certificates, store, clock, predecessor: None });
        };
        // Here the store comes last: while it changes hands, those who need it wait.
        let sockets = Sockets::adopt(&settings.listen, inherited)?;
        let (hosts, certificates) = named(settings, &sockets)?;
        predecessor.give_store().await?;
        let (store, clock) = store_file::open(&settings.data_dir)?;
        Ok(Self { sockets, hosts, certificates, store, clock, predecessor: Some(predecessor) })
    }
}

fn named(settings: &Settings, sockets: &Sockets) -> Result<(PublicHosts, Arc<CertificateStore>), EdgeError> {
    let hosts = hosts(settings, sockets)?;
    let certificates = CertificateStore::open(settings.tls.clone(), &hosts)?;
    Ok((hosts, certificates))
}

fn hosts(settings: &Settings, sockets: &Sockets) -> Result<PublicHosts, EdgeError> {
    let base = &settings.base;
    let (scheme, for_browsers) = match settings.browsers {
        Browsers::Tls => (Scheme::Https, &sockets.https),
        Browsers::PlainLoopback => (Scheme::Http, &sockets.http),
    };
    if settings.browsers == Browsers::PlainLoopback {
        let outside = |bound: &&Bound| !bound.address.ip().is_loopback();
        if let Some(bound) = for_browsers.iter().find(outside) {
            return Err(EdgeError::PlainHttp(bound.address.to_string()));
        }
        if base.as_str() != "localhost" && !base.as_str().ends_with(".localhost") {
            return Err(EdgeError::PlainHttp(base.to_string()));
        }
    }
    let bound = for_browsers.first().map_or(0, |bound| bound.address.port());
    let port = if settings.public_port == 0 { bound } else { settings.public_port };
    Ok(PublicHosts::new(scheme, base.clone(), &settings.deployer_label, port)?)
}
