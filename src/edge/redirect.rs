//! Plain http: every request is sent to https, by a fixed rule and with nothing of ours in it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::names::{PublicHosts, Site};

/// Serves one http listener until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    hosts: PublicHosts,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().fallback(redirect).with_state(Arc::new(hosts));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// 308 keeps the method. A token that came in the clear has been seen by others; it is bound to a browser, and dies in a
/// minute, but it is not carried on.
async fn redirect(State(hosts): State<Arc<PublicHosts>>, request: Request) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host));
    let origin = match host.map(|host| hosts.site(host)) {
        Some(Site::Deployer) => hosts.deployer_origin(),
        Some(Site::Tunnel(tunnel)) => hosts.tunnel_origin(&tunnel),
        Some(Site::Unknown) | None => return refuse(StatusCode::MISDIRECTED_REQUEST),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        // What was sent with it went over the wire in the clear; a client that must be told is not sent on silently.
        return refuse(StatusCode::FORBIDDEN);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match HeaderValue::try_from(format!("{origin}{path}")) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => refuse(StatusCode::BAD_REQUEST),
    }
}

fn refuse(status: StatusCode) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], "Use https.\n").into_response()
}
