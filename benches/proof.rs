//! What a proof costs: the edge for its tree of nonces, the desktop for its judgement. `cargo bench --bench proof`
//!
//! The bounds are 10 ms for the root over ten thousand desktops, and 1 ms for a judgement.

use std::sync::Arc;

use divan::{Bencher, black_box};
use patapim_edge::access::Nonces;
use patapim_edge::agent::proof::{Judge, SignInSite};
use patapim_edge::clock::Timestamp;
use patapim_edge::names::{SessionId, TunnelId};
use patapim_edge::proof::{Assertion, Commitment, Evidence, Nonce, Path, Place, Proof};
use patapim_edge::secret::{Entropy, SystemEntropy, ring_random, sha256};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const ORIGIN: &str = "https://deployer.patapim.test";
const RP_ID: &str = "deployer.patapim.test";

fn main() {
    divan::main();
}

fn tunnel(number: usize) -> TunnelId {
    TunnelId::parse(&format!("ada-{number}")).expect("a label")
}

fn handed_over(desktops: usize, entropy: &dyn Entropy) -> Nonces {
    let nonces = Nonces::default();
    for number in 0..desktops {
        nonces.handed_over(&tunnel(number), Nonce::random(entropy), NOW);
    }
    nonces
}

/// One desktop among many hands over its next nonce, and a ceremony commits to all.
#[divan::bench(args = [100, 10_000])]
fn root_after_a_new_nonce(bencher: Bencher<'_, '_>, desktops: usize) {
    let entropy = SystemEntropy::shared();
    let (nonces, changing) = (handed_over(desktops, &*entropy), tunnel(desktops / 2));
    bencher.with_inputs(|| Nonce::random(&*entropy)).bench_local_values(|nonce| {
        nonces.handed_over(&changing, nonce, NOW);
        black_box(nonces.commit(None, NOW, &*entropy))
    });
}

/// All of them have handed over another nonce since the last ceremony: every node is hashed anew. The root alone.
#[divan::bench(args = [10_000], sample_count = 30, sample_size = 1)]
fn root_after_all_new_nonces(bencher: Bencher<'_, '_>, desktops: usize) {
    let entropy = SystemEntropy::shared();
    let nonces = handed_over(desktops, &*entropy);
    let tunnels: Vec<_> = (0..desktops).map(tunnel).collect();
    let anew = || tunnels.iter().for_each(|tunnel| nonces.handed_over(tunnel, Nonce::random(&*entropy), NOW));
    bencher.with_inputs(anew).bench_local_values(|()| black_box(nonces.commit(None, NOW, &*entropy)));
}

/// What came before it, and in life is spread over four minutes: each of them hands over another nonce.
#[divan::bench(args = [10_000], sample_count = 30, sample_size = 1)]
fn all_new_nonces(bencher: Bencher<'_, '_>, desktops: usize) {
    let entropy = SystemEntropy::shared();
    let nonces = handed_over(desktops, &*entropy);
    let tunnels: Vec<_> = (0..desktops).map(tunnel).collect();
    let fresh = || {
        nonces.commit(None, NOW, &*entropy);
        tunnels.iter().map(|_| Nonce::random(&*entropy)).collect::<Vec<_>>()
    };
    bencher.with_inputs(fresh).bench_local_values(|fresh| {
        tunnels.iter().zip(fresh).for_each(|(tunnel, nonce)| nonces.handed_over(tunnel, nonce, NOW));
    });
}

/// A desktop's judgement of a session, with as long a path as there may be.
#[divan::bench(args = [0, 16, Path::LONGEST])]
fn judgement(bencher: Bencher<'_, '_>, depth: usize) {
    let entropy = SystemEntropy::shared();
    let site = SignInSite { origin: ORIGIN.to_owned(), rp_id: RP_ID.to_owned() };
    let desktop = Judge::new(&tunnel(0), &site);
    let (proof, key) = signed(desktop.nonce(NOW, &*entropy), depth, &entropy);
    let session = SessionId::random(&*entropy);
    bencher.bench_local(|| desktop.judge(black_box(&session), Some(&proof), &key, NOW).expect("believed"));
}

/// What a passkey signed for the first desktop, and its public key.
fn signed(nonce: Nonce, depth: usize, entropy: &Arc<dyn Entropy>) -> (Proof, Vec<u8>) {
    let rng = ring_random();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &rng).expect("a key");
    let path = Path::of(vec![[1; 32]; depth]).expect("short");
    let commitment = Commitment::to(path.root(&Place::tunnel(&tunnel(0)), &nonce), &**entropy);
    let client_data = format!(
        r#"{{"type":"webauthn.get","challenge":"{}","origin":"{ORIGIN}","crossOrigin":false}}"#,
        commitment.challenge()
    );
    let data = [&sha256(RP_ID)[..], &[0x05, 0, 0, 0, 0]].concat();
    let signature = pair.sign(&rng, &[&data[..], &sha256(&client_data)].concat()).expect("a signature");
    let assertion = Assertion::of(&data, client_data.as_bytes(), signature.as_ref()).expect("short");
    let point = pair.public_key().as_ref();
    let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
    let key = [&head[..], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat();
    (Evidence { assertion, commitment }.along(path), key)
}
