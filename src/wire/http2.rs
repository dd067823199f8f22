//! The HTTP/2 settings of both sides, and sending without piling up.
//!
//! Memory is bounded per stream: [`STREAM_WINDOW`], and less where many are open. The connection's own
//! window is as wide as it can be, for otherwise some visitors who do not read would use it up and stop all others.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

/// What a stream may have under way before its reader takes it.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// The widest there is (RFC 9113 §6.9.1).
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Small frames keep a short answer from waiting behind a long one.
pub const FRAME_SIZE: u32 = 16 * 1024;

/// A frame of data that fits into one record of TLS, its own head included: a full frame would be a full record and one of
/// nine bytes, each sealed and opened by itself.
const RECORD: usize = FRAME_SIZE as usize - 9;

/// The largest head of a request or an answer, counted as RFC 9113 §6.5.2 does.
pub const HEADER_LIST_LIMIT: u32 = 128 * 1024;

/// How many streams an agent allows at once. More than an edge asks for, so that none waits unseen inside `h2`.
pub const AGENT_STREAM_LIMIT: u32 = 4096;

/// What a sender holds for one stream while the connection is busy.
const SEND_BUFFER: usize = 64 * 1024;

/// What small frames that nobody reads may cost beyond their bytes. Visitors who fell asleep before a chatty event
/// stream must not cost the tunnel; a peer that only wants memory meets this.
const SMALL_FRAME_BUDGET: usize = 256 << 20;

/// Streams that this side gave up are remembered for a while, because the other side may still be sending on them:
/// a closed tab in the middle of a download. What comes for a forgotten one counts as an error, and by default the
/// 1024th in the life of a connection ends it, which would cost a busy tunnel its connection for nothing. Hence the
/// `None` below; each such error has cost the peer a request that the edge let through.
const REMEMBERED_RESETS: usize = 1024;

/// The edge's side.
pub fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(HEADER_LIST_LIMIT)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .max_local_error_reset_streams(None)
        .enable_push(false);
    builder
}

/// The agent's side.
pub fn server() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(HEADER_LIST_LIMIT)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .max_local_error_reset_streams(None)
        .max_concurrent_streams(AGENT_STREAM_LIMIT)
        // Visitors who close tabs look like a reset flood; the edge has turned real floods away.
        .max_pending_accept_reset_streams(AGENT_STREAM_LIMIT as usize)
        .enable_connect_protocol();
    builder
}

/// Sends `data` as fast as the peer takes it and no faster; with `end`, ends the stream after it. What was sent is
/// gone from `data`, so a caller who gives up half-way can go on later.
pub async fn send(stream: &mut SendStream<Bytes>, data: &mut Bytes, end: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        // More is asked for once this has gone: capacity that is only held is capacity that others lack.
        stream.reserve_capacity(data.len().min(SEND_BUFFER));
        while stream.capacity() == 0 {
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(granted) => granted.map(drop)?,
                None => return Err(closed(stream).await),
            }
        }
        let piece = data.split_to(stream.capacity().min(data.len()).min(RECORD));
        stream.send_data(piece, end && data.is_empty())?;
        if data.is_empty() {
            return Ok(());
        }
    }
    if end { stream.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Why a stream takes nothing any more.
async fn closed(stream: &mut SendStream<Bytes>) -> h2::Error {
    poll_fn(|cx| {
        Poll::Ready(match stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => reason.into(),
            Poll::Ready(Err(error)) => error,
            Poll::Pending => Reason::STREAM_CLOSED.into(),
        })
    })
    .await
}

/// The next piece of a body, never an empty one. Its window is given back at once: the caller takes a piece only when
/// it can pass it on.
pub async fn receive(stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    loop {
        match stream.data().await? {
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => return Some(stream.flow_control().release_capacity(piece.len()).map(|()| piece)),
            Err(error) => return Some(Err(error)),
        }
    }
}
