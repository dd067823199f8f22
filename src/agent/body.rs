//! A visitor's body on its way to the app.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

/// What came with a request: nothing, or a stream of HTTP/2.
pub(super) enum VisitorBody {
    Empty,
    Data { stream: RecvStream, left: Option<u64> },
    Trailers(RecvStream),
}

impl VisitorBody {
    /// `length` is what the head promised; `h2` sees to it that it is kept.
    pub(super) fn of(stream: RecvStream, length: Option<u64>) -> Self {
        if stream.is_end_stream() { Self::Empty } else { Self::Data { stream, left: length } }
    }
}

impl Body for VisitorBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        loop {
            match &mut *self {
                Self::Empty => return Poll::Ready(None),
                Self::Data { stream, left } => match ready!(stream.poll_data(cx)) {
                    Some(Ok(data)) => {
                        // Given back now: the app's connection takes a piece only when it has room for it.
                        stream.flow_control().release_capacity(data.len())?;
                        *left = left.map(|left| left.saturating_sub(data.len() as u64));
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => {
                        if let Self::Data { stream, .. } = std::mem::replace(&mut *self, Self::Empty) {
                            *self = Self::Trailers(stream);
                        }
                    }
                },
                Self::Trailers(stream) => {
                    let trailers = ready!(stream.poll_trailers(cx))?;
                    *self = Self::Empty;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Data { stream, .. } | Self::Trailers(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Trailers(_) => SizeHint::with_exact(0),
            Self::Data { left, .. } => left.map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}
