//! The edge is killed, and everybody comes back at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use http::Method;
use patapim_edge::agent::Backoff;
use patapim_edge::secret::SystemEntropy;
use tokio::sync::mpsc;

use super::Times;
use super::rig::app::App;
use super::rig::client::Visitor;
use super::rig::edge::Edge;
use super::rig::fleet::{self, Way};
use super::rig::journey::Person;
use super::rig::scene::TUNNEL;

/// How often a visitor asks.
const PACE: Duration = Duration::from_millis(20);
/// For how long, while nothing happens.
const IDLE: Duration = Duration::from_secs(5);
/// And from the moment on that the edge is there again.
const STORM: Duration = Duration::from_secs(15);

/// Agents, each of which dials again by the agent's own rule: more and more of them.
pub(crate) async fn storm(count: usize) {
    let app = App::start("the app").await;
    let mut edge = super::roomy().upstream(TUNNEL, "ada", &app.url()).start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let page = edge.tunnel(TUNNEL, "/");
    ada.open(&page).await.must_be(200);
    let (tell, mut back) = mpsc::unbounded_channel();
    let mut desks = fleet::link(&edge, "ada", count).await.into_iter();
    for step in super::steps(count) {
        for (number, desk) in (count - desks.len()..step).zip(&mut desks) {
            tokio::spawn(stay(number, Way::of(&edge, &desk), tell.clone()));
        }
        until_connected(&edge, step).await;
        let idle = asked(&ada.browser, &page, IDLE).await;
        println!("\n{step} agents are there; a visitor's request meanwhile: {idle}");

        edge.kill().await;
        while back.try_recv().is_ok() {}
        edge.start_again().await;
        let began = Instant::now();
        let coming = async {
            let (mut first, mut again) = (HashMap::new(), 0);
            while first.len() < step {
                let Some((number, moment)) = back.recv().await else { break };
                match first.entry(number) {
                    Entry::Vacant(entry) => drop(entry.insert(moment.saturating_duration_since(began))),
                    Entry::Occupied(_) => again += 1,
                }
            }
            (Times::of(first.into_values()), again)
        };
        let (browser, place) = (ada.browser.clone(), page.clone());
        let visitor = tokio::spawn(async move { asked(&browser, &place, STORM).await });
        let (times, again) = coming.await;
        println!("back after the edge was killed: {times}; {again} of them came more than once");
        match visitor.await {
            Ok(storm) => {
                println!("a visitor's request in the storm: {storm}");
                println!("p99 in the storm is {:.1} of the idle one", storm.at(99) / idle.at(99));
            }
            Err(error) => println!("a visitor was not answered: {error}"),
        }
        report(&edge).await;
    }
}

/// Stays connected.
async fn stay(number: usize, way: Way, tell: mpsc::UnboundedSender<(usize, Instant)>) {
    let (entropy, mut backoff) = (SystemEntropy::shared(), Backoff::default());
    loop {
        if let Ok(agent) = way.dial().await {
            backoff.reset();
            let _ = tell.send((number, Instant::now()));
            let _ = agent.serving.await;
        }
        tokio::time::sleep(backoff.next(&*entropy)).await;
    }
}

async fn until_connected(edge: &Edge, count: usize) {
    while edge.counted("tunnels_connected").await < count as u64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn report(edge: &Edge) {
    let connected = edge.counted("tunnels_connected").await;
    println!("connected in the end: {connected}; the edge's peak: {} MiB", edge.process.peak_kib() / 1024);
}

/// How long requests take, one every [`PACE`], on connections that are kept.
async fn asked(browser: &Visitor, page: &url::Url, time: Duration) -> Times {
    let (began, mut times) = (Instant::now(), Vec::new());
    let mut connection = browser.connect(page, None).await.expect("a connection");
    let mut beat = tokio::time::interval(PACE);
    while began.elapsed() < time {
        beat.tick().await;
        let asked = Instant::now();
        let answer = connection.send(browser.fetch(Method::GET, page)).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        http_body_util::BodyExt::collect(answer.into_body()).await.expect("whole");
        times.push(asked.elapsed());
    }
    Times::of(times)
}
