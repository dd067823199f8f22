//! Plain http: every request is sent to https, by a fixed rule and with nothing of ours in it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::entrance::Entrance;
use crate::names::{PublicHosts, Site};

/// From the accepted socket to the end of its one answer. Nobody who means it needs a tenth of that.
const DEADLINE: Duration = Duration::from_secs(10);

/// Serves one http listener until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    hosts: PublicHosts,
    entrance: Arc<Entrance>,
    stop: CancellationToken,
) {
    let hosts = Arc::new(hosts);
    while let Some(arrived) = stop.run_until_cancelled(entrance.accept(&listener)).await {
        let (hosts, entrance) = (Arc::clone(&hosts), Arc::clone(&entrance));
        tokio::spawn(async move {
            let Some((socket, _, _place)) = entrance.introduced(arrived).await else { return };
            let answer = service_fn(|request| {
                let answer = redirect(&hosts, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection =
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(socket), answer);
            // Whoever was too slow, or spoke no HTTP, is owed nothing.
            let _ = timeout(DEADLINE, connection).await;
        });
    }
}

/// 308 keeps the method. A token in the address goes on with the rest: who overheard it in the clear can do nothing with
/// it, because it is bound to a browser.
fn redirect<B>(hosts: &PublicHosts, request: &Request<B>) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host));
    let origin = match host.map(|host| hosts.site(host)) {
        Some(Site::Deployer) => hosts.deployer_origin(),
        Some(Site::Tunnel(tunnel)) => hosts.tunnel_origin(&tunnel),
        Some(Site::Unknown) | None => return refuse(StatusCode::MISDIRECTED_REQUEST),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        // What was sent with it went over the wire in the clear; a client that must be told is not sent on silently.
        return refuse(StatusCode::FORBIDDEN);
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if !path.starts_with('/') {
        return refuse(StatusCode::BAD_REQUEST);
    }
    match HeaderValue::try_from(format!("{origin}{path}")) {
        Ok(location) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response(),
        Err(_) => refuse(StatusCode::BAD_REQUEST),
    }
}

fn refuse(status: StatusCode) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], "Use https.\n").into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::edge::test_listener::hosts;

    async fn start() -> (TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, hosts(), crate::edge::test_listener::entrance(), stop.clone()));
        (TcpStream::connect(address).await.expect("connected"), stop)
    }

    async fn ask(head: &str) -> String {
        let (mut socket, _stop) = start().await;
        socket.write_all(head.as_bytes()).await.expect("written");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn who_comes_by_http_is_sent_to_the_same_address_by_https() {
        let answer = ask("GET /a?b=%2F HTTP/1.1\r\nHost: deployer.patapim.test:80\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(answer.contains("\r\nlocation: https://deployer.patapim.test/a?b=%2F\r\n"), "{answer}");
        for (head, status) in [
            ("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "421"),
            ("GET / HTTP/1.1\r\n\r\n", "421"),
            ("GET * HTTP/1.1\r\nHost: deployer.patapim.test\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nHost: deployer.patapim.test\r\nContent-Length: 0\r\n\r\n", "403"),
        ] {
            let answer = ask(head).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer}");
            assert!(answer.contains("no-store"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asks_is_not_kept() {
        let (mut socket, _stop) = start().await;
        socket.write_all(b"GET / HTTP/1.1\r\nX: ").await.expect("written");
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.expect("closed");
        assert!(heard.is_empty());
    }
}
