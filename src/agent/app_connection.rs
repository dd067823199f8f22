//! A connection to the app that is read to its end even when it can no longer be written.
//!
//! An app may answer before it has read all of an upload, and hang up: "too large". What is written after that fails,
//! and HTTP's client would report the failure instead of the answer that lies there to be read. So writing forgives,
//! and reading tells what happened: an answer, or that there is none.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// An app on this machine takes a connection at once or not at all; one elsewhere in the house may take a while.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the app.
#[derive(Clone)]
pub(super) struct AppConnector(HttpConnector);

impl AppConnector {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self(connector)
    }
}

impl Service<Uri> for AppConnector {
    type Response = AppConnection;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = BoxFuture<'static, Result<AppConnection, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, app: Uri) -> Self::Future {
        let connecting = self.0.call(app);
        Box::pin(async { Ok(AppConnection { io: connecting.await?, hung_up: false }) })
    }
}

/// A connection to the app.
pub(super) struct AppConnection {
    io: TokioIo<TcpStream>,
    /// The app reads no more.
    hung_up: bool,
}

impl AppConnection {
    /// What a write of `size` bytes came to; a failure that reading will explain counts as done.
    fn forgive(&mut self, size: usize, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
                ) =>
            {
                self.hung_up = true;
                Ok(size)
            }
            written => written,
        }
    }
}

impl Connection for AppConnection {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl Read for AppConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl Write for AppConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.hung_up {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        Poll::Ready(self.forgive(bytes.len(), written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let size = bytes.iter().map(|slice| slice.len()).sum();
        if self.hung_up {
            return Poll::Ready(Ok(size));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bytes));
        Poll::Ready(self.forgive(size, written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
