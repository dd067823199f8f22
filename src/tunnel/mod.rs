//! Agents that dialed in, and how a visitor's request finds its way to one.
//!
//! [`serve_agent`] keeps one agent's connection: hello, pings, notices. While it lives, the [`Registry`]
//! knows its [`AgentLink`] under the tunnel's name, and whoever was admitted to the tunnel, and approved by the desktop,
//! opens a stream on it. Nothing here decides who is admitted, or which key belongs to which tunnel.

pub mod client_cert;

mod accept;
mod approval;
mod driver;
mod events;
mod line;
mod link;
mod places;
mod registry;

#[cfg(all(test, feature = "agent"))]
mod tests;

pub use accept::{AgentHost, Ending, serve_agent, turn_away};
pub use approval::{Approved, DevicesError, Standing, Verdict, Verdicts, Watched};
pub use link::{AgentIdentity, AgentLink, OpenError, Opened, StreamPermit};
pub use places::{Place, Places};
pub use registry::{Claim, Cut, OnlineAgent, Registry};

use std::time::Duration;

use crate::wire::Rhythm;

/// What an operator may choose; each field is bounded by what a tunnel may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Streams open at once on one tunnel.
    pub streams: u32,
    /// What its visitors, all together, may have lying unread at the edge, in bytes: near this, never more than thrice.
    pub memory: usize,
    /// How often agents are asked whether they live.
    pub rhythm: Rhythm,
    /// How long an agent may take from the end of the TLS handshake to the end of its hello.
    pub hello_deadline: Duration,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            streams: 1024,
            memory: 64 << 20,
            rhythm: Rhythm::default(),
            hello_deadline: Duration::from_secs(10),
        }
    }
}
