use futures_util::StreamExt as _;

use super::super::super::access_tokens::{MOST_ACCESS_TOKENS, NewAccessToken};
use super::super::super::revocation::LONGEST_ACCESS_TOKEN;
use super::*;
use crate::store::Change;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl House {
    async fn make_for(
        &self,
        maker: &Session,
        term: Duration,
    ) -> Result<(SessionId, SecretText), SessionError> {
        let new = NewAccessToken {
            name: "backup".to_owned(),
            tunnel: self.tunnel.clone(),
            expires_at: self.clock.now() + term,
            standing: Vec::new(),
        };
        self.sessions.make_access_token(maker, new, &Visitor::default()).await
    }

    async fn make(&self, term: Duration) -> (SessionId, SecretText) {
        self.make_for(&*self.at_deployer().await, term).await.expect("made")
    }

    fn admits(&self, token: &SecretText, tunnel: &TunnelId) -> Option<Permit> {
        let facts = Facts {
            tunnel,
            asking: Asking::Script,
            provenance: Provenance::Foreign,
            session: None,
            access_token: Some(token.clone()),
            tokens: &[],
        };
        match self.gate.admit(&facts, self.clock.now()) {
            Verdict::Admit(permit) => Some(permit),
            _ => None,
        }
    }
}

#[tokio::test]
async fn an_access_token_opens_its_tunnel_until_it_expires_or_is_revoked() {
    let house = House::new().await;
    let (id, token) = house.make(DAY).await;
    let other = TunnelId::parse("bob-abc234").expect("a label");
    assert!(token.reveal().starts_with("patapim_"));
    let permit = house.admits(&token, &house.tunnel).expect("admitted");
    assert!(house.admits(&token, &other).is_none());
    let longer = SecretText::new(format!("{}x", token.reveal()));
    assert!(house.admits(&longer, &house.tunnel).is_none());
    assert_eq!(house.sessions.of_user(&house.ada.user).len(), 1, "it has a list of its own");
    assert_eq!(house.sessions.access_tokens(&house.ada.user)[0].access_token_name(), Some("backup"));

    house.sessions.revoke(&Target::Session(id), Cause::Person).await.expect("revoked");
    assert!(permit.cut().is_cancelled() && house.admits(&token, &house.tunnel).is_none());
    let (_, token) = house.make(DAY).await;
    house.clock.advance(DAY);
    assert!(house.admits(&token, &house.tunnel).is_none());
}

#[tokio::test]
async fn what_was_revoked_stays_so_for_as_long_as_the_longest_access_token() {
    let mut house = House::new().await;
    let targets: [fn(&House, SessionId) -> Target; 3] = [
        |_, id| Target::Session(id),
        |house, _| Target::Device(house.ada.device.clone()),
        |house, _| Target::User(house.ada.user.clone()),
    ];
    let mut dead = Vec::new();
    for target in targets {
        // Somebody else each time: one revocation is all that stands in the way of each token.
        house.ada = person(&*house.entropy, "ada", house.clock.now());
        let (id, token) = house.make(LONGEST_ACCESS_TOKEN).await;
        house.sessions.revoke(&target(&house, id), Cause::Operator).await.expect("revoked");
        dead.push(token);
    }
    house.ada = person(&*house.entropy, "bob", house.clock.now());
    let (_, good) = house.make(LONGEST_ACCESS_TOKEN).await;
    house.clock.advance(LONGEST_ACCESS_TOKEN - DAY);
    let house = house.restarted().await;
    assert!(dead.iter().all(|token| house.admits(token, &house.tunnel).is_none()));
    assert!(house.admits(&good, &house.tunnel).is_some(), "one that nobody revoked");

    house.sessions.revoke(&Target::Tunnel(house.tunnel.clone()), Cause::Tunnel).await.expect("revoked");
    let house = house.restarted().await;
    assert!(house.admits(&good, &house.tunnel).is_none());
}

#[tokio::test]
async fn signing_out_everywhere_ends_what_browsers_hold_and_leaves_access_tokens() {
    let house = House::new().await;
    let deployer = house.at_deployer().await;
    let (_, token) = house.make(DAY).await;
    let bind = house.bind();
    let visit = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
    let unused = house.issue(&house.ada, &bind).await;
    let everywhere = Target::Browsers(house.ada.user.clone());
    house.sessions.revoke(&everywhere, Cause::Person).await.expect("revoked");
    assert!(visit.session.is_over() && deployer.is_over());
    assert_eq!(house.refused(&unused, &bind).await, Refused::Revoked);
    assert!(house.admits(&token, &house.tunnel).is_some());
    let house = house.restarted().await;
    assert!(house.knock(&visit.cookie).is_none());
    assert!(house.admits(&token, &house.tunnel).is_some());
    house.sessions.revoke(&Target::User(house.ada.user.clone()), Cause::User).await.expect("revoked");
    assert!(house.admits(&token, &house.tunnel).is_none(), "a person who is shut out is out");
}

#[tokio::test]
async fn a_session_that_was_ended_makes_no_access_token() {
    let house = House::new().await;
    for ended in [
        |session: &Session| Target::Session(session.id().clone()),
        |session: &Session| Target::Browsers(session.user().clone()),
        |session: &Session| Target::User(session.user().clone()),
    ] {
        let maker = house.at_deployer().await;
        house.sessions.revoke(&ended(&maker), Cause::Person).await.expect("revoked");
        assert!(matches!(house.make_for(&maker, DAY).await, Err(SessionError::Overtaken)));
        house.clock.advance(Duration::from_millis(1));
        let again = house.at_deployer().await;
        house.make_for(&again, DAY).await.expect("after a sign-in that came later");
    }
}

#[tokio::test]
async fn an_access_token_lasts_a_year_at_most_and_a_person_has_a_hundred() {
    let house = House::new().await;
    let maker = house.at_deployer().await;
    for term in [Duration::ZERO, LONGEST_ACCESS_TOKEN + Duration::from_millis(1)] {
        assert!(matches!(house.make_for(&maker, term).await, Err(SessionError::Term)));
    }
    for _ in 0..MOST_ACCESS_TOKENS {
        house.make_for(&maker, LONGEST_ACCESS_TOKEN).await.expect("made");
    }
    assert!(matches!(house.make_for(&maker, DAY).await, Err(SessionError::TooMany)));
    let one = house.sessions.access_tokens(&house.ada.user)[0].id().clone();
    house.sessions.revoke(&Target::Session(one), Cause::Person).await.expect("revoked");
    house.make_for(&maker, DAY).await.expect("there is room again");
}

#[tokio::test]
async fn when_it_was_last_used_is_known_after_a_restart() {
    let house = House::new().await;
    let (_, token) = house.make(DAY).await;
    let last_used = |house: &House| house.sessions.access_tokens(&house.ada.user)[0].last_used();
    assert_eq!(last_used(&house), None);
    house.clock.advance(Duration::from_secs(30));
    let used_at = house.clock.now();
    assert!(house.admits(&token, &house.tunnel).is_some());
    house.sessions.keep_last_seen().await.expect("written");
    let house = house.restarted().await;
    assert_eq!(last_used(&house), Some(used_at));
}

#[tokio::test(start_paused = true)]
async fn uses_are_written_down_by_themselves() {
    let house = House::new().await;
    let (id, token) = house.make(DAY).await;
    assert!(house.admits(&token, &house.tunnel).is_some());
    let store = &house.sessions.store;
    let now = store.range("live/").await.expect("read").revision;
    let mut changes = store.watch("live/used/", now).await.expect("watched");
    let written = loop {
        if let Change::Put(entry) = changes.next().await.expect("no end").expect("read") {
            break entry;
        }
    };
    assert!(written.key.ends_with(id.as_str()));
    assert_eq!(written.expires_at, Some(house.clock.now() + DAY), "it goes with the token");
}
