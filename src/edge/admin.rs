//! The admin listener: `/metrics`, `/healthz`, `/readyz`, and nothing else.
//!
//! It is a socket of its own, on loopback unless told otherwise. The public listeners know none of these paths.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::tls::CertificateStore;
use crate::access::Sessions;
use crate::clock::Clock;
use crate::metrics::{CONTENT_TYPE, metrics};
use crate::store::Store;

/// How long the store may take to show that it takes writes.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// What decides whether the server takes traffic.
pub(super) struct Readiness {
    store: Arc<dyn Store>,
    certificate: Option<Arc<CertificateStore>>,
    clock: Arc<dyn Clock>,
    draining: AtomicBool,
}

impl Readiness {
    pub(super) fn new(
        store: Arc<dyn Store>,
        certificate: Option<Arc<CertificateStore>>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { store, certificate, clock, draining: AtomicBool::new(false) })
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
        match timeout(STORE_PATIENCE, self.store.ready()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                Err("the store takes no writes: see the log".to_owned())
            }
            Err(_) => Err("the store does not answer".to_owned()),
        }
    }
}

struct Admin {
    readiness: Arc<Readiness>,
    sessions: Arc<Sessions>,
}

/// Serves the admin listener until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    sessions: Arc<Sessions>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || (StatusCode::OK, "ok\n")))
        .route("/readyz", get(ready))
        .with_state(Arc::new(Admin { readiness, sessions }));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
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
