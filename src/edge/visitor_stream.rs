//! A visitor's connection as Pingora gets it: the same bytes, and an end to those who are too slow.
//!
//! Pingora's own time limits begin anew with each byte, and HTTP/2 has none at all below its frames. Here they are kept where
//! every byte passes, and cost nothing while bytes come: a timer is set only when there is nothing to read, or no room to
//! write. Over HTTP/1.1 the [`Course`] tells what a read waits for; over HTTP/2, where one connection carries many requests,
//! that is left to those who know the frames, and here only a visitor who takes nothing at all is seen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use super::head_meter::{HeadMeter, Taken};
use super::pace::{Alarm, Pace};
use super::upgrade::Exit;
use crate::metrics::{Limit, metrics};

/// Where the request on a connection of HTTP/1.1 stands, told by whoever handles it.
#[derive(Debug, Default)]
pub(super) struct Course {
    requests: AtomicU32,
    awaited: AtomicU8,
    cut: AtomicBool,
    /// Where the connection goes when it is no longer HTTP's.
    pub(super) exit: Exit,
}

/// What the visitor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Awaited {
    Nothing,
    Head,
    Body,
}

impl Course {
    /// The next request may come.
    pub(super) fn await_head(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.awaited.store(Awaited::Head as u8, Ordering::Release);
    }

    /// The head is there, and a body is to follow.
    pub(super) fn await_body(&self) {
        self.awaited.store(Awaited::Body as u8, Ordering::Release);
    }

    /// The visitor owes nothing more: all has come, or the answer has begun, and when it is read may be between the two ends.
    pub(super) fn await_nothing(&self) {
        self.awaited.store(Awaited::Nothing as u8, Ordering::Release);
    }

    /// Whether something of the head was thrown away, because it had too many lines.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    fn awaited(&self) -> Awaited {
        match self.awaited.load(Ordering::Acquire) {
            1 => Awaited::Head,
            2 => Awaited::Body,
            _ => Awaited::Nothing,
        }
    }
}

/// A visitor's connection.
#[derive(Debug)]
pub(super) struct VisitorStream {
    io: Stream,
    course: Arc<Course>,
    limits: Limits,
    head: HeadMeter,
    /// Which request `head` is of.
    request: u32,
    /// The idle connection's end, or that of a head under way.
    alarm: Alarm,
    alarm_is_set: bool,
    ending: &'static [u8],
    sending: Pace,
    taking: Pace,
}

impl VisitorStream {
    pub(super) fn new(io: Stream, course: Arc<Course>, limits: Limits) -> Self {
        Self {
            io,
            course,
            limits,
            head: HeadMeter::default(),
            request: 0,
            alarm: Alarm::default(),
            alarm_is_set: false,
            ending: b"",
            sending: Pace::new(&limits),
            taking: Pace::new(&limits),
        }
    }

    fn read_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let request = self.course.requests.load(Ordering::Relaxed);
        if self.request != request {
            self.request = request;
            self.head = HeadMeter::default();
            self.alarm_is_set = false;
            self.sending.renew();
        }
        loop {
            let before = buf.filled().len();
            if !self.ending.is_empty() {
                let fits = self.ending.len().min(buf.remaining());
                buf.put_slice(&self.ending[..fits]);
                self.ending = &self.ending[fits..];
                return Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() == before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_late(cx).map(Err),
            }
            if !self.head.has_begun() {
                self.alarm_is_set = false;
            }
            let kept = match self.head.take(&buf.filled()[before..]) {
                Taken::All => return Poll::Ready(Ok(())),
                Taken::First(kept) => kept,
                Taken::Last(kept) => {
                    self.ending = b"\r\n";
                    kept
                }
                Taken::Hostile => {
                    metrics().limited(Limit::HeadSize);
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a head without end",
                    )));
                }
            };
            if self.head.is_cut() {
                self.course.cut.store(true, Ordering::Release);
            }
            buf.set_filled(before + kept);
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ready when the head, or its beginning, is overdue.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.alarm_is_set {
            let patience = if self.head.has_begun() { self.limits.header } else { self.limits.idle };
            self.alarm.set(Instant::now() + patience);
            self.alarm_is_set = true;
        }
        self.alarm.poll(cx).map(|()| {
            if self.head.has_begun() {
                metrics().limited(Limit::HeadTime);
            }
            too_slow()
        })
    }

    /// The visitor takes nothing; ready when that has been too long.
    fn poll_untaken(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.taking.poll_lost(cx).map(|()| {
            metrics().limited(Limit::TakingRate);
            too_slow()
        })
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the visitor is too slow")
}

impl Drop for VisitorStream {
    fn drop(&mut self) {
        self.course.exit.pass(&mut self.io);
    }
}

impl AsyncRead for VisitorStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let awaited = this.course.awaited();
        if awaited == Awaited::Head {
            return this.read_head(cx, buf);
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending if awaited == Awaited::Body => this.sending.poll_lost(cx).map(|()| {
                metrics().limited(Limit::SendingRate);
                Err(too_slow())
            }),
            polled => {
                this.sending.moved(buf.filled().len() - before);
                polled
            }
        }
    }
}

impl AsyncWrite for VisitorStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_write(cx, buf) {
            Poll::Pending => this.poll_untaken(cx).map(Err),
            polled => {
                this.taking.moved(taken(&polled));
                polled
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_write_vectored(cx, bufs) {
            Poll::Pending => this.poll_untaken(cx).map(Err),
            polled => {
                this.taking.moved(taken(&polled));
                polled
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Pending => this.poll_untaken(cx).map(Err),
            polled => {
                this.taking.moved(0);
                polled
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_shutdown(cx) {
            Poll::Pending => this.poll_untaken(cx).map(Err),
            polled => polled,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

fn taken(polled: &Poll<io::Result<usize>>) -> usize {
    match polled {
        Poll::Ready(Ok(bytes)) => *bytes,
        _ => 0,
    }
}

// What Pingora asks of a connection is what the one below answers.

#[async_trait]
impl Shutdown for VisitorStream {
    async fn shutdown(&mut self) {
        self.io.shutdown().await;
    }
}

impl UniqueID for VisitorStream {
    fn id(&self) -> UniqueIDType {
        self.io.id()
    }
}

impl Ssl for VisitorStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.io.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.io.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.io.selected_alpn_proto()
    }
}

impl GetTimingDigest for VisitorStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.io.get_timing_digest()
    }
}

impl GetProxyDigest for VisitorStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.io.get_proxy_digest()
    }
}

impl GetSocketDigest for VisitorStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.io.get_socket_digest()
    }
}

impl Peek for VisitorStream {}
