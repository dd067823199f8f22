//! From one nonce to the root that stands for many.
//!
//! The tree is binary, and a leaf's place in it is that of its own key: the bits of a hash of whose nonce it is, one a
//! level, down to where the leaf is alone. So nobody needs to be told a position, and a tree is the same however it came
//! about. Where only one side of a branch is there, zeros stand for the other: no hash of anything known.
//!
//! Leaves and branches are hashed under labels of their own, neither of which begins the other, and everything after the
//! label has one length. So a branch cannot pass for a leaf, nor a leaf for a branch (RFC 9162 §2.1 has the attack), and
//! two paths to one root are one path, or else a collision of SHA-256.

use serde::{Deserialize, Serialize};

use super::spelled::NotThat;
use super::{Nonce, Root};
use crate::names::TunnelId;
use crate::secret::{base64url, from_base64url, sha256};

/// A node of the tree.
pub type Hash = [u8; 32];

/// Whose nonce a leaf holds, and what for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place(Hash);

impl Place {
    /// The agent's that serves `tunnel`.
    pub fn tunnel(tunnel: &TunnelId) -> Self {
        Self(sha256([b"patapim/tunnel/1\0", tunnel.as_str().as_bytes()].concat()))
    }

    /// A desktop's that asks to be linked: with the key whose pin is `pin`, under the code `code`, as it is shown. So what is
    /// signed names what the person has compared.
    pub fn link(pin: &str, code: &str) -> Self {
        Self(sha256(["patapim/link/1\0", pin, "\0", code].concat()))
    }

    /// The bit that says which way to go from the branch at `depth`; true is right.
    pub fn bit(&self, depth: usize) -> bool {
        self.0.get(depth / 8).is_some_and(|byte| byte & (0x80 >> (depth % 8)) != 0)
    }
}

/// The hash of a leaf.
pub fn leaf(place: &Place, nonce: &Nonce) -> Hash {
    labelled(b"patapim/leaf/1\0", &place.0, nonce.as_bytes())
}

/// The hash of a branch.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    labelled(b"patapim/node/1\0", left, right)
}

/// Without a detour through the heap: a tree of ten thousand has as many branches.
fn labelled(label: &[u8; 15], one: &Hash, two: &Hash) -> Hash {
    let mut bytes = [0; 15 + 32 + 32];
    let (head, rest) = bytes.split_at_mut(15);
    let (left, right) = rest.split_at_mut(32);
    head.copy_from_slice(label);
    left.copy_from_slice(one);
    right.copy_from_slice(two);
    sha256(bytes)
}

/// The hashes beside the way from a leaf to the root, from below.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(Vec<Hash>);

impl Path {
    /// The deepest that a leaf may lie. Ten thousand lie some twenty deep; to force one below this takes more hashing than
    /// there are names to give away.
    pub const LONGEST: usize = 64;

    /// Of `siblings`, from below; `None` where there are too many.
    pub fn of(siblings: Vec<Hash>) -> Option<Self> {
        (siblings.len() <= Self::LONGEST).then_some(Self(siblings))
    }

    /// How deep the leaf lies.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The root of the tree that has `nonce` at `place`, and these beside the way.
    pub fn root(&self, place: &Place, nonce: &Nonce) -> Root {
        let climbed = self.0.iter().zip((0..self.0.len()).rev());
        let top = climbed.fold(leaf(place, nonce), |hash, (sibling, depth)| match place.bit(depth) {
            true => node(sibling, &hash),
            false => node(&hash, sibling),
        });
        Root(top)
    }
}

impl TryFrom<String> for Path {
    type Error = NotThat;
    fn try_from(text: String) -> Result<Self, NotThat> {
        if text.len() > Self::LONGEST * 44 {
            return Err(NotThat);
        }
        let bytes = from_base64url(&text).ok_or(NotThat)?;
        let (hashes, []) = bytes.as_chunks::<32>() else { return Err(NotThat) };
        Self::of(hashes.to_vec()).ok_or(NotThat)
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        base64url(path.0.concat())
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "a path of {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_was_written_and_no_longer_than_allowed() {
        let read = |hashes: usize| Path::try_from(base64url(vec![3; hashes * 32]));
        let path = read(5).expect("short");
        assert_eq!(Path::try_from(String::from(path.clone())), Ok(path));
        assert_eq!(read(Path::LONGEST).map(|path| path.depth()), Ok(Path::LONGEST));
        assert_eq!(read(Path::LONGEST + 1), Err(NotThat));
        assert_eq!(Path::try_from(base64url([0; 33])), Err(NotThat), "a part of a hash");
    }

    #[test]
    fn a_branch_does_not_pass_for_a_leaf() {
        // A leaf is a place and a nonce, a branch two hashes: the same bytes, and another hash.
        let (place, nonce) = (Place([1; 32]), Nonce::from([2; 32]));
        assert_ne!(leaf(&place, &nonce), node(&[1; 32], &[2; 32]));
    }
}
