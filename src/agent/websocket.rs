//! A visitor's WebSocket: extended CONNECT on the tunnel (RFC 8441), an upgrade at the app (RFC 6455).
//!
//! Only the handshake is understood here; the frames inside pass as bytes.

use std::future::poll_fn;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::body::VisitorBody;
use super::headers::prepare_response;
use super::local::{App, Broken, fault_of, pass_on, unless_visitor_leaves};
use crate::secret::random;
use crate::wire::{AppFault, http2};

const PIECE: usize = http2::FRAME_SIZE as usize;

/// Serves a CONNECT to its end.
pub(super) async fn serve(
    app: &App,
    request: Request<RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Broken> {
    let protocol = request.extensions().get::<h2::ext::Protocol>();
    if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") {
        return Err(Broken::App(AppFault::BadRequest));
    }
    let (mut head, from_visitor) = request.into_parts();
    head.method = Method::GET;
    app.address_to_app(&mut head, true)?;
    let key = STANDARD.encode(random::<16>(app.entropy()));
    let accept = accept_for(&key);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    head.headers.insert(SEC_WEBSOCKET_KEY, key.parse().map_err(|_| Broken::App(AppFault::BadRequest))?);
    head.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));

    let asked = app.client().request(Request::from_parts(head, VisitorBody::Empty));
    let answer = unless_visitor_leaves(respond, asked).await?;
    let mut answer = answer.map_err(|error| Broken::App(fault_of(&error)))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return declined(answer, respond).await;
    }
    if !is_upgraded(answer.headers(), &accept) {
        return Err(Broken::App(AppFault::BadAnswer));
    }
    let upgraded = hyper::upgrade::on(&mut answer).await.map_err(|_| Broken::App(AppFault::NoAnswer))?;

    let (mut head, _) = answer.into_parts();
    if !prepare_response(&mut head) {
        return Err(Broken::App(AppFault::BadAnswer));
    }
    head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    head.status = StatusCode::OK;
    head.version = http::Version::HTTP_2;
    head.extensions.clear();
    let to_visitor = respond.send_response(Response::from_parts(head, ()), false)?;
    splice(TokioIo::new(upgraded), from_visitor, to_visitor).await
}

/// The app would rather not. A 2xx would mean the opposite on a CONNECT, so that one is the app's mistake.
async fn declined(answer: Response<Incoming>, respond: &mut SendResponse<Bytes>) -> Result<(), Broken> {
    if answer.status().is_success() {
        return Err(Broken::App(AppFault::BadAnswer));
    }
    pass_on(answer, respond).await
}

fn is_upgraded(headers: &HeaderMap, accept: &str) -> bool {
    let to_websocket =
        headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    to_websocket && accepts.next().is_some_and(|value| value == accept) && accepts.next().is_none()
}

/// What an app must answer to `key` (RFC 6455 §4.2.2). SHA-1 is not there to keep anything secret.
fn accept_for(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Moves bytes until the app ends it, the visitor leaves, or either breaks off.
async fn splice(
    app: TokioIo<Upgraded>,
    mut from_visitor: RecvStream,
    mut to_visitor: SendStream<Bytes>,
) -> Result<(), Broken> {
    let (from_app, mut to_app) = tokio::io::split(app);
    let inwards = async {
        inwards(&mut from_visitor, &mut to_app).await?;
        // The visitor has said all; the app may still have something to say.
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = inwards => ended,
        ended = outwards(from_app, &mut to_visitor) => ended,
    };
    if matches!(ended, Err(Broken::Upgraded(_))) {
        to_visitor.send_reset(Reason::INTERNAL_ERROR);
    }
    ended
}

async fn inwards(from: &mut RecvStream, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Broken> {
    while let Some(data) = http2::receive(from).await {
        to.write_all(&data?).await.map_err(Broken::Upgraded)?;
        to.flush().await.map_err(Broken::Upgraded)?;
    }
    to.shutdown().await.map_err(Broken::Upgraded)
}

async fn outwards(mut from: impl AsyncRead + Unpin, to: &mut SendStream<Bytes>) -> Result<(), Broken> {
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        buffer.reserve(PIECE);
        let read = tokio::select! {
            biased;
            read = from.read_buf(&mut buffer) => read.map_err(Broken::Upgraded)?,
            left = poll_fn(|cx| to.poll_reset(cx)) => {
                return Err(Broken::Visitor(left.map_or_else(|error| error, h2::Error::from)));
            }
        };
        http2::send(to, &mut buffer.split().freeze(), read == 0).await?;
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_rfc_6455() {
        assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_upgrade_to_something_else_is_none() {
        let headers = |upgrade: &'static str, accept: &'static str| {
            HeaderMap::from_iter([
                (UPGRADE, HeaderValue::from_static(upgrade)),
                (SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(accept)),
            ])
        };
        assert!(is_upgraded(&headers("WebSocket", "x"), "x"));
        assert!(!is_upgraded(&headers("h2c", "x"), "x"));
        assert!(!is_upgraded(&headers("websocket", "y"), "x"));
    }
}
