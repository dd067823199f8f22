//! What an operator chooses, checked: the configuration fills it, the composition takes it apart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Limits;
use super::proxies::ProxySettings;
use super::tls::CertificateFiles;
use crate::access::sessions::SessionSettings;
use crate::deployer::WebauthnSettings;
use crate::deployer::mail::MailSettings;
use crate::names::{BaseDomain, TunnelId, UserName};
use crate::tunnel::TunnelSettings;

/// The store's file in the data directory.
pub(super) const STORE_FILE: &str = "edge.db";

/// How a server begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is the only one on its data.
    Alone,
    /// It takes the place of the one that runs, if one does.
    InPlaceOfTheRunning,
}

/// How browsers come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browsers {
    /// Through TLS, on the https listeners.
    Tls,
    /// In plain http, on the http listeners: only for names under `.localhost`, only on loopback. The demo.
    PlainLoopback,
}

/// Where the server listens; port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// Visitors, the deployer and agents.
    pub https: Vec<SocketAddr>,
    /// Redirects to https.
    pub http: Vec<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
    /// The names that metrics and health may be asked for under, beside addresses and `localhost`.
    pub admin_hosts: Vec<String>,
}

/// How much one visitor may have, and all together; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapSettings {
    /// Connections at once.
    pub connections: u32,
    /// Connections at once, of one address.
    pub connections_per_address: u32,
    /// Requests at once, on one connection of HTTP/2. There is always a limit.
    pub streams_per_connection: u32,
    /// Requests a minute, from one address.
    pub requests_per_address: u32,
    /// Requests a minute, under one session.
    pub requests_per_session: u32,
}

impl Default for CapSettings {
    /// One address may be a whole office's, or thousands of a provider's customers.
    fn default() -> Self {
        Self {
            connections: 32_768,
            connections_per_address: 16_384,
            streams_per_connection: 100,
            requests_per_address: 600_000,
            requests_per_session: 600_000,
        }
    }
}

/// A tunnel that is served from a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedUpstream {
    /// Its label.
    pub tunnel: TunnelId,
    /// Whose it is.
    pub user: UserName,
    /// The app's host, a name or an address.
    pub host: String,
    /// The app's port; it speaks plain HTTP/1.1.
    pub port: u16,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain that the deployer and all tunnels live under.
    pub base: BaseDomain,
    /// The deployer's label under it.
    pub deployer_label: String,
    /// The port in public URLs; 0: the one that was bound for browsers.
    pub public_port: u16,
    /// Where the store, the keys and the admin socket are.
    pub data_dir: PathBuf,
    /// How browsers come in.
    pub browsers: Browsers,
    /// Where the server listens.
    pub listen: ListenSettings,
    /// How much a visitor may have.
    pub caps: CapSettings,
    /// What stands between visitors and the server.
    pub proxies: ProxySettings,
    /// The certificate.
    pub tls: CertificateFiles,
    /// What passkeys are made for.
    pub webauthn: WebauthnSettings,
    /// How long tokens and sessions last.
    pub session: SessionSettings,
    /// What a tunnel may cost.
    pub tunnel: TunnelSettings,
    /// How long visitors may take for what.
    pub limits: Limits,
    /// How long a stopping server waits for what is in flight.
    pub grace: Duration,
    /// Where mail is handed in, if anywhere.
    pub mail: Option<MailSettings>,
    /// Tunnels that are served from a fixed address.
    pub upstreams: Vec<FixedUpstream>,
}

impl Settings {
    /// The store's file in the data directory.
    pub fn store_file(&self) -> PathBuf {
        self.data_dir.join(STORE_FILE)
    }

    /// The keys that differ in `new` and that a running edge cannot change: what it listens on, what it is called, where
    /// its data is.
    pub(super) fn differing_until_restart(&self, new: &Self) -> Vec<&'static str> {
        let keys = [
            ("base_domain", self.base != new.base),
            ("deployer", self.deployer_label != new.deployer_label),
            ("public_port", self.public_port != new.public_port),
            ("data_dir", self.data_dir != new.data_dir),
            ("listen", self.listen != new.listen),
            ("proxies", self.proxies != new.proxies),
            ("webauthn.rp_id", self.webauthn.rp_id != new.webauthn.rp_id),
            ("tunnel", self.tunnel != new.tunnel),
            ("limits", self.limits != new.limits || self.caps != new.caps),
            ("upstream", self.upstreams != new.upstreams),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

/// Where the server really listens, once it accepts.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Always true: what a script that starts the server waits for.
    pub ready: bool,
    /// Visitors, the deployer and agents.
    pub https: Vec<SocketAddr>,
    /// Redirects, or the demo's browsers.
    pub http: Vec<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
}
