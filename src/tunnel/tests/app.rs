//! A small app to put behind an agent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

type Answered = Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible>;

/// Starts it and returns its address.
pub(super) async fn start() -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service_fn(answer))
                .with_upgrades();
            tokio::spawn(async move { drop(served.await) });
        }
    });
    (address, AbortOnDropHandle::new(serving))
}

async fn answer(request: Request<Incoming>) -> Answered {
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/head" => {
            let mut lines: Vec<String> = vec![format!("{} {}", request.method(), request.uri())];
            let headers = request.headers().iter();
            lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))));
            text(lines.join("\n"))
        }
        // Everything that comes goes back, piece by piece, trailers too.
        "/echo" => {
            let trailer = request.headers().get("trailer").cloned();
            let mut response = Response::new(request.into_body().boxed());
            if let Some(trailer) = trailer {
                response.headers_mut().insert("trailer", trailer);
            }
            response
        }
        "/zeros" => {
            let size = request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(0);
            Response::new(Zeros(size).map_err(|never| match never {}).boxed())
        }
        "/count" => {
            let mut body = request.into_body().into_data_stream();
            let mut seen = 0;
            while let Some(Ok(piece)) = body.next().await {
                seen += piece.len();
            }
            text(seen.to_string())
        }
        "/clock" => {
            let (ticks, clock) = mpsc::channel(1);
            tokio::spawn(async move {
                for tick in 0.. {
                    let event = Bytes::from(format!("data: {tick}\n\n"));
                    if ticks.send(event).await.is_err() {
                        break;
                    }
                }
            });
            let events = futures_util::stream::unfold(clock, |mut clock| async {
                clock.recv().await.map(|event| (Ok(Frame::data(event)), clock))
            });
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
            response.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            response
        }
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "42".parse().expect("a value"));
            // Of no stated length: only chunks can have trailers.
            let frames = [Ok(Frame::data(Bytes::from_static(b"summed"))), Ok(Frame::trailers(trailers))];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let mut response = Response::new(BodyExt::boxed(body));
            response.headers_mut().insert("trailer", "x-sum".parse().expect("a value"));
            response
        }
        _ => {
            let mut response = text(String::new());
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            response
        }
    })
}

fn text(text: String) -> Response<BoxBody<Bytes, hyper::Error>> {
    Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed())
}

/// So many bytes, made when asked for.
struct Zeros(u64);

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];
        let size = self.0.min(PIECE.len() as u64);
        self.0 -= size;
        Poll::Ready((size > 0).then(|| Ok(Frame::data(Bytes::from_static(&PIECE[..size as usize])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
