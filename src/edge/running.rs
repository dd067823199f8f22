//! From settings to a running edge, and to its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::arrival::Arrival;
use super::connection::{Door, Front};
use super::fixed_upstreams::FixedUpstreams;
use super::gated::Gated;
use super::handover::{Estate, HandedOver, Heir, Passing};
use super::house::House;
use super::private_socket::PrivateSocket;
use super::reload::{Reload, Source};
use super::signals::{Asked, Signals};
use super::{Browsers, CertificateStore, EdgeError, Ready, Settings, Start, doors};
use crate::store::Store;

/// A request to a fixed upstream that its connection lost is sent once more, if that is safe.
const MAX_TRIES: usize = 2;
/// After the end, tasks that will not end are left behind.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Runs an edge until it is told to stop: by `stop`, by SIGTERM (both let what is in flight end), or by SIGINT; or until
/// another has taken its place. Calls `ready` once it accepts. With a `source` it takes changes of its settings from
/// there.
pub fn serve(
    settings: Settings,
    source: Option<Source>,
    start: Start,
    stop: CancellationToken,
    ready: impl FnOnce(Ready),
) -> Result<(), EdgeError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("edge")
        .enable_all()
        .build()?;
    let done = runtime.block_on(run(settings, source, start, threads, stop, ready));
    runtime.shutdown_timeout(LAST_PATIENCE);
    done
}

async fn run(
    settings: Settings,
    source: Option<Source>,
    start: Start,
    threads: usize,
    stop: CancellationToken,
    ready: impl FnOnce(Ready),
) -> Result<(), EdgeError> {
    let mut signals = Signals::listen()?;
    let arrival = Arrival::by(start, &settings).await?;
    let running = Running::start(&settings, threads, arrival).await?;
    let (edge, certificates) = (Arc::clone(&running.house.edge), Arc::clone(&running.certificates));
    let mut reload = Reload::start(source, settings, edge, certificates).await;
    ready(running.ready.clone());

    match running.until_end(&mut signals, &mut reload, &stop).await? {
        End::Now => {}
        End::Drained => tokio::select! {
            () = running.drain(reload.grace()) => {}
            () = stops(&mut signals) => {}
        },
        End::Succeeded(successor) => tokio::select! {
            () = running.leave(successor, reload.grace()) => {}
            () = stops(&mut signals) => {}
        },
    }
    running.close();
    Ok(())
}

/// How it ends.
enum End {
    Now,
    /// Once nothing is in flight.
    Drained,
    /// Once nothing is in flight here; what is new goes to another server.
    Succeeded(HandedOver),
}

/// Whoever asks twice means now.
async fn stops(signals: &mut Signals) {
    while signals.next().await == Asked::Reload {}
}

/// An edge that accepts.
struct Running {
    house: House,
    ready: Ready,
    certificates: Arc<CertificateStore>,
    estate: Estate,
    /// Where a successor is heard.
    socket: PrivateSocket,
    /// Cancelled once there is no server any more whose place this one took.
    alone: CancellationToken,
    /// Ends the listeners for visitors and agents.
    shutdown: watch::Sender<bool>,
    /// Ends the operator's listener and the redirects. Where no successor has them, they go on until the end.
    listening: CancellationToken,
    /// Ends everything else.
    stop: CancellationToken,
}

impl Running {
    async fn start(settings: &Settings, threads: usize, arrival: Arrival) -> Result<Self, EdgeError> {
        let Arrival { sockets, hosts, certificates, store, clock, predecessor } = arrival;
        certificates.report_dates(&*clock);
        let in_use: Arc<dyn Store> = Arc::clone(&store) as _;
        let house =
            House::open(settings, Arc::clone(&in_use), Arc::clone(&clock), hosts, Arc::clone(&certificates))
                .await?;
        let House { edge, registry, .. } = &house;
        let passing = Arc::<Passing>::default();
        let tls = doors::for_tls(&house, settings, &certificates, Arc::clone(&passing))?;
        let conf = Arc::new(ServerConf { threads, max_retries: MAX_TRIES, ..ServerConf::default() });
        let gated = || Gated::new(Arc::clone(edge), FixedUpstreams::new(&settings.upstreams));
        let door = |front| {
            let entrance = Arc::clone(&edge.entrance);
            Door::new(&conf, gated(), front, entrance, edge.in_flight.clone(), settings.limits)
        };
        let https = door(Front::Tls(tls));

        let mut before = None;
        if let Some(mut predecessor) = predecessor {
            let door = Arc::clone(&https);
            let agents = move |tcp, heard| -> BoxFuture<'static, ()> {
                let door = Arc::clone(&door);
                Box::pin(async move { door.take_over(tcp, heard).await })
            };
            let heir = Heir::serve(&settings.data_dir, in_use, Arc::clone(&edge.trail), Arc::new(agents))?;
            predecessor.move_agents(registry).await;
            before = Some((predecessor, heir));
        }

        let (stop, listening) = (CancellationToken::new(), CancellationToken::new());
        let (shutdown, watch) = watch::channel(false);
        let ready = sockets.ready();
        doors::for_commands(&house, settings, &ready, &stop)?;
        doors::for_the_operator(&house, settings, &sockets.admin, &listening)?;
        for bound in &sockets.https {
            tokio::spawn(Arc::clone(&https).open(bound.listener()?, watch.clone()));
        }
        match settings.browsers {
            Browsers::Tls => doors::for_plain_http(&house, &sockets.http, &listening)?,
            Browsers::PlainLoopback => {
                for bound in &sockets.http {
                    tokio::spawn(door(Front::Plain).open(bound.listener()?, watch.clone()));
                }
            }
        }
        let estate = Estate {
            data_dir: settings.data_dir.clone(),
            store,
            trail: Arc::clone(&edge.trail),
            clock,
            registry: Arc::clone(registry),
            passing,
            sockets: Mutex::new(Some(sockets)),
        };
        let socket = estate.listen()?;
        let alone = CancellationToken::new();
        let not_alone = alone.clone().drop_guard();
        if let Some((predecessor, heir)) = before {
            tokio::spawn(async move {
                predecessor.accepting_until_its_end().await;
                drop((heir, not_alone));
                tracing::info!("the server before has ended");
            });
        }
        Ok(Self { house, ready, certificates, estate, socket, alone, shutdown, listening, stop })
    }

    async fn until_end(
        &self,
        signals: &mut Signals,
        reload: &mut Reload,
        stop: &CancellationToken,
    ) -> Result<End, EdgeError> {
        let mut successor = std::pin::pin!(self.estate.await_successor(&self.socket, &self.alone));
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Reload => reload.reload().await,
                    Asked::Stop => return Ok(End::Now),
                    Asked::Drain => return Ok(End::Drained),
                },
                () = reload.changed() => reload.reload().await,
                () = stop.cancelled() => return Ok(End::Drained),
                successor = &mut successor => return Ok(End::Succeeded(successor?)),
            }
        }
    }

    /// Ends what still listens.
    fn close(&self) {
        // An error means that nobody does.
        let _ = self.shutdown.send(true);
        self.listening.cancel();
        self.stop.cancel();
    }

    /// Takes nothing new and lets what is in flight end. Agents are told to come back, which is to who serves next; until
    /// they do, what is in flight comes over the connections they have.
    async fn drain(&self, grace: Duration) {
        tracing::info!("draining");
        self.house.readiness.drain();
        self.house.leaving.cancel();
        self.estate.close_sockets();
        // An error means that nobody listens any more.
        let _ = self.shutdown.send(true);
        self.house.registry.drain();
        self.ended(self.house.edge.in_flight.drained(grace).await).await;
    }

    /// Lets what is in flight end, for as long as the successor can tell what is revoked. Everything new is the
    /// successor's.
    async fn leave(&self, mut successor: HandedOver, grace: Duration) {
        tracing::info!("another server has taken over; what is in flight here may end");
        self.house.leaving.cancel();
        self.estate.close_sockets();
        self.listening.cancel();
        // An error means that nobody listens any more.
        let _ = self.shutdown.send(true);
        tokio::select! {
            left = self.house.edge.in_flight.left(grace) => self.ended(left).await,
            () = successor.ended() => {
                tracing::error!("the other server has ended; nobody would tell of revocations, so all ends here too");
            }
        }
    }

    async fn ended(&self, left: usize) {
        if left > 0 {
            tracing::warn!(left, "stopped with requests in flight");
        }
        if let Err(error) = self.house.edge.sessions.keep_last_seen().await {
            tracing::warn!(%error, "the last minute's uses of sessions are not written down");
        }
        self.house.edge.trail.close().await;
    }
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
