//! How long a decision lasts, what ends it, and what is left of it.

use super::*;

#[test]
fn a_session_lasts_a_day_and_nothing_but_another_proof_makes_it_longer() {
    const DAY: u64 = 86_400;
    let mut approvals = desk(Policy::Owner("ada".into()));
    let endless = Ask { expires_at: at(400 * DAY), ..ask(passkey(1)) };
    let until = |approvals: &Approvals| approvals.decisions.of(&endless.session).map(|one| one.expires_at);
    assert_eq!(asks(&mut approvals, &endless, 0), Answer::Approved);
    assert_eq!(until(&approvals), Some(at(DAY)));
    assert_eq!(asks_with(&mut approvals, &endless, Err(ProofFault::Old), 900), Answer::Approved);
    assert_eq!(until(&approvals), Some(at(DAY)), "as it was");
    assert_eq!(asks(&mut approvals, &endless, 1000), Answer::Approved);
    assert_eq!(until(&approvals), Some(at(DAY + 1000)), "the person has signed in again");
    approvals.expire(at(DAY + 1000));
    assert_eq!(asks_with(&mut approvals, &endless, Err(ProofFault::Old), DAY + 1001), Answer::Denied);
}

#[test]
fn a_session_keeps_the_device_that_it_began_with() {
    let mut approvals = desk(Policy::Owner("ada".into()));
    let first = ask(passkey(1));
    assert_eq!(asks(&mut approvals, &first, 0), Answer::Approved);
    let other = Ask { device: passkey(2), ..first };
    assert_eq!(asks(&mut approvals, &other, 1), Answer::Denied);
}

#[test]
fn removing_a_device_ends_its_sessions_and_a_later_sign_in_asks() {
    let mut approvals = desk(Policy::Ask);
    let first = ask(passkey(1));
    asks(&mut approvals, &first, 0);
    approvals.approve(first.device.device(), at(1)).expect("waiting");
    let second = ask(passkey(1));
    asks(&mut approvals, &second, 2);
    let events = approvals.remove(first.device.device(), at(3)).expect("trusted");
    assert_eq!(events.len(), 2);
    assert_eq!(asks(&mut approvals, &first, 4), Answer::Denied);
    assert!(matches!(asks(&mut approvals, &ask(passkey(1)), 5), Answer::Pending { .. }));
    assert_eq!(approvals.remove(passkey(9).device(), at(6)), Err(Undecided::NotTrusted));
}

#[test]
fn what_was_decided_outlives_a_restart_while_its_reason_holds() {
    let mut approvals = desk(Policy::Ask);
    let (one, two) = (ask(passkey(1)), ask(password(1)));
    for ask in [&one, &two] {
        asks(&mut approvals, ask, 0);
        approvals.approve(ask.device.device(), at(1)).expect("waiting");
    }
    let again = |devices: TrustedDevices| {
        Approvals::new(Policy::Ask, Unproven::Asked, devices, approvals.decisions.clone())
    };
    let mut restarted = again(approvals.devices.clone());
    assert_eq!(asks(&mut restarted, &one, 2), Answer::Approved);
    assert_eq!(asks(&mut restarted, &two, 2), Answer::Approved);
    let mut without = again(TrustedDevices::default());
    assert_eq!(asks(&mut without, &one, 2), Answer::Denied, "its device was removed meanwhile");

    let mut owner = desk(Policy::Owner("ada".into()));
    asks(&mut owner, &one, 0);
    let nobody = TrustedDevices::default();
    let mut asking = Approvals::new(Policy::Ask, Unproven::Asked, nobody, owner.decisions);
    assert_eq!(asks(&mut asking, &one, 1), Answer::Denied, "now this desktop is asked");
}

#[test]
fn who_waits_when_the_agent_ends_need_not_sign_in_again() {
    let mut approvals = desk(Policy::Ask);
    let first = ask(passkey(1));
    asks(&mut approvals, &first, 0);
    let nobody = TrustedDevices::default();
    let mut next = Approvals::new(Policy::Ask, Unproven::Asked, nobody, approvals.decisions.clone());
    let Credential::Passkey(other) = passkey(2) else { panic!("a passkey") };
    let swapped = PasskeyFacts { id: first.device.device().clone(), ..other };
    let swapped = Ask { device: Credential::Passkey(swapped), ..first.clone() };
    assert_eq!(asks_with(&mut next, &swapped, Err(ProofFault::Elsewhere), 1), Answer::Denied);
    assert!(matches!(asks_with(&mut next, &first, Err(ProofFault::Elsewhere), 2), Answer::Pending { .. }));
    next.deny(first.device.device(), at(3)).expect("waiting");
    assert_eq!(asks_with(&mut next, &first, Err(ProofFault::Elsewhere), 4), Answer::Denied);
}

#[test]
fn weeks_of_visits_leave_no_more_than_those_of_a_day() {
    let mut approvals = desk(Policy::Ask);
    let begun = |device, secs| Ask { expires_at: at(secs + 86_400), ..ask(device) };
    asks(&mut approvals, &begun(passkey(1), 0), 0);
    approvals.approve(passkey(1).device(), at(0)).expect("waiting");
    for hour in 1..40 * 24 {
        let secs = hour * 3600;
        approvals.expire(at(secs));
        assert_eq!(asks(&mut approvals, &begun(passkey(1), secs), secs), Answer::Approved);
        let stranger = begun(passkey(2), secs);
        number_of(&asks(&mut approvals, &stranger, secs));
        match hour % 3 {
            0 => drop(approvals.deny(stranger.device.device(), at(secs)).expect("waiting")),
            1 => {
                approvals.approve(stranger.device.device(), at(secs)).expect("waiting");
                approvals.remove(stranger.device.device(), at(secs)).expect("trusted");
            }
            _ => {}
        }
        asks_with(&mut approvals, &begun(passkey(3), secs), Err(ProofFault::Missing), secs);
        assert!(approvals.decisions.approved().count() <= 25, "hour {hour}");
        assert!(approvals.refusals().len() <= 50 && approvals.shown.len() <= 2, "hour {hour}");
    }
    approvals.expire(at(50 * 86_400));
    assert_eq!(approvals.decisions, Decisions::default());
    assert!(approvals.waiting.is_empty());
    assert_eq!(approvals.devices.list().len(), 1);
}
