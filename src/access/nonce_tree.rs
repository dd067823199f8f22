//! The tree over the nonces of all desktops, and how one of them is proven to be in it ([`crate::proof`]).
//!
//! A tree is never changed: a nonce that comes or goes gives another tree, which shares with the former all but the nodes
//! above that leaf, some fourteen among ten thousand. So to keep the trees of the last minutes costs what changed between
//! them, and the root is always known.

use std::sync::Arc;

use crate::proof::{Hash, Nonce, Path, Place, Root, leaf, node};

/// In place of what is not there: no hash of anything that anybody knows.
const NOTHING: Hash = [0; 32];

/// A tree, or a part of one.
#[derive(Clone, Debug, Default)]
pub(super) enum Tree {
    #[default]
    Empty,
    Leaf {
        place: Place,
        hash: Hash,
    },
    Branch(Arc<Branch>),
}

#[derive(Debug)]
pub(super) struct Branch {
    hash: Hash,
    left: Tree,
    right: Tree,
}

impl Tree {
    /// Of one nonce alone.
    pub(super) fn of(place: Place, nonce: &Nonce) -> Self {
        Self::Leaf { place, hash: leaf(&place, nonce) }
    }

    pub(super) fn root(&self) -> Root {
        Root::from(self.hash())
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Empty => NOTHING,
            Self::Leaf { hash, .. } => *hash,
            Self::Branch(branch) => branch.hash,
        }
    }

    fn branch(left: Self, right: Self) -> Self {
        Self::Branch(Arc::new(Branch { hash: node(&left.hash(), &right.hash()), left, right }))
    }

    /// With `nonce` at `place`, in place of the one that was there. Where that would lie too deep it is left out, and
    /// cannot be proven.
    pub(super) fn with(&self, place: Place, nonce: &Nonce) -> Self {
        self.with_leaf(place, leaf(&place, nonce), 0)
    }

    fn with_leaf(&self, place: Place, hash: Hash, depth: usize) -> Self {
        match self {
            Self::Empty => Self::Leaf { place, hash },
            Self::Leaf { place: there, .. } if *there == place => Self::Leaf { place, hash },
            _ if depth == Path::LONGEST => self.clone(),
            Self::Leaf { place: there, .. } => {
                // Both go one level down, each to its side; where that is the same side, it is tried again there.
                let (left, right) = match there.bit(depth) {
                    true => (Self::Empty, self.clone()),
                    false => (self.clone(), Self::Empty),
                };
                Self::branched(&left, &right, place, hash, depth)
            }
            Self::Branch(branch) => Self::branched(&branch.left, &branch.right, place, hash, depth),
        }
    }

    fn branched(left: &Self, right: &Self, place: Place, hash: Hash, depth: usize) -> Self {
        match place.bit(depth) {
            true => Self::branch(left.clone(), right.with_leaf(place, hash, depth + 1)),
            false => Self::branch(left.with_leaf(place, hash, depth + 1), right.clone()),
        }
    }

    /// Without the nonce at `place`.
    pub(super) fn without(&self, place: &Place) -> Self {
        self.without_leaf(place, 0)
    }

    fn without_leaf(&self, place: &Place, depth: usize) -> Self {
        let branch = match self {
            Self::Leaf { place: there, .. } if there == place => return Self::Empty,
            Self::Empty | Self::Leaf { .. } => return self.clone(),
            Self::Branch(branch) => branch,
        };
        let (left, right) = match place.bit(depth) {
            true => (branch.left.clone(), branch.right.without_leaf(place, depth + 1)),
            false => (branch.left.without_leaf(place, depth + 1), branch.right.clone()),
        };
        match (&left, &right) {
            // A leaf that is alone again lies where it would if it had always been.
            (Self::Empty, Self::Empty | Self::Leaf { .. }) => right,
            (Self::Leaf { .. }, Self::Empty) => left,
            _ => Self::branch(left, right),
        }
    }

    /// The way from the leaf at `place` to the root; `None` when there is none.
    pub(super) fn path(&self, place: &Place) -> Option<Path> {
        let mut beside = Vec::new();
        let mut at = self;
        while let Self::Branch(branch) = at {
            let (way, other) = match place.bit(beside.len()) {
                true => (&branch.right, &branch.left),
                false => (&branch.left, &branch.right),
            };
            beside.push(other.hash());
            at = way;
        }
        match at {
            Self::Leaf { place: there, .. } if there == place => {
                beside.reverse();
                Path::of(beside)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::names::TunnelId;

    fn place(number: u16) -> Place {
        Place::tunnel(&TunnelId::parse(&format!("ada-{number}")).expect("a label"))
    }

    fn nonce(number: u8) -> Nonce {
        Nonce::from([number; 32])
    }

    fn built(entries: impl IntoIterator<Item = (u16, u8)>) -> Tree {
        entries.into_iter().fold(Tree::default(), |tree, (at, number)| tree.with(place(at), &nonce(number)))
    }

    proptest! {
        #[test]
        fn every_nonce_in_a_tree_is_proven_by_its_path_and_no_other_is(
            entries in prop::collection::btree_map(0u16..500, 0u8..=255, 0..60),
            stranger in 500u16..600,
        ) {
            let tree = built(entries.clone());
            for (&at, &number) in &entries {
                let path = tree.path(&place(at)).expect("in the tree");
                prop_assert_eq!(path.root(&place(at), &nonce(number)), tree.root());
                prop_assert_ne!(path.root(&place(at), &nonce(number.wrapping_add(1))), tree.root());
                prop_assert_ne!(path.root(&place(stranger), &nonce(number)), tree.root());
            }
            prop_assert!(tree.path(&place(stranger)).is_none());
        }

        #[test]
        fn a_tree_is_the_same_however_it_came_about(
            changes in prop::collection::vec((0u16..40, prop::option::weighted(0.7, 0u8..=255)), 0..120),
        ) {
            let mut tree = Tree::default();
            let mut left = BTreeMap::new();
            for (at, change) in changes {
                match change {
                    Some(number) => {
                        tree = tree.with(place(at), &nonce(number));
                        left.insert(at, number);
                    }
                    None => {
                        tree = tree.without(&place(at));
                        left.remove(&at);
                    }
                }
            }
            prop_assert_eq!(tree.root(), built(left.clone()).root());
            prop_assert_eq!(tree.root(), built(left.into_iter().rev()).root());
        }
    }

    #[test]
    fn a_change_makes_only_the_nodes_above_it_anew() {
        fn nodes(tree: &Tree, found: &mut Vec<*const Branch>) {
            if let Tree::Branch(branch) = tree {
                found.push(Arc::as_ptr(branch));
                nodes(&branch.left, found);
                nodes(&branch.right, found);
            }
        }
        let before = built((0..10_000).map(|at| (at, 1)));
        let after = before.with(place(77), &nonce(2));
        let (mut old, mut new) = (Vec::new(), Vec::new());
        nodes(&before, &mut old);
        nodes(&after, &mut new);
        old.sort_unstable();
        let made = new.iter().filter(|node| old.binary_search(node).is_err()).count();
        let depth = after.path(&place(77)).expect("in the tree").depth();
        assert_eq!(made, depth);
        assert!(depth < 40, "ten thousand lie some fourteen deep: {depth}");
    }
}
