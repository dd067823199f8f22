//! Whom to let in: the decisions, without a clock, a socket or a file.
//!
//! A session is asked about once. A trusted passkey's is approved; any other device waits, for ten minutes, until
//! somebody at the desktop has approved or denied it. Of approving, denying and running out of time one comes first, and
//! that one counts: each takes the waiting device out of the list, and what is not there cannot be decided again.
//!
//! Whoever asks too often is not shown to anybody, so that a person cannot be worn down until they approve. Passkeys and
//! other ways to sign in are counted apart: a stolen password must not keep the owner's passkeys from being asked about.

use std::time::Duration;

use super::belief::{Refusal, Refusals, Unbelieved, Unproven};
use super::decisions::{Decided, Decisions, Ground, Standing};
use super::proof::ProofFault;
use super::trust::{Acquaintance, Full, TrustedDevices};
use super::waiting::{Class, Visit, Waiting, is_same, shortened};
use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId};
use crate::secret::{Entropy, random};
use crate::wire::AgentEvent;
use crate::wire::approval::{Answer, Ask, Credential};

pub(super) use super::waiting::Shown;

/// How long a device waits (contract, section 6).
pub(super) const WAITS: Duration = Duration::from_secs(10 * 60);
/// How long a session is served at most that a person opened; then they show again that it is them.
const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);
/// And a script's: longer than any access token lasts.
const LONGEST_SCRIPT: Duration = Duration::from_secs(366 * 24 * 3600);
/// How many browsers with the same device may wait at once.
const MOST_SESSIONS_WAITING: usize = 8;
/// The time over which questions are counted.
const HOUR: Duration = Duration::from_secs(3600);

/// Who is let in without a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Trusted passkeys.
    Ask,
    /// Any passkey of the owner, who has this name.
    Owner(String),
}

/// What somebody at the desktop wanted cannot be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undecided {
    /// Somebody was faster, or time was, or it never asked.
    #[error("no such device is waiting: it was decided already, has run out of time, or never asked")]
    NotWaiting,
    /// Not on the list.
    #[error("no such device is trusted here")]
    NotTrusted,
    /// There is no room.
    #[error(transparent)]
    Full(#[from] Full),
}

/// All that is known of devices and sessions.
#[derive(Clone, Debug)]
pub(super) struct Approvals {
    policy: Policy,
    unproven: Unproven,
    refusals: Refusals,
    pub(super) devices: TrustedDevices,
    pub(super) decisions: Decisions,
    waiting: Vec<Waiting>,
    /// When somebody was asked.
    shown: Vec<(Timestamp, Class)>,
}

impl Approvals {
    /// From what was kept. A session whose reason no longer holds is refused: its device was removed while no agent ran,
    /// or the agent was told to ask.
    pub(super) fn new(
        policy: Policy,
        unproven: Unproven,
        devices: TrustedDevices,
        mut decisions: Decisions,
    ) -> Self {
        decisions.refuse(|decided, ground| match ground {
            Ground::Trusted => !devices.has(&decided.device),
            Ground::Owner | Ground::AccessToken if unproven == Unproven::Refused => true,
            Ground::Owner => policy == Policy::Ask && !devices.has(&decided.device),
            Ground::Asked => unproven == Unproven::Refused,
            Ground::AccessToken => policy == Policy::Ask,
        });
        let refusals = Refusals::default();
        Self { policy, unproven, refusals, devices, decisions, waiting: Vec::new(), shown: Vec::new() }
    }

    /// The edge asks about a session; `proof` is what the judge found of the sign-in.
    pub(super) fn ask(
        &mut self,
        ask: &Ask,
        proof: Result<(), ProofFault>,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Answer {
        let longest = match ask.device {
            Credential::AccessToken(_) => LONGEST_SCRIPT,
            _ => LONGEST_SESSION,
        };
        let mut expires_at = ask.expires_at.min(now + longest);
        if expires_at <= now || matches!(&ask.device, Credential::Passkey(passkey) if !passkey.is_sound()) {
            return Answer::Denied;
        }
        let mut proof = proof;
        if let Some(decided) = self.decisions.of(&ask.session) {
            match decided.ground() {
                // It waited when this agent's predecessor ended, which has seen its proof.
                None if self.decisions.is_proven(&ask.session, &ask.device) => {
                    expires_at = expires_at.min(decided.expires_at);
                    proof = Ok(());
                }
                // A session keeps the device that it began with.
                Some(_) if decided.device != *ask.device.device() => return Answer::Denied,
                Some(_) if decided.expires_at >= expires_at => return Answer::Approved,
                // Nothing makes it longer but a proof of its own.
                Some(_) if self.unbelieved(&ask.device, proof).is_some() => return Answer::Approved,
                Some(_) => {}
                None => return Answer::Denied,
            }
        }
        if let Some(why) = self.unbelieved(&ask.device, proof) {
            self.refusals.note(Refusal::of(ask, why, now));
            return Answer::Denied;
        }
        let visit = Visit {
            session: ask.session.clone(),
            address: shortened(&ask.address, 60),
            browser: shortened(&ask.user_agent, 200),
            expires_at,
        };
        match self.ground_for(ask) {
            Some(ground) => {
                self.devices.used(ask.device.device(), now);
                let name = shortened(ask.device.name(), 80);
                self.decide(visit, &ask.device, name, Standing::Approved { ground }, now);
                Answer::Approved
            }
            None => {
                if let Credential::Passkey(passkey) = &ask.device
                    && !self.decisions.is_proven(&ask.session, &ask.device)
                {
                    let standing = Standing::Proven { fingerprint: passkey.public_key.fingerprint() };
                    self.decide(visit.clone(), &ask.device, shortened(ask.device.name(), 80), standing, now);
                }
                self.wait(visit, &ask.device, entropy, now)
            }
        }
    }

    /// Why the edge's word for a session is not enough, if it is not.
    fn unbelieved(&self, device: &Credential, proof: Result<(), ProofFault>) -> Option<Unbelieved> {
        match device {
            Credential::Passkey(passkey) => match self.devices.acquaintance(passkey) {
                Acquaintance::OtherKey => Some(Unbelieved::OtherKey),
                Acquaintance::Trusted | Acquaintance::Stranger => proof.err().map(Unbelieved::Proof),
            },
            _ => (self.unproven == Unproven::Refused).then_some(Unbelieved::NoPasskey),
        }
    }

    /// What a session is approved for without a question, if it is.
    fn ground_for(&self, ask: &Ask) -> Option<Ground> {
        match &ask.device {
            Credential::AccessToken(_) => self.takes_the_owners(ask).then_some(Ground::AccessToken),
            Credential::Passkey(passkey) => match self.devices.acquaintance(passkey) {
                Acquaintance::Trusted => Some(Ground::Trusted),
                _ => self.takes_the_owners(ask).then_some(Ground::Owner),
            },
            _ => None,
        }
    }

    /// Whether it lets in what the edge says is the owner's.
    fn takes_the_owners(&self, ask: &Ask) -> bool {
        self.unproven == Unproven::Asked && self.policy == Policy::Owner(ask.user.clone())
    }

    fn wait(&mut self, visit: Visit, device: &Credential, entropy: &dyn Entropy, now: Timestamp) -> Answer {
        if let Some(waiting) = self.waiting.iter_mut().find(|one| one.device.device() == device.device()) {
            let same = is_same(&waiting.device, device);
            let known = waiting.visits.iter().any(|one| one.session == visit.session);
            if !same || (!known && waiting.visits.len() >= MOST_SESSIONS_WAITING) {
                return Answer::Crowded { until: waiting.until };
            }
            if !known {
                waiting.visits.push(visit);
            }
            return Answer::Pending { number: waiting.number, until: waiting.until };
        }
        if let Some(until) = self.crowded_until(Class::of(device), now) {
            return Answer::Crowded { until };
        }
        let waiting = Waiting {
            number: self.unused_number(entropy),
            name: shortened(device.name(), 80),
            since: now,
            until: now + WAITS,
            visits: vec![visit],
            device: device.clone(),
        };
        let answer = Answer::Pending { number: waiting.number, until: waiting.until };
        self.shown.push((now, Class::of(device)));
        self.waiting.push(waiting);
        answer
    }

    /// Until when nobody is asked about another device of that class; none: somebody may be.
    fn crowded_until(&mut self, class: Class, now: Timestamp) -> Option<Timestamp> {
        self.shown.retain(|(at, _)| now.since(*at) < HOUR);
        let mut waiting = self.waiting.iter().filter(|one| Class::of(&one.device) == class);
        let first = waiting.next();
        if first.is_some() && waiting.count() + 1 >= class.most_waiting() {
            return first.map(|one| one.until);
        }
        let shown = self.shown.iter().filter(|(_, one)| *one == class);
        let over = (shown.clone().count() + 1).checked_sub(class.most_an_hour()).filter(|over| *over > 0)?;
        shown.map(|(at, _)| *at + HOUR).nth(over - 1)
    }

    /// Two digits that no other device that waits has.
    fn unused_number(&self, entropy: &dyn Entropy) -> u8 {
        loop {
            let [byte] = random(entropy);
            let number = byte & 0x7f;
            if (10..=99).contains(&number) && self.waiting.iter().all(|one| one.number != number) {
                return number;
            }
        }
    }

    /// Somebody at the desktop approves a device. A passkey is trusted from now on; anything else this once.
    pub(super) fn approve(
        &mut self,
        id: &DeviceId,
        now: Timestamp,
    ) -> Result<(Shown, Vec<AgentEvent>), Undecided> {
        let at = self.position(id)?;
        let ground = match &self.waiting[at].device {
            Credential::Passkey(passkey) => {
                self.devices.add(passkey, now)?;
                self.devices.used(id, now);
                Ground::Trusted
            }
            _ => Ground::Asked,
        };
        let event = |session| AgentEvent::Approved { session };
        Ok(self.settle(at, &Standing::Approved { ground }, event, now))
    }

    /// Somebody at the desktop denies it. It may sign in anew, and will be asked about then.
    pub(super) fn deny(
        &mut self,
        id: &DeviceId,
        now: Timestamp,
    ) -> Result<(Shown, Vec<AgentEvent>), Undecided> {
        let at = self.position(id)?;
        Ok(self.settle(at, &Standing::Refused, |session| AgentEvent::Denied { session }, now))
    }

    /// Ends the wait of those who have waited long enough.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        while let Some(at) = self.waiting.iter().position(|one| one.until <= now) {
            events.extend(
                self.settle(at, &Standing::Refused, |session| AgentEvent::Expired { session }, now).1,
            );
        }
        // Last, for who has waited until their session was over too.
        self.decisions.forget_ended(now);
        events
    }

    /// Trusts a device no longer, and ends its sessions, scripts' among them; one that waits is denied.
    pub(super) fn remove(&mut self, id: &DeviceId, now: Timestamp) -> Result<Vec<AgentEvent>, Undecided> {
        let mut events = self.deny(id, now).map(|(_, events)| events).unwrap_or_default();
        let was_trusted = self.devices.remove(id);
        let refused = self.decisions.refuse(|decided, _| decided.device == *id);
        events.extend(refused.into_iter().map(|session| AgentEvent::Removed { session }));
        if was_trusted || !events.is_empty() { Ok(events) } else { Err(Undecided::NotTrusted) }
    }

    /// Those who wait, the first to ask first.
    pub(super) fn waiting(&self) -> Vec<Shown> {
        self.waiting.iter().map(Shown::from).collect()
    }

    /// Whom it did not believe lately, the last one last.
    pub(super) fn refusals(&self) -> &[Refusal] {
        self.refusals.list()
    }

    /// When the next one has waited long enough.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.waiting.iter().map(|one| one.until).min()
    }

    fn position(&self, id: &DeviceId) -> Result<usize, Undecided> {
        self.waiting.iter().position(|one| one.device.device() == id).ok_or(Undecided::NotWaiting)
    }

    fn settle(
        &mut self,
        at: usize,
        standing: &Standing,
        event: impl Fn(SessionId) -> AgentEvent,
        now: Timestamp,
    ) -> (Shown, Vec<AgentEvent>) {
        let waiting = self.waiting.remove(at);
        let shown = Shown::from(&waiting);
        let Waiting { device, name, visits, .. } = waiting;
        let mut events = Vec::new();
        for visit in visits {
            events.push(event(visit.session.clone()));
            self.decide(visit, &device, name.clone(), standing.clone(), now);
        }
        (shown, events)
    }

    fn decide(
        &mut self,
        visit: Visit,
        device: &Credential,
        name: String,
        standing: Standing,
        now: Timestamp,
    ) {
        let Visit { session, address, browser, expires_at } = visit;
        let device = device.device().clone();
        self.decisions.note(Decided {
            session,
            device,
            name,
            address,
            browser,
            since: now,
            expires_at,
            standing,
        });
    }
}

#[cfg(test)]
#[path = "approvals_tests.rs"]
mod tests;
