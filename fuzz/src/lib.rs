//! What the targets share: a world in which nothing is left to chance, so that an input does the same each time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use patapim_edge::names::{BaseDomain, PublicHosts, Scheme};
use patapim_edge::secret::{Entropy, ring_random, sha256};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

/// The sign-in site's origin.
pub const ORIGIN: &str = "https://deployer.patapim.test";
/// What its passkeys are made for.
pub const RP_ID: &str = "deployer.patapim.test";

/// The public names of the edge.
pub fn hosts() -> PublicHosts {
    let base = BaseDomain::parse("patapim.test").expect("a domain");
    PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("hosts")
}

/// The first lines of an input; the last of them is all that is left. So seeds can be read, and written, by people.
pub fn lines<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut left = data.splitn(N, |&byte| byte == b'\n');
    std::array::from_fn(|_| left.next().unwrap_or_default())
}

/// A line as text; none where it is not.
pub fn text(line: &[u8]) -> &str {
    std::str::from_utf8(line).unwrap_or_default()
}

/// A line as a number; 0 where it is not.
pub fn number(line: &[u8]) -> u64 {
    text(line).parse().unwrap_or_default()
}

/// Bytes that nobody would call random, the same ones each time that it is begun with.
#[derive(Default)]
pub struct NoChance(AtomicU64);

impl Entropy for NoChance {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let bytes = sha256(self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// An empty folder, in memory where there is such a place: a target syncs a file a thousand times a second.
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let under = if memory.is_dir() { memory } else { std::env::temp_dir() };
        Self(tempfile::tempdir_in(under).expect("a folder"))
    }
}

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

/// A passkey in software, always the same: its private key is the number 1, and so its public one the curve's generator.
pub struct Passkey(EcdsaKeyPair);

/// Its credential id.
pub const CREDENTIAL: &[u8] = b"a credential's id";

const X: &[u8; 32] = b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96";
const Y: &[u8; 32] = b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";

impl Default for Passkey {
    fn default() -> Self {
        let mut scalar = [0; 32];
        scalar[31] = 1;
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let point = [&[4][..], X, Y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, &point, &ring_random());
        Self(pair.expect("a key"))
    }
}

impl Passkey {
    /// {1: 2, 3: -7, -1: 1, -2: x, -3: y}
    pub fn public(&self) -> Vec<u8> {
        let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
        [&head[..], X, &[0x22, 0x58, 32], Y].concat()
    }

    /// A signature over what authenticator and browser say.
    pub fn sign(&self, authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
        let signed = [authenticator_data, &sha256(client_data)].concat();
        self.0.sign(&ring_random(), &signed).expect("a signature").as_ref().to_vec()
    }
}
