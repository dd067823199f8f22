//! From Pingora to an axum `Router` in the same process, streaming both ways, with no hop in between.
//!
//! The request's body is read only as fast as the handler asks for it, the answer's sent only as fast as the visitor
//! takes it, and both at once where the handler does so. Pingora knows one session object for both directions, so one
//! loop turns to whichever has something to do.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderValue};
use http::{Extensions, Request, Version, response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tower::{Service, ServiceExt as _};

use super::answer;
use super::life::Life;

/// No form or JSON document of ours comes near it.
const LARGEST_BODY: usize = 1 << 20;

/// From a request's head to the answer's. A body that comes byte by byte is nobody's form, and Pingora's own limit begins
/// anew with each.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Has `service` answer the request that `session` holds, and sends the answer.
pub(super) async fn serve<S>(session: &mut Session, service: S, extensions: Extensions) -> Result<()>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Send,
    S::Future: Send,
{
    let (request, mut upload) = begin(session, extensions)?;
    let response = {
        let mut handler = std::pin::pin!(service.oneshot(request));
        let mut too_late = std::pin::pin!(sleep(HEARD_WITHIN));
        loop {
            tokio::select! {
                biased;
                response = &mut handler => {
                    let Ok(response) = response;
                    break response;
                }
                step = upload.step(session) => step?,
                () = &mut too_late => {
                    return Err(Error::explain(ErrorType::ReadTimedout, "a body that does not end").into_down());
                }
            }
        }
    };
    let (parts, body) = response.into_parts();
    upload.drain(session).await?;
    if answer::send_head(session, head_of(&parts)?).await? {
        send_body(session, body, &mut upload).await?;
    }
    session.write_response_body(None, true).await
}

/// The request as axum takes it, and the other end of its body.
fn begin(session: &mut Session, extensions: Extensions) -> Result<(Request<Body>, Upload)> {
    let empty = session.is_body_empty();
    let head = session.req_header();
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.version_mut() = head.version;
    *request.uri_mut() = match head.uri.path_and_query() {
        Some(path) => path.clone().into(),
        None => http::Uri::from_static("/"),
    };
    *request.headers_mut() = head.headers.clone();
    if let Some(authority) = head.uri.authority()
        && !head.headers.contains_key(HOST)
    {
        let host =
            HeaderValue::from_str(authority.as_str()).or_err(ErrorType::InvalidHTTPHeader, "authority")?;
        request.headers_mut().insert(HOST, host);
    }
    let expects_continue = head.version == Version::HTTP_11
        && head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    *request.extensions_mut() = extensions;

    let (ask, asked) = mpsc::channel(1);
    let (give, given) = mpsc::channel(1);
    let state = if empty { UploadState::Done } else { UploadState::Waiting };
    let upload = Upload { state, asked, give: (!empty).then_some(give), expects_continue };
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = if empty {
        Body::empty()
    } else {
        Body::new(Limited::new(RequestBody { ask, given, has_asked: false, length }, LARGEST_BODY))
    };
    Ok((request.map(|()| body), upload))
}

/// The request's body as the handler sees it.
struct RequestBody {
    ask: mpsc::Sender<()>,
    given: mpsc::Receiver<Result<Bytes, BrokenOff>>,
    has_asked: bool,
    length: Option<u64>,
}

/// The visitor went away in the middle of the body.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
struct BrokenOff;

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if !this.has_asked {
            // Full or closed alike mean that there is nothing to add.
            let _ = this.ask.try_send(());
            this.has_asked = true;
        }
        let given = std::task::ready!(this.given.poll_recv(cx));
        this.has_asked = false;
        Poll::Ready(given.map(|given| given.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The request's body as the visitor sends it.
struct Upload {
    state: UploadState,
    asked: mpsc::Receiver<()>,
    give: Option<mpsc::Sender<Result<Bytes, BrokenOff>>>,
    expects_continue: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UploadState {
    /// For the handler to ask.
    Waiting,
    /// For the visitor to send.
    Reading,
    /// All of it has come, or nobody wants the rest.
    Done,
}

impl Upload {
    /// Does the next thing there is to do; never ends when there is nothing. Fails when the visitor is gone.
    async fn step(&mut self, session: &mut Session) -> Result<()> {
        match self.state {
            UploadState::Waiting => {
                let wanted = self.asked.recv().await.is_some();
                if wanted && std::mem::take(&mut self.expects_continue) {
                    answer::say_continue(session).await?;
                }
                self.state = if wanted { UploadState::Reading } else { UploadState::Done };
            }
            UploadState::Reading => match session.read_request_body().await {
                Ok(Some(piece)) => {
                    self.give(Ok(piece));
                    self.state = UploadState::Waiting;
                }
                Ok(None) => {
                    Life::settled();
                    self.give = None;
                    self.state = UploadState::Done;
                }
                Err(error) => {
                    self.give(Err(BrokenOff));
                    return Err(error.into_down());
                }
            },
            UploadState::Done if session.is_body_done() => {
                // Nothing more is to come, so this ends only when the visitor goes.
                session.read_body_or_idle(true).await.map_err(Error::into_down)?;
            }
            UploadState::Done => std::future::pending().await,
        }
        Ok(())
    }

    fn give(&self, piece: Result<Bytes, BrokenOff>) {
        if let Some(give) = &self.give {
            // The handler may have dropped the body, and there is room: it asked.
            let _ = give.try_send(piece);
        }
    }

    /// Reads away a bounded part of a body that the handler left unread and the visitor is sending.
    async fn drain(&mut self, session: &mut Session) -> Result<()> {
        let still_read = self.give.as_ref().is_some_and(|give| !give.is_closed());
        if still_read || self.expects_continue {
            return Ok(());
        }
        self.state = UploadState::Done;
        answer::drain(session).await
    }
}

fn head_of(parts: &response::Parts) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 2))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

async fn send_body(session: &mut Session, mut body: Body, upload: &mut Upload) -> Result<()> {
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        session.write_response_body(Some(data), false).await?;
                    }
                }
                // Broken off, not ended: the visitor must not take a part for the whole.
                Some(Err(error)) => return Err(Error::because(ErrorType::InternalError, "the answer broke off", error)),
                None => return Ok(()),
            },
            step = upload.step(session) => step?,
        }
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
