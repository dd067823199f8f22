//! The edge's own requests: its hello, its notices, and what it asks about sessions and devices.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode, header};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::desk::{Desk, DeskError};
use crate::names::DeviceId;
use crate::wire::approval::{Ask, DEVICES_PATH, SESSION_PATH};
use crate::wire::{
    EdgeHello, HELLO_PATH, MESSAGE_LIMIT, Notice, NoticeBody, UnknownVersion, http2, one_line, read_hello,
};

/// How long the edge may take to say hello, and to say all of a message.
pub(super) const MESSAGE_PATIENCE: Duration = Duration::from_secs(10);

/// What the edge said that concerns the connection.
pub(super) enum Said {
    Hello(EdgeHello, SendStream<Bytes>),
    Mismatch(UnknownVersion),
    Notice(Notice, String),
}

/// Answers one of them. What was said is passed on before it is answered, because the edge may close on the answer.
pub(super) async fn control(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    said: mpsc::Sender<Said>,
    hello: Bytes,
    desk: Arc<Desk>,
) -> Result<(), h2::Error> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let message = match timeout(MESSAGE_PATIENCE, message(request.into_body())).await {
        Ok(message) => message?,
        Err(_) => return Err(h2::Reason::CANCEL.into()),
    };
    let Some(message) = message else { return answer(respond, StatusCode::PAYLOAD_TOO_LARGE) };
    if let Some(rest) = path.strip_prefix(DEVICES_PATH) {
        return devices(&method, rest, respond, desk).await;
    }
    if method != Method::POST {
        return answer(respond, StatusCode::BAD_REQUEST);
    }
    match &*path {
        HELLO_PATH => match read_hello::<EdgeHello>(&message) {
            Ok(edge) => {
                let mut events = respond.send_response(head(StatusCode::OK), false)?;
                events.send_data(hello, false)?;
                let _ = said.send(Said::Hello(edge, events)).await;
                Ok(())
            }
            Err(mismatch) => {
                let sentence = mismatch.to_string();
                let _ = said.send(Said::Mismatch(mismatch)).await;
                answer_with(respond, StatusCode::UPGRADE_REQUIRED, &NoticeBody { sentence }).await
            }
        },
        SESSION_PATH => session(&message, respond, desk).await,
        path => match Notice::at(path) {
            Some(notice) => {
                let NoticeBody { sentence } = serde_json::from_slice(&message).unwrap_or_default();
                let _ = said.send(Said::Notice(notice, one_line(&sentence))).await;
                answer(respond, StatusCode::NO_CONTENT)
            }
            None => answer(respond, StatusCode::NOT_FOUND),
        },
    }
}

/// Whether a session will be served.
async fn session(message: &[u8], respond: SendResponse<Bytes>, desk: Arc<Desk>) -> Result<(), h2::Error> {
    let Ok(ask) = serde_json::from_slice::<Ask>(message) else {
        return answer(respond, StatusCode::BAD_REQUEST);
    };
    match on_disk(move || desk.ask(&ask)).await {
        Ok(said) => answer_with(respond, StatusCode::OK, &said).await,
        Err(status) => answer(respond, status),
    }
}

/// Who is trusted; and to trust somebody no longer, which is all that an edge can do about it.
async fn devices(
    method: &Method,
    rest: &str,
    respond: SendResponse<Bytes>,
    desk: Arc<Desk>,
) -> Result<(), h2::Error> {
    let id = rest.strip_prefix('/').and_then(|id| DeviceId::parse(id).ok());
    match (method, id) {
        (&Method::GET, None) if rest.is_empty() => {
            answer_with(respond, StatusCode::OK, &desk.snapshot().devices).await
        }
        (&Method::DELETE, Some(id)) => {
            let status = match on_disk(move || desk.remove(&id)).await {
                Ok(()) => StatusCode::NO_CONTENT,
                Err(status) => status,
            };
            answer(respond, status)
        }
        _ => answer(respond, StatusCode::NOT_FOUND),
    }
}

/// Does what waits for the disk where nobody else waits for it.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeskError> + Send + 'static,
) -> Result<T, StatusCode> {
    match spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(DeskError::Undecided(_) | DeskError::NotMeant(_))) => Err(StatusCode::NOT_FOUND),
        Ok(Err(DeskError::Home(error))) => {
            tracing::error!(%error, "what was decided could not be written down");
            Err(StatusCode::INSUFFICIENT_STORAGE)
        }
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn answer(mut respond: SendResponse<Bytes>, status: StatusCode) -> Result<(), h2::Error> {
    respond.send_response(head(status), true).map(drop)
}

async fn answer_with(
    mut respond: SendResponse<Bytes>,
    status: StatusCode,
    message: &impl Serialize,
) -> Result<(), h2::Error> {
    let mut body = respond.send_response(head(status), false)?;
    http2::send(&mut body, &mut line(message), true).await
}

fn head(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let lines = header::HeaderValue::from_static("application/json-lines");
        response.headers_mut().insert(header::CONTENT_TYPE, lines);
    }
    response
}

pub(super) fn line(message: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// A whole message; `None` when it is too long to be one.
async fn message(mut body: RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let mut whole = BytesMut::new();
    while let Some(piece) = http2::receive(&mut body).await {
        whole.extend_from_slice(&piece?);
        if whole.len() > MESSAGE_LIMIT {
            return Ok(None);
        }
    }
    Ok(Some(whole.freeze()))
}
