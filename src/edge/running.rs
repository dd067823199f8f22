//! From settings to a running edge, and to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::ServerApp;
use pingora::listeners::TcpSocketOptions;
use pingora::protocols::TcpKeepalive;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::Front;
use super::fixed_upstreams::FixedUpstreams;
use super::gated::Gated;
use super::house::House;
use super::listen::{Bound, bind, bind_all, hand_over};
use super::reload::{Reload, Source};
use super::settings::STORE_FILE;
use super::signals::{Asked, Signals};
use super::store_metrics::Measured;
use super::{
    Browsers, CertificateStore, EdgeError, ListenError, Ready, Settings, connection, data_dir, doors,
};
use crate::clock::{Clock, SystemClock};
use crate::names::{PublicHosts, Scheme};
use crate::store::Store;
use crate::store::sqlite::SqliteFile;

/// A request to a fixed upstream that its connection lost is sent once more, if that is safe.
const MAX_TRIES: usize = 2;
/// After the end, tasks that will not end are left behind.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// Clocks are set by less than this all the time, and nobody needs to hear of it.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Runs an edge until it is told to stop: by `stop`, by SIGTERM (both let what is in flight end), or by SIGINT. Calls
/// `ready` once it accepts. With a `source` it takes changes of its settings from there.
pub fn serve(
    settings: Settings,
    source: Option<Source>,
    stop: CancellationToken,
    ready: impl FnOnce(Ready),
) -> Result<(), EdgeError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("edge")
        .enable_all()
        .build()?;
    let done = runtime.block_on(run(settings, source, threads, stop, ready));
    runtime.shutdown_timeout(LAST_PATIENCE);
    done
}

async fn run(
    settings: Settings,
    source: Option<Source>,
    threads: usize,
    stop: CancellationToken,
    ready: impl FnOnce(Ready),
) -> Result<(), EdgeError> {
    let mut signals = Signals::listen()?;
    // First the store: its lock keeps a second edge from everything else.
    let (store, clock) = open_store(&settings.data_dir)?;
    let sockets = Sockets::bind(&settings)?;
    let hosts = hosts(&settings, &sockets)?;
    let certificates = CertificateStore::open(settings.tls.clone(), &hosts)?;
    certificates.report_dates(&*clock);
    let running = Running::start(&settings, threads, store, clock, hosts, certificates, sockets).await?;
    let (edge, certificates) = (Arc::clone(&running.house.edge), Arc::clone(&running.certificates));
    let mut reload = Reload::start(source, settings, edge, certificates).await;
    ready(running.ready.clone());

    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            () = reload.changed() => Asked::Reload,
            () = stop.cancelled() => Asked::Drain,
        };
        match asked {
            Asked::Reload => reload.reload().await,
            Asked::Stop => break,
            Asked::Drain => {
                tokio::select! {
                    () = running.drain(reload.grace()) => {}
                    () = stops(&mut signals) => {}
                }
                break;
            }
        }
    }
    running.close();
    Ok(())
}

/// Whoever asks twice means now.
async fn stops(signals: &mut Signals) {
    while signals.next().await == Asked::Reload {}
}

type Opened = (Arc<dyn Store>, Arc<dyn Clock>);

pub(super) fn open_store(data_dir: &Path) -> Result<Opened, EdgeError> {
    data_dir::prepare(data_dir)?;
    let file = SqliteFile::open(&data_dir.join(STORE_FILE))?;
    let seen = file.latest_moment();
    let system = SystemClock::not_before(seen);
    let behind = system.behind();
    if behind > CLOCK_TOLERANCE {
        tracing::error!(
            behind_s = behind.as_secs(),
            seen = seen.rfc3339(),
            "this machine's clock is behind a moment that this server has seen already: until it has caught up, time stands \
             still here, nothing comes back to life, and nothing expires; check the clock"
        );
    }
    let clock: Arc<dyn Clock> = system;
    let store = Measured(file.start(Arc::clone(&clock)));
    Ok((Arc::new(store), clock))
}

pub(super) struct Sockets {
    pub(super) https: Vec<Bound>,
    pub(super) http: Vec<Bound>,
    pub(super) admin: Bound,
}

impl Sockets {
    pub(super) fn bind(settings: &Settings) -> Result<Self, ListenError> {
        let listen = &settings.listen;
        Ok(Self {
            https: bind_all(&listen.https)?,
            http: bind_all(&listen.http)?,
            admin: bind(listen.admin)?,
        })
    }

    pub(super) fn ready(&self) -> Ready {
        let addresses = |sockets: &[Bound]| sockets.iter().map(|bound| bound.address).collect();
        Ready {
            ready: true,
            https: addresses(&self.https),
            http: addresses(&self.http),
            admin: self.admin.address,
        }
    }
}

pub(super) fn hosts(settings: &Settings, sockets: &Sockets) -> Result<PublicHosts, EdgeError> {
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

/// An edge that accepts.
struct Running {
    house: House,
    ready: Ready,
    certificates: Arc<CertificateStore>,
    /// Ends the listeners for visitors and agents.
    shutdown: watch::Sender<bool>,
    /// Ends everything else: the operator looks on until the end.
    stop: CancellationToken,
}

impl Running {
    async fn start(
        settings: &Settings,
        threads: usize,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        hosts: PublicHosts,
        certificates: Arc<CertificateStore>,
        sockets: Sockets,
    ) -> Result<Self, EdgeError> {
        let house = House::open(settings, store, clock, hosts, Arc::clone(&certificates)).await?;
        let edge = &house.edge;
        let tls = doors::for_tls(&house, settings, &certificates)?;
        let stop = CancellationToken::new();
        let (shutdown, watch) = watch::channel(false);
        let ready = sockets.ready();
        doors::for_the_operator(&house, settings, &ready, sockets.admin, &stop)?;

        let conf = Arc::new(ServerConf { threads, max_retries: MAX_TRIES, ..ServerConf::default() });
        let gated = || Gated::new(Arc::clone(edge), FixedUpstreams::new(&settings.upstreams));
        let service = |front| connection::service(&conf, gated(), front, edge.in_flight.clone());
        start(service(Front::Tls(tls)), sockets.https, &watch);
        match settings.browsers {
            Browsers::PlainLoopback => start(service(Front::Plain), sockets.http, &watch),
            Browsers::Tls => doors::for_plain_http(&house, sockets.http, &stop)?,
        }
        Ok(Self { house, ready, certificates, shutdown, stop })
    }

    /// Ends what still listens.
    fn close(&self) {
        // An error means that nobody does.
        let _ = self.shutdown.send(true);
        self.stop.cancel();
    }

    /// Takes nothing new and lets what is in flight end. Agents stay: it comes over them.
    async fn drain(&self, grace: Duration) {
        tracing::info!("draining");
        self.house.readiness.drain();
        self.house.leaving.cancel();
        // An error means that nobody listens any more.
        let _ = self.shutdown.send(true);
        let left = self.house.edge.in_flight.drained(grace).await;
        if left > 0 {
            tracing::warn!(left, "stopped with requests in flight");
        }
        if let Err(error) = self.house.edge.sessions.keep_last_seen().await {
            tracing::warn!(%error, "the last minute's uses of sessions are not written down");
        }
        self.house.edge.trail.close().await;
    }
}

/// Has `service` take `sockets` until `shutdown`.
fn start<A>(mut service: Service<A>, sockets: Vec<Bound>, shutdown: &ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
    let handed = hand_over(sockets);
    for key in &handed.keys {
        service.add_tcp_with_settings(key, socket_options());
    }
    let shutdown = shutdown.clone();
    tokio::spawn(async move { service.start_service(Some(handed.table), shutdown, 1).await });
}

/// A visitor whose machine fell asleep says nothing more; within two minutes the system notices.
pub(super) fn socket_options() -> TcpSocketOptions {
    let mut options = TcpSocketOptions::default();
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::from_secs(120),
    });
    options
}

#[cfg(test)]
#[path = "running_tests.rs"]
mod tests;
