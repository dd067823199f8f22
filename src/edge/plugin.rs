//! The gate in front of a Pingora proxy of your own.
//!
//! Your program has a [`ProxyHttp`] and a [`Server`](pingora::server::Server), and what it serves should be reachable
//! only after a sign-in with a passkey. Instead of `http_proxy_service(…)` and its listeners, the server gets the service
//! that a [`Gatekeeper`] makes of your proxy:
//!
//! ```no_run
//! use patapim_edge::edge::plugin::Gatekeeper;
//! # use pingora::{proxy::{ProxyHttp, Session}, server::Server, upstreams::peer::HttpPeer};
//! # struct Wiki;
//! # #[async_trait::async_trait]
//! # impl ProxyHttp for Wiki {
//! #     type CTX = ();
//! #     fn new_ctx(&self) {}
//! #     async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
//! #         Ok(Box::new(HttpPeer::new(("127.0.0.1", 3000), false, String::new())))
//! #     }
//! # }
//! # fn run(settings: patapim_edge::edge::Settings) -> Result<(), Box<dyn std::error::Error>> {
//! let gate = Gatekeeper::open(settings, None)?;
//! let mut server = Server::new(None)?;
//! server.bootstrap();
//! let guarded = gate.in_front_of(Wiki, &server.configuration);
//! server.add_service(guarded);
//! server.run_forever();
//! # }
//! ```
//!
//! `examples/gated_proxy.rs` is the whole of such a program.
//!
//! # What you get
//!
//! All of the edge, in your process: the sign-in site, sessions, access tokens, agents of desktops, the admin socket for
//! `patapim-edge user add …`, metrics and health. The settings are the edge's own, from the same file
//! ([`crate::config::load`]). Each of its `[[upstream]]`s is a host, `<tunnel>.tunnel.<base domain>`, that *your* proxy
//! serves; where its `to` says something to you is for you to decide.
//!
//! # What your proxy can rely on
//!
//! - It is asked nothing about a request before the gate has let it in. `early_request_filter` is called after that too,
//!   just before `request_filter`; the `on_connection_reuse` hooks are not called, since they come before it.
//! - [`Admitted::of`] tells who is visiting, as do the headers `X-Patapim-User`, `X-Patapim-Session` and
//!   `X-Patapim-Assertion`. A client cannot forge them. Cookies and tokens of ours are gone from the request.
//! - A request ends when its session does, wherever it is: logout, revocation, a removed passkey, the session's time.
//!   Then your hooks are not called any more, `logging` included: what must be given back belongs in a `Drop` of your
//!   `CTX`. Work that you left running beside the request ends by [`Admitted::ended`].
//! - WebSockets are relayed by the gate to the peer that you name, past your body filters.
//! - Error answers are the gate's, unless your error is an [`HTTPStatus`](pingora::ErrorType::HTTPStatus); `fail_to_proxy`
//!   is not called. Nor is anything that Pingora would log of a request: its lines quote what may be secret.
//!
//! # What it must not do
//!
//! Answer one person with what it kept of another's: whatever it caches, it caches for everybody who may sign in.
//!
//! # Why it cannot be forgotten
//!
//! The service binds its sockets itself, and there is no other way to one: a proxy without the gate, or the gate without
//! the part below it that cuts what is under way, cannot be put together. A server that inherits Pingora's listeners
//! (`--upgrade`) binds these anew.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::proxy::ProxyHttp;
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

pub use super::record::Admitted;
pub use super::reload::Source;

use super::arrival::Arrival;
use super::connection::{Door, Front, TlsFront};
use super::gated::Gated;
use super::house::House;
use super::listen::Bound;
use super::reload::Reload;
use super::{Browsers, EdgeError, Limits, Ready, Settings, Start, doors};

/// A gate that is open for the operator already, and for nobody else before it has a proxy to lead to.
pub struct Gatekeeper {
    furnished: Furnished,
    keeping: Keeping,
}

/// Everything but the proxy.
struct Furnished {
    ready: Ready,
    sockets: Vec<Bound>,
    front: TlsFront,
    house: House,
    grace: Duration,
    limits: Limits,
}

/// What goes on beside requests: the store, the operator's way in, the watch over the files.
struct Keeping {
    stop: CancellationToken,
    runtime: Option<Runtime>,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            // Whoever drops it may be on a runtime, where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

impl Gatekeeper {
    /// Opens the data directory, reads the certificate and binds every socket, so that whatever is wrong shows here and
    /// not under load. With a `source`, changes of the settings are taken from there; those of the certificate are in
    /// any case.
    ///
    /// Call it where no runtime runs yet, in `main`: Pingora makes its own later.
    pub fn open(settings: Settings, source: Option<Source>) -> Result<Self, EdgeError> {
        if Handle::try_current().is_ok() {
            let why = "a gatekeeper is opened before any runtime runs, in main";
            return Err(EdgeError::System(std::io::Error::other(why)));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("gatekeeper")
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let furnished = runtime.block_on(Furnished::open(settings, source, &stop))?;
        Ok(Self { furnished, keeping: Keeping { stop, runtime: Some(runtime) } })
    }

    /// Where it listens, with the ports that were really bound.
    pub fn ready(&self) -> &Ready {
        &self.furnished.ready
    }

    /// The service that puts the gate in front of `proxy`, for a Pingora server with this configuration.
    pub fn in_front_of<P>(self, proxy: P, conf: &Arc<ServerConf>) -> Guarded<P>
    where
        P: ProxyHttp + Send + Sync + 'static,
        P::CTX: Send + Sync + 'static,
    {
        let Furnished { sockets, front, house, grace, limits, .. } = self.furnished;
        let proxy = Some((proxy, Front::Tls(front), sockets));
        Guarded { proxy, conf: Arc::clone(conf), house, grace, limits, _keeping: self.keeping }
    }
}

impl Furnished {
    async fn open(
        settings: Settings,
        source: Option<Source>,
        stop: &CancellationToken,
    ) -> Result<Self, EdgeError> {
        let settings = Settings { browsers: Browsers::Tls, ..settings };
        let Arrival { sockets, hosts, certificates, store, clock, .. } =
            Arrival::by(Start::Alone, &settings).await?;
        certificates.report_dates(&*clock);
        let ready = sockets.ready();
        let house = House::open(&settings, store, clock, hosts, Arc::clone(&certificates)).await?;
        let front = doors::for_tls(&house, &settings, &certificates, Arc::default())?;
        doors::for_commands(&house, &settings, &ready, stop)?;
        doors::for_the_operator(&house, &settings, &sockets.admin, stop)?;
        doors::for_plain_http(&house, &sockets.http, stop)?;
        let (grace, limits) = (settings.grace, settings.limits);
        let mut reload = Reload::start(source, settings, Arc::clone(&house.edge), certificates).await;
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                reload.changed().await;
                reload.reload().await;
            }
        }));
        Ok(Self { ready, sockets: sockets.https, front, house, grace, limits })
    }
}

/// A proxy with the gate in front of it, as a service of a Pingora server.
pub struct Guarded<P> {
    /// Until it starts.
    proxy: Option<(P, Front, Vec<Bound>)>,
    conf: Arc<ServerConf>,
    house: House,
    grace: Duration,
    limits: Limits,
    _keeping: Keeping,
}

#[async_trait]
impl<P> Service for Guarded<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync + 'static,
{
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        let Some((proxy, front, sockets)) = self.proxy.take() else { return };
        let edge = &self.house.edge;
        let gated = Gated::new(Arc::clone(edge), proxy);
        let entrance = Arc::clone(&edge.entrance);
        let door = Door::new(&self.conf, gated, front, entrance, edge.in_flight.clone(), self.limits);
        for bound in sockets {
            match bound.listener() {
                Ok(listener) => drop(tokio::spawn(Arc::clone(&door).open(listener, shutdown.clone()))),
                Err(error) => {
                    tracing::error!(%error, address = %bound.address, "nobody is accepted there");
                }
            }
        }
        // An error means that nobody is left who could ask for it.
        let _ = shutdown.wait_for(|down| *down).await;
        self.house.readiness.drain();
        self.house.registry.drain();
        // Pingora waits too, and then ends what is left.
        edge.in_flight.drained(self.grace).await;
        if let Err(error) = edge.sessions.keep_last_seen().await {
            tracing::warn!(%error, "the last minute's uses of sessions are not written down");
        }
        edge.trail.close().await;
    }

    fn name(&self) -> &str {
        "patapim gate"
    }
}
