//! Who is asked about, who is not, and what comes of it.

use proptest::prelude::*;

use super::*;
use crate::secret::SystemEntropy;
use crate::wire::approval::{Passing, PasskeyFacts, PublicKey};

#[path = "approvals_lasting_tests.rs"]
mod lasting;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_790_000_000 + secs)
}

fn passkey(number: u8) -> Credential {
    let key = PublicKey::of_bytes(vec![0xa5, number]).expect("a key");
    Credential::Passkey(PasskeyFacts::new(DeviceId::of_credential(&[number]), format!("Key {number}"), key))
}

fn password(number: u8) -> Credential {
    Credential::Password(Passing { id: DeviceId::of_credential(&[200, number]), name: "Firefox".into() })
}

fn ask(device: Credential) -> Ask {
    Ask {
        session: SessionId::random(&*SystemEntropy::shared()),
        user: "ada".into(),
        device,
        address: "192.0.2.7".into(),
        user_agent: "Firefox".into(),
        expires_at: at(86_400),
        proof: None,
    }
}

fn desk(policy: Policy) -> Approvals {
    Approvals::new(policy, Unproven::Asked, TrustedDevices::default(), Decisions::default())
}

fn asks(approvals: &mut Approvals, ask: &Ask, secs: u64) -> Answer {
    asks_with(approvals, ask, Ok(()), secs)
}

/// As above, with what the judge found of the sign-in.
fn asks_with(approvals: &mut Approvals, ask: &Ask, proof: Result<(), ProofFault>, secs: u64) -> Answer {
    approvals.ask(ask, proof, &*SystemEntropy::shared(), at(secs))
}

fn number_of(answer: &Answer) -> u8 {
    match answer {
        Answer::Pending { number, .. } => *number,
        other => panic!("not pending: {other:?}"),
    }
}

#[test]
fn a_new_device_waits_with_two_digits_and_once_approved_is_not_asked_about_again() {
    let mut approvals = desk(Policy::Ask);
    let first = ask(passkey(1));
    let answer = asks(&mut approvals, &first, 0);
    assert!((10..=99).contains(&number_of(&answer)));
    assert_eq!(asks(&mut approvals, &first, 5), answer, "the same session, the same question");
    let (shown, events) = approvals.approve(first.device.device(), at(9)).expect("waiting");
    assert_eq!((shown.number, &*shown.address), (number_of(&answer), "192.0.2.7"));
    assert_eq!(events, [AgentEvent::Approved { session: first.session.clone() }]);
    assert_eq!(asks(&mut approvals, &first, 10), Answer::Approved);
    assert_eq!(asks(&mut approvals, &ask(passkey(1)), 11), Answer::Approved);
    assert_eq!(approvals.devices.list()[0].last_used_at, Some(at(11)));
    assert!(matches!(asks(&mut approvals, &ask(passkey(2)), 12), Answer::Pending { .. }));
}

#[test]
fn a_device_that_asks_in_two_browsers_is_one_question() {
    let mut approvals = desk(Policy::Ask);
    let (one, mut two) = (ask(passkey(1)), ask(passkey(1)));
    two.address = "198.51.100.9".into();
    assert_eq!(asks(&mut approvals, &one, 0), asks(&mut approvals, &two, 1));
    assert_eq!(approvals.waiting().len(), 1);
    assert_eq!(approvals.waiting()[0].address, "192.0.2.7, 198.51.100.9");
    let (_, events) = approvals.approve(one.device.device(), at(2)).expect("waiting");
    assert_eq!(events.len(), 2);
}

#[test]
fn a_denied_session_stays_denied_and_a_later_sign_in_asks_again() {
    let mut approvals = desk(Policy::Ask);
    let first = ask(passkey(1));
    asks(&mut approvals, &first, 0);
    let (_, events) = approvals.deny(first.device.device(), at(1)).expect("waiting");
    assert_eq!(events, [AgentEvent::Denied { session: first.session.clone() }]);
    assert_eq!(asks(&mut approvals, &first, 2), Answer::Denied);
    assert!(matches!(asks(&mut approvals, &ask(passkey(1)), 3), Answer::Pending { .. }));
}

#[test]
fn who_waits_ten_minutes_has_waited_long_enough() {
    let mut approvals = desk(Policy::Ask);
    let first = ask(passkey(1));
    asks(&mut approvals, &first, 0);
    assert_eq!(approvals.next_expiry(), Some(at(600)));
    assert_eq!(approvals.expire(at(599)), []);
    assert_eq!(approvals.expire(at(600)), [AgentEvent::Expired { session: first.session.clone() }]);
    assert_eq!(approvals.approve(first.device.device(), at(600)).map(drop), Err(Undecided::NotWaiting));
    assert_eq!(asks(&mut approvals, &first, 601), Answer::Denied);
}

#[test]
fn a_fallback_is_asked_about_each_time_and_never_kept() {
    for policy in [Policy::Ask, Policy::Owner("ada".into())] {
        let mut approvals = desk(policy);
        let first = ask(password(1));
        asks(&mut approvals, &first, 0);
        approvals.approve(first.device.device(), at(1)).expect("waiting");
        assert_eq!(asks(&mut approvals, &first, 2), Answer::Approved, "this sign-in");
        assert!(approvals.devices.list().is_empty());
        let same_id = ask(password(1));
        assert!(matches!(asks(&mut approvals, &same_id, 3), Answer::Pending { .. }), "another session");
        let longer = Ask { expires_at: at(90_000), ..first };
        assert!(matches!(asks(&mut approvals, &longer, 4), Answer::Pending { .. }), "longer than approved");
    }
}

#[test]
fn the_owners_passkeys_are_let_in_where_that_is_wanted_and_nobody_elses() {
    let mut approvals = desk(Policy::Owner("ada".into()));
    assert_eq!(asks(&mut approvals, &ask(passkey(1)), 0), Answer::Approved);
    let eve = Ask { user: "eve".into(), ..ask(passkey(2)) };
    assert!(matches!(asks(&mut approvals, &eve, 0), Answer::Pending { .. }));
}

#[test]
fn a_script_is_let_in_where_the_edges_word_will_do_and_else_somebody_is_asked_once() {
    let script = || Credential::AccessToken(Passing { id: DeviceId::of_credential(b"x"), name: "CI".into() });
    assert_eq!(asks(&mut desk(Policy::Owner("ada".into())), &ask(script()), 0), Answer::Approved);
    let mut approvals = desk(Policy::Ask);
    let year = 360 * 86_400;
    let token = Ask { expires_at: at(year), ..ask(script()) };
    assert!(matches!(asks(&mut approvals, &token, 0), Answer::Pending { .. }));
    assert_eq!(approvals.waiting()[0].kind, "access-token");
    approvals.approve(token.device.device(), at(1)).expect("waiting");
    assert_eq!(asks(&mut approvals, &token, year - 1), Answer::Approved, "for as long as the token lasts");
}

#[test]
fn a_passkey_whose_sign_in_is_not_proven_is_refused_whoever_it_is_and_nobody_is_asked() {
    for policy in [Policy::Ask, Policy::Owner("ada".into())] {
        let mut approvals = desk(policy);
        let known = ask(passkey(1));
        if asks(&mut approvals, &known, 0) != Answer::Approved {
            approvals.approve(known.device.device(), at(0)).expect("waiting");
        }
        for (number, fault) in [(1, ProofFault::Missing), (1, ProofFault::Old), (2, ProofFault::Signature)] {
            let refused = ask(passkey(number));
            assert_eq!(asks_with(&mut approvals, &refused, Err(fault), 1), Answer::Denied);
            let shown = approvals.refusals().last().expect("shown");
            assert_eq!((&shown.session, &*shown.why), (&refused.session, &*fault.to_string()));
        }
        assert!(approvals.waiting().is_empty());
        assert_eq!(asks(&mut approvals, &known, 2), Answer::Approved, "what was opened before goes on");
    }
}

#[test]
fn who_wants_proof_is_asked_about_passkeys_alone_and_lets_in_no_owner_unseen() {
    let strict =
        |policy, decisions| Approvals::new(policy, Unproven::Refused, TrustedDevices::default(), decisions);
    let script = Credential::AccessToken(Passing { id: DeviceId::of_credential(b"x"), name: "CI".into() });
    let owner = || Policy::Owner("ada".into());
    for policy in [Policy::Ask, owner()] {
        let mut approvals = strict(policy, Decisions::default());
        for device in [password(1), script.clone()] {
            assert_eq!(asks(&mut approvals, &ask(device), 0), Answer::Denied);
            assert!(approvals.refusals().last().is_some_and(|one| one.why.contains("--require-proof")));
        }
        assert!(matches!(asks(&mut approvals, &ask(passkey(1)), 1), Answer::Pending { .. }));
    }
    let mut before = desk(owner());
    let (known, scripted) = (ask(passkey(1)), ask(script));
    assert_eq!(asks(&mut before, &known, 0), Answer::Approved);
    assert_eq!(asks(&mut before, &scripted, 0), Answer::Approved);
    let mut after = strict(owner(), before.decisions);
    assert_eq!(asks(&mut after, &known, 1), Answer::Denied);
    assert_eq!(asks(&mut after, &scripted, 1), Answer::Denied);
}

#[test]
fn another_key_under_a_trusted_id_is_refused_and_shown_as_that() {
    let mut approvals = desk(Policy::Ask);
    let first = ask(passkey(1));
    asks(&mut approvals, &first, 0);
    approvals.approve(first.device.device(), at(1)).expect("waiting");
    let Credential::Passkey(swapped) = passkey(2) else { panic!("a passkey") };
    let swapped = PasskeyFacts { id: first.device.device().clone(), ..swapped };
    // Whoever swapped it holds the key, and can prove that much.
    let answer = asks(&mut approvals, &ask(Credential::Passkey(swapped.clone())), 2);
    assert_eq!(answer, Answer::Denied);
    assert!(approvals.waiting().is_empty());
    assert!(approvals.refusals()[0].why.contains("another key"));
    let third = PasskeyFacts { fingerprint: "SHA256:made-up".into(), ..swapped };
    assert_eq!(
        asks(&mut approvals, &ask(Credential::Passkey(third)), 3),
        Answer::Denied,
        "it lies about its key"
    );
}

#[test]
fn nobody_is_worn_down_and_a_stolen_password_does_not_stand_in_a_passkeys_way() {
    let mut approvals = desk(Policy::Ask);
    let mut shown = 0;
    let mut until = at(0);
    for number in 0..40 {
        match asks(&mut approvals, &ask(password(number)), 30 * u64::from(number)) {
            Answer::Pending { .. } => {
                shown += 1;
                approvals.deny(password(number).device(), at(30 * u64::from(number))).expect("waiting");
            }
            Answer::Crowded { until: end } => until = end,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((shown, until), (5, at(3600)));
    assert!(matches!(asks(&mut approvals, &ask(passkey(1)), 1200), Answer::Pending { .. }));
    assert!(
        matches!(asks(&mut approvals, &ask(password(99)), 3601), Answer::Pending { .. }),
        "an hour later"
    );
}

#[test]
fn only_so_many_wait_at_once() {
    let mut approvals = desk(Policy::Ask);
    for number in 0..4 {
        assert!(matches!(asks(&mut approvals, &ask(passkey(number)), 0), Answer::Pending { .. }));
    }
    assert_eq!(asks(&mut approvals, &ask(passkey(5)), 1), Answer::Crowded { until: at(600) });
    let numbers: std::collections::BTreeSet<u8> = approvals.waiting().iter().map(|one| one.number).collect();
    assert_eq!(numbers.len(), 4, "each its own");
    approvals.approve(passkey(0).device(), at(2)).expect("waiting");
    assert!(matches!(asks(&mut approvals, &ask(passkey(5)), 3), Answer::Pending { .. }));
    for _ in 0..40 {
        asks(&mut approvals, &ask(passkey(5)), 4);
    }
    let (_, events) = approvals.approve(passkey(5).device(), at(5)).expect("waiting");
    assert_eq!(events.len(), MOST_SESSIONS_WAITING);
}

#[test]
fn a_hostile_name_is_shown_on_one_line_and_not_endless() {
    let mut approvals = desk(Policy::Ask);
    let name = format!("Phone\u{202e}\u{1b}[2J\r\nApproved!{}", "x".repeat(500));
    let device = Credential::Password(Passing { id: DeviceId::of_credential(b"x"), name });
    asks(&mut approvals, &ask(device), 0);
    let shown = approvals.waiting().remove(0).name;
    assert!(
        shown.len() <= 80 && !shown.chars().any(char::is_control) && !shown.contains('\u{202e}'),
        "{shown:?}"
    );
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Ask,
    Approve,
    Deny,
    Later(u64),
}

proptest! {
    /// Whatever happens in whatever order, one session hears one outcome, and is served only after "approved".
    #[test]
    fn a_session_has_one_outcome(acts in proptest::collection::vec(prop_oneof![
        Just(Act::Ask), Just(Act::Approve), Just(Act::Deny), (0u64..400).prop_map(Act::Later)
    ], 1..30)) {
        let mut approvals = desk(Policy::Ask);
        let the_ask = ask(passkey(1));
        let id = the_ask.device.device().clone();
        let (mut secs, mut outcomes) = (0, Vec::new());
        for act in acts {
            match act {
                Act::Ask => {
                    let answer = asks(&mut approvals, &the_ask, secs);
                    let approved = matches!(outcomes.last(), Some(AgentEvent::Approved { .. }));
                    prop_assert_eq!(answer == Answer::Approved, approved);
                }
                Act::Approve => outcomes.extend(approvals.approve(&id, at(secs)).map(|(_, events)| events).unwrap_or_default()),
                Act::Deny => outcomes.extend(approvals.deny(&id, at(secs)).map(|(_, events)| events).unwrap_or_default()),
                Act::Later(by) => {
                    secs += by;
                    outcomes.extend(approvals.expire(at(secs)));
                }
            }
        }
        prop_assert!(outcomes.len() <= 1, "{:?}", outcomes);
    }
}
