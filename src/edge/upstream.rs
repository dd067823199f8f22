//! Where an admitted request goes: to the agent that serves the tunnel, or to the proxy behind the gate.
//!
//! Neither can be asked for without a [`Permit`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pingora::Result;

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
    fixed: HashSet<TunnelId>,
    agents: Arc<Registry>,
}

impl Upstreams {
    pub(super) fn new(fixed: &[FixedUpstream], agents: Arc<Registry>) -> Self {
        Self { fixed: fixed.iter().map(|one| one.tunnel.clone()).collect(), agents }
    }

    /// Whether the admitted visitor's tunnel is the proxy's behind the gate.
    pub(super) fn is_fixed(&self, permit: &Permit) -> bool {
        self.fixed.contains(permit.tunnel())
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
}
