//! The app behind everybody: it answers at once, so that what is measured is what stands before it.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// What `/small` is answered with.
const SMALL: &[u8] = &[b'x'; 128];
/// Long bodies are sent in pieces of this size.
const PIECE: usize = 64 * 1024;

static ZEROS: [u8; PIECE] = [0; PIECE];

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves on `port` until the process ends: one thread, like most apps on a desktop.
pub(crate) fn serve(port: u16) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            let answers = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request))));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), answers);
            // Whoever measures closes when it likes.
            tokio::spawn(async { drop(connection.await) });
        }
    })
}

/// `/small`, or `/<number>k`, `/<number>m`: so many bytes.
fn answer(request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if path == "/small" {
        return reply(StatusCode::OK, SMALL.len(), Full::new(Bytes::from_static(SMALL)).boxed_unsync());
    }
    let named = path.strip_prefix('/').unwrap_or_default();
    let sizes = [("k", 1 << 10), ("m", 1 << 20)];
    let size = sizes
        .iter()
        .find_map(|(unit, bytes)| named.strip_suffix(unit)?.parse::<usize>().ok()?.checked_mul(*bytes));
    match size {
        Some(size) if size <= PIECE => {
            let whole = Bytes::from_static(ZEROS.get(..size).unwrap_or_default());
            reply(StatusCode::OK, size, Full::new(whole).boxed_unsync())
        }
        Some(size) => {
            let pieces = std::iter::repeat_n(Bytes::from_static(&ZEROS), size / PIECE);
            let frames = stream::iter(pieces.map(|piece| Ok(Frame::data(piece))));
            reply(StatusCode::OK, size / PIECE * PIECE, StreamBody::new(frames).boxed_unsync())
        }
        None => reply(StatusCode::NOT_FOUND, 0, Full::default().boxed_unsync()),
    }
}

fn reply(status: StatusCode, length: usize, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}
