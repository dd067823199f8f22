//! Whom to let in: the decisions, without a clock, a socket or a file.
//!
//! A session is asked about once. A trusted passkey's is approved; any other device waits, for ten minutes, until
//! somebody at the desktop has approved or denied it. Of approving, denying and running out of time one comes first, and
//! that one counts: each takes the waiting device out of the list, and what is not there cannot be decided again.
//!
//! Whoever asks too often is not shown to anybody, so that a person cannot be worn down until they approve. Passkeys and
//! other ways to sign in are counted apart: a stolen password must not keep the owner's passkeys from being asked about.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::decisions::{Decided, Decisions, Ground, Standing};
use super::trust::{Acquaintance, Full, TrustedDevices};
use crate::clock::{self, Timestamp};
use crate::names::{DeviceId, SessionId};
use crate::secret::{Entropy, random};
use crate::wire::approval::{Answer, Ask, Credential};
use crate::wire::{AgentEvent, one_line};

/// How long a device waits (contract, section 6).
pub(super) const WAITS: Duration = Duration::from_secs(10 * 60);
/// Longer than any session lasts.
const LONGEST_SESSION: Duration = Duration::from_secs(366 * 24 * 3600);
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

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Passkey,
    Other,
}

impl Class {
    const fn of(device: &Credential) -> Self {
        match device {
            Credential::Passkey(_) => Self::Passkey,
            _ => Self::Other,
        }
    }

    /// How many may wait at once.
    const fn most_waiting(self) -> usize {
        match self {
            Self::Passkey => 4,
            Self::Other => 2,
        }
    }

    /// How many may be shown in an hour.
    const fn most_an_hour(self) -> usize {
        match self {
            Self::Passkey => 12,
            Self::Other => 5,
        }
    }
}

/// A session of a device that waits.
#[derive(Clone, Debug)]
struct Visit {
    session: SessionId,
    address: String,
    browser: String,
    expires_at: Timestamp,
}

/// A device that waits.
#[derive(Clone, Debug)]
struct Waiting {
    device: Credential,
    name: String,
    number: u8,
    since: Timestamp,
    until: Timestamp,
    /// Its id is that of a trusted passkey, but not its key.
    other_key: bool,
    visits: Vec<Visit>,
}

/// A device that waits, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) id: DeviceId,
    pub(super) name: String,
    /// Of its key; none for what has none.
    pub(super) fingerprint: Option<String>,
    pub(super) address: String,
    #[serde(serialize_with = "clock::as_rfc3339", deserialize_with = "clock::from_rfc3339")]
    pub(super) since: Timestamp,
    pub(super) last_used: Option<String>,
    pub(super) number: u8,
    pub(super) kind: String,
    pub(super) browser: String,
    #[serde(serialize_with = "clock::as_rfc3339", deserialize_with = "clock::from_rfc3339")]
    pub(super) until: Timestamp,
    pub(super) other_key: bool,
}

impl From<&Waiting> for Shown {
    fn from(waiting: &Waiting) -> Self {
        let (fingerprint, kind) = match &waiting.device {
            Credential::Passkey(passkey) => (Some(passkey.public_key.fingerprint()), "passkey"),
            Credential::BackupCode(_) => (None, "backup-code"),
            Credential::MagicLink(_) => (None, "magic-link"),
            Credential::Password(_) => (None, "password"),
            Credential::AccessToken(_) | Credential::Other(_) => (None, "other"),
        };
        let mut addresses: Vec<&str> = Vec::new();
        for visit in &waiting.visits {
            if !addresses.contains(&&*visit.address) {
                addresses.push(&visit.address);
            }
        }
        Self {
            id: waiting.device.device().clone(),
            name: waiting.name.clone(),
            fingerprint,
            address: addresses.join(", "),
            since: waiting.since,
            last_used: None,
            number: waiting.number,
            kind: kind.to_owned(),
            browser: waiting.visits.first().map(|visit| visit.browser.clone()).unwrap_or_default(),
            until: waiting.until,
            other_key: waiting.other_key,
        }
    }
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
    pub(super) devices: TrustedDevices,
    pub(super) decisions: Decisions,
    waiting: Vec<Waiting>,
    /// When somebody was asked.
    shown: Vec<(Timestamp, Class)>,
}

impl Approvals {
    /// From what was kept. A session whose reason no longer holds is refused: its device was removed while no agent ran,
    /// or the agent was told to ask.
    pub(super) fn new(policy: Policy, devices: TrustedDevices, mut decisions: Decisions) -> Self {
        decisions.refuse(|decided, ground| match ground {
            Ground::Trusted => !devices.has(&decided.device),
            Ground::Owner => policy == Policy::Ask && !devices.has(&decided.device),
            Ground::Asked | Ground::AccessToken => false,
        });
        Self { policy, devices, decisions, waiting: Vec::new(), shown: Vec::new() }
    }

    /// The edge asks about a session.
    pub(super) fn ask(&mut self, ask: &Ask, entropy: &dyn Entropy, now: Timestamp) -> Answer {
        let expires_at = ask.expires_at.min(now + LONGEST_SESSION);
        if expires_at <= now || matches!(&ask.device, Credential::Passkey(passkey) if !passkey.is_sound()) {
            return Answer::Denied;
        }
        if let Some(decided) = self.decisions.of(&ask.session) {
            match decided.ground() {
                // A session keeps the device that it began with.
                Some(_) if decided.device != *ask.device.device() => return Answer::Denied,
                Some(_) if decided.expires_at >= expires_at => return Answer::Approved,
                Some(_) => {}
                None => return Answer::Denied,
            }
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
            None => self.wait(visit, &ask.device, entropy, now),
        }
    }

    /// What a session is approved for without a question, if it is.
    fn ground_for(&self, ask: &Ask) -> Option<Ground> {
        match &ask.device {
            Credential::AccessToken(_) => Some(Ground::AccessToken),
            Credential::Passkey(passkey) => match self.devices.acquaintance(passkey) {
                Acquaintance::Trusted => Some(Ground::Trusted),
                _ if self.policy == Policy::Owner(ask.user.clone()) => Some(Ground::Owner),
                Acquaintance::OtherKey | Acquaintance::Stranger => None,
            },
            _ => None,
        }
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
            other_key: matches!(device, Credential::Passkey(passkey) if self.devices.acquaintance(passkey) == Acquaintance::OtherKey),
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
        self.decisions.forget_ended(now);
        let mut events = Vec::new();
        while let Some(at) = self.waiting.iter().position(|one| one.until <= now) {
            events.extend(
                self.settle(at, &Standing::Refused, |session| AgentEvent::Expired { session }, now).1,
            );
        }
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

/// Whether two that ask under one id are one device: a passkey is its key.
fn is_same(one: &Credential, other: &Credential) -> bool {
    match (one, other) {
        (Credential::Passkey(one), Credential::Passkey(other)) => one.public_key == other.public_key,
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// What a stranger says of itself, fit to be shown.
fn shortened(text: &str, longest: usize) -> String {
    one_line(text).trim().chars().take(longest).collect()
}

#[cfg(test)]
#[path = "approvals_tests.rs"]
mod tests;
