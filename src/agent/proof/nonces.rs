//! The nonces that this desktop made, and which proofs they were good for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::names::SessionId;
use crate::proof::{Challenge, NONCE_EVERY, NONCE_LIFETIME, Nonce};
use crate::secret::Entropy;

/// How many are remembered, so that an old proof can be told from one that was never meant for this desktop: an hour's.
const REMEMBERED: usize = 15;

/// Whether a nonce still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Good,
    Past,
}

#[derive(Debug, Default)]
pub(super) struct Nonces {
    /// The newest last.
    made: VecDeque<(Timestamp, Nonce)>,
    /// What was signed, the session it opened, and until when it could open another.
    spent: HashMap<Challenge, (SessionId, Timestamp)>,
}

impl Nonces {
    pub(super) fn newest(&mut self, now: Timestamp, entropy: &dyn Entropy) -> Nonce {
        if let Some((made_at, nonce)) = self.made.back()
            && now.since(*made_at) < NONCE_EVERY
        {
            return *nonce;
        }
        let nonce = Nonce::random(entropy);
        self.made.push_back((now, nonce));
        if self.made.len() > REMEMBERED {
            self.made.pop_front();
        }
        nonce
    }

    pub(super) fn renewed_in(&self, now: Timestamp) -> Duration {
        let age = self.made.back().map_or(NONCE_EVERY, |(made_at, _)| now.since(*made_at));
        NONCE_EVERY.saturating_sub(age)
    }

    /// The one that `is_meant`.
    pub(super) fn find(
        &self,
        now: Timestamp,
        mut is_meant: impl FnMut(&Nonce) -> bool,
    ) -> Option<(Nonce, Age)> {
        let (made_at, nonce) = self.made.iter().rev().find(|(_, nonce)| is_meant(nonce))?;
        let age = if now.since(*made_at) < NONCE_LIFETIME { Age::Good } else { Age::Past };
        Some((*nonce, age))
    }

    /// Lets what was signed open `session`; false where it has opened another.
    pub(super) fn spend(&mut self, challenge: Challenge, session: &SessionId, now: Timestamp) -> bool {
        // Each outlives the nonce it rests on, which is there already.
        self.spent.retain(|_, (_, until)| *until > now);
        let (opened, _) =
            self.spent.entry(challenge).or_insert_with(|| (session.clone(), now + NONCE_LIFETIME));
        opened == session
    }
}
