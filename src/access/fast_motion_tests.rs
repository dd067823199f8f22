//! Weeks of traffic in fast motion: what has ended is forgotten, in memory and on the disk.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::super::super::access_tokens::NewAccessToken;
use super::super::super::once::Once;
use super::super::super::revocation::LONGEST_ACCESS_TOKEN;
use super::super::super::seal::Purpose;
use super::*;
use crate::proof::Nonce;

const DAY: Duration = Duration::from_secs(24 * 3600);
const DAYS: usize = 40;
/// How many come at once, and how often a day.
const TOGETHER: usize = 25;
const TIMES: usize = 3;

/// How much is held where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// Sessions, those of access tokens among them, and what was revoked.
    live: [usize; 3],
    /// Nonces, trees, and the queues in which they wait for their end.
    nonces: [usize; 4],
    /// Records in the store, by the part of their keys that says their kind.
    stored: BTreeMap<String, usize>,
}

impl Held {
    fn stored(&self, kind: &str) -> usize {
        self.stored.get(kind).copied().unwrap_or_default()
    }
}

impl House {
    async fn held(&self) -> Held {
        // The store looks at the clock before it commits, and memory is as the store is once it has heard of the commit.
        let sessions = &self.sessions;
        let Ok(Commit::Applied(revision)) = sessions.store.commit(Tx::new()).await else { panic!("applied") };
        sessions.reached(revision).await.expect("mirrored");
        let mut stored = BTreeMap::new();
        for entry in sessions.store.range("").await.expect("all of it").entries {
            let kind = entry.key.rsplit_once('/').map_or(&*entry.key, |(kind, _)| kind);
            *stored.entry(kind.to_owned()).or_default() += 1;
        }
        Held { live: sessions.table.sizes(), nonces: sessions.nonces.sizes(self.clock.now()), stored }
    }

    /// Somebody signs in, and what they have opened ends in one of the ways there are; or by itself.
    async fn comes_and_goes(&self, number: usize) {
        let (now, bind) = (self.clock.now(), self.bind());
        let who = person(&*self.entropy, "ada", now);
        let once = Once::new(Arc::clone(&self.sessions.store));
        let ceremony = bind.hash().as_str().to_owned();
        let fresh = once.spend(Purpose::Ceremony, &ceremony, now + Duration::from_secs(300)).await;
        assert!(fresh.expect("stored"));
        self.sessions.nonces().commit(None, now, &*self.entropy);
        let opened = self.sessions.open_deployer(&who, &Visitor::default(), Vec::new(), None).await;
        let (at_deployer, _) = opened.expect("opened");
        let token = self.issue(&who, &bind).await;
        if number.is_multiple_of(5) {
            // The link is never followed; a script is given a token instead.
            let new = NewAccessToken {
                name: "backup".to_owned(),
                tunnel: self.tunnel.clone(),
                expires_at: now + DAY,
                standing: Vec::new(),
            };
            let made = self.sessions.make_access_token(&at_deployer, new, &Visitor::default()).await;
            made.expect("made");
            return;
        }
        let redeemed = self.redeem(&token, &bind).await.expect("redeemed");
        self.knock(&redeemed.cookie).expect("admitted");
        redeemed.session.seen(now + Duration::from_secs(1));
        let target = match number % 5 {
            1 => Target::Session(redeemed.session.id().clone()),
            2 => Target::Device(who.device),
            3 => Target::Browsers(who.user),
            _ => return,
        };
        assert!(self.sessions.revoke(&target, Cause::Person).await.expect("revoked") > 0);
        assert!(self.knock(&redeemed.cookie).is_none());
    }

    async fn day(&self, day: usize) {
        for time in 0..TIMES {
            // Desktops come, hand over nonces, and are never seen again.
            for number in 0..TOGETHER {
                let tunnel = TunnelId::parse(&format!("ada-{day}-{time}-{number}")).expect("a label");
                let nonce = Nonce::random(&*self.entropy);
                self.sessions.nonces().handed_over(&tunnel, nonce, self.clock.now());
            }
            join_all((0..TOGETHER).map(|number| self.comes_and_goes(number))).await;
            self.sessions.keep_last_seen().await.expect("written down");
            self.clock.advance(DAY / u32::try_from(TIMES).expect("a few"));
        }
    }
}

#[tokio::test]
async fn weeks_of_sign_ins_and_revocations_leave_nothing_behind() {
    let house = House::new().await;
    let empty = house.held().await;
    house.day(0).await;
    let first = house.held().await;
    assert!(first.stored("tokens") > 0 && first.stored("live/used") > 0 && first.live[0] > 0, "{first:?}");
    for day in 1..DAYS {
        house.day(day).await;
        let held = house.held().await;
        // All but revocations is as after the first day; those are kept for as long as what they end could last.
        for kind in ["tokens", "bindings", "ceremonies", "live/session", "live/used"] {
            assert_eq!(held.stored(kind), first.stored(kind), "{kind} on day {day}");
        }
        assert_eq!((held.live[..2].to_vec(), held.nonces), (first.live[..2].to_vec(), first.nonces), "{day}");
        let sessions_revoked = held.stored("live/revoked/session");
        assert!(
            sessions_revoked <= 32 * first.stored("live/revoked/session"),
            "{sessions_revoked} on day {day}"
        );
        let revoked = held.stored.iter().filter(|(kind, _)| kind.starts_with("live/revoked/"));
        let revoked: usize = revoked.map(|(_, count)| count).sum();
        assert_eq!([held.live[0], held.live[2]], [held.stored("live/session"), revoked]);
    }
    house.clock.advance(LONGEST_ACCESS_TOKEN + DAY);
    assert_eq!(house.held().await, empty);
}
