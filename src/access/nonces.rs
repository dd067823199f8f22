//! What the desktops handed over for sign-ins to commit to, and the way back from a commitment to a desktop
//! ([`crate::proof`]).
//!
//! A ceremony that is for one tunnel commits to that desktop's nonce alone; one that does not know yet commits to all.
//! Which tree a root stands for is remembered for as long as any nonce in it is good, so that a completed ceremony can be
//! proven to the desktop it turns out to be for. All of it is in memory: an edge that restarts forgets, agents that come
//! back say their nonce again, and whoever was in the middle of a sign-in touches once more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::nonce_tree::Tree;
use crate::clock::Timestamp;
use crate::names::TunnelId;
use crate::proof::{Commitment, Evidence, NONCE_LIFETIME, Nonce, Place, Proof, Root};
use crate::secret::Entropy;

/// How old a tree may be and be kept as it is for one more ceremony: those take six minutes, a tree has ten.
const RENEWED: Duration = Duration::from_secs(60);

/// The nonces of all desktops, and the commitments to them.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: HashMap<Place, Held>,
    all: Tree,
    /// Who handed one over when; whatever is good for one time ends in the order it came.
    held_since: VecDeque<(Timestamp, Place)>,
    committed: HashMap<Root, Committed>,
    committed_since: VecDeque<(Timestamp, Root)>,
}

#[derive(Debug)]
struct Held {
    nonce: Nonce,
    until: Timestamp,
}

#[derive(Debug)]
struct Committed {
    tree: Tree,
    until: Timestamp,
}

impl Nonces {
    /// The agent of `tunnel` has made a new one. What was begun with a former one can go on.
    pub fn handed_over(&self, tunnel: &TunnelId, nonce: Nonce, now: Timestamp) {
        let (place, until) = (Place::tunnel(tunnel), now + NONCE_LIFETIME);
        let mut state = self.state(now);
        state.all.insert(place, &nonce);
        state.held.insert(place, Held { nonce, until });
        state.held_since.push_back((until, place));
    }

    /// For a ceremony that is for `tunnel`, or for whichever it will be for. A desktop that is not there is not committed
    /// to, and cannot be shown what comes of it.
    pub fn commit(&self, tunnel: Option<&TunnelId>, now: Timestamp, entropy: &dyn Entropy) -> Commitment {
        let mut state = self.state(now);
        let alone = tunnel.map(Place::tunnel).and_then(|place| {
            let held = state.held.get(&place)?;
            Some(Tree::of(place, &held.nonce))
        });
        let tree = alone.unwrap_or_else(|| state.all.clone());
        let (root, until) = (tree.root(), now + NONCE_LIFETIME);
        // All ceremonies of one moment have one root: what was kept within the last minute is kept long enough.
        if state.committed.get(&root).is_none_or(|kept| until.since(kept.until) >= RENEWED) {
            state.committed.insert(root, Committed { tree, until });
            state.committed_since.push_back((until, root));
        }
        Commitment::to(root, entropy)
    }

    /// What the desktop of `tunnel` is shown of a completed ceremony; `None` where the ceremony did not commit to it, or
    /// too long ago.
    pub fn prove(&self, evidence: &Evidence, tunnel: &TunnelId, now: Timestamp) -> Option<Proof> {
        let state = self.state(now);
        let tree = &state.committed.get(&evidence.commitment.root)?.tree;
        Some(evidence.along(tree.path(&Place::tunnel(tunnel))?))
    }

    /// Whether a ceremony that is for `tunnel` can still be of use to its desktop. Where there is none, there is nobody to
    /// ask.
    pub fn serves(&self, commitment: &Commitment, tunnel: &TunnelId, now: Timestamp) -> bool {
        let state = self.state(now);
        let place = Place::tunnel(tunnel);
        let committed = state.committed.get(&commitment.root);
        !state.held.contains_key(&place) || committed.is_some_and(|kept| kept.tree.path(&place).is_some())
    }

    /// How many nonces and trees it holds, and how many wait to be forgotten.
    #[cfg(test)]
    pub(super) fn sizes(&self, now: Timestamp) -> [usize; 4] {
        let State { held, held_since, committed, committed_since, .. } = &*self.state(now);
        [held.len(), held_since.len(), committed.len(), committed_since.len()]
    }

    /// As it stands at `now`.
    fn state(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget_before(now);
        state
    }
}

impl State {
    fn forget_before(&mut self, now: Timestamp) {
        while let Some((_, place)) = self.held_since.pop_front_if(|(until, _)| *until <= now) {
            if self.held.get(&place).is_some_and(|held| held.until <= now) {
                self.held.remove(&place);
                self.all.remove(&place);
            }
        }
        while let Some((_, root)) = self.committed_since.pop_front_if(|(until, _)| *until <= now) {
            if self.committed.get(&root).is_some_and(|committed| committed.until <= now) {
                self.committed.remove(&root);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Assertion;
    use crate::secret::SystemEntropy;

    const START: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn tunnel(name: &str) -> TunnelId {
        TunnelId::parse(name).expect("a label")
    }

    fn nonce(number: u8) -> Nonce {
        Nonce::from([number; 32])
    }

    fn after(minutes: u64) -> Timestamp {
        START + Duration::from_secs(60 * minutes)
    }

    /// The challenge as the desktop of `tunnel` finds it, if the edge can show it anything.
    fn found(
        nonces: &Nonces,
        commitment: Commitment,
        name: &str,
        own: Nonce,
        now: Timestamp,
    ) -> Option<bool> {
        let assertion = Assertion::of(b"", b"", b"").expect("short");
        let proof = nonces.prove(&Evidence { assertion, commitment }, &tunnel(name), now)?;
        Some(proof.challenge(&Place::tunnel(&tunnel(name)), &own) == commitment.challenge())
    }

    #[test]
    fn a_ceremony_for_one_tunnel_is_proven_to_that_desktop_alone() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        nonces.handed_over(&tunnel("ada"), nonce(1), START);
        nonces.handed_over(&tunnel("bob"), nonce(2), START);
        let commitment = nonces.commit(Some(&tunnel("ada")), START, &*entropy);
        assert_eq!(found(&nonces, commitment, "ada", nonce(1), START), Some(true));
        assert_eq!(found(&nonces, commitment, "ada", nonce(2), START), Some(false));
        assert_eq!(found(&nonces, commitment, "bob", nonce(2), START), None);
        assert_ne!(nonces.commit(Some(&tunnel("ada")), START, &*entropy), commitment, "each is its own");
    }

    #[test]
    fn a_ceremony_for_whichever_tunnel_is_proven_to_each_that_was_there() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        for (name, number) in [("ada", 1), ("bob", 2), ("eve", 3)] {
            nonces.handed_over(&tunnel(name), nonce(number), START);
        }
        let commitment = nonces.commit(None, START, &*entropy);
        nonces.handed_over(&tunnel("late"), nonce(4), START);
        nonces.handed_over(&tunnel("bob"), nonce(5), START);
        for (name, own) in [("ada", 1), ("bob", 2), ("eve", 3)] {
            assert_eq!(found(&nonces, commitment, name, nonce(own), after(5)), Some(true), "{name}");
        }
        assert_eq!(
            found(&nonces, commitment, "bob", nonce(5), after(5)),
            Some(false),
            "committed to the former"
        );
        assert_eq!(found(&nonces, commitment, "late", nonce(4), after(5)), None);
    }

    #[test]
    fn nothing_is_kept_longer_than_it_is_good() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        let ada = tunnel("ada");
        nonces.handed_over(&ada, nonce(1), START);
        nonces.handed_over(&ada, nonce(2), after(4));
        let first = nonces.commit(Some(&ada), after(4), &*entropy);
        let again = nonces.commit(Some(&ada), after(8), &*entropy);
        assert_eq!(
            found(&nonces, first, "ada", nonce(2), after(17)),
            Some(true),
            "the later one keeps its tree"
        );
        assert!(nonces.serves(&again, &ada, after(13)));
        nonces.commit(None, after(19), &*entropy);
        assert_eq!(found(&nonces, again, "ada", nonce(2), after(19)), None);
        nonces.commit(None, after(30), &*entropy);
        let state = nonces.state(after(30));
        assert!(state.held.is_empty() && state.held_since.is_empty());
        assert_eq!((state.committed.len(), state.committed_since.len()), (1, 1), "the one just made");
        assert_eq!(state.all.root(), Tree::default().root());
    }

    #[test]
    fn a_ceremony_that_no_desktop_can_judge_is_told_in_time() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        let ada = tunnel("ada");
        let before = nonces.commit(Some(&ada), START, &*entropy);
        assert!(nonces.serves(&before, &ada, START), "nobody there to judge it");
        nonces.handed_over(&ada, nonce(1), START);
        assert!(!nonces.serves(&before, &ada, START), "the desktop came after it was begun");
        assert!(nonces.serves(&nonces.commit(None, START, &*entropy), &ada, START));
    }

    #[test]
    fn many_ceremonies_of_one_moment_cost_one_entry() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        for _ in 0..1000 {
            nonces.commit(None, START, &*entropy);
        }
        let state = nonces.state(START);
        assert_eq!((state.committed.len(), state.committed_since.len()), (1, 1));
    }
}
