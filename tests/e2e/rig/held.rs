//! Everything that a visitor can have open at once: a WebSocket, event streams, downloads and uploads, over both kinds of
//! HTTP; and a neighbour's stream on the same connection.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Method;
use tokio::task::JoinHandle;
use url::Url;

use super::answer::Live;
use super::app::App;
use super::client::{Connection, Outgoing, Visitor};
use super::process::within;
use super::websocket::Socket;

/// Longer than any test lasts.
const ENDLESS: &str = "/big/1000000000000";

/// All that one browser has open.
pub(crate) struct Held {
    socket: Socket,
    /// What comes down, and what it is.
    answers: Vec<(&'static str, Live)>,
    /// What goes up, without an answer yet.
    uploads: Vec<(&'static str, JoinHandle<std::io::Result<Live>>)>,
    /// The connection of what is open over HTTP/2.
    shared: Connection,
}

/// How many of them are streams that a cut ends.
pub(crate) const STREAMS: usize = 7;

impl Held {
    /// Opens all of it at `page`, which is `app`'s; `name` is nobody else's.
    pub(crate) async fn open(app: &App, browser: &Visitor, name: &str, page: impl Fn(&str) -> Url) -> Self {
        let (one, two) = (browser.clone(), browser.h2());
        let mut socket = one.websocket(&page("/ws")).await.expect("a socket");
        assert_eq!(socket.ask("hello").await, "hello");

        let names = [format!("{name}-one"), format!("{name}-two")];
        let events = |name: &str| page(&format!("/events/{name}"));
        let mut shared = two.connect(&page("/"), None).await.expect("a connection");
        let mut answers = vec![
            ("events over HTTP/1.1", opened(one.fetch(Method::GET, &events(&names[0]))).await),
            ("a download over HTTP/1.1", opened(one.fetch(Method::GET, &page(ENDLESS))).await),
            ("events over HTTP/2", shared.open(two.fetch(Method::GET, &events(&names[1]))).await),
            ("a download over HTTP/2", shared.open(two.fetch(Method::GET, &page(ENDLESS))).await),
        ];
        for name in &names {
            app.streaming(name).await;
            app.tick(name, "begun");
        }
        for (what, answer) in &mut answers {
            answer.piece().await.unwrap_or_else(|| panic!("{what} is over")).expect(what);
        }

        let target = |way: &str| format!("/hash?{name}-{way}");
        let uploads = vec![
            ("an upload over HTTP/1.1", tokio::spawn(endless_upload(&one, &page(&target("one"))))),
            ("an upload over HTTP/2", tokio::spawn(endless_upload(&two, &page(&target("two"))))),
        ];
        for way in ["one", "two"] {
            app.reached(&target(way)).await;
        }
        Self { socket, answers, uploads, shared }
    }

    /// Sends another's request over the connection that HTTP/2 shares.
    pub(crate) async fn beside(&mut self, outgoing: Outgoing) -> Live {
        self.shared.open(outgoing).await
    }

    /// Waits until all of it has ended, and none as if it were whole.
    pub(crate) async fn cut(&mut self) {
        self.socket.cut().await;
        for (what, answer) in &mut self.answers {
            assert!(answer.broke_off().await, "{what} ended as if it were whole");
        }
        for (what, upload) in self.uploads.drain(..) {
            let answered = within(what, upload).await.expect("a task that does not panic");
            assert!(answered.is_err(), "{what} was answered");
        }
    }

    /// All of it still flows.
    pub(crate) async fn lives(&mut self) {
        assert_eq!(self.socket.ask("still here").await, "still here");
        for (what, upload) in &self.uploads {
            assert!(!upload.is_finished(), "{what} has ended");
        }
    }
}

async fn opened(outgoing: Outgoing) -> Live {
    outgoing.open().await.expect("an answer")
}

fn endless_upload(
    browser: &Visitor,
    to: &Url,
) -> impl Future<Output = std::io::Result<Live>> + Send + 'static {
    let pieces = stream::iter([Ok(Bytes::from_static(b"begun"))]).chain(stream::pending());
    browser.fetch(Method::POST, to).stream(pieces).open()
}
