//! Which agent serves which tunnel, right now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::link::{AgentLink, Course};
use crate::clock::Timestamp;
use crate::metrics::metrics;
use crate::names::TunnelId;

/// How many replaced connections of one tunnel may finish what they have in flight. An agent that keeps coming back
/// must not pile them up.
const DRAINING_LIMIT: usize = 4;

/// Who serves which tunnel. A tunnel has at most one agent that is sent anything new.
#[derive(Debug, Default)]
pub struct Registry {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_tunnel: HashMap<TunnelId, Slot>,
    serving: usize,
    /// This edge is about to stop: whoever comes is told to come again.
    draining: bool,
}

/// Why a tunnel is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The agent's key is no longer good for it, or it was deleted: the agent does not come back.
    Unlinked,
    /// Its owner was disabled: the agent asks again now and then.
    Suspended,
}

/// All there is to know of one tunnel; it goes when there is nothing left to know.
#[derive(Debug)]
struct Slot {
    /// Whoever waits for the tunnel is subscribed here.
    serving: watch::Sender<Option<Arc<AgentLink>>>,
    draining: Vec<Arc<AgentLink>>,
}

impl Slot {
    fn empty() -> Self {
        Self { serving: watch::Sender::new(None), draining: Vec::new() }
    }

    fn retire(&mut self, link: Arc<AgentLink>) {
        self.draining.push(link);
        if self.draining.len() > DRAINING_LIMIT {
            self.draining.remove(0).steer(Course::Crowded);
        }
    }

    fn is_needed(&self) -> bool {
        self.serving.borrow().is_some() || !self.draining.is_empty() || self.serving.receiver_count() > 0
    }

    fn all(&self) -> impl Iterator<Item = Arc<AgentLink>> {
        let serving = self.serving.borrow().clone();
        serving.into_iter().chain(self.draining.iter().cloned())
    }
}

/// An agent that is connected, for a listing.
#[derive(Clone, Debug)]
pub struct OnlineAgent {
    /// Its tunnel.
    pub tunnel: TunnelId,
    /// The desktop's name.
    pub desktop: String,
    /// Since when.
    pub since: Timestamp,
    /// The round trip measured last.
    pub rtt: Option<Duration>,
    /// Streams in use.
    pub streams: usize,
}

impl Registry {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes `link` the one that serves its tunnel. The one that did is told that it was replaced, ends what it has in
    /// flight and closes.
    pub fn claim(self: &Arc<Self>, link: Arc<AgentLink>) -> Claim {
        let mut slots = self.slots();
        if slots.draining {
            link.steer(Course::Draining);
        }
        let slot = slots.of(&link.identity().tunnel);
        match slot.serving.send_replace(Some(Arc::clone(&link))) {
            Some(older) => {
                older.steer(Course::Replaced);
                slot.retire(older);
            }
            None => slots.count_serving(1),
        }
        drop(slots);
        Claim { registry: Arc::clone(self), link }
    }

    /// The agent that serves `tunnel`.
    pub fn find(&self, tunnel: &TunnelId) -> Option<Arc<AgentLink>> {
        self.slots().by_tunnel.get(tunnel).and_then(|slot| slot.serving.borrow().clone())
    }

    /// As [`Registry::find`], and where there is none, the first that comes within `patience`.
    pub async fn wait_for(&self, tunnel: &TunnelId, patience: Duration) -> Option<Arc<AgentLink>> {
        // Dropped in the reverse order, also when the caller gives up: first the subscription, then what it was for.
        let _waiting = Waiting { registry: self, tunnel };
        let mut serving = self.slots().of(tunnel).serving.subscribe();
        let found = timeout(patience, serving.wait_for(Option::is_some)).await;
        found.ok().and_then(Result::ok).and_then(|link| link.clone())
    }

    /// Ends every connection of `tunnel` at once, what is in flight included. The agent is told why.
    pub fn cut(&self, tunnel: &TunnelId, why: Cut) {
        let course = match why {
            Cut::Unlinked => Course::Unlinked,
            Cut::Suspended => Course::Suspended,
        };
        if let Some(slot) = self.slots().by_tunnel.get(tunnel) {
            slot.all().for_each(|link| link.steer(course));
        }
    }

    /// Asks every agent to dial anew, those too that are just coming, because this edge is about to stop. They go on
    /// serving what comes.
    pub fn drain(&self) {
        let mut slots = self.slots();
        slots.draining = true;
        slots.by_tunnel.values().flat_map(Slot::all).for_each(|link| link.steer(Course::Draining));
    }

    /// It is not about to stop after all: who comes from now on may stay.
    pub fn stay(&self) {
        self.slots().draining = false;
    }

    /// Every agent that serves, by tunnel.
    pub fn online(&self) -> Vec<OnlineAgent> {
        let mut online: Vec<_> = self
            .slots()
            .by_tunnel
            .values()
            .filter_map(|slot| slot.serving.borrow().clone())
            .map(|link| OnlineAgent {
                tunnel: link.identity().tunnel.clone(),
                desktop: link.desktop().to_owned(),
                since: link.connected_at(),
                rtt: link.rtt(),
                streams: link.streams_open(),
            })
            .collect();
        online.sort_by(|a, b| a.tunnel.cmp(&b.tunnel));
        online
    }

    /// What is kept in mind, for tests: nothing of those who came and went.
    #[cfg(test)]
    pub(super) fn tunnels_known(&self) -> usize {
        self.slots().by_tunnel.len()
    }

    /// A connection that breaks, for tests.
    #[cfg(test)]
    pub(super) fn cut_off(&self, tunnel: &TunnelId) {
        if let Some(link) = self.find(tunnel) {
            link.steer(Course::Crowded);
        }
    }

    fn release(&self, link: &Arc<AgentLink>, after: After) {
        let mut slots = self.slots();
        let tunnel = &link.identity().tunnel;
        let Some(slot) = slots.by_tunnel.get_mut(tunnel) else { return };
        let served = slot.serving.send_if_modified(|serving| {
            let is_this = serving.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, link));
            if is_this {
                *serving = None;
            }
            is_this
        });
        match after {
            After::Gone => slot.draining.retain(|draining| !Arc::ptr_eq(draining, link)),
            After::Draining if served => slot.retire(Arc::clone(link)),
            After::Draining => {}
        }
        slots.tidy(tunnel);
        if served {
            slots.count_serving(-1);
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection that gives its claim back does next.
#[derive(Clone, Copy)]
enum After {
    Draining,
    Gone,
}

impl Slots {
    fn of(&mut self, tunnel: &TunnelId) -> &mut Slot {
        self.by_tunnel.entry(tunnel.clone()).or_insert_with(Slot::empty)
    }

    fn tidy(&mut self, tunnel: &TunnelId) {
        if self.by_tunnel.get(tunnel).is_some_and(|slot| !slot.is_needed()) {
            self.by_tunnel.remove(tunnel);
        }
    }

    fn count_serving(&mut self, change: isize) {
        self.serving = self.serving.saturating_add_signed(change);
        metrics().tunnels_connected(self.serving);
    }
}

/// Forgets the tunnel when the last who waited for it is gone, whether or not it came.
struct Waiting<'a> {
    registry: &'a Registry,
    tunnel: &'a TunnelId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.registry.slots().tidy(self.tunnel);
    }
}

/// An agent's hold on its tunnel, given back when dropped. It gives back its own only: where a newer connection took
/// over, that one stays.
#[derive(Debug)]
pub struct Claim {
    registry: Arc<Registry>,
    link: Arc<AgentLink>,
}

impl Claim {
    /// The tunnel, while it is this one that holds it.
    pub(super) fn holds(&self) -> Option<&TunnelId> {
        let tunnel = &self.link.identity().tunnel;
        self.registry.find(tunnel).filter(|serving| Arc::ptr_eq(serving, &self.link)).map(|_| tunnel)
    }

    /// Lets go of the tunnel before the connection ends: what is in flight goes on, nothing new comes.
    pub fn step_back(&self) {
        self.registry.release(&self.link, After::Draining);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.registry.release(&self.link, After::Gone);
    }
}
