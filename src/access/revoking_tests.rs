//! Revocations while the store cannot be asked, does not answer, or was somewhere else for a while.

use super::*;
use crate::store::replaceable::Replaceable;

/// For what has to come; a test that hangs says nothing.
async fn within_patience<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes")
}

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
async fn what_is_open_is_cut_before_the_disk_has_the_revocation_and_nothing_else_ends_before() {
    let (house, store) = House::on_a_store_that_moves().await;
    let live = house.signed_in().await;
    let open = house.knock(&live.cookie).expect("admitted");
    let vacancy = store.vacate().await;
    let sessions = Arc::clone(&house.sessions);
    let target = Target::Session(live.session.id().clone());
    let revoking = tokio::spawn(async move { sessions.revoke(&target, Cause::Person).await });
    within_patience(open.cut().cancelled()).await;
    assert!(!revoking.is_finished(), "it is not durable, so nobody is told");
    let meanwhile = house.knock(&live.cookie).expect("nothing is decided yet");
    assert!(!meanwhile.cut().is_cancelled() && !live.session.is_over());

    vacancy.fill(stored(house.folder.path(), &house.clock));
    assert_eq!(revoking.await.expect("no panic").expect("revoked"), 1);
    assert!(meanwhile.cut().is_cancelled(), "what came in between is cut as well");
    within_patience(live.session.over()).await;
    assert!(house.knock(&live.cookie).is_none());
}

#[tokio::test]
async fn a_revocation_that_is_not_kept_ends_nothing_but_what_was_open() {
    let (house, store) = House::on_a_store_that_moves().await;
    let live = house.signed_in().await;
    let open = house.knock(&live.cookie).expect("admitted");
    drop(store.vacate().await);
    for target in [Target::Session(live.session.id().clone()), Target::User(house.ada.user.clone())] {
        house.sessions.revoke(&target, Cause::Person).await.expect_err("the store is gone");
        assert!(open.cut().is_cancelled());
        let again = house.knock(&live.cookie).expect("as after a restart");
        assert!(!again.cut().is_cancelled());
        assert_eq!(house.sessions.all().len(), 1, "whoever was refused can find it, and ask again");
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
