//! Much at once: a gibibyte each way in flat memory, and ten thousand requests without a byte astray.

use futures_util::future::join_all;
use futures_util::stream;
use http::Method;
use http_body_util::BodyExt as _;
use ring::digest::{Context, SHA256};

use super::Linked;
use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::client::Visitor;
use crate::rig::edge::Edge;
use crate::rig::journey::Person;
use crate::rig::pattern;
use crate::rig::process::Process;

const GIBIBYTE: u64 = 1 << 30;

/// Memory that a transfer may take at either program, whatever its size.
const ROOM_KIB: u64 = 48 * 1024;

/// Watches two programs' memory while something passes through them.
struct Memory<'a> {
    watched: [(&'a str, &'a Process, u64); 2],
}

impl<'a> Memory<'a> {
    fn of(linked: &'a Linked) -> Self {
        let [edge, agent] = [&linked.edge.process, &linked.agent];
        Self { watched: [("edge", edge, edge.resident_kib()), ("agent", agent, agent.resident_kib())] }
    }

    fn must_be_flat(&self) {
        for (name, process, before) in self.watched {
            let grown = process.resident_kib().saturating_sub(before);
            assert!(grown < ROOM_KIB, "the {name} grew by {grown} KiB");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_comes_down_whole_in_flat_memory() {
    let linked = Linked::start().await;
    let memory = Memory::of(&linked);
    for browser in [linked.ada.browser.clone(), linked.ada.browser.h2()] {
        let request = browser.fetch(Method::GET, &linked.page(&format!("/big/{GIBIBYTE}")));
        let mut download = request.open().await.expect("a download");
        let (mut context, mut length, mut looked) = (Context::new(&SHA256), 0, 0);
        while let Some(piece) = download.piece().await {
            let piece = piece.expect("whole");
            context.update(&piece);
            length += piece.len() as u64;
            if length >> 26 > looked {
                looked = length >> 26;
                memory.must_be_flat();
            }
        }
        assert_eq!(length, GIBIBYTE);
        assert_eq!(pattern::hex(context.finish().as_ref()), pattern::sha256(GIBIBYTE));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_goes_up_whole_in_flat_memory() {
    let linked = Linked::start().await;
    let memory = Memory::of(&linked);
    for browser in [linked.ada.browser.clone(), linked.ada.browser.h2()] {
        let pieces = stream::iter(pattern::chunks(GIBIBYTE).map(Ok));
        let request = browser.fetch(Method::POST, &linked.page("/hash")).stream(pieces);
        let told = request.whole().await.expect("an answer").must_be(200).json();
        assert_eq!(told["bytes"], GIBIBYTE);
        assert_eq!(told["sha256"], pattern::sha256(GIBIBYTE));
        memory.must_be_flat();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_who_stalls_holds_up_nobody_and_costs_little() {
    let linked = Linked::start().await;
    let memory = Memory::of(&linked);
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let request = linked.ada.browser.h2().fetch(Method::GET, &linked.page("/big/10000000000"));
        stalled.push(request.open().await.expect("a download"));
    }
    for _ in 0..50 {
        linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
    }
    for (name, process, before) in memory.watched {
        let grown = process.resident_kib().saturating_sub(before);
        // A stream's window, and what the sockets' ends hold, for each.
        assert!(grown < 40 * 4 * 1024, "the {name} grew by {grown} KiB");
    }
}

/// Somebody with a desktop and an app of their own.
struct Neighbour {
    ada: Person,
    desktop: Desktop,
    app: App,
    _agent: Process,
}

impl Neighbour {
    async fn move_in(edge: &Edge, name: &str) -> Self {
        let app = App::start(name).await;
        let mut ada = Person::enrolled(edge, name).await;
        let desktop = Desktop::linked(edge, name).await;
        let agent = desktop.run(&app.url()).await;
        ada.open(&edge.tunnel(&desktop.tunnel, "/")).await.must_be(200);
        Self { ada, desktop, app, _agent: agent }
    }

    /// Sends `count` requests over one connection, each tagged, and looks at every byte of every answer.
    async fn ask(&self, edge: &Edge, browser: Visitor, caller: usize, count: usize) {
        let page = edge.tunnel(&self.desktop.tunnel, "/");
        let mut connection = browser.connect(&page, None).await.expect("a connection");
        for number in 0..count {
            let tag = format!("{caller}-{number}-{}", "t".repeat(number % 29));
            let body = format!("{}/{tag}", self.ada.name);
            let url = page.join(&format!("/tag/{tag}")).expect("a path");
            let request = browser.fetch(Method::POST, &url).body(body.clone());
            let answer = connection.send(request).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            let got = answer.into_body().collect().await.expect("whole").to_bytes();
            let wanted = format!("{}:{tag}:{body}\n", self.ada.name).repeat(1 + tag.len() * 7 % 40);
            assert!(got == wanted.as_bytes(), "{tag}: {}", String::from_utf8_lossy(&got));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_over_three_tunnels_and_no_byte_astray() {
    const CALLERS: usize = 8;
    const EACH: usize = 420;
    let edge = Edge::start().await;
    let neighbours = join_all(["ada", "bob", "eve"].map(|name| Neighbour::move_in(&edge, name))).await;
    let asking = neighbours.iter().flat_map(|neighbour| {
        (0..CALLERS).map(|caller| {
            let browser = &neighbour.ada.browser;
            let browser = if caller % 2 == 0 { browser.clone() } else { browser.h2() };
            neighbour.ask(&edge, browser, caller, EACH)
        })
    });
    join_all(asking).await;
    for neighbour in &neighbours {
        assert_eq!(neighbour.app.count(), 1 + CALLERS * EACH, "{}: each exactly once", neighbour.ada.name);
    }
}
