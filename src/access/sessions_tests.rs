use std::sync::Arc;

use super::super::cookies::BindCookie;
use super::super::gate::{Asking, Facts, Gate, Permit, Provenance, Verdict};
use super::super::redeem::{Beside, RedeemError, Redeemed, Refused};
use super::super::token::VerifiedToken;
use super::*;
use crate::clock::ManualClock;
use crate::secret::SystemEntropy;
use crate::store::sqlite::SqliteFile;

#[path = "access_tokens_tests.rs"]
mod access_tokens;
#[path = "concurrency_tests.rs"]
mod concurrency;
#[path = "fast_motion_tests.rs"]
mod fast_motion;
#[path = "model_tests.rs"]
mod model;
#[path = "revoking_tests.rs"]
mod revoking;
#[path = "rotation_tests.rs"]
mod rotation;

const ISSUER: &str = "https://deployer.patapim.test";

/// One edge's sessions over a real database file, with a clock moved by hand.
struct House {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    entropy: Arc<dyn Entropy>,
    sessions: Arc<Sessions>,
    gate: Gate,
    tunnel: TunnelId,
    ada: SignIn,
}

async fn open(folder: &std::path::Path, clock: &Arc<ManualClock>) -> Arc<Sessions> {
    open_over(stored(folder, clock), folder, clock).await
}

fn stored(folder: &std::path::Path, clock: &Arc<ManualClock>) -> Arc<dyn Store> {
    SqliteFile::open(&folder.join("edge.db")).expect("a database").start(clock.clone())
}

async fn open_over(
    store: Arc<dyn Store>,
    folder: &std::path::Path,
    clock: &Arc<ManualClock>,
) -> Arc<Sessions> {
    let entropy = SystemEntropy::shared();
    let keys = Arc::new(KeyRing::open(folder, &**clock, &*entropy).expect("keys"));
    Sessions::open(store, clock.clone(), entropy, keys, ISSUER.to_owned(), SessionSettings::default())
        .await
        .expect("sessions")
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            std::fs::create_dir(&to).expect("a folder");
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("a copy");
        }
    }
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_millis(1_800_000_000_400));
        let entropy = SystemEntropy::shared();
        let sessions = open(folder.path(), &clock).await;
        let ada = person(&*entropy, "ada", clock.now());
        let gate = Gate::new(sessions.clone());
        let tunnel = TunnelId::parse("ada-abc234").expect("a label");
        Self { folder, clock, entropy, sessions, gate, tunnel, ada }
    }

    async fn signed_in(&self) -> Redeemed {
        let bind = self.bind();
        self.redeem(&self.issue(&self.ada, &bind).await, &bind).await.expect("redeemed")
    }

    /// The same edge after `kill -9`: what is on the disk at this moment, and nothing else.
    async fn restarted(mut self) -> Self {
        let disk = tempfile::tempdir().expect("a folder");
        copy(self.folder.path(), disk.path());
        self.sessions = open(disk.path(), &self.clock).await;
        self.gate = Gate::new(self.sessions.clone());
        self.folder = disk;
        self
    }

    fn bind(&self) -> BindCookie {
        BindCookie::random(&*self.entropy)
    }

    async fn issue(&self, who: &SignIn, bind: &BindCookie) -> VerifiedToken {
        let who = SignIn { at: self.clock.now(), ..who.clone() };
        let token = self.sessions.issue(&who, &self.tunnel, &bind.hash(), Vec::new()).await.expect("issued");
        token::verify(&self.sessions.keys, ISSUER, &self.tunnel, token.reveal(), self.clock.now())
            .expect("good")
    }

    async fn redeem(&self, token: &VerifiedToken, bind: &BindCookie) -> Result<Redeemed, RedeemError> {
        self.sessions.redeem(token, Some(bind), None, &Visitor::default()).await
    }

    async fn refused(&self, token: &VerifiedToken, bind: &BindCookie) -> Refused {
        match self.redeem(token, bind).await.expect_err("refused") {
            RedeemError::Refused(reason) => reason,
            other => panic!("{other}"),
        }
    }

    /// Ada's session at the deployer.
    async fn at_deployer(&self) -> Arc<Session> {
        let who = SignIn { at: self.clock.now(), ..self.ada.clone() };
        self.sessions.open_deployer(&who, &Visitor::default(), Vec::new(), None).await.expect("opened").0
    }

    fn knock(&self, cookie: &SessionCookie) -> Option<Permit> {
        let facts = Facts {
            tunnel: &self.tunnel,
            asking: Asking::Script,
            provenance: Provenance::Own,
            session: Some(cookie),
            access_token: None,
            tokens: &[],
        };
        match self.gate.admit(&facts, self.clock.now()) {
            Verdict::Admit(permit) => Some(permit),
            Verdict::SignIn => None,
            other => panic!("{other:?}"),
        }
    }
}

fn person(entropy: &dyn Entropy, name: &str, at: Timestamp) -> SignIn {
    SignIn {
        user: UserId::random(entropy),
        user_name: UserName::parse(name).expect("a name"),
        device: DeviceId::random(entropy),
        device_name: format!("{name}'s key"),
        method: Method::Passkey,
        at,
        evidence: None,
    }
}

fn value(redeemed: &Redeemed) -> String {
    redeemed.cookie.to_value().reveal().to_owned()
}

#[tokio::test]
async fn a_redeemed_token_opens_a_session_that_the_gate_admits_on_its_tunnel_alone() {
    let house = House::new().await;
    let bind = house.bind();
    let redeemed = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
    assert_eq!(house.knock(&redeemed.cookie).expect("admitted").user_name().as_str(), "ada");
    let other = TunnelId::parse("bob-abc234").expect("a label");
    assert!(house.sessions.on_tunnel(&redeemed.cookie, &other, house.clock.now()).is_none());
    assert!(house.sessions.at_deployer(&redeemed.cookie, house.clock.now()).is_none());
}

#[tokio::test]
async fn fifty_uses_at_once_by_the_same_browser_give_one_session() {
    let house = House::new().await;
    let bind = house.bind();
    let token = house.issue(&house.ada, &bind).await;
    let all = futures_util::future::join_all((0..50).map(|_| house.redeem(&token, &bind))).await;
    let all: Vec<Redeemed> = all.into_iter().map(|one| one.expect("redeemed")).collect();
    assert!(all.iter().all(|one| value(one) == value(&all[0])));
    assert_eq!(all.iter().filter(|one| one.first).count(), 1);
    assert_eq!(house.sessions.all().len(), 1);
}

#[tokio::test]
async fn another_browser_is_refused_before_and_after_and_spends_nothing() {
    let house = House::new().await;
    let (bind, thief) = (house.bind(), house.bind());
    let token = house.issue(&house.ada, &bind).await;
    assert_eq!(house.refused(&token, &thief).await, Refused::Bind);
    assert!(house.redeem(&token, &bind).await.expect("not spent").first);
    assert_eq!(house.refused(&token, &thief).await, Refused::Bind);
}

#[tokio::test]
async fn the_same_browser_may_repeat_the_link_for_five_minutes() {
    let house = House::new().await;
    let bind = house.bind();
    let token = house.issue(&house.ada, &bind).await;
    let first = house.redeem(&token, &bind).await.expect("redeemed");
    house.clock.advance(Duration::from_secs(299));
    assert_eq!(value(&house.redeem(&token, &bind).await.expect("again")), value(&first));
    house.clock.advance(Duration::from_secs(2));
    assert_eq!(house.refused(&token, &bind).await, Refused::Bound);
    assert!(house.knock(&first.cookie).is_some(), "the session lives on");
}

#[tokio::test]
async fn spent_stays_spent_and_sessions_live_on_over_a_restart() {
    let house = House::new().await;
    let bind = house.bind();
    let token = house.issue(&house.ada, &bind).await;
    let first = house.redeem(&token, &bind).await.expect("redeemed");
    let house = house.restarted().await;
    assert!(house.knock(&first.cookie).is_some());
    let again = house.redeem(&token, &bind).await.expect("the same browser");
    assert!(!again.first);
    assert_eq!(value(&again), value(&first));
    assert_eq!(house.refused(&token, &house.bind()).await, Refused::Bind);
}

#[tokio::test]
async fn a_token_that_was_not_redeemed_in_time_is_late() {
    let house = House::new().await;
    let bind = house.bind();
    let token = house.issue(&house.ada, &bind).await;
    house.clock.advance(Duration::from_secs(61));
    assert_eq!(house.refused(&token, &bind).await, Refused::Late);
}

#[tokio::test]
async fn a_well_signed_token_that_was_never_issued_is_refused() {
    let house = House::new().await;
    let bind = house.bind();
    let now = house.clock.now().secs();
    let claims = Claims {
        iss: ISSUER.to_owned(),
        sub: house.ada.user.clone(),
        aud: house.tunnel.clone(),
        iat: now,
        exp: now + 60,
        jti: TokenId::random(&*house.entropy),
        bind: bind.hash().as_str().to_owned(),
    };
    let text = token::sign(&house.sessions.keys, &claims);
    let token = token::verify(&house.sessions.keys, ISSUER, &house.tunnel, text.reveal(), house.clock.now());
    assert_eq!(house.refused(&token.expect("well signed"), &bind).await, Refused::Unknown);
}

#[tokio::test]
async fn revoking_cuts_what_is_live_and_refuses_what_was_issued_but_not_what_comes_later() {
    let house = House::new().await;
    for target in [
        Target::User(house.ada.user.clone()),
        Target::Device(house.ada.device.clone()),
        Target::Tunnel(house.tunnel.clone()),
    ] {
        let bind = house.bind();
        let live = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
        let unused = house.issue(&house.ada, &bind).await;
        let permit = house.knock(&live.cookie).expect("admitted");
        assert_eq!(house.sessions.revoke(&target, Cause::Operator).await.expect("revoked"), 1);
        assert!(permit.cut().is_cancelled());
        assert!(house.knock(&live.cookie).is_none());
        assert_eq!(house.refused(&unused, &bind).await, Refused::Revoked);
        house.clock.advance(Duration::from_millis(1));
        let again = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
        assert!(house.knock(&again.cookie).is_some(), "a sign-in in the same second, after the revocation");
        house
            .sessions
            .revoke(&Target::Session(again.session.id().clone()), Cause::Logout)
            .await
            .expect("ended");
    }
}

#[tokio::test]
async fn a_revoked_session_stays_revoked_over_a_restart_and_a_repeated_link() {
    let house = House::new().await;
    let bind = house.bind();
    let token = house.issue(&house.ada, &bind).await;
    let live = house.redeem(&token, &bind).await.expect("redeemed");
    house.sessions.revoke(&Target::Session(live.session.id().clone()), Cause::Logout).await.expect("ended");
    assert_eq!(house.refused(&token, &bind).await, Refused::Revoked);
    let house = house.restarted().await;
    assert!(house.knock(&live.cookie).is_none());
    assert_eq!(house.refused(&token, &bind).await, Refused::Revoked);
}

#[tokio::test]
async fn a_second_token_of_the_same_passkey_joins_and_of_another_person_replaces() {
    let house = House::new().await;
    let bind = house.bind();
    let first = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
    house.clock.advance(Duration::from_secs(3600));
    let beside = || Some(Beside { session: first.session.clone(), cookie: first.cookie.clone() });
    let visitor = Visitor::default();

    let second = house.issue(&house.ada, &bind).await;
    let joined = house.sessions.redeem(&second, Some(&bind), beside(), &visitor).await.expect("joined");
    assert_eq!(value(&joined), value(&first));
    assert_eq!(joined.session.expires_at(), second.expires_at(), "it lasts as long as the later token");

    let bob = person(&*house.entropy, "bob", house.clock.now());
    let third = house.issue(&bob, &bind).await;
    let replaced = house.sessions.redeem(&third, Some(&bind), beside(), &visitor).await.expect("replaced");
    assert_ne!(value(&replaced), value(&first));
    assert!(house.knock(&first.cookie).is_none());
    assert_eq!(house.knock(&replaced.cookie).expect("admitted").user_name().as_str(), "bob");
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let house = House::new().await;
    let bind = house.bind();
    let live = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
    let permit = house.knock(&live.cookie).expect("admitted");
    house.clock.advance(Duration::from_secs(24 * 3600));
    assert!(house.knock(&live.cookie).is_none());
    tokio::time::timeout(Duration::from_secs(10), permit.cut().cancelled())
        .await
        .expect("open streams end too");
}

#[tokio::test]
async fn a_fresh_ceremony_at_the_deployer_replaces_its_former_session() {
    let house = House::new().await;
    let visitor = Visitor::default();
    let open = async |former: Option<&Session>| {
        house.sessions.open_deployer(&house.ada, &visitor, Vec::new(), former).await.expect("opened")
    };
    let (first, old) = open(None).await;
    let (_, new) = open(Some(&first)).await;
    let now = house.clock.now();
    assert!(house.sessions.at_deployer(&old, now).is_none());
    assert!(house.sessions.at_deployer(&new, now).is_some());
    assert!(house.sessions.on_tunnel(&new, &house.tunnel, now).is_none(), "it opens no tunnel");
}

#[tokio::test]
async fn a_foreign_page_cannot_use_the_session_and_a_script_cannot_spend_a_token() {
    let house = House::new().await;
    let bind = house.bind();
    let live = house.redeem(&house.issue(&house.ada, &bind).await, &bind).await.expect("redeemed");
    let who = SignIn { at: house.clock.now(), ..house.ada.clone() };
    let token = house.sessions.issue(&who, &house.tunnel, &bind.hash(), Vec::new()).await.expect("issued");
    let tokens = [token.reveal().to_owned()];
    let ask = |asking, provenance, tokens| {
        let session = Some(live.cookie.clone());
        house.gate.admit(
            &Facts {
                tunnel: &house.tunnel,
                asking,
                provenance,
                session: session.as_ref(),
                access_token: None,
                tokens,
            },
            house.clock.now(),
        )
    };
    assert!(matches!(ask(Asking::Script, Provenance::Foreign, &[]), Verdict::CrossSite));
    assert!(matches!(ask(Asking::OtherNavigation, Provenance::Foreign, &[]), Verdict::CrossSite));
    assert!(matches!(ask(Asking::Navigation, Provenance::Foreign, &[]), Verdict::Admit(_)));
    assert!(matches!(ask(Asking::Script, Provenance::Own, &tokens), Verdict::Refuse(_)));
    assert!(matches!(ask(Asking::Navigation, Provenance::Foreign, &tokens), Verdict::Redeem(_, Some(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_a_desktop_approved_is_known_at_the_deployer_also_after_a_restart() {
    let house = House::new().await;
    let who = SignIn { at: house.clock.now(), ..house.ada.clone() };
    let other = SignIn { device: DeviceId::random(&*house.entropy), ..who.clone() };
    let visitor = Visitor::default();
    let (session, cookie) = house.sessions.open_deployer(&who, &visitor, vec![], None).await.expect("opened");
    let (another, _) = house.sessions.open_deployer(&other, &visitor, vec![], None).await.expect("opened");
    assert_eq!(session.approved_at(), None);
    house.clock.advance(Duration::from_secs(5));
    house.sessions.approve_device(&who.device).await.expect("kept");
    let at = session.approved_at().expect("approved");
    assert_eq!(at, house.clock.now());
    assert_eq!(another.approved_at(), None, "another sign-in");

    let house = house.restarted().await;
    let session = house.sessions.at_deployer(&cookie, house.clock.now()).expect("live");
    assert_eq!(session.approved_at(), Some(at));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_what_ended_its_own_session_and_nobody_elses() {
    let house = House::new().await;
    let bind = house.bind();
    let token = house.issue(&house.ada, &bind).await;
    let visitor = Visitor::default();
    let redeemed = house.sessions.redeem(&token, Some(&bind), None, &visitor).await.expect("redeemed");
    let Redeemed { session, cookie, .. } = redeemed;
    assert!(house.sessions.of_tunnel(session.id(), &house.tunnel).is_some());
    assert_eq!(house.sessions.ended_by(&cookie, &house.tunnel), None);
    house.sessions.revoke(&Target::Session(session.id().clone()), Cause::Denied).await.expect("ended");
    assert_eq!(house.sessions.ended_by(&cookie, &house.tunnel), Some(Cause::Denied));
    let guessed = SessionCookie::new(session.id().clone(), SecretText::random(&*house.entropy));
    assert_eq!(house.sessions.ended_by(&guessed, &house.tunnel), None);
    assert!(house.sessions.of_tunnel(session.id(), &house.tunnel).is_none());
}
