//! What the desktops handed over for sign-ins to commit to, and the way back from a commitment to a desktop
//! ([`crate::proof`]).
//!
//! A ceremony that is for one tunnel commits to that desktop's nonce alone; one that does not know yet commits to all.
//! Which tree a root stands for is remembered for as long as any nonce in it is good, so that a completed ceremony can be
//! proven to the desktop it turns out to be for. All of it is in memory: an edge that restarts forgets, agents that come
//! back say their nonce again, and whoever was in the middle of a sign-in touches once more. So does who began before the
//! agent was started anew: its nonces died with it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::nonce_tree::Tree;
use crate::clock::Timestamp;
use crate::names::TunnelId;
use crate::proof::{Commitment, Evidence, NONCE_LIFETIME, Nonce, Path, Place, Proof, Root};
use crate::secret::Entropy;

/// How old a tree may be and be kept as it is for one more ceremony: those take six minutes, a tree has ten.
const RENEWED: Duration = Duration::from_secs(60);

/// How many nonces of one agent are good at once. It makes one every four minutes, and one when it connects again.
const OF_ONE: usize = 8;

/// More trees than this in ten minutes come of an agent that makes nonces without end. From then on one tree is good for all
/// ceremonies of a while, though it lacks who came in between.
const MANY_TREES: usize = 4096;
const A_WHILE: Duration = Duration::from_secs(1);

/// The nonces of all desktops, and the commitments to them.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held: HashMap<Place, Held>,
    all: Tree,
    /// When the last nonce of each place ends.
    held_until: BTreeSet<(Timestamp, Place)>,
    committed: HashMap<Root, Committed>,
    committed_since: VecDeque<(Timestamp, Root)>,
}

/// What one agent has made, the newest last.
#[derive(Debug, Default)]
struct Held(VecDeque<(Timestamp, Nonce)>);

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
        let held = state.held.entry(place).or_default();
        let former = held.until();
        // One that came back says once more what it said.
        held.0.retain(|(_, made)| *made != nonce);
        if held.0.len() == OF_ONE {
            held.0.pop_front();
        }
        held.0.push_back((until, nonce));
        if let Some(former) = former {
            state.held_until.remove(&(former, place));
        }
        state.held_until.insert((until, place));
    }

    /// The agent of `tunnel` was started anew: it knows nothing of what was made before.
    pub fn forget(&self, tunnel: &TunnelId, now: Timestamp) {
        self.state(now).forget(&Place::tunnel(tunnel));
    }

    /// For a ceremony that is for `tunnel`, or for whichever it will be for. A desktop that is not there is not committed
    /// to, and cannot be shown what comes of it.
    pub fn commit(&self, tunnel: Option<&TunnelId>, now: Timestamp, entropy: &dyn Entropy) -> Commitment {
        let mut state = self.state(now);
        let alone = tunnel.map(Place::tunnel).and_then(|place| {
            let (_, newest) = state.held.get(&place)?.0.back()?;
            Some(Path::default().root(&place, newest))
        });
        Commitment::to(alone.unwrap_or_else(|| state.commit_to_all(now)), entropy)
    }

    /// What the desktop of `tunnel` is shown of a completed ceremony; `None` where the ceremony did not commit to it, or
    /// too long ago.
    pub fn prove(&self, evidence: &Evidence, tunnel: &TunnelId, now: Timestamp) -> Option<Proof> {
        let path = self.state(now).path(&evidence.commitment.root, &Place::tunnel(tunnel), now)?;
        Some(evidence.along(path))
    }

    /// Whether a ceremony that is for `tunnel` can still be of use to its desktop. Where there is none, there is nobody to
    /// ask.
    pub fn serves(&self, commitment: &Commitment, tunnel: &TunnelId, now: Timestamp) -> bool {
        let (state, place) = (self.state(now), Place::tunnel(tunnel));
        let Some(held) = state.held.get(&place) else { return true };
        let path = state.path(&commitment.root, &place, now);
        path.is_some_and(|path| held.good(now).any(|nonce| path.root(&place, nonce) == commitment.root))
    }

    /// How many nonces and trees it holds, and how many wait to be forgotten.
    #[cfg(test)]
    pub(super) fn sizes(&self, now: Timestamp) -> [usize; 4] {
        let State { held, held_until, committed, committed_since, .. } = &*self.state(now);
        [held.len(), held_until.len(), committed.len(), committed_since.len()]
    }

    /// As it stands at `now`.
    fn state(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget_before(now);
        state
    }
}

impl Held {
    fn until(&self) -> Option<Timestamp> {
        self.0.back().map(|(until, _)| *until)
    }

    fn good(&self, now: Timestamp) -> impl Iterator<Item = &Nonce> {
        self.0.iter().filter(move |(until, _)| *until > now).map(|(_, nonce)| nonce)
    }
}

impl State {
    fn commit_to_all(&mut self, now: Timestamp) -> Root {
        let until = now + NONCE_LIFETIME;
        if self.committed.len() >= MANY_TREES
            && let Some((last, root)) = self.committed_since.back()
            && until.since(*last) < A_WHILE
        {
            return *root;
        }
        let root = self.all.root();
        // All ceremonies of one moment have one root: what was kept within the last minute is kept long enough.
        if self.committed.get(&root).is_none_or(|kept| until.since(kept.until) >= RENEWED) {
            self.committed.insert(root, Committed { tree: self.all.clone(), until });
            self.committed_since.push_back((until, root));
        }
        root
    }

    /// The way from the nonce of `place` to `root`. One that stands alone is its own root.
    fn path(&self, root: &Root, place: &Place, now: Timestamp) -> Option<Path> {
        let alone = Path::default();
        let held = self.held.get(place);
        if held.is_some_and(|held| held.good(now).any(|nonce| alone.root(place, nonce) == *root)) {
            return Some(alone);
        }
        self.committed.get(root)?.tree.path(place)
    }

    fn forget(&mut self, place: &Place) {
        let Some(held) = self.held.remove(place) else { return };
        self.all.remove(place);
        if let Some(until) = held.until() {
            self.held_until.remove(&(until, *place));
        }
    }

    fn forget_before(&mut self, now: Timestamp) {
        while let Some((until, place)) = self.held_until.first().copied() {
            if until > now {
                break;
            }
            self.forget(&place);
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
        let alone = nonces.commit(Some(&ada), after(8), &*entropy);
        assert!(nonces.serves(&alone, &ada, after(13)));
        assert_eq!(found(&nonces, alone, "ada", nonce(2), after(13)), Some(true));
        assert_eq!(found(&nonces, alone, "ada", nonce(2), after(14)), None, "its nonce is no longer good");
        nonces.handed_over(&ada, nonce(3), after(14));
        let first = nonces.commit(None, after(14), &*entropy);
        let again = nonces.commit(None, after(18), &*entropy);
        assert_eq!(
            found(&nonces, first, "ada", nonce(3), after(27)),
            Some(true),
            "the later one keeps its tree"
        );
        assert_eq!(found(&nonces, again, "ada", nonce(3), after(29)), None);
        nonces.commit(None, after(30), &*entropy);
        let state = nonces.state(after(30));
        assert!(state.held.is_empty() && state.held_until.is_empty());
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

    #[test]
    fn an_agent_that_was_started_anew_knows_nothing_of_what_was_begun_before() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        let (ada, bob) = (tunnel("ada"), tunnel("bob"));
        nonces.handed_over(&ada, nonce(1), START);
        nonces.handed_over(&bob, nonce(2), START);
        let begun = [Some(&ada), None].map(|tunnel| nonces.commit(tunnel, START, &*entropy));
        nonces.handed_over(&ada, nonce(3), after(4));
        assert!(begun.iter().all(|one| nonces.serves(one, &ada, after(5))), "it has only made another");
        nonces.forget(&ada, after(5));
        nonces.handed_over(&ada, nonce(4), after(5));
        assert!(begun.iter().all(|one| !nonces.serves(one, &ada, after(5))));
        assert!(nonces.serves(&begun[1], &bob, after(5)), "another's is what it was");
        let now = [Some(&ada), None].map(|tunnel| nonces.commit(tunnel, after(5), &*entropy));
        assert!(now.iter().all(|one| nonces.serves(one, &ada, after(5))));
    }

    #[test]
    fn an_agent_that_makes_nonces_without_end_costs_little_and_keeps_nobody_from_signing_in() {
        let (nonces, entropy) = (Nonces::default(), SystemEntropy::shared());
        let (ada, eve) = (tunnel("ada"), tunnel("eve"));
        nonces.handed_over(&ada, nonce(1), START);
        let made = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            Nonce::from(bytes)
        };
        let mut last = None;
        for number in 0..10_000 {
            nonces.handed_over(&eve, made(number), START);
            nonces.commit(Some(&eve), START, &*entropy);
            last = Some(nonces.commit(None, START, &*entropy));
        }
        assert_eq!(nonces.sizes(START), [2, 2, MANY_TREES, MANY_TREES]);
        assert!(nonces.serves(&last.expect("many"), &ada, START));
        let later = START + A_WHILE;
        let fresh = nonces.commit(None, later, &*entropy);
        assert!(nonces.serves(&fresh, &ada, later) && nonces.serves(&fresh, &eve, later));
        assert_eq!(nonces.sizes(after(11)), [0; 4]);
    }
}
