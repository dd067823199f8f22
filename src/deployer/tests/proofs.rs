//! What a desktop is shown of a sign-in, judged by the desktop's own judge.

use std::time::Duration;

use super::*;
use crate::agent::proof::{Judge, ProofFault, SignInSite};
use crate::proof::NONCE_LIFETIME;

/// The desktop behind a tunnel, which has handed its nonce to the edge.
struct Desktop {
    tunnel: TunnelId,
    judge: Judge,
}

impl Desktop {
    fn behind(house: &House, tunnel: &Tunnel) -> Self {
        let site =
            SignInSite { origin: ORIGIN_OF_OURS.to_owned(), rp_id: "deployer.patapim.test".to_owned() };
        let desktop = Self { tunnel: tunnel.id.clone(), judge: Judge::new(&tunnel.id, &site) };
        desktop.hand_over(house);
        desktop
    }

    fn hand_over(&self, house: &House) {
        let nonce = self.judge.nonce(house.clock.now(), &*house.entropy);
        house.sessions.nonces().handed_over(&self.tunnel, nonce, house.clock.now());
    }

    fn judged(&self, house: &House, redeemed: &Redeemed, key: &Key) -> Result<(), ProofFault> {
        let session = &redeemed.session;
        self.judge.judge(session.id(), session.proof().as_deref(), &key.cose(), house.clock.now())
    }
}

impl Person<'_> {
    /// Signs in for `tunnel` and opens a session there.
    async fn open(&mut self, tunnel: &Tunnel) -> Redeemed {
        let house = self.browser.house;
        let bind = house.bind();
        let wanted = json!({"tunnel": tunnel.id, "bind": bind.hash().as_str()});
        let to = self.sign_in(&wanted).await.must_be(StatusCode::OK).redirect();
        house.redeem(&tunnel.id, &to, &bind).await.expect("a session")
    }

    /// Goes on to `tunnel` with the grant of a sign-in that was for none.
    async fn go_on(&self, tunnel: &Tunnel) -> Redeemed {
        let house = self.browser.house;
        let begin = self.browser.open(&format!("/auth?tunnel={}", tunnel.id)).await;
        let state = parameter(begin.must_be(StatusCode::SEE_OTHER).location(), "state").expect("a state");
        let bind = house.bind();
        let back = format!("/auth?tunnel={}&bind={}&state={state}", tunnel.id, bind.hash().as_str());
        let arrived = self.browser.open(&back).await.must_be(StatusCode::SEE_OTHER);
        house.redeem(&tunnel.id, arrived.location(), &bind).await.expect("a session")
    }
}

#[tokio::test]
async fn a_session_brings_its_desktop_a_proof_of_the_sign_in() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (tunnel, other) = (house.tunnel(&ada.user).await, house.tunnel(&ada.user).await);
    let (desktop, elsewhere) = (Desktop::behind(&house, &tunnel), Desktop::behind(&house, &other));
    let redeemed = ada.open(&tunnel).await;
    assert_eq!(elsewhere.judged(&house, &redeemed, &ada.key), Err(ProofFault::Elsewhere));
    assert_eq!(desktop.judged(&house, &redeemed, &ada.key), Ok(()));
    assert_eq!(desktop.judged(&house, &redeemed, &ada.key), Ok(()), "and again over another connection");
    assert_eq!(desktop.judged(&house, &redeemed, &Key::new()), Err(ProofFault::Signature));
}

#[tokio::test]
async fn a_sign_in_that_was_for_no_tunnel_is_proven_to_the_one_that_is_chosen() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (one, two) = (house.tunnel(&ada.user).await, house.tunnel(&ada.user).await);
    let desktops = [Desktop::behind(&house, &one), Desktop::behind(&house, &two)];
    assert_eq!(ada.sign_in(&json!({})).await.redirect(), "/");
    // The desktops' nonces move on; the ceremony committed to the former ones.
    desktops.iter().for_each(|desktop| desktop.hand_over(&house));
    let redeemed = ada.go_on(&two).await;
    assert_eq!(desktops[1].judged(&house, &redeemed, &ada.key), Ok(()));
}

#[tokio::test]
async fn a_second_sign_in_brings_the_session_it_joins_a_proof_of_its_own() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let desktop = Desktop::behind(&house, &tunnel);
    let bind = house.bind();
    let wanted = json!({"tunnel": tunnel.id, "bind": bind.hash().as_str()});
    let to = ada.sign_in(&wanted).await.redirect();
    let first = house.redeem(&tunnel.id, &to, &bind).await.expect("a session");
    let former = first.session.proof().expect("a proof");
    ada.key.counter += 1;

    let token = parameter(&ada.sign_in(&wanted).await.redirect(), "token").expect("a token");
    let beside = crate::access::Beside { session: Arc::clone(&first.session), cookie: first.cookie.clone() };
    let facts = Facts {
        tunnel: &tunnel.id,
        asking: Asking::Navigation,
        provenance: Provenance::Own,
        session: None,
        access_token: None,
        tokens: &[token],
    };
    let Verdict::Redeem(token, _) = Gate::new(Arc::clone(&house.sessions)).admit(&facts, house.clock.now())
    else {
        panic!("a token to redeem");
    };
    let joined = house.sessions.redeem(&token, Some(&bind), Some(beside), &Visitor::default()).await;
    let joined = joined.expect("joined");
    assert_eq!(joined.session.id(), first.session.id());
    assert_ne!(joined.session.proof().expect("a proof"), former);
    assert_eq!(desktop.judged(&house, &joined, &ada.key), Ok(()));
}

#[tokio::test]
async fn a_sign_in_that_its_desktop_could_not_check_any_more_is_asked_for_once_more() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let wanted = json!({"tunnel": tunnel.id, "bind": house.bind().hash().as_str()});
    let begun = ada.begin(&wanted).await;
    let desktop = Desktop::behind(&house, &tunnel);
    let answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    ada.finish(&begun, &answer).await.must_be_problem(StatusCode::CONFLICT, "ceremony-outlived");
    let redeemed = ada.open(&tunnel).await;
    assert_eq!(desktop.judged(&house, &redeemed, &ada.key), Ok(()));

    let bob = house.person("bob").await;
    let begun = ada.begin(&json!({"tunnel": house.tunnel(&bob.user).await.id})).await;
    ada.key.counter += 1;
    let answer = ada.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
    assert_eq!(
        ada.finish(&begun, &answer).await.redirect(),
        "/?no-access",
        "of others' desktops nothing is told"
    );
}

#[tokio::test]
async fn without_a_desktop_there_is_nobody_to_prove_anything_to() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    assert!(ada.open(&tunnel).await.session.proof().is_none());
    Desktop::behind(&house, &tunnel);
    house.clock.advance(NONCE_LIFETIME + Duration::from_secs(1));
    ada.key.counter += 1;
    assert!(ada.open(&tunnel).await.session.proof().is_none(), "it has not been heard of for long");
}
