//! The app on this desktop, and what goes to and fro between it and a visitor's stream.
//!
//! Everything streams: a piece is taken from one side when the other has room for it. Whoever goes away takes the
//! other along: a visitor who left ends the app's request by closing its connection, and an app that broke off resets
//! the visitor's stream, so that half an answer never looks like a whole one.

use std::error::Error as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::app_connection::AppConnector;
use super::body::VisitorBody;
use super::headers::{prepare_request, prepare_response};
use super::websocket;
use crate::secret::Entropy;
use crate::wire::{AGENT_ERROR_HEADER, AppFault, http2};

/// Apps close idle connections when they like, and a request that meets such a close is lost. Short enough to be
/// earlier than the common ones (Node and uvicorn: five seconds).
const IDLE_CONNECTION: Duration = Duration::from_millis(1500);

/// The largest head that is read from the app; also how much is read from it at once.
const APP_BUFFER: usize = 256 * 1024;

pub(super) type AppClient = Client<AppConnector, VisitorBody>;

/// Where the app listens and what it expects to be called.
#[derive(Clone, Debug)]
pub struct AppAddress {
    authority: Authority,
    host: Option<HeaderValue>,
}

/// What `--to` or `--host-header` said cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AppAddressError {
    /// Not a URL of an app.
    #[error("{0:?} is not the address of an app: use http://HOST:PORT, for example http://127.0.0.1:3000")]
    Address(String),
    /// TLS.
    #[error(
        "{0:?}: apps are spoken to over plain http, which does not leave this machine; use http://HOST:PORT"
    )]
    Https(String),
    /// Not a host.
    #[error("{0:?} is not a host: use HOST or HOST:PORT")]
    Host(String),
}

impl AppAddress {
    /// Reads `http://HOST[:PORT]`.
    pub fn parse(to: &str) -> Result<Self, AppAddressError> {
        let wrong = || AppAddressError::Address(to.to_owned());
        let uri: Uri = to.parse().map_err(|_| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(AppAddressError::Https(to.to_owned())),
            _ => return Err(wrong()),
        }
        let authority = uri.authority().filter(|authority| is_host_and_port(authority)).ok_or_else(wrong)?;
        let bare = matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("/"));
        if !bare || to.contains('#') || authority.host().is_empty() {
            return Err(wrong());
        }
        Ok(Self { authority: authority.clone(), host: None })
    }

    /// The app is told `host` instead of the visitor's.
    pub fn with_host(mut self, host: &str) -> Result<Self, AppAddressError> {
        let wrong = || AppAddressError::Host(host.to_owned());
        let authority: Authority = host.parse().map_err(|_| wrong())?;
        if !is_host_and_port(&authority) {
            return Err(wrong());
        }
        self.host = Some(HeaderValue::from_str(host).map_err(|_| wrong())?);
        Ok(self)
    }
}

/// `http` also takes user names, and ports that are none.
fn is_host_and_port(authority: &Authority) -> bool {
    let has_port = authority.as_str().len() > authority.host().len();
    !authority.as_str().contains('@') && has_port == authority.port_u16().is_some()
}

impl std::fmt::Display for AppAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "http://{}", self.authority)
    }
}

/// The app, ready to be asked.
pub(super) struct App {
    address: AppAddress,
    client: AppClient,
    entropy: Arc<dyn Entropy>,
}

/// A visitor's stream that cannot be served any longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The app is to blame, and nothing was answered yet.
    #[error("the app failed: {0:?}")]
    App(AppFault),
    /// The visitor left, or the connection to the edge did.
    #[error(transparent)]
    Visitor(#[from] h2::Error),
    /// The app broke off in the middle of its answer.
    #[error("the app broke off: {0}")]
    Midway(#[source] hyper::Error),
    /// As above, on an upgraded connection.
    #[error("the app broke off: {0}")]
    Upgraded(#[source] std::io::Error),
}

impl App {
    pub(super) fn new(address: AppAddress, entropy: Arc<dyn Entropy>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .http1_max_buf_size(APP_BUFFER)
            .set_host(false)
            // Only what was never written to a connection that turned out to be closed is sent again.
            .retry_canceled_requests(true)
            .build(AppConnector::new());
        Self { address, client, entropy }
    }

    /// Serves one visitor's stream to its end.
    pub(super) async fn serve(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        match self.answer(request, &mut respond).await {
            Ok(()) => {}
            Err(Broken::App(fault)) => answer_for_app(fault, &mut respond),
            Err(Broken::Visitor(error)) => tracing::debug!(%error, "the visitor left"),
            Err(error) => tracing::debug!(%error, "an answer was broken off"),
        }
    }

    async fn answer(
        &self,
        request: Request<RecvStream>,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Broken> {
        if request.method() == Method::CONNECT {
            return websocket::serve(self, request, respond).await;
        }
        let (mut head, body) = request.into_parts();
        let length =
            head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = VisitorBody::of(body, length);
        self.address_to_app(&mut head, matches!(body, VisitorBody::Empty))?;

        let again = is_repeatable(&head.method, &body).then(|| head.clone());
        let request = Request::from_parts(head, body);
        let response = match (unless_visitor_leaves(respond, self.client.request(request)).await?, again) {
            (Err(error), Some(head)) if fault_of(&error) == AppFault::NoAnswer => {
                let request = Request::from_parts(head, VisitorBody::Empty);
                unless_visitor_leaves(respond, self.client.request(request)).await?
            }
            (response, _) => response,
        };
        let response = response.map_err(|error| Broken::App(fault_of(&error)))?;
        pass_on(response, respond).await
    }

    /// Turns a visitor's request into one for the app.
    pub(super) fn address_to_app(&self, head: &mut http::request::Parts, ended: bool) -> Result<(), Broken> {
        let bad_request = || Broken::App(AppFault::BadRequest);
        prepare_request(head, self.address.host.as_ref(), ended).map_err(|_| bad_request())?;
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.address.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|_| bad_request())?;
        head.version = http::Version::HTTP_11;
        head.extensions.clear();
        Ok(())
    }

    pub(super) fn client(&self) -> &AppClient {
        &self.client
    }

    pub(super) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }
}

/// Whether asking twice is the same as asking once, and there is nothing that would have to be kept for it.
fn is_repeatable(method: &Method, body: &VisitorBody) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && matches!(body, VisitorBody::Empty)
}

/// Waits for `work`, but no longer than the visitor does: dropping it closes the app's connection.
pub(super) async fn unless_visitor_leaves<T>(
    respond: &mut SendResponse<Bytes>,
    work: impl Future<Output = T>,
) -> Result<T, Broken> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        left = poll_fn(|cx| respond.poll_reset(cx)) => Err(Broken::Visitor(left.map_or_else(|error| error, h2::Error::from))),
    }
}

pub(super) fn fault_of(error: &ClientError) -> AppFault {
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    match cause {
        _ if error.is_connect() => AppFault::Unreachable,
        Some(cause) if cause.is_parse() => AppFault::BadAnswer,
        _ => AppFault::NoAnswer,
    }
}

/// The app's answer, from its head to its last byte.
pub(super) async fn pass_on(
    response: Response<Incoming>,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Broken> {
    let (mut head, body) = response.into_parts();
    // Nobody asked for another protocol, so what follows such an answer is not HTTP.
    if head.status == StatusCode::SWITCHING_PROTOCOLS || !prepare_response(&mut head) {
        return Err(Broken::App(AppFault::BadAnswer));
    }
    head.version = http::Version::HTTP_2;
    head.extensions.clear();
    let ended = body.is_end_stream();
    let mut stream = respond.send_response(Response::from_parts(head, ()), ended)?;
    if ended {
        return Ok(());
    }
    match pump(body, &mut stream).await {
        Err(broken @ Broken::Midway(_)) => {
            stream.send_reset(Reason::INTERNAL_ERROR);
            Err(broken)
        }
        done => done,
    }
}

async fn pump(mut body: Incoming, stream: &mut SendStream<Bytes>) -> Result<(), Broken> {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            left = poll_fn(|cx| stream.poll_reset(cx)) => {
                return Err(Broken::Visitor(left.map_or_else(|error| error, h2::Error::from)));
            }
        };
        let Some(frame) = frame else {
            stream.send_data(Bytes::new(), true)?;
            return Ok(());
        };
        match frame.map_err(Broken::Midway)?.into_data() {
            Ok(mut data) => {
                let ended = body.is_end_stream();
                http2::send(stream, &mut data, ended).await?;
                if ended {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers)?;
                    return Ok(());
                }
            }
        }
    }
}

/// The agent's own answer, which the edge knows by its header.
pub(super) fn answer_for_app(fault: AppFault, respond: &mut SendResponse<Bytes>) {
    let response = Response::builder()
        .status(StatusCode::BAD_GATEWAY)
        .header(AGENT_ERROR_HEADER, fault.as_str())
        .header(header::CONTENT_LENGTH, "0")
        .body(());
    let sent =
        response.map_err(drop).and_then(|response| respond.send_response(response, true).map_err(drop));
    if sent.is_err() {
        respond.send_reset(Reason::INTERNAL_ERROR);
    }
    tracing::info!(fault = fault.as_str(), "answered in the app's stead");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_named_by_a_plain_address_and_nothing_more() {
        for good in ["http://127.0.0.1:3000", "http://localhost:80/", "http://[::1]:3000", "http://nas.home"]
        {
            assert!(AppAddress::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "127.0.0.1:3000",
            "http://",
            "http://a:3000/path",
            "http://a/?q",
            "http://u:p@a",
            "ftp://a",
            "",
            "/",
            "http://a:99999",
        ] {
            assert!(matches!(AppAddress::parse(bad), Err(AppAddressError::Address(_))), "{bad}");
        }
        assert!(matches!(AppAddress::parse("https://a:3000"), Err(AppAddressError::Https(_))));
    }

    #[test]
    fn a_promised_host_is_one_host() {
        let app = || AppAddress::parse("http://127.0.0.1:3000").expect("an address");
        assert!(app().with_host("localhost:3000").is_ok());
        for bad in ["", "a b", "a\r\nb: c", "u@h", "http://a"] {
            assert!(app().with_host(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_requests_that_change_nothing_are_asked_twice() {
        assert!(is_repeatable(&Method::GET, &VisitorBody::Empty));
        assert!(!is_repeatable(&Method::POST, &VisitorBody::Empty));
        assert!(!is_repeatable(&Method::DELETE, &VisitorBody::Empty));
    }
}
