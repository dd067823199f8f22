//! A token: what was not signed by us, to the last bit, is not believed, and what was is believed in its time and place.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use patapim_edge::access::keys::KeyRing;
use patapim_edge::access::token::{Claims, Seeming, TokenFault, seeming, sign, verify};
use patapim_edge::clock::{ManualClock, Timestamp};
use patapim_edge::names::{TokenId, TunnelId, UserId};
use patapim_fuzz::{Folder, NoChance, ORIGIN, lines, number};

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let folder = Folder::default();
    KeyRing::open(folder.path(), &*ManualClock::at(Timestamp::from_secs(1)), &NoChance::default())
        .expect("keys")
});

// Four numbers, another token, and edits of ours: a place, a kind and a byte each.
fuzz_target!(|data: &[u8]| {
    let [iat, exp, now, elsewhere, text, edits] = lines(data);
    let (iat, exp, elsewhere) = (number(iat), number(exp), number(elsewhere) == 1);
    let now = Timestamp::from_secs(number(now) / 1000);
    let tunnel = TunnelId::parse(if elsewhere { "bob" } else { "ada" }).expect("a label");
    let claims = Claims {
        iss: ORIGIN.to_owned(),
        sub: UserId::random(&NoChance::default()),
        aud: TunnelId::parse("ada").expect("a label"),
        iat,
        exp,
        jti: TokenId::random(&NoChance::default()),
        bind: "hash".to_owned(),
    };
    let token = sign(&KEYS, &claims);
    let judged = verify(&KEYS, ORIGIN, &tunnel, token.reveal(), now);

    assert_eq!(seeming(token.reveal(), ORIGIN), Seeming::Ours);
    let in_time = iat <= now.secs() + 60 && now.secs() < exp;
    match judged {
        Ok(verified) => assert!(in_time && !elsewhere && iat < exp && *verified.claims() == claims),
        Err(TokenFault::Signature) => assert!(iat >= exp),
        Err(TokenFault::Expired) => assert!(!in_time),
        Err(TokenFault::Audience) => assert!(in_time && elsewhere),
    }

    // Another spelling of it, or anything else, is nobody's.
    for other in
        [edited(token.reveal(), edits).as_deref(), std::str::from_utf8(text).ok()].into_iter().flatten()
    {
        if other != token.reveal() {
            let refused = verify(&KEYS, ORIGIN, &tunnel, other, now).expect_err("nobody signed it");
            assert_eq!(refused, TokenFault::Signature);
            seeming(other, ORIGIN);
        }
    }
});

/// `token` with some of its bytes replaced, put in or taken out.
fn edited(token: &str, edits: &[u8]) -> Option<String> {
    let mut bytes = token.as_bytes().to_vec();
    for edit in edits.chunks_exact(4).take(8) {
        let place = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
        match edit[2] % 3 {
            0 => bytes[place] = edit[3],
            1 => bytes.insert(place, edit[3]),
            _ if bytes.len() > 1 => drop(bytes.remove(place)),
            _ => {}
        }
    }
    String::from_utf8(bytes).ok()
}
