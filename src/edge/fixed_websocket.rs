//! A WebSocket to a fixed upstream, in a loop of our own.
//!
//! Pingora's takes the end of the handshake's empty body for the end of the WebSocket whenever the app's 101 is read
//! first (pingora#946), and an app on the same machine is often that quick.

use std::convert::Infallible;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::caps::Caps;
use super::failure::Failure;
use super::upstream::CONNECT_DEADLINE;
use super::{answer, relay, request_headers, response_headers, websocket};
use crate::wire::AppFault;

/// Read from the app at a time.
const PIECE: usize = 16 * 1024;

/// What an app's answer goes through before the visitor sees it.
#[async_trait]
pub(super) trait Shape: Send {
    /// Makes `head` what the visitor may see.
    async fn shape(&mut self, session: &mut Session, head: &mut ResponseHeader) -> Result<()>;
}

/// Relays the handshake that `session` holds, in the form of `request`, to the app at the given peer, and what follows
/// until either side ends it. What the app answers goes through `shape` before it is sent.
///
/// # Errors
/// A [`Failure`], when nothing was sent to the visitor yet. Any other error means that one side broke off.
pub(super) async fn relay(
    session: &mut Session,
    request: RequestHeader,
    app: (&TransportConnector, HttpPeer, &Caps),
    shape: &mut dyn Shape,
) -> Result<()> {
    let accept = websocket::accept_value(&request.headers).ok_or_else(|| Failure::Unsendable.into_error())?;
    let request = handshake(request)?;
    let mut app = tokio::select! {
        biased;
        answered = App::ask(app, request) => answered?,
        gone = departure(session) => return gone.map(|never| match never {}),
    };
    if app.answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return declined(session, app.answer, shape).await;
    }
    let headers = app.answer.headers();
    let names_websocket =
        headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !names_websocket || headers.get(SEC_WEBSOCKET_ACCEPT) != Some(&accept) {
        return Err(Failure::App(AppFault::BadAnswer).into_error());
    }
    let upgraded = hyper::upgrade::on(&mut app.answer).await;
    let upgraded = upgraded.map_err(|_| Failure::App(AppFault::NoAnswer).into_error())?;

    let mut head = ResponseHeader::from(app.answer.into_parts().0);
    relay::become_upgrade(&mut head, accept)?;
    shape.shape(session, &mut head).await?;
    // People leave a WebSocket silent for hours.
    session.set_read_timeout(None);
    session.write_response_header(Box::new(head), false).await?;
    splice(session, TokioIo::new(upgraded)).await
}

/// The request as the app gets it.
fn handshake(mut request: RequestHeader) -> Result<Request<Empty<Bytes>>> {
    if !request.raw_path_is_utf8() {
        return Err(Failure::Unsendable.into_error());
    }
    request_headers::strip_hop_by_hop(&mut request);
    let mut parts = http::request::Parts::from(request);
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = path.into();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    Ok(Request::from_parts(parts, Empty::new()))
}

/// Comes back when the visitor has left.
async fn departure(session: &mut Session) -> Result<Infallible> {
    loop {
        session.read_body_or_idle(true).await.map_err(Error::into_down)?;
    }
}

/// An app that has answered.
struct App {
    answer: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

impl App {
    async fn ask(
        (connector, mut peer, caps): (&TransportConnector, HttpPeer, &Caps),
        request: Request<Empty<Bytes>>,
    ) -> Result<Self> {
        let unreachable = || Failure::App(AppFault::Unreachable).into_error();
        peer.options.set_http_version(1, 1);
        let stream = match timeout(CONNECT_DEADLINE, connector.new_stream(&peer)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return Err(unreachable()),
        };
        if caps.leaves_no_descriptors(stream.id()) {
            return Err(Failure::Busy.into_error());
        }
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|_| unreachable())?;
        let driven = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let connection = AbortOnDropHandle::new(driven);
        let fault = |error: hyper::Error| {
            if error.is_parse() { AppFault::BadAnswer } else { AppFault::NoAnswer }
        };
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| Failure::App(fault(error)).into_error())?;
        Ok(Self { answer, _connection: connection })
    }
}

/// The app would rather not: its answer passes as any other.
async fn declined(session: &mut Session, answer: Response<Incoming>, shape: &mut dyn Shape) -> Result<()> {
    let (parts, mut body) = answer.into_parts();
    let mut head = ResponseHeader::from(parts);
    response_headers::strip_hop_by_hop(&mut head);
    shape.shape(session, &mut head).await?;
    if answer::send_head(session, head).await? {
        while let Some(frame) = body.frame().await {
            let frame = frame.or_err(ErrorType::ReadError, "the app broke off").map_err(Error::into_up)?;
            if let Ok(piece) = frame.into_data() {
                session.write_response_body(Some(piece), false).await?;
            }
        }
    }
    session.write_response_body(None, true).await
}

/// Moves bytes both ways until the app ends it, or the visitor is gone.
async fn splice(session: &mut Session, app: TokioIo<Upgraded>) -> Result<()> {
    let (mut from_app, mut to_app) = tokio::io::split(app);
    let (mut heard, mut said) = (BytesMut::new(), Bytes::new());
    let mut listening = true;
    loop {
        heard.reserve(PIECE);
        tokio::select! {
            read = from_app.read_buf(&mut heard) => {
                if read.or_err(ErrorType::ReadError, "the app broke off").map_err(Error::into_up)? == 0 {
                    return session.write_response_body(None, true).await;
                }
                session.write_response_body(Some(heard.split().freeze()), false).await?;
            }
            wrote = to_app.write_buf(&mut said), if said.has_remaining() => {
                wrote.or_err(ErrorType::WriteError, "the app takes no more").map_err(Error::into_up)?;
            }
            piece = session.read_request_body(), if listening && !said.has_remaining() => {
                match piece.map_err(Error::into_down)? {
                    Some(piece) => said = piece,
                    None => {
                        listening = false;
                        let ended = to_app.shutdown().await;
                        ended.or_err(ErrorType::WriteError, "the app is gone").map_err(Error::into_up)?;
                    }
                }
            }
        }
    }
}
