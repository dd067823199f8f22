//! Agents that dial in: whose key it is that they proved to have, and where their connection goes.

use std::net::SocketAddr;
use std::sync::Arc;

use super::buffered::AgentStream;
use crate::access::Nonces;
use crate::accounts::{AccountError, Accounts, UserState};
use crate::clock::Clock;
use crate::names::PublicHosts;
use crate::tunnel::{
    AgentHost, AgentIdentity, Places, Registry, TunnelSettings, Verdicts, client_cert, serve_agent, turn_away,
};
use crate::wire::{Notice, SpkiPin};

/// What agents are let in with.
pub(super) struct Agents {
    accounts: Accounts,
    hosts: PublicHosts,
    host: AgentHost,
    places: Arc<Places>,
}

/// What becomes of a key.
enum Known {
    Linked(AgentIdentity),
    Unlinked,
    Disabled,
    /// The store does not say.
    InDoubt,
}

impl Agents {
    pub(super) fn new(
        accounts: Accounts,
        hosts: PublicHosts,
        registry: Arc<Registry>,
        nonces: Arc<Nonces>,
        clock: Arc<dyn Clock>,
        settings: TunnelSettings,
        verdicts: Verdicts,
    ) -> Arc<Self> {
        let asked = accounts.clone();
        let still_linked = Box::new(move |identity: AgentIdentity| {
            let accounts = asked.clone();
            Box::pin(async move {
                match accounts.agent(&identity.pin.to_string()).await {
                    Ok(agent) => agent.tunnel == identity.tunnel,
                    // In doubt it stays: what it hears as "unlinked" keeps it away for good.
                    Err(error) => !matches!(error, AccountError::Missing(_)),
                }
            }) as _
        });
        let host = AgentHost { registry, nonces, clock, settings, still_linked, verdicts };
        Arc::new(Self { accounts, hosts, host, places: Arc::default() })
    }

    /// Serves one agent, from the end of its handshake to the end of its connection.
    pub(super) async fn receive(&self, stream: Box<AgentStream>, peer: SocketAddr) {
        let Some(pin) = client_cert::pin_of(stream.get_ref().1) else { return };
        let Some(_place) = self.places.take(pin) else { return };
        let identity = match self.known(&pin).await {
            Known::Linked(identity) => identity,
            Known::Unlinked => {
                let sentence = "This desktop is not linked to the edge, or no longer.".to_owned();
                tracing::info!(%peer, "an agent with an unknown key was turned away");
                return Box::pin(turn_away(stream, Notice::Unlinked, sentence)).await;
            }
            Known::Disabled => {
                let sentence = "The tunnel's owner has been disabled at the edge.".to_owned();
                return Box::pin(turn_away(stream, Notice::Refused, sentence)).await;
            }
            Known::InDoubt => return,
        };
        let tunnel = identity.tunnel.clone();
        self.note_seen(&tunnel).await;
        serve_agent(stream, identity, &self.host).await;
        self.note_seen(&tunnel).await;
    }

    async fn known(&self, pin: &SpkiPin) -> Known {
        let found = async {
            let agent = self.accounts.agent(&pin.to_string()).await?;
            let user = self.accounts.user(&agent.user).await?;
            Ok::<_, AccountError>((agent, user))
        };
        match found.await {
            Ok((_, user)) if user.state == UserState::Disabled => Known::Disabled,
            Ok((agent, user)) => Known::Linked(AgentIdentity {
                public_url: self.hosts.tunnel_origin(&agent.tunnel),
                tunnel: agent.tunnel,
                user: user.id,
                pin: *pin,
            }),
            Err(AccountError::Missing(_)) => Known::Unlinked,
            Err(error) => {
                tracing::error!(%error, "an agent could not be looked up");
                Known::InDoubt
            }
        }
    }

    async fn note_seen(&self, tunnel: &crate::names::TunnelId) {
        // Its tunnel may have been removed this instant; a listing without the moment is no harm.
        if let Err(error) = self.accounts.tunnel_seen(tunnel).await {
            tracing::debug!(%error, "when the agent was seen could not be noted");
        }
    }
}
