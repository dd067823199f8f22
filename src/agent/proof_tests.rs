//! A passkey in software, an edge that shows what it likes, and what the desktop says to it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::agent::test_passkey::{Draft, ORIGIN, Passkey, RP_ID};
use crate::proof::authenticator_data::{BACKED_UP, EXTENDED, USER_PRESENT, USER_VERIFIED};
use crate::proof::{Assertion, NONCE_EVERY, NONCE_LIFETIME, Path};
use crate::secret::SystemEntropy;

const START: Timestamp = Timestamp::from_secs(1_790_000_000);

fn tunnel() -> TunnelId {
    TunnelId::parse("ada-abc234").expect("a label")
}

fn desktop() -> Judge {
    Judge::new(&tunnel(), &SignInSite { origin: ORIGIN.to_owned(), rp_id: RP_ID.to_owned() })
}

fn session() -> SessionId {
    SessionId::random(&*SystemEntropy::shared())
}

fn proof(passkey: &Passkey, place: Place, nonce: Nonce, bend: impl FnOnce(&mut Draft)) -> Proof {
    passkey.proof(place, nonce, bend)
}

/// What this desktop says of a ceremony of its own time and place, bent.
fn judged(bend: impl FnOnce(&mut Draft)) -> Result<(), ProofFault> {
    let (desktop, passkey) = (desktop(), Passkey::new());
    let nonce = desktop.nonce(START, &*SystemEntropy::shared());
    let proof = proof(&passkey, Place::tunnel(&tunnel()), nonce, bend);
    desktop.judge(&session(), Some(&proof), &passkey.public(), START)
}

#[test]
fn a_passkey_that_was_used_here_and_now_is_believed() {
    assert_eq!(judged(|_| ()), Ok(()));
    let extended = judged(|draft| {
        draft.flags |= EXTENDED;
        draft.more = &[0xa0];
    });
    assert_eq!(extended, Ok(()), "what an extension says is nobody's business here");
}

#[test]
fn what_was_signed_elsewhere_for_something_else_or_by_nobody_is_not() {
    let client_data = |fault| Err(ProofFault::ClientData(fault));
    assert_eq!(
        judged(|draft| draft.client_data["type"] = "webauthn.create".into()),
        client_data(ClientDataFault::Type)
    );
    for origin in ["https://eve-abc234.tunnel.patapim.test", "https://deployer.patapim.test:443"] {
        let sibling = judged(|draft| draft.client_data["origin"] = origin.into());
        assert_eq!(sibling, client_data(ClientDataFault::Origin), "{origin}");
    }
    assert_eq!(
        judged(|draft| draft.client_data["crossOrigin"] = true.into()),
        client_data(ClientDataFault::CrossOrigin)
    );
    assert_eq!(
        judged(|draft| draft.client_data["topOrigin"] = ORIGIN.into()),
        client_data(ClientDataFault::CrossOrigin)
    );
    assert_eq!(judged(|draft| draft.client_data = json!([])), client_data(ClientDataFault::Unreadable));

    let data = |fault| Err(ProofFault::AuthenticatorData(fault));
    assert_eq!(judged(|draft| draft.rp_id = "patapim.test"), data(AuthenticatorDataFault::RpId));
    assert_eq!(judged(|draft| draft.flags = USER_VERIFIED), data(AuthenticatorDataFault::UserPresent));
    assert_eq!(judged(|draft| draft.flags = USER_PRESENT), data(AuthenticatorDataFault::UserVerified));
    assert_eq!(judged(|draft| draft.flags |= BACKED_UP), data(AuthenticatorDataFault::BackupState));
    assert_eq!(judged(|draft| draft.more = b"more"), data(AuthenticatorDataFault::Unreadable));
}

#[test]
fn another_desktops_nonce_another_path_and_another_challenge_are_not_ours() {
    let (desktop, passkey, entropy) = (desktop(), Passkey::new(), SystemEntropy::shared());
    let nonce = desktop.nonce(START, &*entropy);
    let judged = |proof: Option<&Proof>| {
        desktop.judge(&session(), proof, &passkey.public(), START).expect_err("refused")
    };
    let place = Place::tunnel(&tunnel());
    let others = Place::tunnel(&TunnelId::parse("bob-abc234").expect("a label"));

    assert_eq!(judged(None), ProofFault::Missing);
    let foreign = proof(&passkey, place, Nonce::random(&*entropy), |_| ());
    assert_eq!(judged(Some(&foreign)), ProofFault::Elsewhere);
    assert_eq!(judged(Some(&proof(&passkey, others, nonce, |_| ()))), ProofFault::Elsewhere);
    let good = proof(&passkey, place, nonce, |_| ());
    let shorter = Proof { path: Path::default(), ..good.clone() };
    assert_eq!(judged(Some(&shorter)), ProofFault::Elsewhere);
    let resalted = Proof { salt: [5; 32].into(), ..good.clone() };
    assert_eq!(judged(Some(&resalted)), ProofFault::Elsewhere);
    let invented = proof(&passkey, place, nonce, |draft| draft.client_data["challenge"] = "AAAA".into());
    assert_eq!(judged(Some(&invented)), ProofFault::Elsewhere);
}

#[test]
fn a_swapped_key_and_a_changed_word_are_found_by_the_signature() {
    let (desktop, passkey) = (desktop(), Passkey::new());
    let nonce = desktop.nonce(START, &*SystemEntropy::shared());
    let good = proof(&passkey, Place::tunnel(&tunnel()), nonce, |_| ());
    let judged = |proof: &Proof, key: &[u8]| desktop.judge(&session(), Some(proof), key, START);

    assert_eq!(judged(&good, &Passkey::new().public()), Err(ProofFault::Signature));
    assert_eq!(judged(&good, b"no key"), Err(ProofFault::Key));
    let mut cleared = proof(&passkey, Place::tunnel(&tunnel()), nonce, |draft| draft.flags = USER_PRESENT);
    let mut data = cleared.assertion.authenticator_data.as_bytes().to_vec();
    data[32] |= USER_VERIFIED;
    let (client_data, signature) = (&cleared.assertion.client_data, &cleared.assertion.signature);
    cleared.assertion = Assertion::of(&data, client_data.as_bytes(), signature.as_bytes()).expect("short");
    assert_eq!(judged(&cleared, &passkey.public()), Err(ProofFault::Signature), "a flag set afterwards");
    assert_eq!(judged(&good, &passkey.public()), Ok(()), "and what was refused has spent nothing");
}

#[test]
fn one_touch_opens_one_session_and_that_one_again() {
    let (desktop, passkey) = (desktop(), Passkey::new());
    let nonce = desktop.nonce(START, &*SystemEntropy::shared());
    let good = proof(&passkey, Place::tunnel(&tunnel()), nonce, |_| ());
    let (first, second) = (session(), session());
    let judged = |session: &SessionId, at| desktop.judge(session, Some(&good), &passkey.public(), at);
    let later = START + Duration::from_secs(60);
    assert_eq!(judged(&first, START), Ok(()));
    assert_eq!(judged(&first, later), Ok(()), "over another connection");
    assert_eq!(judged(&second, later), Err(ProofFault::Used));
    let end = START + NONCE_LIFETIME;
    assert_eq!(judged(&second, end), Err(ProofFault::Old), "and never another, however late");
}

#[test]
fn a_nonce_is_good_for_ten_minutes_and_the_next_comes_after_four() {
    let (desktop, passkey, entropy) = (desktop(), Passkey::new(), SystemEntropy::shared());
    let first = desktop.nonce(START, &*entropy);
    let moment = Duration::from_millis(1);
    let almost = START + (NONCE_EVERY - moment);
    assert_eq!(desktop.nonce(almost, &*entropy), first);
    let second = desktop.nonce(START + NONCE_EVERY, &*entropy);
    assert_ne!(second, first);

    let place = Place::tunnel(&tunnel());
    let judged = |nonce, at| {
        let proof = proof(&passkey, place, nonce, |_| ());
        desktop.judge(&session(), Some(&proof), &passkey.public(), at)
    };
    let last = START + (NONCE_LIFETIME - moment);
    assert_eq!(judged(first, last), Ok(()));
    assert_eq!(judged(first, START + NONCE_LIFETIME), Err(ProofFault::Old));
    assert_eq!(judged(second, START + NONCE_LIFETIME), Ok(()));
    for hour in 1..20 {
        desktop.nonce(START + Duration::from_secs(hour * 3600), &*entropy);
    }
    let evening = START + Duration::from_secs(20 * 3600);
    assert_eq!(judged(first, evening), Err(ProofFault::Elsewhere), "not even remembered");
}

#[test]
fn a_desktop_that_started_anew_believes_nothing_from_before() {
    let (before, passkey, entropy) = (desktop(), Passkey::new(), SystemEntropy::shared());
    let unused = proof(&passkey, Place::tunnel(&tunnel()), before.nonce(START, &*entropy), |_| ());
    let after = desktop();
    after.nonce(START, &*entropy);
    let judged = after.judge(&session(), Some(&unused), &passkey.public(), START);
    assert_eq!(judged, Err(ProofFault::Elsewhere));
}

#[test]
fn a_judgement_takes_less_than_a_millisecond_however_deep_the_leaf() {
    let (desktop, passkey, entropy) = (desktop(), Passkey::new(), SystemEntropy::shared());
    let nonce = desktop.nonce(START, &*entropy);
    let place = Place::tunnel(&tunnel());
    let good = proof(&passkey, place, nonce, |_| ());
    let path = Path::of(vec![[7; 32]; Path::LONGEST]).expect("the longest");
    let far = Proof { path, ..good.clone() };
    for (shown, found) in [(&good, Ok(())), (&far, Err(ProofFault::Elsewhere))] {
        let session = session();
        let once = || {
            let begun = Instant::now();
            assert_eq!(desktop.judge(&session, Some(shown), &passkey.public(), START), found);
            begun.elapsed()
        };
        // The best of many: the others measure what else the machine does.
        let best = (0..50).map(|_| once()).min().expect("fifty");
        assert!(best < Duration::from_millis(1), "{best:?}");
    }
}
