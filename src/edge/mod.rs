//! The public server: everything that listens, and what becomes of a request.
//!
//! # The life of a request
//!
//! ```text
//!  socket ─▶ connection ── ALPN of an agent ──▶ agents ─▶ crate::tunnel
//!               │ TLS, HTTP/1.1 or HTTP/2; each request inside a Life that its session can end
//!               ▼
//!            gated (Pingora's callbacks) ─▶ site: whose host is it?
//!               │                               │
//!               │ deployer: bridge ─▶ axum      │ nobody's: 421
//!               ▼
//!            tunnel_site ─▶ visit: what does it say? ─▶ access::gate: may it pass?
//!               │                                          │
//!               │ Permit                                   └─▶ sign_in, own, refuse: the edge answers itself
//!               ▼
//!            request_headers ─▶ relay ─▶ the tunnel's agent      (or Pingora's pool, for a fixed upstream)
//!                                  │
//!            response_headers ◀────┘
//! ```
//!
//! No I/O happens between the request's head and the tunnel: what decides is in memory. A [`Permit`](crate::access::Permit)
//! is the only way to an app, and comes from the gate alone; to an app behind an agent it takes the desktop's leave as
//! well, an [`Approved`](crate::tunnel::Approved), asked for once for each session and connection ([`approval`]).
//!
//! # Why not Pingora's `Server`
//!
//! Its services run here on one runtime of ours. The stock server sleeps through the whole grace period whatever
//! happens, gives each service a runtime of its own, and binds sockets late and silently.

use std::sync::Arc;

use axum::Router;

use crate::access::assertion::Assertor;
use crate::access::{Gate, Sessions};
use crate::accounts::{Accounts, Directory};
use crate::clock::Clock;
use crate::names::PublicHosts;
use crate::secret::Entropy;
use crate::trail::Trail;
use crate::tunnel::Verdicts;

pub mod admin_commands;
pub mod admin_documents;
pub mod admin_socket;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod plugin;

mod access_token;
mod acts;
mod admin;
mod admin_acts;
mod admin_audit;
mod agents;
mod answer;
mod approval;
mod arrival;
mod bridge;
mod buffered;
mod caps;
mod certificate_chain;
mod certificate_dates;
mod connection;
mod cookies;
mod cors;
mod cross_site;
mod crowd;
mod data_dir;
mod doors;
mod drain;
mod entrance;
mod error;
mod failure;
mod file_watch;
mod fixed_upstreams;
mod fixed_websocket;
mod gated;
mod handover;
mod head_meter;
mod hello;
mod house;
mod http2;
mod life;
mod limits;
mod listen;
mod own;
mod pace;
mod presence;
mod private_socket;
mod proxied_body;
mod proxies;
mod proxy_protocol;
mod record;
mod redirect;
mod refuse;
mod relay;
mod reload;
mod request_body;
mod request_headers;
mod request_kind;
mod response_headers;
mod route;
mod running;
mod settings;
mod sign_in;
mod signals;
mod site;
mod store_file;
mod store_metrics;
#[cfg(test)]
mod test_agent;
#[cfg(test)]
mod test_certificate;
#[cfg(test)]
mod test_listener;
mod tls;
mod token_query;
mod tunnel_site;
mod upgrade;
mod upstream;
mod visit;
mod visitor_stream;
mod waiting;
mod websocket;

pub use admin_commands::most_open_files;
pub use certificate_chain::{Link, certificate_chain};
pub use data_dir::DataDirError;
pub use error::EdgeError;
pub use handover::HandoverError;
pub use limits::Limits;
pub use listen::ListenError;
pub use proxies::{Network, NotANetwork, ProxySettings};
pub use reload::Source;
pub use running::serve;
pub use settings::{Browsers, CapSettings, FixedUpstream, ListenSettings, Ready, Settings, Start};
pub use tls::{CertificateError, CertificateFiles, CertificateStore, OutOfTime};

/// Everything that a request may need.
struct Edge {
    hosts: PublicHosts,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sessions: Arc<Sessions>,
    accounts: Accounts,
    verdicts: Verdicts,
    gate: Gate,
    assertor: Arc<Assertor>,
    tunnels: Directory,
    upstreams: upstream::Upstreams,
    deployer: Router,
    in_flight: drain::InFlight,
    entrance: Arc<entrance::Entrance>,
    trail: Arc<Trail>,
}
