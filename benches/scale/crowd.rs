//! One tunnel that takes all it can get, and what the others notice of it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use http_body_util::BodyExt as _;

use super::Times;
use super::rig::agent::Desktop;
use super::rig::app::App;
use super::rig::client::Visitor;
use super::rig::edge::Edge;
use super::rig::journey::Person;
use super::rig::process::Process;

/// Rounds of each, in turns.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(6);
/// Downloads that the crowd has going.
const CROWD: usize = 64;

struct Household {
    person: Person,
    page: url::Url,
    _app: App,
    _agent: Process,
}

impl Household {
    async fn of(edge: &Edge, name: &str) -> Self {
        let app = App::start(name).await;
        let mut person = Person::enrolled(edge, name).await;
        let desktop = Desktop::linked(edge, name).await;
        let agent = desktop.run(&app.url()).await;
        let page = edge.tunnel(&desktop.tunnel, "/");
        person.open(&page).await.must_be(200);
        Self { person, page, _app: app, _agent: agent }
    }
}

/// The p99 of Ada's small requests while Eve's tunnel is idle, and while it is as busy as it can be, in turns.
pub(crate) async fn crowd() {
    let edge = super::roomy().start().await;
    let (ada, eve) = (Household::of(&edge, "ada").await, Household::of(&edge, "eve").await);
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        idle.extend(paced(&ada.person.browser, &ada.page).await);
        let downloads = join_all((0..CROWD).map(|_| download(&eve.person.browser, &eve.page)));
        tokio::select! {
            times = paced(&ada.person.browser, &ada.page) => busy.extend(times),
            _ = downloads => unreachable!("they go on for ever"),
        }
    }
    let (idle, busy) = (Times::of(idle), Times::of(busy));
    println!("\nrequests of one tunnel, another's being idle: {idle}");
    println!("the other's having {CROWD} downloads:           {busy}");
    println!("p99: {:.2} of the idle one", busy.at(99) / idle.at(99));
}

async fn download(browser: &Visitor, page: &url::Url) {
    let endless = page.join("/big/1000000000000").expect("a path");
    let mut body = browser.fetch(Method::GET, &endless).open().await.expect("a download");
    while let Some(Ok(_)) = body.piece().await {}
}

/// A request every ten milliseconds, for a round.
async fn paced(browser: &Visitor, page: &url::Url) -> Vec<Duration> {
    let (began, mut times) = (Instant::now(), Vec::new());
    let mut connection = browser.connect(page, None).await.expect("a connection");
    let mut beat = tokio::time::interval(Duration::from_millis(10));
    while began.elapsed() < ROUND {
        beat.tick().await;
        let asked = Instant::now();
        let answer = connection.send(browser.fetch(Method::GET, page)).await.expect("an answer");
        answer.into_body().collect().await.expect("whole");
        times.push(asked.elapsed());
    }
    times
}

/// As many requests, each with a tag that must come back, through three tunnels at once.
pub(crate) async fn tags(count: usize) {
    const CALLERS: usize = 16;
    let edge = super::roomy().start().await;
    let homes = [
        Household::of(&edge, "ada").await,
        Household::of(&edge, "bob").await,
        Household::of(&edge, "eve").await,
    ];
    let began = Instant::now();
    let calling = (0..CALLERS).map(|caller| {
        let home = &homes[caller % homes.len()];
        async move {
            let browser =
                if caller % 2 == 0 { home.person.browser.clone() } else { home.person.browser.h2() };
            let mut connection = browser.connect(&home.page, None).await.expect("a connection");
            for number in 0..count / CALLERS {
                let tag = format!("{caller}-{number}");
                let page = home.page.join(&format!("/tag/{tag}")).expect("a path");
                let request = browser.fetch(Method::POST, &page).body(tag.clone());
                let answer = connection.send(request).await.expect("an answer");
                let body = answer.into_body().collect().await.expect("whole").to_bytes();
                let line = format!("{}:{tag}:{tag}\n", home.person.name);
                let times = 1 + tag.len() * 7 % 40;
                assert!(body == line.repeat(times).as_bytes(), "{tag}: {body:?}");
            }
        }
    });
    join_all(calling).await;
    println!("\n{count} tagged requests in {:.1?}, no byte astray", began.elapsed());
}
