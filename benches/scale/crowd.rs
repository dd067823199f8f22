//! One tunnel that takes all it can get, and what the others notice of it.
//!
//! What is measured is the edge, and everybody shares this machine with it. So whoever is Eve's (her app, her agent, those who
//! download) gives way to all the rest, as if it had a machine of its own; and what her downloads cost this machine, whatever
//! edge they go through, is measured as well: once through the edge that Ada's requests go through, once through another.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

use super::Times;
use super::rig::agent::{Desktop, connected};
use super::rig::app::App;
use super::rig::client::Visitor;
use super::rig::edge::Edge;
use super::rig::journey::Person;
use super::rig::process::Process;

/// Rounds of each, in turns.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(5);
/// Downloads that Eve has going.
const CROWD: usize = 64;
/// How much whoever gives way gives way.
const POLITE: i32 = 15;
/// What a line of one Gbit/s carries of them, in bytes a second.
const GIGABIT: f64 = 112.0 * 1024.0 * 1024.0;

struct Household {
    person: Person,
    page: url::Url,
    _app: App,
    _agent: Process,
}

impl Household {
    async fn of(edge: &Edge, name: &str) -> Self {
        Self::on(edge, name, |_| ()).await
    }

    /// Whose desktop is not like any other.
    async fn on(edge: &Edge, name: &str, desk: impl FnOnce(&mut Command)) -> Self {
        let app = App::start(name).await;
        let mut person = Person::enrolled(edge, name).await;
        let desktop = Desktop::linked(edge, name).await;
        let agent = desktop.dial_on(&app.url(), desk);
        agent.says("the agent's word that it is connected", connected).await;
        let page = edge.tunnel(&desktop.tunnel, "/");
        person.open(&page).await.must_be(200);
        Self { person, page, _app: app, _agent: agent }
    }
}

/// Threads that give way.
fn polite_threads() -> Runtime {
    let give_way = || {
        rustix::process::nice(POLITE).expect("one may always be nicer");
    };
    Builder::new_multi_thread().enable_all().on_thread_start(give_way).build().expect("threads")
}

/// A program that gives way.
fn politely(command: &mut Command) {
    let mut polite = Command::new("nice");
    polite.args(["-n", &POLITE.to_string()]).arg(command.get_program()).args(command.get_args());
    polite.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    *command = polite;
}

/// What Eve does meanwhile.
#[derive(Clone, Copy)]
enum Meanwhile {
    Nothing,
    /// As much as a line of one Gbit/s carries, through the same edge.
    AGigabit,
    /// As much as there is, through another edge.
    AllElsewhere,
    /// As much as there is, through the same edge.
    AllHere,
}

impl Meanwhile {
    const EACH: [(Self, &str); 4] = [
        (Self::Nothing, "another's being idle"),
        (Self::AGigabit, "another's having 64 downloads, 1 Gbit/s in all"),
        (Self::AllElsewhere, "64 downloads as fast as can be, through another edge"),
        (Self::AllHere, "64 downloads as fast as can be, through the same edge"),
    ];
}

/// Ada's small requests while Eve's tunnel is idle, and while it is as busy as it can be, in turns.
pub(crate) async fn crowd() {
    let polite = polite_threads();
    let (edge, other) = (super::roomy().start().await, super::roomy().start().await);
    let ada = Household::of(&edge, "ada").await;
    let (edge, here) = polite.spawn(eve_of(edge)).await.expect("Eve, here");
    let (other, elsewhere) = polite.spawn(eve_of(other)).await.expect("Eve, elsewhere");
    let mut times = [const { Vec::new() }; Meanwhile::EACH.len()];
    let mut moved = [0.0; Meanwhile::EACH.len()];
    for _ in 0..ROUNDS {
        for (number, (meanwhile, _)) in Meanwhile::EACH.into_iter().enumerate() {
            let (eve, rate) = match meanwhile {
                Meanwhile::Nothing => (None, 0.0),
                Meanwhile::AGigabit => (Some(&here), GIGABIT),
                Meanwhile::AllElsewhere => (Some(&elsewhere), f64::INFINITY),
                Meanwhile::AllHere => (Some(&here), f64::INFINITY),
            };
            let count = Arc::<AtomicU64>::default();
            let downloads: Vec<_> = eve
                .into_iter()
                .flat_map(|eve| std::iter::repeat_n(eve, CROWD))
                .map(|eve| {
                    let (browser, page) = (eve.person.browser.clone(), eve.page.clone());
                    let each = download(browser, page, rate / CROWD as f64, Arc::clone(&count));
                    AbortOnDropHandle::new(polite.spawn(each))
                })
                .collect();
            // Until each of them is under way.
            while count.load(Ordering::Relaxed) < (downloads.len() as u64) << 20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let (before, began) = (count.load(Ordering::Relaxed), Instant::now());
            times[number].extend(paced(&ada.person.browser, &ada.page).await);
            let bytes = count.load(Ordering::Relaxed) - before;
            moved[number] += bytes as f64 / began.elapsed().as_secs_f64() / ROUNDS as f64;
        }
    }
    let times = times.map(Times::of);
    println!("\nrequests of one tunnel, 100 a second:");
    for (((_, what), times), moved) in Meanwhile::EACH.iter().zip(&times).zip(moved) {
        println!("  {what} ({:.0} MiB/s): {times}", moved / f64::from(1 << 20));
    }
    let [idle, gigabit, elsewhere, here] = times.map(|times| times.at(99));
    println!("p99 beside 1 Gbit/s: {:.2} of the idle one", gigabit / idle);
    println!(
        "p99 beside all there is: {:.2} of the idle one, {:.2} of the one beside the same through another edge",
        here / idle,
        here / elsewhere
    );
    drop((edge, other));
    polite.shutdown_background();
}

/// Eve, who gives way, with the edge that she is at.
async fn eve_of(edge: Edge) -> (Edge, Household) {
    let eve = Household::on(&edge, "eve", politely).await;
    (edge, eve)
}

/// Downloads without end, so many bytes a second.
async fn download(browser: Visitor, page: url::Url, rate: f64, count: Arc<AtomicU64>) {
    let endless = page.join("/big/1000000000000").expect("a path");
    let mut body = browser.fetch(Method::GET, &endless).open().await.expect("a download");
    let (began, mut mine) = (tokio::time::Instant::now(), 0);
    while let Some(Ok(piece)) = body.piece().await {
        count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        mine += piece.len();
        if rate.is_finite() {
            tokio::time::sleep_until(began + Duration::from_secs_f64(mine as f64 / rate)).await;
        }
    }
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
