//! The tree over the nonces of all desktops, and how one of them is proven to be in it ([`crate::proof`]).
//!
//! A tree that was copied is never changed: the copy shares all its nodes, and a nonce that comes or goes makes those above
//! its leaf anew, some fourteen among ten thousand. So to keep the trees of the last minutes costs what changed between
//! them. Nodes are hashed when a root is asked for, each once, however many nonces came since.

use std::sync::{Arc, OnceLock};

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

#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    hash: OnceLock<Hash>,
    left: Tree,
    right: Tree,
}

impl Branch {
    /// The side that `place` lies on; it may change, and the hash with it.
    fn side_of(&mut self, place: &Place, depth: usize) -> &mut Tree {
        self.hash.take();
        if place.bit(depth) { &mut self.right } else { &mut self.left }
    }
}

impl Tree {
    pub(super) fn root(&self) -> Root {
        Root::from(self.hash())
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Empty => NOTHING,
            Self::Leaf { hash, .. } => *hash,
            Self::Branch(branch) => {
                *branch.hash.get_or_init(|| node(&branch.left.hash(), &branch.right.hash()))
            }
        }
    }

    /// Has `nonce` at `place`, instead of the one that was there. Where that would lie too deep it is left out, and cannot
    /// be proven.
    pub(super) fn insert(&mut self, place: Place, nonce: &Nonce) {
        self.insert_leaf(place, leaf(&place, nonce), 0);
    }

    fn insert_leaf(&mut self, place: Place, hash: Hash, depth: usize) {
        match self {
            Self::Empty => *self = Self::Leaf { place, hash },
            Self::Leaf { place: there, hash: old } if *there == place => *old = hash,
            Self::Leaf { .. } if depth == Path::LONGEST => {}
            Self::Leaf { place: there, .. } => {
                // Both go one level down, each to its side; where that is the same side, it is tried again there.
                let (there, mut branch) = (*there, Branch::default());
                *branch.side_of(&there, depth) = std::mem::take(self);
                branch.side_of(&place, depth).insert_leaf(place, hash, depth + 1);
                *self = Self::Branch(Arc::new(branch));
            }
            Self::Branch(branch) => {
                Arc::make_mut(branch).side_of(&place, depth).insert_leaf(place, hash, depth + 1);
            }
        }
    }

    /// Has no nonce at `place` any more.
    pub(super) fn remove(&mut self, place: &Place) {
        self.remove_leaf(place, 0);
    }

    fn remove_leaf(&mut self, place: &Place, depth: usize) {
        match self {
            Self::Leaf { place: there, .. } if there == place => *self = Self::Empty,
            Self::Empty | Self::Leaf { .. } => {}
            Self::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                branch.side_of(place, depth).remove_leaf(place, depth + 1);
                // A leaf that is alone again lies where it would if it had always been.
                let alone = match (&branch.left, &branch.right) {
                    (Self::Empty, Self::Empty | Self::Leaf { .. }) => &mut branch.right,
                    (Self::Leaf { .. }, Self::Empty) => &mut branch.left,
                    _ => return,
                };
                *self = std::mem::take(alone);
            }
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
        let mut tree = Tree::default();
        entries.into_iter().for_each(|(at, number)| tree.insert(place(at), &nonce(number)));
        tree
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
                        tree.insert(place(at), &nonce(number));
                        left.insert(at, number);
                    }
                    None => {
                        tree.remove(&place(at));
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
        let root = before.root();
        let mut after = before.clone();
        after.insert(place(77), &nonce(2));
        assert_ne!(after.root(), root);
        assert_eq!(before.root(), root, "the one that was copied is as it was");
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
