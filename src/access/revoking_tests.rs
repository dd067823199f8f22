//! Revocations while the store cannot be asked, does not answer, or was somewhere else for a while.

use super::*;
use crate::store::replaceable::Replaceable;

impl House {
    /// With a store that can be taken away for a while.
    async fn on_a_store_that_moves() -> (Self, Arc<Replaceable>) {
        let mut house = Self::new().await;
        house.folder = tempfile::tempdir().expect("a folder");
        let store = Replaceable::new(stored(house.folder.path(), &house.clock));
        house.sessions = open_over(Arc::clone(&store) as _, house.folder.path(), &house.clock).await;
        house.gate = Gate::new(house.sessions.clone());
        (house, store)
    }
}

#[tokio::test]
async fn what_happened_while_the_store_was_elsewhere_is_in_force_once_it_is_back() {
    let (house, store) = House::on_a_store_that_moves().await;
    let [stays, ended, former] = [house.signed_in().await, house.signed_in().await, house.signed_in().await];
    let end = |session: &Session| Target::Session(session.id().clone());
    house.sessions.revoke(&end(&former.session), Cause::Logout).await.expect("revoked");
    let permits = [&stays, &ended].map(|one| house.knock(&one.cookie).expect("admitted"));

    let vacancy = store.vacate().await;
    let there = Replaceable::new(stored(house.folder.path(), &house.clock));
    let elsewhere = open_over(Arc::clone(&there) as _, house.folder.path(), &house.clock).await;
    elsewhere.revoke(&end(&ended.session), Cause::Denied).await.expect("revoked");
    let bind = house.bind();
    let who = SignIn { at: house.clock.now(), ..house.ada.clone() };
    let token = elsewhere.issue(&who, &house.tunnel, &bind.hash(), Vec::new()).await.expect("issued");
    let token = token::verify(&elsewhere.keys, ISSUER, &house.tunnel, token.reveal(), house.clock.now());
    let new = elsewhere.redeem(&token.expect("good"), Some(&bind), None, &Visitor::default()).await;
    let new = new.expect("redeemed");
    // A record that is deleted before its time, which we never do.
    elsewhere.store.commit(Tx::new().delete(session_key(former.session.id()))).await.expect("deleted");
    drop((there.vacate().await, elsewhere));

    vacancy.fill(stored(house.folder.path(), &house.clock));
    let Ok(Commit::Applied(revision)) = house.sessions.store.commit(Tx::new()).await else {
        panic!("applied")
    };
    house.sessions.reached(revision).await.expect("followed");
    assert!(house.knock(&stays.cookie).is_some() && house.knock(&new.cookie).is_some());
    assert!(!permits[0].cut().is_cancelled() && permits[1].cut().is_cancelled());
    assert!(house.knock(&ended.cookie).is_none());
    assert_eq!(house.sessions.ended_by(&ended.cookie, &house.tunnel), Some(Cause::Denied));
    assert_eq!(house.sessions.ended_by(&former.cookie, &house.tunnel), None, "it is forgotten");
    assert_eq!(house.sessions.table.sizes(), [3, 0, 2]);
}
