//! Sending an answer to a visitor: the rules that hold wherever the answer comes from.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use tokio::time::timeout;

use super::life::Life;
use super::response_headers;

/// Of a body that nobody read, this much is read away before the answer: some clients read none while they send.
const DRAINED: usize = 256 * 1024;
/// And for this long at most.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Sends a final head, with the framing that the visitor's version of HTTP wants. Gives whether a body follows.
pub(super) async fn send_head(session: &mut Session, mut head: ResponseHeader) -> Result<bool> {
    Life::settled();
    response_headers::strip_hop_by_hop(&mut head);
    let request = session.req_header();
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_body = !bodiless && request.method != Method::HEAD;
    if head.status == StatusCode::NO_CONTENT {
        head.remove_header(&CONTENT_LENGTH);
    }
    if has_body && request.version == Version::HTTP_11 && !head.headers.contains_key(CONTENT_LENGTH) {
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    head.set_version(Version::HTTP_11);
    session.write_response_header(Box::new(head), false).await?;
    Ok(has_body)
}

/// Sends a whole answer of our own.
pub(super) async fn send(session: &mut Session, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    drain(session).await?;
    head.insert_header(CONTENT_LENGTH, body.len().to_string())?;
    if send_head(session, head).await? {
        session.write_response_body(Some(body), false).await?;
    }
    session.write_response_body(None, true).await
}

/// Tells a visitor who asked whether to send the body to do so.
pub(super) async fn say_continue(session: &mut Session) -> Result<()> {
    // Pingora takes any answer before the body's end for the last on its connection, and this is none.
    session.set_close_on_response_before_downstream_finish(false);
    let said = session.write_continue_response().await;
    session.set_close_on_response_before_downstream_finish(true);
    said
}

/// Reads away a bounded part of what is left of the request's body.
pub(super) async fn drain(session: &mut Session) -> Result<()> {
    if session.is_body_done() {
        return Ok(());
    }
    let drained = async {
        let mut left = DRAINED;
        while let Some(piece) = session.read_request_body().await? {
            match left.checked_sub(piece.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
        Ok(())
    };
    timeout(DRAIN_DEADLINE, drained).await.unwrap_or(Ok(()))
}
