//! What browser and authenticator say, under a challenge that is right: all that comes before the signature is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::{Judge, SignInSite};
use patapim_edge::clock::Timestamp;
use patapim_edge::names::{SessionId, TunnelId};
use patapim_edge::proof::{Assertion, Commitment, Evidence, Path, Place};
use patapim_edge::secret::{SystemEntropy, sha256};

const ORIGIN: &str = "https://d.patapim.test";
const RP_ID: &str = "d.patapim.test";

fuzz_target!(|input: (&str, u8, &[u8], &[u8])| {
    let (members, flags, more, signature) = input;
    let tunnel = TunnelId::parse("ada").expect("a label");
    let site = SignInSite { origin: ORIGIN.to_owned(), rp_id: RP_ID.to_owned() };
    let judge = Judge::new(&tunnel, &site);
    let (entropy, now) = (SystemEntropy::shared(), Timestamp::from_secs(1));
    let root = Path::default().root(&Place::tunnel(&tunnel), &judge.nonce(now, &*entropy));
    let commitment = Commitment::to(root, &*entropy);

    let challenge = commitment.challenge();
    let client_data =
        format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{ORIGIN}"{members}}}"#);
    let data = [&sha256(RP_ID)[..], &[flags], &[0; 4], more].concat();
    let Some(assertion) = Assertion::of(&data, client_data.as_bytes(), signature) else { return };
    let proof = Evidence { assertion, commitment }.along(Path::default());

    // {1: 2, 3: -7, -1: 1, -2: x, -3: y}, a point that is on the curve: its generator.
    let x = *b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96";
    let y = *b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
    let key =
        [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], &x, &[0x22, 0x58, 32], &y].concat();
    assert!(judge.judge(&SessionId::random(&*entropy), Some(&proof), &key, now).is_err());
});
