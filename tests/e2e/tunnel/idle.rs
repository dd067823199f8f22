//! Those who are there and do nothing cost little.

use std::time::Duration;

use crate::rig::edge::Edge;
use crate::rig::fleet;
use crate::rig::journey::Person;
use crate::rig::process::let_pass;

/// What each may take of the edge's memory; `benches/scale` measures it with ten thousand.
const AGENT_KIB: u64 = 46;
const WEBSOCKET_KIB: u64 = 32;

/// How long those that do nothing are watched.
const WATCHED: Duration = Duration::from_secs(2);

/// Some that come first, so that what comes with the first is not counted.
const FIRST: usize = 50;

/// What `more` have cost each.
fn each(edge: &Edge, before: u64, more: usize) -> u64 {
    edge.process.resident_kib().saturating_sub(before) / more as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_agent_costs_little() {
    const MORE: usize = 300;
    let edge = Edge::start().await;
    let _ada = Person::enrolled(&edge, "ada").await;
    let desks = fleet::link(&edge, "ada", FIRST + MORE).await;
    let _first = fleet::dial_in(&edge, &desks[..FIRST]).await;
    let before = edge.process.resident_kib();
    let _agents = fleet::dial_in(&edge, &desks[FIRST..]).await;
    let each = each(&edge, before, MORE);
    assert!(each <= AGENT_KIB, "{each} KiB each");

    let ticks = edge.process.ticks();
    let_pass(WATCHED).await;
    let spent = Duration::from_millis(10 * (edge.process.ticks() - ticks));
    assert!(spent < WATCHED / 4, "{spent:?} of CPU for nothing within {WATCHED:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_websocket_costs_little() {
    const MORE: usize = 400;
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let desks = fleet::link(&edge, "ada", 1).await;
    let _agent = fleet::dial_in(&edge, &desks).await;
    let ada = fleet::SignedIn::to(&edge, &mut ada, &desks[0]).await;
    let _first = ada.websockets(FIRST).await;
    let before = edge.process.resident_kib();
    let _sockets = ada.websockets(MORE).await;
    assert_eq!(edge.counted("streams_active{kind=\"websocket\"}").await, (FIRST + MORE) as u64);
    let each = each(&edge, before, MORE);
    assert!(each <= WEBSOCKET_KIB, "{each} KiB each");
}
