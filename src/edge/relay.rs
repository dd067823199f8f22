//! From an admitted visitor to an agent and back: one stream of HTTP/2, moved byte by byte in both directions at once.
//!
//! Pingora's own loop for upstreams of HTTP/2 waits inside one direction while it holds the other up: an app that
//! echoes what it is sent stops for good once the windows are full. So the loop is ours. It never waits for room
//! towards the agent without listening to the agent, buffers nothing, and gives a window back only for what the
//! visitor has taken. Dropped half-way, it resets the stream: a visitor who leaves takes the app's request along.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt as _;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr as _, Result};

use super::failure::Failure;
use super::life::Life;
use super::request_body::RequestBody;
use super::upgrade::WebSocket;
use super::{answer, request_headers, response_headers, websocket};
use crate::tunnel::{Approved, OpenError, Opened, StreamPermit};
use crate::wire::{AGENT_ERROR_HEADER, AppFault, http2};

/// Interim answers (RFC 9110 §15.2) that an app may give before its answer. They go no further than this.
const INTERIM_LIMIT: usize = 64;

/// An answer of more than this is a long one, whose pieces take turns with those of the tunnel's others.
const LONG: usize = 64 * 1024;

/// The request that `session` holds, for a hop where the names of fields have no case.
///
/// # Errors
/// [`Failure::Unsendable`], where its path is no text.
pub(super) fn request_of(session: &Session) -> Result<RequestHeader> {
    let held = session.req_header();
    if !held.raw_path_is_utf8() {
        return Err(Failure::Unsendable.into_error());
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = held.method.clone();
    parts.uri = held.uri.clone();
    parts.version = held.version;
    parts.headers = held.headers.clone();
    Ok(parts.into())
}

/// Relays the request that `session` holds, in the form of `request` (see [`request_of`]), to the agent that approved it. What the
/// agent answers goes through `shape` before it is sent. A WebSocket's is the answer to its handshake; the rest is for the caller.
///
/// # Errors
/// A [`Failure`], when nothing was sent to the visitor yet; after [`Failure::NotTaken`] it may be tried again. Any
/// other error means that the answer broke off.
pub(super) async fn relay(
    session: &mut Session,
    request: RequestHeader,
    leave: &Approved,
    shape: &mut (dyn FnMut(&mut ResponseHeader) -> Result<()> + Send),
) -> Result<Option<WebSocket>> {
    let accept =
        websocket::is_handshake(&request).then(|| websocket::accept_value(&request.headers)).flatten();
    let ended = session.is_body_empty() && accept.is_none();
    let Opened { mut response, body, mut permit } =
        leave.open(on_the_wire(request, accept.is_some())?, ended).map_err(|error| opening_failed(&error))?;
    let mut upload = Upload::begin(session, body, ended, accept.is_some());

    let (mut head, mut from_agent) = upload.until(session, &mut response).await?;
    if !response_headers::is_sound(&head) {
        return Err(Failure::App(AppFault::BadAnswer).into_error());
    }
    if let Some(accept) = accept.filter(|_| head.status.is_success()) {
        become_upgrade(&mut head, accept)?;
        shape(&mut head)?;
        session.write_response_header(Box::new(head), false).await?;
        Life::settled();
        // At most what came with the handshake lies in Pingora's buffers, and it is what is read first.
        let early = session.read_request_body().now_or_never().transpose()?.flatten().unwrap_or_default();
        return Ok(Some(WebSocket { early, from_agent, to_agent: upload.to_agent, permit }));
    }
    response_headers::strip_hop_by_hop(&mut head);
    shape(&mut head)?;
    // What is here already of the body leaves with the head.
    let first = http2::receive(&mut from_agent).now_or_never().flatten();
    if first.is_none() && from_agent.is_end_stream() {
        // Nothing but the head is to come, so nobody reads what the visitor may still be sending.
        answer::drain(session).await?;
    }
    if answer::send_head(session, head).await? {
        if let Some(piece) = first {
            pass_on(session, piece).await?;
        }
        pour(session, from_agent, &mut upload, &mut permit).await?;
    } else {
        session.write_response_body(None, true).await?;
    }
    Ok(None)
}

/// Moves the answer's body to the visitor, and what is left of the request's to the agent.
async fn pour(
    session: &mut Session,
    mut from_agent: RecvStream,
    upload: &mut Upload,
    permit: &mut StreamPermit,
) -> Result<()> {
    let mut poured = 0_usize;
    loop {
        tokio::select! {
            piece = permit.receive(&mut from_agent) => match piece {
                Some(piece) => {
                    let length = piece.as_ref().map_or(0, Bytes::len);
                    poured = poured.saturating_add(length);
                    if poured > LONG && permit.is_for_a_turn(length) {
                        permit.in_turn(Box::pin(pass_on(session, piece))).await?;
                    } else {
                        pass_on(session, piece).await?;
                    }
                }
                None => break,
            },
            step = upload.step(session) => step?,
        }
    }
    let trailers = from_agent.trailers().await.or_err(ErrorType::ReadError, "the agent broke off")?;
    match trailers {
        Some(mut trailers) if session.is_http2() => {
            response_headers::rewrite_trailers(&mut trailers);
            session.write_response_trailers(trailers).await
        }
        _ => session.write_response_body(None, true).await,
    }
}

/// Gives the visitor the next piece of the answer.
async fn pass_on(session: &mut Session, piece: Result<Bytes, h2::Error>) -> Result<()> {
    let piece = piece.or_err(ErrorType::ReadError, "the agent broke off").map_err(Error::into_up)?;
    session.write_response_body(Some(piece), false).await
}

/// The visitor's body on its way to the agent.
struct Upload {
    from_visitor: RequestBody,
    to_agent: SendStream<Bytes>,
    state: State,
    expects_continue: bool,
    /// Something of the body is gone from the visitor's connection, so that it could not be sent again.
    began: bool,
}

enum State {
    /// The next piece comes from the visitor.
    Reading,
    /// This goes to the agent first.
    Sending(Bytes),
    /// The end goes to the agent.
    Ending,
    /// The agent takes no more; what comes is thrown away.
    Discarding,
    /// Nothing more comes, so whatever the visitor does now is to leave.
    Watching,
    /// A WebSocket that the app has not agreed to: nothing may be sent, and the stream must stay open.
    BeforeUpgrade,
}

impl Upload {
    fn begin(session: &mut Session, to_agent: SendStream<Bytes>, ended: bool, is_upgrade: bool) -> Self {
        let request = session.req_header();
        let expects_continue = request.version == Version::HTTP_11
            && request
                .headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let state = match (is_upgrade, ended) {
            (true, _) => State::BeforeUpgrade,
            (false, true) => State::Watching,
            (false, false) => State::Reading,
        };
        Self { from_visitor: RequestBody::of(session), to_agent, state, expects_continue, began: false }
    }

    /// Uploads until the answer's head is there.
    async fn until(
        &mut self,
        session: &mut Session,
        response: &mut ResponseFuture,
    ) -> Result<(ResponseHeader, RecvStream)> {
        let mut interim = 0;
        loop {
            tokio::select! {
                biased;
                response = answer_to(response, &mut interim) => {
                    let Some(response) = response else {
                        return Err(Failure::App(AppFault::BadAnswer).into_error());
                    };
                    let (mut parts, body) = response.map_err(|error| no_answer(&error, self.began))?.into_parts();
                    if let Some(fault) = parts.headers.get(AGENT_ERROR_HEADER) {
                        let fault = fault.to_str().ok().and_then(AppFault::parse);
                        return Err(fault.map_or(Failure::Broken, Failure::App).into_error());
                    }
                    parts.version = Version::HTTP_11;
                    return Ok((parts.into(), body));
                }
                step = self.step(session) => step?,
            }
        }
    }

    /// Does the next thing there is to do. May be dropped at any point and called again. Fails when the visitor is
    /// gone; that the agent takes no more is for its answer to explain.
    async fn step(&mut self, session: &mut Session) -> Result<()> {
        match &mut self.state {
            State::Reading => {
                if std::mem::take(&mut self.expects_continue) {
                    answer::say_continue(session).await?;
                }
                let piece = self.from_visitor.next(session).await?;
                self.began = true;
                self.state = piece.map_or(State::Ending, State::Sending);
            }
            State::Sending(piece) => {
                self.state = match http2::send(&mut self.to_agent, piece, false).await {
                    Ok(()) => State::Reading,
                    Err(_) => State::Discarding,
                };
            }
            State::Ending => {
                Life::settled();
                // Without data it does not wait. An error is as good as done, for the same reason as above.
                let _ = self.to_agent.send_data(Bytes::new(), true);
                self.state = State::Watching;
            }
            State::Discarding => {
                if session.read_request_body().await.map_err(Error::into_down)?.is_none() {
                    self.state = State::Watching;
                }
            }
            State::Watching | State::BeforeUpgrade => {
                session.read_body_or_idle(true).await.map_err(Error::into_down)?;
            }
        }
        Ok(())
    }
}

/// The answer that counts; none from who has more to say before it than anybody would. May be dropped and called again.
async fn answer_to(
    response: &mut ResponseFuture,
    interim: &mut usize,
) -> Option<Result<http::Response<RecvStream>, h2::Error>> {
    poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {
            *interim += 1;
            if *interim > INTERIM_LIMIT {
                return Poll::Ready(None);
            }
        }
        Pin::new(&mut *response).poll(cx).map(Some)
    })
    .await
}

/// The request as it goes on the wire.
fn on_the_wire(mut request: RequestHeader, is_websocket: bool) -> Result<Request<()>> {
    let unsendable = || Failure::Unsendable.into_error();
    request_headers::strip_hop_by_hop(&mut request);
    let mut parts = http::request::Parts::from(request);
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => {
            parts.headers.get(HOST).and_then(|host| host.to_str().ok()).ok_or_else(unsendable)?.to_owned()
        }
    };
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(host)
        .path_and_query(path)
        .build()
        .map_err(|_| unsendable())?;
    parts.headers.remove(HOST);
    parts.headers.remove(TRANSFER_ENCODING);
    parts.version = Version::HTTP_2;
    parts.extensions.clear();
    if is_websocket {
        parts.headers.remove(SEC_WEBSOCKET_KEY);
        parts.method = Method::CONNECT;
        parts.extensions.insert(h2::ext::Protocol::from_static("websocket"));
    }
    Ok(Request::from_parts(parts, ()))
}

/// Turns a yes into the 101 that the visitor waits for.
pub(super) fn become_upgrade(head: &mut ResponseHeader, accept: HeaderValue) -> Result<()> {
    response_headers::strip_hop_by_hop(head);
    head.set_status(101)?;
    head.remove_header(&CONTENT_LENGTH);
    head.insert_header(UPGRADE, "websocket")?;
    head.insert_header(CONNECTION, "Upgrade")?;
    head.insert_header(SEC_WEBSOCKET_ACCEPT, accept)
}

fn opening_failed(error: &OpenError) -> Box<Error> {
    match error {
        OpenError::Busy => Failure::Busy,
        OpenError::Gone => Failure::NotTaken,
        OpenError::NoUpgrade => Failure::App(AppFault::BadAnswer),
        OpenError::Unsendable(_) => Failure::Unsendable,
    }
    .into_error()
}

/// What became of a stream that got no answer. A GOAWAY without an error names the streams that were not worked on.
/// A body that has begun to be read cannot be sent again all the same.
fn no_answer(error: &h2::Error, body_began: bool) -> Box<Error> {
    let not_taken = error.is_remote()
        && (error.reason() == Some(Reason::REFUSED_STREAM)
            || error.is_go_away() && error.reason() == Some(Reason::NO_ERROR));
    if not_taken && !body_began { Failure::NotTaken } else { Failure::Broken }.into_error()
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
