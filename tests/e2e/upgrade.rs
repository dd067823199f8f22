//! A new server takes the place of the running one, and nobody notices.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::client::{Connection, Visitor};
use crate::rig::edge::{Edge, Setup};
use crate::rig::held::Held;
use crate::rig::journey::{Person, sign_in_request};
use crate::rig::process::{Process, within};
use crate::rig::scene::Scene;

/// The old server's word that it is no longer the one.
fn succeeded(line: &str) -> Option<()> {
    line.contains("another server has taken over").then_some(())
}

/// Somebody who asks without a pause.
struct Asker {
    answered: watch::Receiver<usize>,
    asking: JoinHandle<()>,
}

impl Asker {
    /// On one connection for as long as it takes requests, then on the next.
    fn kept_alive(browser: Visitor, page: Url, until: watch::Receiver<bool>) -> Self {
        Self::start(async move |answered| {
            let mut connection = None;
            while !*until.borrow() {
                let number = *answered.borrow();
                let body = ask(&browser, &page, &mut connection, number).await;
                assert!(body.starts_with(&format!("ada's app:{number}:")), "{number}: {body}");
                answered.send_modify(|count| *count += 1);
            }
        })
    }

    /// On a new connection each time.
    fn anew(browser: Visitor, page: Url, until: watch::Receiver<bool>) -> Self {
        Self::start(async move |answered| {
            while !*until.borrow() {
                let number = *answered.borrow();
                let page = page.join(&format!("/tag/{number}")).expect("a path");
                browser.fetch(Method::GET, &page).await.must_be(200);
                answered.send_modify(|count| *count += 1);
            }
        })
    }

    fn start<F: Future<Output = ()> + Send + 'static>(ask: impl FnOnce(watch::Sender<usize>) -> F) -> Self {
        let (counting, answered) = watch::channel(0);
        Self { asking: tokio::spawn(ask(counting)), answered }
    }

    /// Waits for so many more answers.
    async fn more(&self, count: usize) {
        let until = *self.answered.borrow() + count;
        let answers = self.answered.clone();
        let came = async { { answers }.wait_for(|answered| *answered >= until).await.map(drop) };
        within("more answers", came).await.expect("no request failed");
    }
}

/// One request, sent once. A connection that takes no more is replaced before it leaves.
async fn ask(browser: &Visitor, page: &Url, connection: &mut Option<Connection>, number: usize) -> String {
    loop {
        let open = match connection {
            Some(open) => open,
            None => connection.insert(browser.connect(page, None).await.expect("a connection")),
        };
        let page = page.join(&format!("/tag/{number}")).expect("a path");
        match open.send(browser.fetch(Method::GET, &page)).await {
            Ok(answer) => {
                assert_eq!(answer.status(), 200, "request {number}");
                let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
                return String::from_utf8(body.to_vec()).expect("text");
            }
            // It never left: the server had said before that it would take no more here.
            Err(error) if error.is_closed() || error.is_canceled() => *connection = None,
            Err(error) => panic!("request {number}: {error:?}"),
        }
    }
}

/// An edge with Ada's app behind her desktop.
struct Linked {
    edge: Edge,
    app: App,
    ada: Person,
    tunnel: String,
    _desktop: Desktop,
    agent: Process,
}

impl Linked {
    async fn with(setup: Setup) -> Self {
        let app = App::start("ada's app").await;
        let edge = setup.start().await;
        let mut ada = Person::enrolled(&edge, "ada").await;
        let desktop = Desktop::linked(&edge, "ada").await;
        let agent = desktop.run(&app.url()).await;
        let tunnel = desktop.tunnel.clone();
        ada.open(&edge.tunnel(&tunnel, "/")).await.must_be(200);
        Self { edge, app, ada, tunnel, _desktop: desktop, agent }
    }

    fn page(&self, path: &str) -> Url {
        self.edge.tunnel(&self.tunnel, path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_steady_load_no_request_fails_and_a_websocket_lives_on_for_the_grace() {
    const GRACE: f64 = 15.0;
    let mut linked = Linked::with(Setup::default().with("[shutdown]\ngrace = \"15s\"")).await;
    let (browser, page) = (linked.ada.browser.clone(), linked.page("/"));
    let mut socket = browser.websocket(&linked.page("/ws")).await.expect("a socket");
    let (stop, until) = watch::channel(false);
    let mut askers = Vec::new();
    for browser in [browser.clone(), browser.h2(), browser.clone(), browser.h2()] {
        askers.push(Asker::kept_alive(browser, page.clone(), until.clone()));
    }
    askers.push(Asker::anew(browser.clone(), page.clone(), until.clone()));
    for asker in &askers {
        asker.more(20).await;
    }

    let old = linked.edge.upgrade().await;
    let began = Instant::now();
    old.says("that it was succeeded", succeeded).await;
    let moved = |line: &str| line.contains("agents have moved").then(|| line.to_owned());
    let told = linked.edge.process.says("that agents have moved", moved).await;
    assert!(told.contains("\"agents\":1") && told.contains("\"late\":0"), "{told}");
    for asker in &askers {
        asker.more(20).await;
    }
    assert_eq!(socket.ask("still here").await, "still here");
    stop.send_replace(true);
    let mut answered = 0;
    for Asker { answered: some, asking } in askers {
        within("the last answer", asking).await.expect("no request failed");
        answered += *some.borrow();
    }
    assert!(answered >= 5 * 40, "{answered}");

    assert_eq!(socket.ask("to the end").await, "to the end");
    socket.cut().await;
    let lasted = began.elapsed().as_secs_f64();
    assert!((GRACE - 2.0..GRACE + 5.0).contains(&lasted), "{lasted} s");
    assert!(old.end().await.success(), "{}", old.all_printed());
    browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
}

#[tokio::test]
async fn what_the_old_server_still_holds_is_cut_by_an_order_to_the_new_one() {
    let mut linked = Linked::with(Setup::default()).await;
    let base = linked.page("/");
    let mut held =
        Held::open(&linked.app, &linked.ada.browser, "held", |path| base.join(path).expect("a path")).await;
    let old = linked.edge.upgrade().await;
    old.says("that it was succeeded", succeeded).await;
    held.lives().await;
    linked.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    let ordered = Instant::now();
    held.cut().await;
    assert!(ordered.elapsed() < Duration::from_secs(1), "{:?}", ordered.elapsed());
    linked.ada.browser.curl(&linked.page("/")).await.must_be(401);
    assert!(old.end().await.success(), "{}", old.all_printed());
}

#[tokio::test]
async fn a_session_that_the_old_server_is_told_to_end_is_over_at_the_new_one() {
    let mut scene = Scene::signed_in().await;
    let mut events =
        scene.ada.browser.fetch(Method::GET, &scene.page("/events/held")).open().await.expect("a stream");
    scene.app.streaming("held").await;
    let deployer = scene.edge.deployer("/");
    let mut kept = scene.ada.browser.connect(&deployer, None).await.expect("a connection");
    let mut before = kept.open(scene.ada.browser.fetch(Method::GET, &scene.ada.api("/sessions"))).await;
    assert_eq!(before.status, 200);
    before.cut().await;

    let old = scene.edge.upgrade().await;
    old.says("that it was succeeded", succeeded).await;
    let told = kept.open(scene.ada.browser.fetch(Method::DELETE, &scene.ada.api("/sessions"))).await;
    assert!(told.status.is_success(), "{}", told.status);
    assert_eq!(told.headers["connection"], "close", "its next request is the new server's");
    events.cut().await;
    scene.ada.browser.curl(&scene.page("/")).await.must_be(401);
    assert_eq!(scene.sessions().await.len(), 0);
}

#[tokio::test]
async fn a_sign_in_begun_at_the_old_server_is_finished_at_the_new_one() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let auth = scene.ada.browser.navigate(&page).await.must_be(303).location();
    let begun = scene.ada.begin_sign_in(&sign_in_request(&auth)).await;
    let old = scene.edge.upgrade().await;
    let asserted = scene.ada.key.assert(&begun["publicKey"]);
    let finished = scene.ada.finish_sign_in(&begun, &asserted).await.must_be(200).json();
    let link = Url::parse(finished["redirect"].as_str().expect("a link")).expect("a URL");
    scene.ada.browser.follow(&link).await.pop().expect("an answer").must_be(200);
    assert!(old.end().await.success(), "{}", old.all_printed());
}

#[tokio::test]
async fn a_server_that_cannot_take_over_leaves_the_running_one_as_it_is() {
    let scene = Scene::signed_in().await;
    let mut socket = scene.ada.browser.websocket(&scene.page("/ws")).await.expect("a socket");
    let good = std::fs::read_to_string(scene.edge.config()).expect("our own file");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("bound").to_string();
    scene.edge.edit(|text| text.replace("http = [", &format!("http = [\"{taken}\", ")));
    let refused = scene.edge.successor();
    assert!(!refused.end().await.success());
    scene.edge.edit(|_| good);

    assert_eq!(socket.ask("still here").await, "still here");
    scene.echo().await;
    scene.edge.admin(&["user", "list"]).await;
}

#[tokio::test]
async fn a_second_upgrade_waits_for_the_end_of_the_first() {
    let mut scene = Scene::signed_in().await;
    let socket = scene.ada.browser.websocket(&scene.page("/ws")).await.expect("a socket");
    let old = scene.edge.upgrade().await;
    let early = scene.edge.successor();
    assert_eq!(early.end().await.code(), Some(1));
    assert!(early.all_printed().contains("try again in a moment"), "{}", early.all_printed());
    socket.close().await;
    assert!(old.end().await.success(), "{}", old.all_printed());
    let ended = |line: &str| line.contains("the server before has ended").then_some(());
    scene.edge.process.says("that it is alone", ended).await;
    let second = scene.edge.upgrade().await;
    assert!(second.end().await.success(), "{}", second.all_printed());
    scene.echo().await;
    scene.edge.admin(&["user", "list"]).await;
}

#[tokio::test]
async fn an_upgrade_of_nothing_is_a_start() {
    let mut scene = Scene::signed_in().await;
    scene.edge.kill().await;
    drop(scene.edge.upgrade().await);
    scene.echo().await;
}

#[tokio::test]
async fn a_server_that_stops_has_its_agents_look_for_the_next_and_ends_what_is_in_flight_well() {
    let mut linked = Linked::with(Setup::default()).await;
    let browser = linked.ada.browser.clone();
    let mut events = browser.fetch(Method::GET, &linked.page("/events/last")).open().await.expect("a stream");
    linked.app.streaming("last").await;
    linked.edge.process.signal("TERM");
    let looking = |line: &str| line.contains("connection refused").then_some(());
    linked.agent.says("that it looks for the edge", looking).await;
    linked.app.tick("last", "still here");
    assert_eq!(events.text().await, "data: still here\n\n");
    drop(events);
    assert!(linked.edge.process.end().await.success());
    linked.edge.start_again().await;
    browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
}
