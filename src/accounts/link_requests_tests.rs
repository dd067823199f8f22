//! Deciding about a desktop that shows a code: once, by one, and by nobody who may not.

use super::*;

async fn person(house: &House, name: &str) -> (User, Approval) {
    let user = house.add(name).await;
    let passkey = house.passkey(&user.id, name.as_bytes());
    house.accounts.add_passkey(&passkey, None).await.expect("kept");
    let approval = Approval { user: user.id.clone(), device: passkey.id, evidence: None, take_over: None };
    (user, approval)
}

fn candidate<'a>(pin: &'a str, address: &'a str) -> Candidate<'a> {
    Candidate { pin, desktop: "laptop", address, nonce: None }
}

async fn asking(house: &House, pin: &str) -> (UserCode, SecretText) {
    let asked = house.accounts.ask_to_link(candidate(pin, "192.0.2.7")).await;
    let (code, device_code, _) = asked.expect("asked");
    (code, device_code)
}

fn is_gone<T>(answer: Result<T, AccountError>) -> bool {
    matches!(answer, Err(AccountError::Gone(_)))
}

#[tokio::test]
async fn an_approved_desktop_serves_a_new_tunnel_of_who_approved() {
    let house = House::new();
    let (ada, approval) = person(&house, "ada").await;
    let (code, device_code) = asking(&house, "pin").await;
    assert_eq!(house.accounts.link_answer(&device_code).await.expect("known"), LinkAnswer::Pending);
    let shown = house.accounts.link_request(&code).await.expect("waiting");
    assert_eq!((&*shown.pin, &*shown.desktop, &*shown.address), ("pin", "laptop", "192.0.2.7"));

    let (_, tunnel) = house.accounts.approve_link(&code, &approval).await.expect("approved");
    assert!(tunnel.id.as_str().starts_with("ada-") && tunnel.user == ada.id);
    let agent = house.accounts.agent("pin").await.expect("pinned");
    assert_eq!((&agent.tunnel, &agent.approved_by), (&tunnel.id, &Some(approval.device.clone())));
    let device = Some(approval.device);
    let answer =
        LinkAnswer::Approved { user: ada.id.clone(), tunnel: tunnel.id.clone(), device, proof: None };
    assert_eq!(house.accounts.link_answer(&device_code).await.expect("known"), answer);
    let bob = house.add("bob").await;
    assert!(house.accounts.claim_fixed_tunnel(&tunnel.id, &bob.id).await.is_err(), "the label is given away");
}

#[tokio::test]
async fn an_answer_can_be_asked_for_again_for_a_minute_and_no_longer() {
    let house = House::new();
    let (_, approval) = person(&house, "ada").await;
    let (code, device_code) = asking(&house, "pin").await;
    house.accounts.approve_link(&code, &approval).await.expect("approved");
    let first = house.accounts.link_answer(&device_code).await.expect("known");
    house.clock.advance(Duration::from_secs(59));
    assert_eq!(house.accounts.link_answer(&device_code).await.expect("told again"), first);
    house.clock.advance(Duration::from_secs(1));
    assert!(is_gone(house.accounts.link_answer(&device_code).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_decide_at_once_one_does() {
    let house = House::new();
    let (_, ada) = person(&house, "ada").await;
    let (_, bob) = person(&house, "bob").await;
    let (code, device_code) = asking(&house, "pin").await;
    let tries = (0..50).map(|n| {
        let (accounts, code) = (house.accounts.clone(), code.clone());
        let approval = if n % 2 == 0 { ada.clone() } else { bob.clone() };
        tokio::spawn(async move {
            match n % 3 {
                0 => accounts.deny_link(&code).await.map(|_| None),
                _ => accounts.approve_link(&code, &approval).await.map(|(_, tunnel)| Some(tunnel)),
            }
        })
    });
    let mut won = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        match one.await.expect("a task") {
            Err(error) => assert!(matches!(error, AccountError::Gone(_)), "{error}"),
            Ok(tunnel) => won.push(tunnel),
        }
    }
    assert_eq!(won.len(), 1);
    let tunnels = house.accounts.tunnels().await.expect("listed");
    let answer = house.accounts.link_answer(&device_code).await.expect("known");
    match &won[0] {
        Some(tunnel) => {
            assert_eq!(tunnels.iter().map(|one| &one.id).collect::<Vec<_>>(), [&tunnel.id]);
            let linked_to = |answer| match answer {
                LinkAnswer::Approved { user, tunnel, .. } => Some((user, tunnel)),
                LinkAnswer::Pending | LinkAnswer::Denied => None,
            };
            assert_eq!(linked_to(answer), Some((tunnel.user.clone(), tunnel.id.clone())));
        }
        None => assert!(tunnels.is_empty() && answer == LinkAnswer::Denied),
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_for_a_quarter_of_an_hour() {
    let house = House::new();
    let (_, approval) = person(&house, "ada").await;
    let (used, _) = asking(&house, "one").await;
    house.accounts.approve_link(&used, &approval).await.expect("approved");
    let (denied, device_code) = asking(&house, "two").await;
    house.accounts.deny_link(&denied).await.expect("denied");
    assert_eq!(house.accounts.link_answer(&device_code).await.expect("known"), LinkAnswer::Denied);
    let (late, never_told) = asking(&house, "three").await;
    house.clock.advance(Duration::from_secs(15 * 60));
    assert!(is_gone(house.accounts.link_answer(&never_told).await));
    for code in [used, denied, late] {
        assert!(is_gone(house.accounts.link_request(&code).await));
        assert!(is_gone(house.accounts.approve_link(&code, &approval).await));
        assert!(is_gone(house.accounts.deny_link(&code).await));
    }
    assert_eq!(house.accounts.tunnels().await.expect("listed").len(), 1);
}

#[tokio::test]
async fn taking_over_needs_a_tunnel_of_ones_own_that_a_desktop_serves() {
    let house = House::new();
    let (ada, approval) = person(&house, "ada").await;
    let (_, bobs) = person(&house, "bob").await;
    let (first, _) = asking(&house, "old").await;
    let (_, tunnel) = house.accounts.approve_link(&first, &approval).await.expect("approved");
    let fixed = TunnelId::parse("the-app").expect("a label");
    house.accounts.claim_fixed_tunnel(&fixed, &ada.id).await.expect("claimed");

    let (code, _) = asking(&house, "new").await;
    for (who, id) in
        [(&bobs, &tunnel.id), (&approval, &fixed), (&approval, &TunnelId::parse("no").expect("a label"))]
    {
        let wrong = Approval { take_over: Some(id.clone()), ..who.clone() };
        let refused = house.accounts.approve_link(&code, &wrong).await;
        assert!(matches!(refused, Err(AccountError::Missing(_))), "{id}");
    }
    assert!(house.accounts.agent("old").await.is_ok(), "nothing was changed");

    let right = Approval { take_over: Some(tunnel.id.clone()), ..approval };
    let (_, same) = house.accounts.approve_link(&code, &right).await.expect("approved");
    assert_eq!((same.id, same.desktop.as_deref()), (tunnel.id, Some("laptop")));
    assert!(house.accounts.agent("old").await.is_err() && house.accounts.agent("new").await.is_ok());
}

#[tokio::test]
async fn nobody_approves_who_may_not_sign_in() {
    let house = House::new();
    let (ada, approval) = person(&house, "ada").await;
    let (_, bobs) = person(&house, "bob").await;
    let (code, _) = asking(&house, "pin").await;
    let with_anothers = Approval { device: bobs.device, ..approval.clone() };
    assert!(house.accounts.approve_link(&code, &with_anothers).await.is_err());
    house.accounts.set_user_state(&ada.id, UserState::Disabled).await.expect("disabled");
    assert!(matches!(house.accounts.approve_link(&code, &approval).await, Err(AccountError::Disabled)));
    assert!(house.accounts.agent("pin").await.is_err());
}

#[tokio::test]
async fn few_desktops_of_one_network_wait_at_once() {
    let house = House::new();
    let (_, approval) = person(&house, "ada").await;
    let ask = async |from: &str| house.accounts.ask_to_link(candidate("pin", from)).await;
    let mut waiting = Vec::new();
    for n in 0..8 {
        waiting.push(ask(&format!("2001:db8::{n}")).await.expect("a place"));
    }
    assert!(matches!(ask("2001:db8::ffff").await, Err(AccountError::Crowded)));
    ask("2001:db8:0:1::1").await.expect("another network");
    house.accounts.approve_link(&waiting[0].0, &approval).await.expect("approved");
    house.accounts.deny_link(&waiting[1].0).await.expect("denied");
    house.accounts.withdraw_link(&waiting[2].1).await.expect("withdrawn");
    for _ in 0..3 {
        ask("2001:db8::1").await.expect("a place that was left");
    }
    assert!(matches!(ask("2001:db8::1").await, Err(AccountError::Crowded)));
    house.clock.advance(Duration::from_secs(15 * 60));
    ask("2001:db8::1").await.expect("all have expired");
}

#[tokio::test]
async fn what_was_withdrawn_cannot_be_approved_and_what_was_approved_not_withdrawn() {
    let house = House::new();
    let (_, approval) = person(&house, "ada").await;
    let (code, device_code) = asking(&house, "pin").await;
    house.accounts.withdraw_link(&device_code).await.expect("withdrawn");
    assert!(is_gone(house.accounts.approve_link(&code, &approval).await));
    assert!(is_gone(house.accounts.link_answer(&device_code).await));
    let (code, device_code) = asking(&house, "pin").await;
    house.accounts.approve_link(&code, &approval).await.expect("approved");
    house.accounts.withdraw_link(&device_code).await.expect("nothing to withdraw");
    assert!(house.accounts.agent("pin").await.is_ok());
}
