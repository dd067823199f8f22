//! A visitor's connection that has become something else than HTTP: a WebSocket through a tunnel.
//!
//! Pingora keeps for a connection what its next request would take: a buffer of 64 KiB, another for heads, the futures of its
//! loops and callbacks. People leave a WebSocket silent for hours, and then that would be most of what it costs. So with the
//! answer to the handshake Pingora's part ends: its request is dropped as a whole, which gives the connection back here, and
//! from now on the bytes pass between the visitor and the agent's stream, with no buffer while nothing comes.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Cursor};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::{RecvStream, SendStream};
use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use super::life::Life;
use super::visitor_stream::VisitorStream;
use crate::tunnel::StreamPermit;
use crate::wire::http2;

/// What is read from a visitor at once.
const PIECE: usize = http2::FRAME_SIZE as usize;

/// What becomes of a connection after HTTP.
pub(super) type Afterwards = Box<dyn FnOnce(VisitorStream) -> BoxFuture<'static, ()> + Send>;

/// A connection's way out of HTTP.
#[derive(Default)]
pub(super) struct Exit(Mutex<Option<Leaving>>);

struct Leaving {
    life: Arc<Life>,
    afterwards: Afterwards,
    io: Option<Stream>,
}

impl Exit {
    /// From now on the connection is to be given back when its HTTP is dropped.
    pub(super) fn open(&self, life: Arc<Life>, afterwards: Afterwards) {
        *self.leaving() = Some(Leaving { life, afterwards, io: None });
    }

    /// HTTP is dropped: takes the connection, if it is to be given back.
    pub(super) fn pass(&self, io: &mut Stream) {
        if let Some(leaving) = &mut *self.leaving() {
            leaving.io = Some(std::mem::replace(io, Box::new(Cursor::new(Vec::new()))));
        }
    }

    /// Lives on after HTTP, if that is how it ended, until the request's session is cut or all is done.
    pub(super) async fn afterwards(&self, dress: impl FnOnce(Stream) -> VisitorStream) {
        let left = self.leaving().take();
        if let Some(Leaving { life, afterwards, io: Some(io) }) = left {
            life.until_cut(afterwards(dress(io))).await;
        }
    }

    fn leaving(&self) -> std::sync::MutexGuard<'_, Option<Leaving>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Exit").field(&self.leaving().is_some()).finish()
    }
}

/// An agent's end of a WebSocket.
pub(super) struct WebSocket {
    /// What the visitor said before he had the answer to the handshake.
    pub(super) early: Bytes,
    pub(super) from_agent: RecvStream,
    pub(super) to_agent: SendStream<Bytes>,
    pub(super) permit: StreamPermit,
}

/// What is on its way to the agent.
enum Inwards {
    /// The next piece comes from the visitor.
    Reading,
    Sending(Bytes),
    /// The agent takes no more; what comes is thrown away.
    Discarding,
    /// The visitor has said all. The app may still have something to say.
    Ended,
}

impl WebSocket {
    /// Bytes pass both ways until the app ends it or the visitor is gone.
    pub(super) async fn run(self, mut visitor: VisitorStream) {
        match self.pass(&mut visitor).await {
            // Whoever is gone hears no last words.
            Ok(()) => drop(visitor.shutdown().await),
            Err(error) => tracing::debug!(%error, "a WebSocket broke off"),
        }
    }

    async fn pass(self, visitor: &mut VisitorStream) -> io::Result<()> {
        let Self { early, mut from_agent, mut to_agent, mut permit } = self;
        visitor.flush().await?;
        let mut inwards = if early.is_empty() { Inwards::Reading } else { Inwards::Sending(early) };
        loop {
            tokio::select! {
                piece = permit.receive(&mut from_agent) => match piece {
                    Some(piece) => {
                        let piece = piece.map_err(io::Error::other)?;
                        if permit.is_for_a_turn(piece.len()) {
                            permit.in_turn(Box::pin(say(visitor, piece))).await?;
                        } else {
                            say(visitor, piece).await?;
                        }
                    }
                    None => return Ok(()),
                },
                step = inwards.step(visitor, &mut to_agent) => step?,
            }
        }
    }
}

impl Inwards {
    /// Does the next thing there is to do. May be dropped at any point and called again.
    async fn step(
        &mut self,
        visitor: &mut VisitorStream,
        to_agent: &mut SendStream<Bytes>,
    ) -> io::Result<()> {
        let next = match self {
            Self::Reading => match poll_fn(|cx| poll_piece(visitor, cx)).await? {
                piece if !piece.is_empty() => Self::Sending(piece),
                _ => {
                    // Without data it does not wait. That the agent takes no more is for its own end to explain.
                    let _ = to_agent.send_data(Bytes::new(), true);
                    Self::Ended
                }
            },
            Self::Sending(piece) => match http2::send(to_agent, piece, false).await {
                Ok(()) => Self::Reading,
                Err(_) => Self::Discarding,
            },
            Self::Discarding => match poll_fn(|cx| poll_piece(visitor, cx)).await? {
                piece if !piece.is_empty() => Self::Discarding,
                _ => Self::Ended,
            },
            Self::Ended => std::future::pending().await,
        };
        *self = next;
        Ok(())
    }
}

async fn say(visitor: &mut VisitorStream, piece: Bytes) -> io::Result<()> {
    visitor.write_all(&piece).await?;
    visitor.flush().await
}

/// The next piece, an empty one at the end. There is room for it only while it is read.
fn poll_piece(visitor: &mut VisitorStream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut room = [const { MaybeUninit::<u8>::uninit() }; PIECE];
    let mut room = ReadBuf::uninit(&mut room);
    ready!(Pin::new(visitor).poll_read(cx, &mut room))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(room.filled())))
}
