//! A browser's WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use http::{StatusCode, header};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::{Error, Message};
use url::Url;

use super::client::{Stream, Visitor, origin};
use super::process::within;

/// An open WebSocket.
pub(crate) struct Socket(WebSocketStream<Box<dyn Stream>>);

/// Why none was opened.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
}

impl Visitor {
    /// A page of the same origin opens a WebSocket.
    pub(crate) async fn websocket(&self, url: &Url) -> Result<Socket, Refused> {
        self.websocket_from(url, &[("origin", &origin(url)), ("sec-fetch-site", "same-origin")]).await
    }

    /// As [`Self::websocket`], with these headers of the page it comes from.
    pub(crate) async fn websocket_from(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> Result<Socket, Refused> {
        let stream = self.dial(url, None).await.expect("a connection");
        let mut target = url.clone();
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // Between two special schemes the URL type allows the change.
        target.set_scheme(scheme).expect("a web scheme");
        let mut request = http::Request::get(target.as_str())
            .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, generate_key())
            .header("sec-fetch-mode", "websocket")
            .header("sec-fetch-dest", "websocket");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookies) = self.cookies.header(url) {
            request = request.header(header::COOKIE, cookies);
        }
        let request = request.body(()).expect("a request");
        match within("a WebSocket", tokio_tungstenite::client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => Err(Refused { status: answer.status() }),
            Err(error) => panic!("{url}: {error}"),
        }
    }
}

impl Socket {
    /// Says `text` and returns what comes back.
    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.0.send(Message::text(text)).await.expect("an open socket");
        loop {
            match within("an echo", self.0.next()).await.expect("an open socket").expect("a message") {
                Message::Text(answer) => return answer.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("instead of an echo: {other:?}"),
            }
        }
    }

    /// Waits until the other side ends it, politely or not.
    pub(crate) async fn cut(&mut self) {
        while let Some(Ok(message)) = within("the socket's end", self.0.next()).await {
            if message.is_close() {
                return;
            }
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        let _ = self.0.close(None).await;
        self.cut().await;
    }
}
