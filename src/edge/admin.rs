//! The admin listener: `/metrics`, `/healthz`, `/readyz`, and nothing else.
//!
//! It is a socket of its own, on loopback unless told otherwise. The public listeners know none of these paths.
//!
//! A browser on the operator's machine can reach loopback too, and a page can have its own name lead there. So only
//! addresses, `localhost`, and names that the operator chose are served: a page has no way to ask for those and read the
//! answer. Each connection takes one request and some seconds at most; health must answer when all else is in trouble.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::tls::CertificateStore;
use crate::access::Sessions;
use crate::clock::Clock;
use crate::metrics::{CONTENT_TYPE, metrics};
use crate::store::Store;
use crate::trail::Trail;

/// From the accepted socket to the end of its one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 32;
/// The longest head, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// What is waited when no socket can be had.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(50);
/// How long the store, or the trail, may take to show that it takes writes.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// What decides whether the server takes traffic.
pub(super) struct Readiness {
    store: Arc<dyn Store>,
    trail: Arc<Trail>,
    certificate: Option<Arc<CertificateStore>>,
    clock: Arc<dyn Clock>,
    draining: AtomicBool,
}

impl Readiness {
    pub(super) fn new(
        store: Arc<dyn Store>,
        trail: Arc<Trail>,
        certificate: Option<Arc<CertificateStore>>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { store, trail, certificate, clock, draining: AtomicBool::new(false) })
    }

    /// From now on, it does not: load balancers should look elsewhere.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    async fn check(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining: the server is about to stop".to_owned());
        }
        let now = self.clock.now();
        if let Some(certificate) = &self.certificate {
            certificate.in_time(now).map_err(|out_of_time| out_of_time.to_string())?;
        }
        takes_writes("the store", self.store.ready()).await?;
        takes_writes("the audit trail", self.trail.ready()).await
    }
}

async fn takes_writes<E: Display>(
    what: &str,
    ready: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    match timeout(DISK_PATIENCE, ready).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            Err(format!("{what} takes no writes: see the log"))
        }
        Err(_) => Err(format!("{what} does not answer")),
    }
}

struct Admin {
    hosts: Vec<String>,
    readiness: Arc<Readiness>,
    sessions: Arc<Sessions>,
}

/// Serves the admin listener until `stop`, under `hosts` as well.
pub(super) async fn serve(
    listener: TcpListener,
    hosts: Vec<String>,
    readiness: Arc<Readiness>,
    sessions: Arc<Sessions>,
    stop: CancellationToken,
) {
    let admin = Arc::new(Admin { hosts, readiness, sessions });
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || (StatusCode::OK, "ok\n")))
        .route("/readyz", get(ready))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), only_known_hosts))
        .with_state(admin);
    accept(listener, router, stop).await;
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accept = async { (Arc::clone(&room).acquire_owned().await, listener.accept().await) };
        let (place, socket) = match stop.run_until_cancelled(accept).await {
            None => return,
            Some((place, Ok((socket, _)))) => (place, socket),
            Some((_, Err(error))) => {
                tracing::warn!(%error, "an operator's connection was not accepted");
                sleep(OUT_OF_SOCKETS).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            let answer = service_fn(|request: Request<_>| router.clone().oneshot(request.map(Body::new)));
            let connection = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(LONGEST_HEAD)
                .serve_connection(TokioIo::new(socket), answer);
            // Whoever was too slow, or spoke no HTTP, is owed nothing.
            let _ = timeout(DEADLINE, connection).await;
        });
    }
}

async fn only_known_hosts(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    if admin.knows(request.headers()) {
        return next.run(request).await;
    }
    let why = "Ask by address, as localhost, or under a name in listen.admin_hosts.\n";
    (StatusCode::NOT_FOUND, why).into_response()
}

impl Admin {
    /// Whether a request may be answered, by its `Host`. Without one it is a health check in HTTP/1.0, and no browser's.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next().map(|host| host.to_str()), hosts.next()) {
            (None, _) => true,
            (Some(Ok(host)), None) => is_known(&self.hosts, host),
            _ => false,
        }
    }
}

/// Whether no page can have come by this `host`: an address, `localhost`, or one of `hosts`.
fn is_known(hosts: &[String], host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() || host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let digits = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| digits(port)).map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

async fn scrape(State(admin): State<Arc<Admin>>) -> Response {
    metrics().sessions_active(admin.sessions.active());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics().render()).into_response()
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.readiness.check().await {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// A listener whose answer is its path, without anything behind it.
    async fn start() -> (TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let router = Router::new().route("/healthz", get(async || "ok\n"));
        tokio::spawn(accept(listener, router, stop.clone()));
        (TcpStream::connect(address).await.expect("connected"), stop)
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asks_is_not_kept() {
        let (mut socket, _stop) = start().await;
        socket.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.expect("written");
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.expect("closed");
        assert!(heard.is_empty());
    }

    #[tokio::test]
    async fn a_head_is_bounded() {
        let (mut socket, _stop) = start().await;
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "a".repeat(2 * LONGEST_HEAD)
        );
        let _ = socket.write_all(head.as_bytes()).await;
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard).await;
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431 "), "{heard}");
    }

    #[test]
    fn names_that_lead_to_loopback_are_not_enough() {
        let known = ["edge.internal".to_owned()];
        for host in
            ["127.0.0.1:9090", "127.0.0.1", "[::1]:9090", "localhost:9090", "LOCALHOST", "Edge.internal:9090"]
        {
            assert!(is_known(&known, host), "{host}");
        }
        for host in [
            "",
            ":9090",
            "evil.test:9090",
            "deployer.patapim.test",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "edge.internal.evil.test",
            "[::1].evil.test",
            "::1]",
            "localhost:9090:1",
        ] {
            assert!(!is_known(&known, host), "{host}");
        }
    }
}
