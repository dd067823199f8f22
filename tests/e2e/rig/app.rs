//! The app behind a tunnel: it answers what a test wants, remembers what reached it, and tells when a visitor leaves.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::{StreamExt as _, stream};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::pattern;
use super::process::within;

/// One request as the app received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
}

#[derive(Default)]
struct Inner {
    name: String,
    seen: watch::Sender<Vec<Seen>>,
    /// Paths whose visitor went away before the answer was whole.
    left: watch::Sender<Vec<String>>,
    /// Open event streams by name; a test sends the events.
    streams: Mutex<HashMap<String, mpsc::UnboundedSender<String>>>,
    opened: watch::Sender<usize>,
    /// What a test wants answered at a path, beside or in place of the small page.
    canned: Mutex<HashMap<String, (HeaderMap, Option<String>)>>,
}

/// A running app.
pub(crate) struct App {
    address: SocketAddr,
    inner: Arc<Inner>,
    server: AbortHandle,
}

impl App {
    /// Starts one that signs its answers with `name`.
    pub(crate) async fn start(name: &str) -> Self {
        let inner = Arc::new(Inner { name: name.to_owned(), ..Inner::default() });
        let routes = Router::new()
            .route("/echo", any(echo))
            .route("/big/{bytes}", get(big))
            .route("/hash", post(hash).put(hash))
            .route("/tag/{tag}", any(tag))
            .route("/events/{name}", get(events))
            .route("/ws", any(socket))
            .route("/dies/{bytes}", get(dies))
            .route("/dies-chunked/{bytes}", get(dies_chunked))
            .route("/mirror", post(mirror))
            .route("/worker.js", get(worker))
            .route("/hangs", any(hangs))
            .route("/crowded", any(crowded))
            .fallback(page)
            .layer(axum::middleware::from_fn_with_state(inner.clone(), remember))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle();
        Self { address, inner, server }
    }

    /// Where an agent or an `[[upstream]]` finds it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that reached it.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.borrow().clone()
    }

    /// How many requests reached it.
    pub(crate) fn count(&self) -> usize {
        self.inner.seen.borrow().len()
    }

    /// Waits until a request that begins with `target` reached it.
    pub(crate) async fn reached(&self, target: &str) -> Seen {
        let mut seen = self.inner.seen.subscribe();
        let arrived = seen.wait_for(|all| all.iter().any(|one| one.target.starts_with(target)));
        let all = within(&format!("{target} to reach the app"), arrived).await.expect("the app lives");
        all.iter().rfind(|one| one.target.starts_with(target)).expect("just seen").clone()
    }

    /// Waits until so many requests for `target` reached it.
    pub(crate) async fn arrived(&self, target: &str, count: usize) {
        let mut seen = self.inner.seen.subscribe();
        let arrived = seen.wait_for(|all| all.iter().filter(|one| one.target == target).count() >= count);
        drop(within(&format!("{count} of {target} to reach the app"), arrived).await.expect("the app lives"));
    }

    /// Waits until the visitor of `path` has gone away.
    pub(crate) async fn left(&self, path: &str) {
        let mut left = self.inner.left.subscribe();
        let gone = left.wait_for(|all| all.iter().any(|one| one == path));
        drop(within(&format!("the end of {path} to reach the app"), gone).await.expect("the app lives"));
    }

    /// Waits until so many visitors of `path` have gone away.
    pub(crate) async fn gone(&self, path: &str, count: usize) {
        let mut left = self.inner.left.subscribe();
        let gone = left.wait_for(|all| all.iter().filter(|one| *one == path).count() >= count);
        drop(within(&format!("{count} visitors of {path} to leave"), gone).await.expect("the app lives"));
    }

    /// Forgets who reached it and who left.
    pub(crate) fn forget(&self) {
        self.inner.seen.send_replace(Vec::new());
        self.inner.left.send_replace(Vec::new());
    }

    /// Waits until an event stream of that name is open.
    pub(crate) async fn streaming(&self, name: &str) {
        let mut opened = self.inner.opened.subscribe();
        let open = opened.wait_for(|_| self.inner.streams.lock().expect("whole").contains_key(name));
        drop(within("an open event stream", open).await.expect("the app lives"));
    }

    /// Sends one event.
    pub(crate) fn tick(&self, name: &str, text: &str) {
        let streams = self.inner.streams.lock().expect("whole");
        streams.get(name).expect("an open stream").send(text.to_owned()).expect("a reader");
    }

    /// From now on `path` is answered with these headers.
    pub(crate) fn answer(&self, path: &str, headers: &[(&str, &str)]) {
        self.keep(path, headers, None);
    }

    /// From now on `path` is answered with these headers and this text.
    pub(crate) fn answer_with(&self, path: &str, headers: &[(&str, &str)], text: &str) {
        self.keep(path, headers, Some(text.to_owned()));
    }

    fn keep(&self, path: &str, headers: &[(&str, &str)], text: Option<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
                HeaderValue::from_str(value).expect("a header value"),
            );
        }
        self.inner.canned.lock().expect("whole").insert(path.to_owned(), (map, text));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = State<Arc<Inner>>;

async fn remember(State(inner): Shared, request: Request, next: axum::middleware::Next) -> Response {
    let seen = Seen { method: request.method().to_string(), target: request.uri().to_string() };
    inner.seen.send_modify(|all| all.push(seen));
    let mut response = next.run(request).await;
    if let Ok(name) = HeaderValue::from_str(&inner.name) {
        response.headers_mut().insert("x-app", name);
    }
    response
}

/// Any other path: a small page, or what the test wanted.
async fn page(State(inner): Shared, request: Request) -> Response {
    let canned = inner.canned.lock().expect("whole").get(request.uri().path()).cloned();
    let (headers, text) = canned.unwrap_or_default();
    let html = || format!("<!doctype html><title>{0}</title><h1>The app {0}</h1>", inner.name);
    let mut response = axum::response::Html(text.unwrap_or_else(html)).into_response();
    if headers.contains_key(header::CONTENT_TYPE) {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    if headers.contains_key(header::LOCATION) {
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    }
    for (name, value) in &headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// The request, told back as JSON. Repeated headers are joined by `" | "`, so that a test sees repetitions.
async fn echo(request: Request) -> axum::Json<Value> {
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.to_string())
            .and_modify(|all| *all = format!("{all} | {value}"))
            .or_insert_with(|| value.into_owned());
    }
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    axum::Json(json!({
        "method": method, "target": target, "headers": headers, "body": String::from_utf8_lossy(&body),
    }))
}

/// `bytes` of the known pattern, with their length announced.
async fn big(State(inner): Shared, Path(bytes): Path<u64>) -> Response {
    let leaving = Leaving { inner, path: format!("/big/{bytes}") };
    let body = stream::iter(pattern::chunks(bytes).map(move |piece| {
        let _until_the_last = &leaving;
        Ok::<_, Infallible>(piece)
    }));
    ([(header::CONTENT_LENGTH, bytes.to_string())], Body::from_stream(body)).into_response()
}

/// Length and SHA-256 of what was sent.
async fn hash(request: Request) -> Response {
    let (mut context, mut length) = (Context::new(&SHA256), 0);
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else { return StatusCode::BAD_REQUEST.into_response() };
        context.update(&piece);
        length += piece.len();
    }
    axum::Json(json!({"bytes": length, "sha256": pattern::hex(context.finish().as_ref())})).into_response()
}

/// A body that nobody else's request gets: the app's name, the tag, and the request's own body.
async fn tag(State(inner): Shared, Path(tag): Path<String>, body: Bytes) -> String {
    let line = format!("{}:{tag}:{}\n", inner.name, String::from_utf8_lossy(&body));
    line.repeat(1 + tag.len() * 7 % 40)
}

/// Server-sent events; the test decides when.
async fn events(State(inner): Shared, Path(name): Path<String>) -> Response {
    let (sender, receiver) = mpsc::unbounded_channel();
    inner.streams.lock().expect("whole").insert(name.clone(), sender);
    inner.opened.send_modify(|count| *count += 1);
    let leaving = Leaving { inner, path: format!("/events/{name}") };
    let body = stream::unfold((receiver, leaving), |(mut receiver, leaving)| async move {
        let event: Option<String> = receiver.recv().await;
        event.map(|text| (Ok::<_, Infallible>(format!("data: {text}\n\n")), (receiver, leaving)))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

/// A WebSocket that echoes.
async fn socket(State(inner): Shared, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| echo_socket(socket, Leaving { inner, path: "/ws".into() }))
}

async fn echo_socket(mut socket: WebSocket, _leaving: Leaving) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Announces a megabyte more than it sends, then its connection breaks.
async fn dies(path: Path<u64>) -> Response {
    let length = (*path + (1 << 20)).to_string();
    ([(header::CONTENT_LENGTH, length)], dies_chunked(path).await).into_response()
}

/// Announces nothing, and breaks off all the same.
async fn dies_chunked(Path(bytes): Path<u64>) -> Response {
    let end = std::iter::once(Err(std::io::Error::other("the app dies here")));
    Body::from_stream(stream::iter(pattern::chunks(bytes).map(Ok).chain(end))).into_response()
}

/// A service worker that answers every navigation itself, so that the server never sees one again.
async fn worker() -> impl IntoResponse {
    const SCRIPT: &str = "addEventListener('install', () => skipWaiting());\n\
        addEventListener('activate', e => e.waitUntil(clients.claim()));\n\
        addEventListener('fetch', e => e.request.mode === 'navigate' && e.respondWith(\n\
        new Response('<p>Answered by the worker', {headers: {'content-type': 'text/html'}})));";
    ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT)
}

/// Sends every piece back as it comes.
async fn mirror(request: Request) -> Body {
    request.into_body()
}

/// Finds the cookies too many, as servers of 16 KiB of header do.
async fn crowded() -> impl IntoResponse {
    (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the app's own words")
}

/// Never answers.
async fn hangs(State(inner): Shared) -> Response {
    let _leaving = Leaving { inner, path: "/hangs".into() };
    std::future::pending().await
}

/// Tells, when dropped, that the visitor of `path` is gone.
struct Leaving {
    inner: Arc<Inner>,
    path: String,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        if let Some(name) = path.strip_prefix("/events/")
            && let Ok(mut streams) = self.inner.streams.lock()
        {
            streams.remove(name);
        }
        self.inner.left.send_modify(|all| all.push(path));
    }
}
