//! The sample app: a page with a live clock (server-sent events) and an echo terminal (a WebSocket).
//!
//! It stands for the app that somebody has on a desktop. It knows no passwords; who is visiting it learns from the
//! edge, in `X-Patapim-User`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// The app on a loopback port of its own. It ends when this is dropped.
pub(super) struct SampleApp {
    /// Where it listens.
    pub(super) address: SocketAddr,
    _stop: tokio_util::sync::DropGuard,
}

impl SampleApp {
    /// Starts it.
    pub(super) async fn start(clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let served = axum::serve(listener, routes(clock));
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                ended = served => tracing::error!(?ended, "the sample app ended"),
            }
        });
        Ok(Self { address, _stop: stop.drop_guard() })
    }
}

fn routes(clock: Arc<dyn Clock>) -> Router {
    const CSS: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Router::new()
        .route("/", get(page))
        .route("/app.css", get(|| async { asset(CSS, include_str!("app/app.css")) }))
        .route("/app.js", get(|| async { asset(SCRIPT, include_str!("app/app.js")) }))
        .route("/icon.svg", get(|| async { asset("image/svg+xml", include_str!("app/icon.svg")) }))
        .route("/whoami", get(whoami))
        .route("/clock", get(ticking))
        .route("/echo", get(echo))
        .with_state(clock)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], text).into_response()
}

async fn page(headers: HeaderMap) -> Response {
    let mut response = asset("text/html; charset=utf-8", include_str!("app/index.html"));
    let own = response.headers_mut();
    own.insert(header::CONTENT_SECURITY_POLICY, policy(headers.get(header::HOST)));
    own.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Safari before 15.4 does not count WebSockets of the page's own host as `'self'`, so they are named.
fn policy(host: Option<&HeaderValue>) -> HeaderValue {
    const REST: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                        form-action 'none'; frame-ancestors 'none'; connect-src 'self'";
    let clean = |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    let named = host.and_then(|host| host.to_str().ok()).filter(clean);
    let whole = named.map_or(REST.to_owned(), |host| format!("{REST} ws://{host} wss://{host}"));
    HeaderValue::try_from(whole).unwrap_or(HeaderValue::from_static(REST))
}

async fn whoami(headers: HeaderMap) -> Json<Value> {
    Json(json!({"user": headers.get("x-patapim-user").and_then(|name| name.to_str().ok())}))
}

async fn ticking(
    State(clock): State<Arc<dyn Clock>>,
) -> ([(header::HeaderName, &'static str); 1], Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let ticks = stream::unfold(tokio::time::interval(Duration::from_secs(1)), |mut interval| async move {
        interval.tick().await;
        Some(((), interval))
    });
    let events = ticks.map(move |()| {
        let now = clock.now().rfc3339();
        let time = now.split_once('T').map_or(now.as_str(), |(_, time)| time);
        Ok(Event::default().data(time.replace('Z', " UTC")))
    });
    ([(header::CACHE_CONTROL, "no-store")], Sse::new(events))
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(64 * 1024).on_upgrade(echoing)
}

async fn echoing(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let echoes = matches!(message, Message::Text(_) | Message::Binary(_));
        if echoes && socket.send(message).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    async fn get_from_app(path: &str, headers: &[(&str, &str)]) -> Response {
        let clock = ManualClock::at(Timestamp::from_secs(3_723));
        let mut request = axum::http::Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).expect("a request");
        routes(clock).oneshot(request).await.expect("infallible")
    }

    async fn text(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn the_page_has_nothing_inline_and_takes_its_files_from_itself() {
        let response = get_from_app("/", &[("host", "demo.tunnel.patapim.localhost:8080")]).await;
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(
            policy.contains("connect-src 'self' ws://demo.tunnel.patapim.localhost:8080 wss://"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let html = text(response).await;
        for inline in [" style=", " onclick=", "<style", "<script>"] {
            assert!(!html.contains(inline), "{inline}");
        }
        for address in html.split("=\"/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(get_from_app(&format!("/{address}"), &[]).await.status().is_success(), "{address}");
        }
    }

    #[tokio::test]
    async fn a_host_cannot_add_to_the_policy() {
        let response = get_from_app("/", &[("host", "x; script-src *")]).await;
        let policy = response.headers()["content-security-policy"].to_str().expect("text");
        assert!(!policy.contains('*'), "{policy}");
    }

    #[tokio::test]
    async fn it_greets_whom_the_edge_names() {
        assert_eq!(
            text(get_from_app("/whoami", &[("x-patapim-user", "ada")]).await).await,
            r#"{"user":"ada"}"#
        );
        assert_eq!(text(get_from_app("/whoami", &[]).await).await, r#"{"user":null}"#);
    }

    #[tokio::test]
    async fn the_clock_ticks_at_once() {
        let mut body = get_from_app("/clock", &[]).await.into_body().into_data_stream();
        let first = body.next().await.expect("an event").expect("bytes");
        assert_eq!(first, "data: 01:02:03 UTC\n\n");
    }
}
