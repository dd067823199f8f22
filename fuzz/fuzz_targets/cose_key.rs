//! A public key as it came with a session.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::CoseKey;

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (key, message, signature) = input;
    if let Some(key) = CoseKey::parse(key) {
        key.has_signed(message, signature);
    }
});
