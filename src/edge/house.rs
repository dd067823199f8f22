//! Everything that is made from the store and the keys, before anything listens.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::admin::Readiness;
use super::admin_commands::{AdminCommands, FixedTunnel};
use super::caps::Caps;
use super::drain::InFlight;
use super::entrance::Entrance;
use super::presence::Desktops;
use super::upstream::Upstreams;
use super::{CertificateStore, Edge, EdgeError, FixedUpstream, Ready, Settings, approval};
use crate::access::seal::Sealer;
use crate::access::{Assertor, Gate, KeyRing, Once, Sessions};
use crate::accounts::{AccountError, Accounts, Directory};
use crate::clock::Clock;
use crate::deployer::mail::Outbox;
use crate::deployer::{self, Deployer, check_rp_id};
use crate::names::PublicHosts;
use crate::secret::SystemEntropy;
use crate::store::Store;
use crate::trail::{Act, Event, Trail};
use crate::tunnel::Registry;

/// Its rooms.
pub(super) struct House {
    pub(super) edge: Arc<Edge>,
    pub(super) registry: Arc<Registry>,
    pub(super) accounts: Accounts,
    store: Arc<dyn Store>,
    certificates: Arc<CertificateStore>,
    pub(super) readiness: Arc<Readiness>,
    /// Cancelled when the server begins to stop: pages that only listen are sent away.
    pub(super) leaving: CancellationToken,
}

impl House {
    pub(super) async fn open(
        settings: &Settings,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        hosts: PublicHosts,
        certificates: Arc<CertificateStore>,
    ) -> Result<Self, EdgeError> {
        let entropy = SystemEntropy::shared();
        let accounts = Accounts::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&entropy));
        check_rp_id(&accounts, &settings.webauthn.rp_id).await?;
        claim_upstreams(&accounts, settings).await?;
        let keys = Arc::new(KeyRing::open(&settings.data_dir, &*clock, &*entropy)?);
        let sessions = Sessions::open(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            Arc::clone(&keys),
            hosts.deployer_origin(),
            settings.session.clone(),
        )
        .await?;
        let assertor = Arc::new(Assertor::open(&settings.data_dir, hosts.clone(), &*clock, &*entropy)?);
        let trail = Trail::open(&settings.data_dir, Arc::clone(&store), Arc::clone(&clock)).await?;
        let readiness = Readiness::new(
            Arc::clone(&store),
            Arc::clone(&trail),
            Some(Arc::clone(&certificates)),
            Arc::clone(&clock),
        );
        trail.record(Event::new(Act::Started).named(env!("CARGO_PKG_VERSION"))).await?;
        let registry = Registry::new();
        let leaving = CancellationToken::new();
        let mail = settings.mail.as_ref();
        let outbox = mail.map(|mail| Outbox::open(mail, hosts.deployer_host())).transpose()?;
        let deployer = deployer::router(Deployer {
            accounts: accounts.clone(),
            sessions: Arc::clone(&sessions),
            sealer: Sealer::new(keys),
            once: Once::new(Arc::clone(&store)),
            assertor: Arc::clone(&assertor),
            hosts: hosts.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            webauthn: settings.webauthn.clone(),
            outbox,
            presence: Arc::new(Desktops {
                registry: Arc::clone(&registry),
                fixed: settings.upstreams.iter().map(|one| one.tunnel.clone()).collect(),
            }),
            trail: Arc::clone(&trail),
            changes: Arc::default(),
            leaving: leaving.clone(),
        });
        let edge = Arc::new(Edge {
            gate: Gate::new(Arc::clone(&sessions)),
            verdicts: approval::verdicts(Arc::clone(&sessions), Arc::clone(&trail)),
            accounts: accounts.clone(),
            tunnels: Directory::start(Arc::clone(&store)).await?,
            upstreams: Upstreams::new(&settings.upstreams, Arc::clone(&registry)),
            deployer,
            in_flight: InFlight::new(),
            entrance: Arc::new(Entrance {
                caps: Arc::new(Caps::new(settings.caps)),
                proxies: settings.proxies.clone(),
            }),
            trail,
            hosts,
            clock,
            entropy,
            sessions,
            assertor,
        });
        Ok(Self { edge, registry, accounts, store, certificates, readiness, leaving })
    }

    pub(super) fn commands(&self, settings: &Settings, listening: Ready) -> AdminCommands {
        let fixed = |one: &FixedUpstream| FixedTunnel { tunnel: one.tunnel.clone(), user: one.user.clone() };
        AdminCommands {
            accounts: self.accounts.clone(),
            sessions: Arc::clone(&self.edge.sessions),
            agents: Arc::clone(&self.registry),
            assertor: Arc::clone(&self.edge.assertor),
            hosts: self.edge.hosts.clone(),
            store: Arc::clone(&self.store),
            certificates: Arc::clone(&self.certificates),
            listening,
            fixed: settings.upstreams.iter().map(fixed).collect(),
            clock: Arc::clone(&self.edge.clock),
            trail: Arc::clone(&self.edge.trail),
        }
    }
}

/// Gives each fixed tunnel to its person. One who is not there yet gets it when added.
async fn claim_upstreams(accounts: &Accounts, settings: &Settings) -> Result<(), EdgeError> {
    for one in &settings.upstreams {
        let refused = |source| EdgeError::Upstream { tunnel: one.tunnel.clone(), source };
        match accounts.user_named(&one.user).await {
            Ok(user) => {
                accounts.claim_fixed_tunnel(&one.tunnel, &user.id).await.map_err(refused)?;
            }
            Err(AccountError::Missing(_)) => {
                tracing::warn!(tunnel = %one.tunnel, user = %one.user, "an [[upstream]] waits for its user to be added");
            }
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(())
}
