use std::path::Path;

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use super::super::super::assertion::Assertor;
use super::super::super::keys::Former;
use super::*;
use crate::names::{BaseDomain, PublicHosts, Scheme};
use crate::secret::from_base64url;

impl House {
    fn assertor(&self) -> Arc<Assertor> {
        assertor_in(self.folder.path(), &self.clock)
    }

    async fn rotate(&self, former: Former) -> usize {
        self.sessions.rotate_keys(&self.assertor(), former).await.expect("rotated").ended
    }

    async fn visit(&self) -> Redeemed {
        let bind = self.bind();
        self.redeem(&self.issue(&self.ada, &bind).await, &bind).await.expect("redeemed")
    }
}

fn assertor_in(folder: &Path, clock: &ManualClock) -> Arc<Assertor> {
    let base = BaseDomain::parse("patapim.test").expect("a domain");
    let hosts = PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("hosts");
    Arc::new(Assertor::open(folder, hosts, clock, &*SystemEntropy::shared()).expect("an assertor"))
}

fn part(text: &str, index: usize) -> Value {
    let part = from_base64url(text.split('.').nth(index).expect("a part")).expect("base64url");
    serde_json::from_slice(&part).expect("JSON")
}

/// The claims, if a key of the published set verifies them.
fn verified(text: &str, set: &Value) -> Option<Value> {
    let (signed, signature) = text.rsplit_once('.').expect("a JWS");
    let keys = set["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["kid"] == part(text, 0)["kid"])?;
    let coordinate = |name: &str| from_base64url(key[name].as_str().expect("text")).expect("base64url");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [vec![4], coordinate("x"), coordinate("y")].concat())
        .verify(signed.as_bytes(), &from_base64url(signature).expect("base64url"))
        .ok()
        .map(|()| part(text, 1))
}

#[tokio::test]
async fn an_assertion_names_the_visitor_and_verifies_with_the_published_key() {
    let house = House::new().await;
    let assertor = house.assertor();
    let permit = house.knock(&house.visit().await.cookie).expect("admitted");
    let text = assertor.assertion_for(&permit, house.clock.now()).expect("signed");
    let again = assertor.assertion_for(&permit, house.clock.now()).expect("signed");
    assert_eq!(again.as_str(), text.as_str(), "one serves a while");
    let claims = verified(text.as_str(), &assertor.jwks(house.clock.now())).expect("verified");
    assert_eq!(claims["aud"], "https://ada-abc234.tunnel.patapim.test");
    assert_eq!(claims["name"], "ada");
    assert_eq!(claims["exp"].as_u64().expect("a number") - claims["iat"].as_u64().expect("a number"), 300);
}

#[tokio::test]
async fn after_a_rotation_the_new_key_signs_and_what_the_old_one_signed_is_good_until_it_expires() {
    let house = House::new().await;
    let bind = house.bind();
    let (open, waiting) = (house.visit().await, house.issue(&house.ada, &bind).await);
    let kid = house.sessions.keys().active().kid.clone();
    assert_eq!(house.rotate(Former::Kept).await, 0);
    assert_ne!(house.sessions.keys().active().kid, kid);
    assert!(house.knock(&open.cookie).is_some());
    let house = house.restarted().await;
    assert!(house.knock(&open.cookie).is_some());
    let redeemed = house.redeem(&waiting, &bind).await.expect("an old key's token");
    let again = house.redeem(&waiting, &bind).await.expect("the same browser");
    assert_eq!(value(&again), value(&redeemed));
    house.clock.advance(Duration::from_secs(24 * 3600));
    assert!(house.knock(&redeemed.cookie).is_none(), "no longer than it would have been");
}

#[tokio::test]
async fn forgetting_the_old_keys_ends_what_they_signed_and_nothing_else() {
    let house = House::new().await;
    let bind = house.bind();
    let (open, waiting) = (house.visit().await, house.issue(&house.ada, &bind).await);
    let deployer = house.at_deployer().await;
    assert_eq!(house.rotate(Former::Forgotten).await, 1);
    assert!(open.session.is_over() && !deployer.is_over());
    // It was verified before its key was forgotten: a request that was under way.
    assert_eq!(house.refused(&waiting, &bind).await, Refused::Revoked);

    let house = house.restarted().await;
    assert!(house.knock(&open.cookie).is_none());
    assert_eq!(house.refused(&waiting, &bind).await, Refused::Revoked);
    house.clock.advance(Duration::from_millis(1));
    assert!(house.knock(&house.visit().await.cookie).is_some(), "a sign-in that came later");
    assert_eq!(house.sessions.keys().all().len(), 1);
}

#[tokio::test]
async fn a_token_of_a_forgotten_key_is_refused_at_the_gate() {
    let house = House::new().await;
    let bind = house.bind();
    let who = SignIn { at: house.clock.now(), ..house.ada.clone() };
    let token = house.sessions.issue(&who, &house.tunnel, &bind.hash(), Vec::new()).await.expect("issued");
    house.rotate(Former::Forgotten).await;
    let tokens = [token.reveal().to_owned()];
    let facts = Facts {
        tunnel: &house.tunnel,
        asking: Asking::Navigation,
        provenance: Provenance::Own,
        session: None,
        access_token: None,
        tokens: &tokens,
    };
    let verdict = house.gate.admit(&facts, house.clock.now());
    assert!(matches!(verdict, Verdict::Refuse(Refused::Signature)), "{verdict:?}");
}

#[tokio::test]
async fn the_assertion_key_rotates_with_an_overlap_in_which_both_are_published() {
    let house = House::new().await;
    let assertor = house.assertor();
    let permit = house.knock(&house.visit().await.cookie).expect("admitted");
    let signed = |assertor: &Assertor| {
        assertor.assertion_for(&permit, house.clock.now()).expect("signed").as_str().to_owned()
    };
    let rotate = |former| assertor.rotate(former, &*house.clock, &*house.entropy).expect("rotated");
    let old = signed(&assertor);
    let kid = rotate(Former::Kept);
    let new = signed(&assertor);
    assert_eq!(part(&new, 0)["kid"], *kid, "the new key signs at once");
    let both = |assertor: &Assertor, now| {
        let set = assertor.jwks(now);
        (verified(&old, &set).is_some(), verified(&new, &set).is_some())
    };
    let now = house.clock.now();
    let (last, over) = (now + Duration::from_millis(599_999), now + Duration::from_secs(600));
    assert_eq!((both(&assertor, now), both(&assertor, last)), ((true, true), (true, true)));
    assert_eq!(both(&assertor, over), (false, true));
    house.clock.advance(Duration::from_secs(599));
    assert_eq!(both(&house.assertor(), now), (true, true), "after a restart too");
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(both(&house.assertor(), now), (false, true), "it is gone from the file");
    rotate(Former::Forgotten);
    assert_eq!(both(&assertor, house.clock.now()), (false, false));
    assert!(verified(&signed(&assertor), &assertor.jwks(house.clock.now())).is_some());
}
