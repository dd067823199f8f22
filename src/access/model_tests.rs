//! Binding and revocation against the simplest thing that does the same: a list of tokens, each with whose it is, who has
//! it, and whether that is over.
//!
//! Random people do random things in random order, over a real database file that is killed, restored and outlived in
//! between; after each step every cookie there ever was is held against what the model says of it.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::access::Former;
use crate::accounts::LASTING;
use crate::store::Existing;
use crate::store::sqlite::Restore;

const CASES: u32 = 32;
const BROWSERS: usize = 3;
const PEOPLE: usize = 2;
const TTL: u64 = 24 * 3600;

/// What happens next. Numbers pick one of those there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A person completes a ceremony in a browser.
    Issue { person: usize, browser: usize },
    /// A browser follows a token's link, with the session cookie it has or without.
    Redeem { token: usize, browser: usize, beside: bool },
    /// Somebody ends the session behind a token.
    LogOut { token: usize },
    /// Everything of a person, of their passkey, of the tunnel, or that was ever signed.
    Revoke(Everything),
    /// So many seconds go by.
    Pass(u64),
    /// `kill -9`, and a start.
    Restart,
    /// The same on a machine whose clock was set back by so many seconds.
    SetBack(u64),
    /// What is there is backed up, something happens or not, and the backup put in its place.
    Restore,
    /// The keys are changed, and the old ones kept or not.
    Rotate { kept: bool },
}

#[derive(Clone, Copy, Debug)]
enum Everything {
    Person(usize),
    Device(usize),
    Tunnel,
    Signed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let everything = prop_oneof![
        (0..PEOPLE).prop_map(Everything::Person),
        (0..PEOPLE).prop_map(Everything::Device),
        Just(Everything::Tunnel),
        Just(Everything::Signed),
    ];
    let seconds =
        prop_oneof![4 => 0..50u64, 2 => 59..63u64, 1 => 290..310u64, 1 => Just(TTL - 300), 1 => Just(TTL)];
    let step = prop_oneof![
        6 => (0..PEOPLE, 0..BROWSERS).prop_map(|(person, browser)| Step::Issue { person, browser }),
        10 => (any::<usize>(), 0..BROWSERS, any::<bool>())
            .prop_map(|(token, browser, beside)| Step::Redeem { token, browser, beside }),
        2 => any::<usize>().prop_map(|token| Step::LogOut { token }),
        2 => everything.prop_map(Step::Revoke),
        4 => seconds.prop_map(Step::Pass),
        2 => Just(Step::Restart),
        1 => (1..2 * TTL).prop_map(Step::SetBack),
        1 => Just(Step::Restore),
        1 => any::<bool>().prop_map(|kept| Step::Rotate { kept }),
    ];
    vec(step, 5..40)
}

/// A token as the model knows it.
struct Token {
    person: usize,
    /// Whose bind cookie it was issued for.
    browser: usize,
    issued: u64,
    /// The session that it opened or joined, and when.
    bound: Option<(usize, u64)>,
    over: bool,
}

/// A session as the model knows it.
struct Opened {
    person: usize,
    browser: usize,
    ends: u64,
    over: bool,
}

/// All there is to know.
#[derive(Default)]
struct Model {
    /// In seconds, with the part of one that the house began with left out.
    now: u64,
    tokens: Vec<Token>,
    sessions: Vec<Opened>,
    /// The session whose cookie each browser has.
    jar: HashMap<usize, usize>,
}

/// What should come of a redemption.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    /// The session of this number, opened now or before.
    Session(usize),
}

impl Model {
    fn is_live(&self, session: usize) -> bool {
        let session = &self.sessions[session];
        !session.over && self.now < session.ends
    }

    fn redeem(&mut self, token: usize, browser: usize, beside: bool) -> Outcome {
        let beside = self.jar.get(&browser).copied().filter(|one| beside && self.is_live(*one));
        let now = self.now;
        let Token { person, browser: meant, issued, bound, over } = self.tokens[token];
        if meant != browser || over || now >= issued + TTL {
            return Outcome::Refused;
        }
        if let Some((session, at)) = bound {
            let first = self.sessions[session].browser == browser;
            return if now <= at + 300 && self.is_live(session) && first {
                Outcome::Session(session)
            } else {
                Outcome::Refused
            };
        }
        if now > issued + 60 {
            return Outcome::Refused;
        }
        let session = match beside {
            Some(joined) if self.sessions[joined].person == person => {
                let session = &mut self.sessions[joined];
                session.ends = session.ends.max(issued + TTL);
                joined
            }
            replaced => {
                if let Some(replaced) = replaced {
                    self.sessions[replaced].over = true;
                }
                self.sessions.push(Opened { person, browser, ends: issued + TTL, over: false });
                self.sessions.len() - 1
            }
        };
        self.tokens[token].bound = Some((session, now));
        Outcome::Session(session)
    }

    fn end(&mut self, whose: impl Fn(usize) -> bool) {
        self.tokens.iter_mut().filter(|token| whose(token.person)).for_each(|token| token.over = true);
        self.sessions.iter_mut().filter(|one| whose(one.person)).for_each(|one| one.over = true);
    }
}

/// The real thing, beside what the model calls it.
struct Real {
    house: House,
    people: Vec<SignIn>,
    binds: Vec<BindCookie>,
    tokens: Vec<SecretText>,
    cookies: Vec<SessionCookie>,
    model: Model,
}

impl Real {
    async fn new() -> Self {
        let house = House::new().await;
        let bob = person(&*house.entropy, "bob", house.clock.now());
        let people = vec![house.ada.clone(), bob];
        let binds = (0..BROWSERS).map(|_| house.bind()).collect();
        Self { house, people, binds, tokens: Vec::new(), cookies: Vec::new(), model: Model::default() }
    }

    async fn take(&mut self, step: Step) {
        let pick = |number: usize| (!self.tokens.is_empty()).then(|| number % self.tokens.len());
        match step {
            Step::Issue { person, browser } => self.issue(person, browser).await,
            Step::Redeem { token, browser, beside } => {
                if let Some(token) = pick(token) {
                    self.redeem(token, browser, beside).await;
                }
            }
            Step::LogOut { token } => {
                let bound = pick(token).and_then(|token| self.model.tokens[token].bound);
                if let Some((session, _)) = bound {
                    let target = Target::Session(self.cookies[session].id.clone());
                    self.revoke(&target).await;
                    self.model.sessions[session].over = true;
                }
            }
            Step::Revoke(everything) => {
                let (target, whose) = match everything {
                    Everything::Person(one) => (Target::User(self.people[one].user.clone()), Some(one)),
                    Everything::Device(one) => (Target::Device(self.people[one].device.clone()), Some(one)),
                    Everything::Tunnel => (Target::Tunnel(self.house.tunnel.clone()), None),
                    Everything::Signed => (Target::Signed, None),
                };
                self.revoke(&target).await;
                self.model.end(|person| whose.is_none_or(|one| one == person));
                // What is signed in within the same millisecond is over as well; the model knows of seconds.
                self.pass(1);
            }
            Step::Pass(seconds) => self.pass(seconds),
            Step::Restart => self.restart(|_| ()).await,
            Step::SetBack(seconds) => {
                // What the edge has seen it has written down by then, or within a quarter of a minute.
                self.house.sessions.store.ready().await.expect("written");
                let machine = Timestamp::from_millis(self.house.clock.now().millis() - seconds * 1000);
                let mut seen = Timestamp::default();
                self.restart(|folder| {
                    seen = SqliteFile::open(&folder.join("edge.db")).expect("a database").latest_moment();
                })
                .await;
                assert_eq!(seen.max(machine), self.house.clock.now(), "time stands still");
            }
            Step::Restore => {
                let backup = self.house.folder.path().join("backup");
                self.house.sessions.store.backup_to(&backup, Existing::Replaced).await.expect("a backup");
                let at = self.house.clock.now();
                self.restart(|folder| restore(&backup, folder, at)).await;
                self.model.end(|_| true);
            }
            Step::Rotate { kept } => {
                let former = if kept { Former::Kept } else { Former::Forgotten };
                let House { sessions, clock, entropy, .. } = &self.house;
                sessions.keys.rotate(former, &**clock, &**entropy).expect("rotated");
                if !kept {
                    self.revoke(&Target::Signed).await;
                    self.model.end(|_| true);
                    self.pass(1);
                }
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.house.clock.advance(Duration::from_secs(seconds));
        self.model.now += seconds;
    }

    async fn issue(&mut self, person: usize, browser: usize) {
        let who = SignIn { at: self.house.clock.now(), ..self.people[person].clone() };
        let House { sessions, tunnel, .. } = &self.house;
        let token = sessions.issue(&who, tunnel, &self.binds[browser].hash(), Vec::new()).await;
        self.tokens.push(token.expect("issued"));
        self.model.tokens.push(Token { person, browser, issued: self.model.now, bound: None, over: false });
    }

    async fn redeem(&mut self, token: usize, browser: usize, beside: bool) {
        let cookie = self.model.jar.get(&browser).map(|session| &self.cookies[*session]);
        let tokens = [self.tokens[token].reveal().to_owned()];
        let facts = Facts {
            tunnel: &self.house.tunnel,
            asking: Asking::Navigation,
            provenance: Provenance::Own,
            session: cookie.filter(|_| beside),
            access_token: None,
            tokens: &tokens,
        };
        let redeemed = match self.house.gate.admit(&facts, self.house.clock.now()) {
            Verdict::Redeem(token, beside) => {
                let bind = Some(&self.binds[browser]);
                self.house.sessions.redeem(&token, bind, beside, &Visitor::default()).await
            }
            Verdict::Refuse(refused) => Err(refused.into()),
            other => panic!("{other:?}"),
        };
        let expected = self.model.redeem(token, browser, beside);
        match (expected, redeemed) {
            (Outcome::Refused, Err(RedeemError::Refused(_))) => {}
            (Outcome::Session(session), Ok(Redeemed { cookie, .. })) => {
                if session == self.cookies.len() {
                    self.cookies.push(cookie.clone());
                }
                let (ours, theirs) = (self.cookies[session].to_value(), cookie.to_value());
                assert_eq!(ours.reveal(), theirs.reveal(), "another session");
                self.model.jar.insert(browser, session);
            }
            (expected, redeemed) => {
                panic!("token {token} in browser {browser}: {expected:?} was expected, not {redeemed:?}")
            }
        }
    }

    async fn revoke(&self, target: &Target) {
        self.house.sessions.revoke(target, Cause::Operator).await.expect("revoked");
    }

    /// What is on the disk at this moment goes on elsewhere, after `between`.
    async fn restart(&mut self, between: impl FnOnce(&std::path::Path)) {
        let disk = tempfile::tempdir().expect("a folder");
        copy(self.house.folder.path(), disk.path());
        between(disk.path());
        self.house.sessions = open(disk.path(), &self.house.clock).await;
        self.house.gate = Gate::new(self.house.sessions.clone());
        self.house.folder = disk;
    }

    /// Every cookie opens what the model says, and nothing else.
    fn look(&self) {
        for (session, cookie) in self.cookies.iter().enumerate() {
            let admitted = self.house.knock(cookie);
            assert_eq!(admitted.is_some(), self.model.is_live(session), "session {session}");
            if let Some(permit) = admitted {
                assert!(!permit.cut().is_cancelled());
                let owner = &self.people[self.model.sessions[session].person];
                assert_eq!(permit.user_name(), &owner.user_name);
            }
        }
    }
}

fn restore(backup: &std::path::Path, folder: &std::path::Path, at: Timestamp) {
    let (to, keys) = (folder.join("edge.db"), folder.join("keys"));
    let order =
        Restore { from: backup, to: &to, lasting: LASTING, carried: "labels/", with_it: &[&keys], at };
    order.run().expect("restored");
}

#[test]
fn whatever_happens_in_whatever_order_the_sessions_are_those_of_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let compared = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let mut real = Real::new().await;
            for step in steps {
                real.take(step).await;
                real.look();
            }
        });
        Ok(())
    });
    compared.expect("nothing the model does not know");
}
