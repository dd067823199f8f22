//! Apps that say what no app should, behind an honest agent and behind a fixed upstream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::rig::agent::Desktop;
use crate::rig::client::Visitor;
use crate::rig::edge::Setup;
use crate::rig::journey::Person;
use crate::rig::process::within;
use crate::rig::scene::TUNNEL;

/// What becomes of it.
#[derive(Clone, Copy)]
enum Fate {
    /// A 502, or an answer that breaks off.
    Refused,
    /// An answer with this body.
    Taken(&'static str),
    /// One or the other: HTTP leaves it open.
    RefusedOr(&'static str),
}

use Fate::{Refused, RefusedOr, Taken};

fn answers() -> Vec<(&'static str, Vec<u8>, Fate)> {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    vec![
        ("a good answer", ok("Content-Length: 4\r\n\r\nfine"), Taken("fine")),
        ("an answer and another", ok(&format!("Content-Length: 4\r\n\r\nfine{evil}")), Taken("fine")),
        (
            "chunks and a length",
            ok(&format!(
                "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n4\r\nfine\r\n0\r\n\r\n{evil}"
            )),
            RefusedOr("fine"),
        ),
        (
            "a length and chunks",
            ok(&format!(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n{evil}"
            )),
            RefusedOr("fine"),
        ),
        ("two lengths", ok(&format!("Content-Length: 4\r\nContent-Length: 100\r\n\r\nfine{evil}")), Refused),
        ("a length of letters", ok("Content-Length: four\r\n\r\nfine"), Refused),
        ("a negative length", ok("Content-Length: -4\r\n\r\nfine"), Refused),
        ("less than its length", ok("Content-Length: 400\r\n\r\nfine"), Refused),
        ("chunks without an end", ok("Transfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n"), Refused),
        ("a chunk of letters", ok("Transfer-Encoding: chunked\r\n\r\nzz\r\nfine\r\n0\r\n\r\n"), Refused),
        (
            "a chunk longer than it says",
            ok("Transfer-Encoding: chunked\r\n\r\n2\r\nfine\r\n0\r\n\r\n"),
            Refused,
        ),
        (
            "a chunk of all there is",
            ok("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nfine\r\n0\r\n\r\n"),
            Refused,
        ),
        (
            "a chunk's extension of 1 MB",
            ok(&format!("Transfer-Encoding: chunked\r\n\r\n4;{}\r\nfine\r\n0\r\n\r\n", "x".repeat(1 << 20))),
            Refused,
        ),
        (
            "another protocol, unasked",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\nevil".to_vec(),
            Refused,
        ),
        ("a status above all", b"HTTP/1.1 999 Evil\r\nContent-Length: 0\r\n\r\n".to_vec(), Refused),
        ("a status of letters", b"HTTP/1.1 abc Evil\r\nContent-Length: 0\r\n\r\n".to_vec(), Refused),
        ("a NUL in a field", ok("X-Evil: a\0b\r\nContent-Length: 4\r\n\r\nfine"), Refused),
        ("a folded field", ok("X-Evil: a\r\n b\r\nContent-Length: 4\r\n\r\nfine"), RefusedOr("fine")),
        ("a space before the colon", ok("Content-Length : 4\r\n\r\nfine"), RefusedOr("fine")),
        (
            "one field of 2 MB",
            ok(&format!("X-Evil: {}\r\nContent-Length: 4\r\n\r\nfine", "x".repeat(2 << 20))),
            Refused,
        ),
        (
            "fifty thousand fields",
            ok(&format!("{}Content-Length: 4\r\n\r\nfine", "X-Evil: 1\r\n".repeat(50_000))),
            Refused,
        ),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), Refused),
        ("HTTP of the first days", b"<h1>evil</h1>\r\n\r\n".to_vec(), Refused),
        ("nothing", Vec::new(), Refused),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-".to_vec(), Refused),
    ]
}

/// An app that says the same to everybody, and closes.
struct RawApp {
    url: String,
    says: watch::Sender<Arc<Vec<u8>>>,
    /// How many have asked and are still there.
    here: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

/// Says this a byte at a time, for longer than the edge waits for a visitor.
const DRIPPING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 30\r\n\r\na drop, and a drop, and a drop";
/// Between two drops.
const BEAT: Duration = Duration::from_millis(30);

/// Says it again and again for as long as anybody listens.
const WITHOUT_END: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n";

impl RawApp {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (says, said) = watch::channel(Arc::default());
        let (counting, here) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (said, counting) = (said.clone(), counting.clone());
                tokio::spawn(async move {
                    let Some((tcp, bytes)) = asked(tcp, &said).await else { return };
                    counting.send_modify(|here| *here += 1);
                    answer(tcp, &bytes).await;
                    counting.send_modify(|here| *here -= 1);
                });
            }
        });
        Self { url, says, here, _task: AbortOnDropHandle::new(task) }
    }

    fn says(&self, bytes: Vec<u8>) {
        self.says.send_replace(Arc::new(bytes));
    }

    async fn has(&self, visitors: usize) {
        let mut here = self.here.clone();
        drop(within("visitors to reach the app", here.wait_for(|here| *here >= visitors)).await);
    }

    async fn is_left_alone(&self) {
        let mut here = self.here.clone();
        drop(within("everybody to leave the app", here.wait_for(|here| *here == 0)).await);
    }
}

/// Reads a request's head. What is said is what was to be said at that moment.
async fn asked(
    mut tcp: TcpStream,
    said: &watch::Receiver<Arc<Vec<u8>>>,
) -> Option<(TcpStream, Arc<Vec<u8>>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    let bytes = Arc::clone(&said.borrow());
    Some((tcp, bytes))
}

async fn answer(mut tcp: TcpStream, bytes: &[u8]) {
    let (from, mut to) = tcp.split();
    let said = async {
        if bytes == WITHOUT_END {
            to.write_all(bytes).await?;
            loop {
                to.write_all(b"4\r\nmore\r\n").await?;
            }
        }
        if bytes == DRIPPING {
            let mut beat = tokio::time::interval(BEAT);
            for drop in bytes.chunks(1) {
                beat.tick().await;
                to.write_all(drop).await?;
            }
            return to.shutdown().await;
        }
        to.write_all(bytes).await?;
        to.shutdown().await
    };
    drop(said.await);
    // Closed with something unread, the system would take back what was said.
    let mut from = tokio::io::BufReader::new(from);
    drop(tokio::io::copy(&mut from, &mut tokio::io::sink()).await);
}

/// Ada, in front of the same app by both ways.
struct Both {
    app: RawApp,
    ada: Person,
    pages: [url::Url; 2],
    _kept: (crate::rig::edge::Edge, Desktop, crate::rig::process::Process),
}

impl Both {
    async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let app = RawApp::start().await;
        app.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec());
        let edge = setup.upstream(TUNNEL, "ada", &app.url).start().await;
        let mut ada = Person::enrolled(&edge, "ada").await;
        let desktop = Desktop::linked(&edge, "ada").await;
        let agent = desktop.run(&app.url).await;
        let pages = [desktop.tunnel.as_str(), TUNNEL].map(|tunnel| edge.tunnel(tunnel, "/"));
        for page in &pages {
            ada.open(page).await.must_be(200);
        }
        Self { app, ada, pages, _kept: (edge, desktop, agent) }
    }

    fn ways(&self) -> impl Iterator<Item = (Visitor, &url::Url)> {
        let browsers = [self.ada.browser.clone(), self.ada.browser.h2()];
        browsers.into_iter().flat_map(|browser| self.pages.iter().map(move |page| (browser.clone(), page)))
    }
}

#[tokio::test]
async fn what_an_app_says_wrongly_is_refused_and_never_the_next_answer() {
    let both = Both::start().await;
    for (what, bytes, fate) in answers() {
        for (browser, page) in both.ways() {
            let what = format!("{what} at {page}");
            both.app.says(bytes.clone());
            let asked = browser.fetch(Method::GET, page).whole();
            let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
            let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer"));
            let body = answer.as_ref().ok().filter(|answer| answer.status == 200).map(|answer| answer.text());
            let refused = answer.as_ref().map_or(true, |answer| answer.status == 502);
            match fate {
                Refused => assert!(refused, "{what}: {answer:?}"),
                Taken(wanted) => assert_eq!(body.as_deref(), Some(wanted), "{what}: {answer:?}"),
                RefusedOr(wanted) => {
                    assert!(refused || body.as_deref() == Some(wanted), "{what}: {answer:?}")
                }
            }
            both.app.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec());
            let next = browser.fetch(Method::GET, page).await.must_be(200);
            assert_eq!(next.text(), "fine", "after {what}");
        }
    }
}

#[tokio::test]
async fn an_app_that_never_ends_is_left_when_its_visitor_leaves() {
    let both = Both::start().await;
    both.app.says(WITHOUT_END.to_vec());
    for (browser, page) in both.ways() {
        let mut endless = browser.fetch(Method::GET, page).open().await.expect("an answer");
        for _ in 0..10 {
            endless.piece().await.expect("more").expect("more");
        }
        drop(endless);
        both.app.is_left_alone().await;
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let both = Both::start().await;
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.extend(b"X-Evil: and so on\r\n".repeat(400_000));
    for (browser, page) in both.ways() {
        both.app.says(head.clone());
        let answer = within("an answer", browser.fetch(Method::GET, page).whole()).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 502), "{page}");
        both.app.is_left_alone().await;
    }
}

#[tokio::test]
async fn an_app_that_drips_costs_its_visitor_nothing_but_time_and_nobody_else_that() {
    // Whoever would move so little as a visitor would be let go after a second.
    let limits = "[limits]\nstall = \"1s\"\nleast_rate = 10000\n";
    let both = Both::with(Setup::default().with(limits)).await;
    both.app.says(DRIPPING.to_vec());
    let slow = join_all(both.ways().map(|(browser, page)| browser.fetch(Method::GET, page).whole()));
    let beside = async {
        both.app.has(4).await;
        both.app.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec());
        for (browser, page) in both.ways() {
            assert_eq!(browser.fetch(Method::GET, page).await.must_be(200).text(), "fine");
        }
    };
    let (answers, ()) = tokio::join!(slow, beside);
    for answer in answers {
        let answer = answer.expect("a whole answer");
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "a drop, and a drop, and a drop"));
    }

    // Nor is it waited for once nobody wants it.
    both.app.says(DRIPPING.to_vec());
    for (browser, page) in both.ways() {
        tokio::select! {
            answer = browser.fetch(Method::GET, page).whole() => panic!("too soon: {answer:?}"),
            () = both.app.has(1) => {}
        }
        both.app.is_left_alone().await;
    }
}
