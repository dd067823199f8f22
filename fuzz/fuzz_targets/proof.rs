//! A proof as the edge sends it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::{Judge, SignInSite};
use patapim_edge::clock::Timestamp;
use patapim_edge::names::{SessionId, TunnelId};
use patapim_edge::proof::Proof;
use patapim_edge::secret::SystemEntropy;

fuzz_target!(|data: &[u8]| {
    let Ok(proof) = serde_json::from_slice::<Proof>(data) else { return };
    let written = serde_json::to_vec(&proof).expect("a proof serialises");
    assert_eq!(serde_json::from_slice::<Proof>(&written).expect("read back"), proof);

    let site =
        SignInSite { origin: "https://d.patapim.test".to_owned(), rp_id: "d.patapim.test".to_owned() };
    let judge = Judge::new(&TunnelId::parse("ada").expect("a label"), &site);
    let (entropy, now) = (SystemEntropy::shared(), Timestamp::from_secs(1));
    judge.nonce(now, &*entropy);
    assert!(judge.judge(&SessionId::random(&*entropy), Some(&proof), data, now).is_err());
});
