//! Where an admitted request goes: to the agent that serves the tunnel, or to a fixed address of the configuration.
//!
//! Neither can be asked for without a [`Permit`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorType, OrErr as _, Result};

use super::failure::Failure;
use super::settings::FixedUpstream;
use crate::access::Permit;
use crate::names::TunnelId;
use crate::tunnel::{AgentLink, Registry};

/// How long a request waits for an agent to return (contract §4).
const PATIENCE: Duration = Duration::from_secs(5);
/// An app on the same network takes a connection at once or not at all.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Where tunnels lead.
pub(super) struct Upstreams {
    fixed: HashMap<TunnelId, FixedUpstream>,
    agents: Arc<Registry>,
}

impl Upstreams {
    pub(super) fn new(fixed: Vec<FixedUpstream>, agents: Arc<Registry>) -> Self {
        Self { fixed: fixed.into_iter().map(|one| (one.tunnel.clone(), one)).collect(), agents }
    }

    /// The fixed address that the admitted visitor's tunnel has, if it has one.
    pub(super) fn fixed_for(&self, permit: &Permit) -> Option<&FixedUpstream> {
        self.fixed.get(permit.tunnel())
    }

    /// The agent that serves the admitted visitor's tunnel, now or in a moment.
    pub(super) async fn agent_for(&self, permit: &Permit) -> Result<Arc<AgentLink>> {
        let tunnel = permit.tunnel();
        match self.agents.find(tunnel) {
            Some(link) => Ok(link),
            None => self.agents.wait_for(tunnel, PATIENCE).await.ok_or_else(|| Failure::Offline.into_error()),
        }
    }

    /// The same, if it is connected at this moment.
    pub(super) fn agent_now(&self, permit: &Permit) -> Option<Arc<AgentLink>> {
        self.agents.find(permit.tunnel())
    }

    /// The same, if it comes within `patience`.
    pub(super) async fn agent_within(&self, permit: &Permit, patience: Duration) -> Option<Arc<AgentLink>> {
        self.agents.wait_for(permit.tunnel(), patience).await
    }

    /// The admitted visitor's fixed address.
    pub(super) async fn address_for(&self, permit: &Permit) -> Result<SocketAddr> {
        let fixed = self.fixed_for(permit).ok_or_else(|| Failure::Offline.into_error())?;
        let mut addresses = tokio::net::lookup_host((fixed.host.as_str(), fixed.port))
            .await
            .or_err(ErrorType::ConnectError, "no address for an [[upstream]]")?;
        addresses.next().ok_or_else(|| Failure::Broken.into_error())
    }

    /// The same as Pingora connects to it.
    pub(super) async fn peer_for(&self, permit: &Permit) -> Result<HttpPeer> {
        let address = self.address_for(permit).await?;
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(CONNECT_DEADLINE);
        peer.options.total_connection_timeout = Some(CONNECT_DEADLINE);
        Ok(peer)
    }
}
