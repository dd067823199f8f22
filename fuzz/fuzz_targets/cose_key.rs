//! A public key as it came with a session: it has signed nothing that nobody signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::CoseKey;

fuzz_target!(|data: &[u8]| {
    let Some(key) = CoseKey::parse(data) else { return };
    assert!(!key.has_signed(b"what nobody signed", data));
    if let CoseKey::Rs256 { n, e } = key {
        assert!(n.len() + e.len() < data.len());
    }
});
