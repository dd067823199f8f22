//! Those who are there and do nothing.

use std::time::Duration;

use super::rig::edge::Edge;
use super::rig::fleet;
use super::rig::journey::Person;
use super::steps;

/// How long the edge is watched doing nothing.
const WATCHED: Duration = Duration::from_secs(20);

/// Streams that one tunnel has; each is a WebSocket here.
const ON_ONE_TUNNEL: usize = 1000;

/// One that measures how the edge grows.
struct Curve<'a> {
    edge: &'a Edge,
    what: &'a str,
    from: u64,
    have: usize,
}

impl<'a> Curve<'a> {
    /// From so many on that are there already, so that what the first brings is not counted.
    fn from(edge: &'a Edge, what: &'a str, have: usize) -> Self {
        let from = edge.process.resident_kib();
        println!("\n{what}\n{:>8} {:>14} {:>12}", "", "edge, MiB", "KiB each");
        Self { edge, what, from, have }
    }

    fn at(&self, count: usize) {
        let now = self.edge.process.resident_kib();
        let each = now.saturating_sub(self.from) as f64 / (count - self.have) as f64;
        println!("{count:>8} {:>14.1} {each:>12.1}", now as f64 / 1024.0);
    }

    async fn rest(self) {
        let before = self.edge.process.ticks();
        tokio::time::sleep(WATCHED).await;
        let spent = Duration::from_millis(10 * (self.edge.process.ticks() - before));
        let part = 100.0 * spent.as_secs_f64() / WATCHED.as_secs_f64();
        println!("{}: {part:.2} % of one CPU while idle", self.what);
    }
}

/// Agents, a tunnel each.
pub(crate) async fn agents(count: usize) {
    let edge = super::roomy().start().await;
    let _ada = Person::enrolled(&edge, "ada").await;
    let first = 100.min(count / 10 - 1);
    let desks = fleet::link(&edge, "ada", count).await;
    let mut agents = fleet::dial_in(&edge, &desks[..first]).await;
    let curve = Curve::from(&edge, "idle agents", first);
    for step in steps(count) {
        let more = fleet::dial_in(&edge, &desks[agents.len()..step]).await;
        agents.extend(more);
        curve.at(step);
    }
    curve.rest().await;
}

/// WebSockets, through as many agents as it takes.
pub(crate) async fn websockets(count: usize) {
    let edge = super::roomy().start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let desks = fleet::link(&edge, "ada", count.div_ceil(ON_ONE_TUNNEL)).await;
    let _agents = fleet::dial_in(&edge, &desks).await;
    let first = 100.min(count / 10 - 1);
    let (mut sockets, mut signed_in) = (Vec::new(), None);
    let mut curve = None;
    for step in std::iter::once(first).chain(steps(count)) {
        while sockets.len() < step {
            let room = ON_ONE_TUNNEL - sockets.len() % ON_ONE_TUNNEL;
            if room == ON_ONE_TUNNEL {
                let desk = &desks[sockets.len() / ON_ONE_TUNNEL];
                signed_in = Some(fleet::SignedIn::to(&edge, &mut ada, desk).await);
            }
            if let Some(visitor) = &signed_in {
                sockets.extend(visitor.websockets(room.min(step - sockets.len())).await);
            }
        }
        match &curve {
            None => curve = Some(Curve::from(&edge, "idle WebSockets", first)),
            Some(curve) => curve.at(step),
        }
    }
    if let Some(curve) = curve {
        curve.rest().await;
    }
}
