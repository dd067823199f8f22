//! A whole ceremony, with a signature that is right: the edge and the desktop judge it by themselves, and the desktop never
//! refuses what the edge lets in. Spoiled, neither believes it. What was registered can be signed in with.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::proof::{CoseKey, Judge, SignInSite};
use patapim_edge::clock::Timestamp;
use patapim_edge::deployer::fuzzing::{Registered, RelyingParty};
use patapim_edge::names::{DeviceId, SessionId, TunnelId, UserId};
use patapim_edge::proof::authenticator_data::{
    ATTESTED, BACKED_UP, BACKUP_ELIGIBLE, USER_PRESENT, USER_VERIFIED,
};
use patapim_edge::proof::{Assertion, Challenge, Commitment, Evidence, Path, Place};
use patapim_edge::secret::sha256;
use patapim_fuzz::{CREDENTIAL, NoChance, ORIGIN, Passkey, RP_ID, lines};

struct World {
    party: RelyingParty,
    passkey: Passkey,
    /// The same key twice: once as one that is never synced, once as one that may be.
    registered: [Registered; 2],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (party, passkey) = (RelyingParty::new(RP_ID, ORIGIN), Passkey::default());
    let registered = [0, BACKUP_ELIGIBLE].map(|flag| {
        let flags = USER_PRESENT | USER_VERIFIED | ATTESTED | flag;
        register(&party, flags, &passkey.public(), "", b"").expect("registered")
    });
    World { party, passkey, registered }
});

// The flags; where the signature is spoiled, and how; a line of more client data; more authenticator data.
fuzz_target!(|data: &[u8]| {
    let Some((&[flags, place, bits], rest)) = data.split_first_chunk() else { return };
    let [members, more] = lines(rest);
    let Ok(members) = std::str::from_utf8(members) else { return };
    if let Some(made) = register(&WORLD.party, flags, &WORLD.passkey.public(), members, more) {
        assert_eq!(made.public_key, WORLD.passkey.public());
        assert_eq!(made.id, DeviceId::of_credential(CREDENTIAL));
        assert!(CoseKey::parse(&made.public_key).is_some(), "a passkey that no desktop could check");
    }

    let tunnel = TunnelId::parse("ada").expect("a label");
    let judge = Judge::new(&tunnel, &SignInSite { origin: ORIGIN.to_owned(), rp_id: RP_ID.to_owned() });
    let now = Timestamp::from_secs(1);
    let root = Path::default().root(&Place::tunnel(&tunnel), &judge.nonce(now, &NoChance::default()));
    let commitment = Commitment::to(root, &NoChance::default());
    let challenge = commitment.challenge();

    let client_data = client_data("webauthn.get", &challenge, members);
    let data = [&sha256(RP_ID)[..], &[flags], &[0; 4], more].concat();
    let mut signature = WORLD.passkey.sign(&data, client_data.as_bytes());
    let place = usize::from(place) % signature.len();
    signature[place] ^= bits;
    let spoiled = bits != 0;

    let registered = &WORLD.registered[usize::from(flags & BACKUP_ELIGIBLE != 0)];
    let words = (client_data.as_bytes(), &data[..], &signature[..]);
    let edge = WORLD.party.authenticates(&challenge, (CREDENTIAL, registered), words).is_some();
    // What is longer than any desktop takes: the edge keeps no evidence of it.
    let Some(assertion) = Assertion::of(&data, client_data.as_bytes(), &signature) else { return };
    let proof = Evidence { assertion, commitment }.along(Path::default());
    let session = SessionId::random(&NoChance::default());
    let desktop = judge.judge(&session, Some(&proof), &registered.public_key, now).is_ok();

    assert!(desktop || !edge, "the edge lets in what the desktop refuses");
    assert!(!spoiled || !(edge || desktop), "nobody signed it");
    if edge || desktop {
        assert!(flags & USER_PRESENT != 0 && flags & USER_VERIFIED != 0);
        assert!(flags & BACKED_UP == 0 || flags & BACKUP_ELIGIBLE != 0);
    }
});

fn client_data(kind: &str, challenge: &Challenge, members: &str) -> String {
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{ORIGIN}"{members}}}"#)
}

/// A registration of `key`, whose authenticator says `more` behind it.
fn register(party: &RelyingParty, flags: u8, key: &[u8], members: &str, more: &[u8]) -> Option<Registered> {
    let challenge = Challenge::from([7; 32]);
    let length = u16::try_from(CREDENTIAL.len()).expect("short").to_be_bytes();
    let new = [&[0xaa; 16][..], &length, CREDENTIAL, key].concat();
    let data = [&sha256(RP_ID)[..], &[flags], &[0; 4], &new, more].concat();
    let size = u16::try_from(data.len()).ok()?.to_be_bytes();
    let object = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"[..], &size, &data].concat();
    let client_data = client_data("webauthn.create", &challenge, members);
    let user = UserId::random(&NoChance::default());
    party.registers(&challenge, (CREDENTIAL, &user), client_data.as_bytes(), &object)
}
