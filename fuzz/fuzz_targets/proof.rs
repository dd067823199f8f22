//! A proof as the edge sends it: it reads back as it is written, and none that was not made for this desktop is believed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::{Judge, SignInSite};
use patapim_edge::clock::Timestamp;
use patapim_edge::names::{SessionId, TunnelId};
use patapim_edge::proof::Proof;
use patapim_fuzz::{NoChance, ORIGIN, Passkey};

fuzz_target!(|data: &[u8]| {
    let Ok(proof) = serde_json::from_slice::<Proof>(data) else { return };
    let written = serde_json::to_vec(&proof).expect("a proof serialises");
    assert_eq!(serde_json::from_slice::<Proof>(&written).expect("read back"), proof);

    let judge = Judge::new(&TunnelId::parse("ada").expect("a label"), &SignInSite::of(ORIGIN));
    let now = Timestamp::from_secs(1);
    judge.nonce(now, &NoChance::default());
    let (session, key) = (SessionId::random(&NoChance::default()), Passkey::default().public());
    assert!(judge.judge(&session, Some(&proof), &key, now).is_err());
});
