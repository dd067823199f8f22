//! Redemptions, requests and revocations at the same time, on several threads: whatever was answered, there is an order of
//! the acts, one after the other, in which those are the right answers, and in which nothing comes before what had ended
//! when it began. (Herlihy and Wing call that linearizable.)

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const ROUNDS: usize = 120;
const THREADS: usize = 4;
const ACTS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The browser that the token was issued for follows its link.
    Redeem,
    /// Another one does.
    Steal,
    /// A request with the session's cookie, as soon as anybody has it.
    Knock,
    /// The person's sessions end.
    Revoke,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Refused,
    /// The session, for the first time or again.
    Opened {
        first: bool,
    },
    Admitted,
    Done,
}

/// An act and its answer, between two moments.
#[derive(Clone, Copy, Debug)]
struct Event {
    began: u64,
    ended: u64,
    act: Act,
    answer: Answer,
}

/// What one token and its session are, if nothing happens at the same time.
#[derive(Clone, Copy, Default)]
struct Sequential {
    bound: bool,
    revoked: bool,
}

impl Sequential {
    fn answer(&mut self, act: Act) -> Answer {
        match act {
            Act::Revoke => {
                self.revoked = true;
                Answer::Done
            }
            Act::Steal => Answer::Refused,
            Act::Redeem if self.revoked => Answer::Refused,
            Act::Redeem => Answer::Opened { first: !std::mem::replace(&mut self.bound, true) },
            Act::Knock if self.bound && !self.revoked => Answer::Admitted,
            Act::Knock => Answer::Refused,
        }
    }
}

/// Whether there is such an order for `left`, from `state` on.
fn is_linearizable(state: Sequential, left: &[Event]) -> bool {
    let Some(first_end) = left.iter().map(|event| event.ended).min() else { return true };
    (0..left.len()).filter(|at| left[*at].began <= first_end).any(|at| {
        let mut next = state;
        let mut rest = left.to_vec();
        let event = rest.swap_remove(at);
        next.answer(event.act) == event.answer && is_linearizable(next, &rest)
    })
}

/// One token, and those who use it at the same time.
struct Round {
    house: House,
    token: VerifiedToken,
    binds: [BindCookie; 2],
    cookie: OnceLock<SessionCookie>,
    moment: AtomicU64,
}

impl Round {
    async fn act(&self, act: Act) -> Option<(Event, Option<Permit>)> {
        let cookie = self.cookie.get();
        if matches!(act, Act::Knock) && cookie.is_none() {
            return None;
        }
        let began = self.moment.fetch_add(1, Ordering::SeqCst);
        let mut permit = None;
        let answer = match act {
            Act::Revoke => {
                let target = Target::User(self.house.ada.user.clone());
                self.house.sessions.revoke(&target, Cause::Person).await.expect("revoked");
                Answer::Done
            }
            Act::Knock => {
                permit = cookie.and_then(|cookie| self.house.knock(cookie));
                if permit.is_some() { Answer::Admitted } else { Answer::Refused }
            }
            Act::Redeem | Act::Steal => {
                let bind = &self.binds[usize::from(matches!(act, Act::Steal))];
                match self.house.redeem(&self.token, bind).await {
                    Ok(Redeemed { first, cookie, .. }) => {
                        let known = self.cookie.get_or_init(|| cookie.clone());
                        assert_eq!(known.to_value().reveal(), cookie.to_value().reveal(), "one session");
                        Answer::Opened { first }
                    }
                    Err(RedeemError::Refused(_)) => Answer::Refused,
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let ended = self.moment.fetch_add(1, Ordering::SeqCst);
        Some((Event { began, ended, act, answer }, permit))
    }
}

fn random_act(entropy: &dyn Entropy) -> Act {
    let [byte] = crate::secret::random(entropy);
    match byte % 8 {
        0..3 => Act::Redeem,
        3 => Act::Steal,
        4..7 => Act::Knock,
        _ => Act::Revoke,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_happens_at_once_has_an_order_in_which_it_is_right() {
    let mut house = House::new().await;
    let mut revoked_meanwhile = 0;
    for _ in 0..ROUNDS {
        // So that what was revoked before does not cover what is signed in now.
        house.clock.advance(Duration::from_millis(1));
        let binds = [house.bind(), house.bind()];
        let token = house.issue(&house.ada, &binds[0]).await;
        let round =
            Arc::new(Round { house, token, binds, cookie: OnceLock::new(), moment: AtomicU64::new(0) });
        let threads = (0..THREADS).map(|_| {
            let round = Arc::clone(&round);
            let acts: Vec<_> = (0..ACTS).map(|_| random_act(&*round.house.entropy)).collect();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for act in acts {
                    seen.extend(round.act(act).await);
                }
                seen
            })
        });
        let mut seen = Vec::new();
        for thread in threads.collect::<Vec<_>>() {
            seen.extend(thread.await.expect("no panic"));
        }
        let (history, permits): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        assert!(is_linearizable(Sequential::default(), &history), "{history:#?}");
        if history.iter().any(|event| matches!(event.act, Act::Revoke)) {
            let mut given = permits.iter().flatten();
            assert!(given.all(|permit| permit.cut().is_cancelled()), "what was let in is cut");
            revoked_meanwhile += 1;
        }
        house = Arc::into_inner(round).expect("all have ended").house;
    }
    assert!(revoked_meanwhile > ROUNDS / 4, "{revoked_meanwhile}");
}

#[test]
fn a_history_with_two_first_uses_or_a_use_after_its_end_has_no_order() {
    let event = |began, ended, act, answer| Event { began, ended, act, answer };
    let first = Answer::Opened { first: true };
    let twice = [event(0, 3, Act::Redeem, first), event(1, 2, Act::Redeem, first)];
    assert!(!is_linearizable(Sequential::default(), &twice));
    let late = |knock| {
        let before = [event(0, 1, Act::Redeem, first), event(2, 5, Act::Revoke, Answer::Done)];
        is_linearizable(Sequential::default(), &[&before[..], &[knock]].concat())
    };
    assert!(late(event(3, 4, Act::Knock, Answer::Admitted)), "at the same time");
    assert!(!late(event(6, 7, Act::Knock, Answer::Admitted)), "afterwards");
}
