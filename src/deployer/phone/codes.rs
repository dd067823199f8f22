//! The codes that are on a screen at the moment, and how far each has come. In memory: the longest lives for minutes, and
//! one that a restart forgets is made again with a click.
//!
//! ```text
//!  shown ──scan──▶ scanned ──ask──▶ asking ──approve──▶ approved ──fetch──▶ used
//!    │ 60 s            │ 5 min          └────deny────▶ denied
//! ```
//!
//! Every step is one look and one change under one lock: of fifty that scan, or of an approval and a denial at once, one
//! wins.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::{self, Timestamp};
use crate::names::{TunnelId, UserId, UserName};

/// How long a code can be scanned.
pub(super) const SCANNED_WITHIN: Duration = Duration::from_secs(60);
/// How long the phone and its person have from then on.
const DECIDED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// How far a code has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum Stage {
    /// It is on the screen.
    Shown,
    /// A phone has it; nobody else can.
    Scanned,
    /// The phone asks to register a passkey. Both sides show the number.
    Asking {
        /// From 10 to 99.
        number: u8,
    },
    /// It may.
    Approved,
    /// It may not.
    Denied,
    /// It was given what it registers with.
    Used,
}

/// One code, as the desktop sees it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Code {
    #[serde(skip)]
    pub(super) user: UserId,
    #[serde(skip)]
    pub(super) user_name: UserName,
    pub(super) tunnel: TunnelId,
    #[serde(flatten)]
    pub(super) stage: Stage,
    #[serde(serialize_with = "clock::as_rfc3339")]
    pub(super) expires_at: Timestamp,
    /// What scanned it: its system and browser, and its address.
    pub(super) phone: Option<String>,
    pub(super) address: Option<String>,
    /// Hashes of what the picture holds, and of what the phone got for it.
    #[serde(skip)]
    code: String,
    #[serde(skip)]
    secret: Option<String>,
}

/// All of them.
pub(in crate::deployer) struct Codes {
    codes: Mutex<HashMap<String, Code>>,
    changed: watch::Sender<()>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { codes: Mutex::default(), changed: watch::channel(()).0 }
    }
}

impl Codes {
    /// Has a new one shown under `id`. It takes the place of the one that the same person had.
    pub(super) fn show(
        &self,
        id: String,
        code: String,
        (user, user_name): (UserId, UserName),
        tunnel: TunnelId,
        now: Timestamp,
    ) -> Timestamp {
        let expires_at = now + SCANNED_WITHIN;
        let mut codes = self.lock();
        codes.retain(|_, one| one.user != user && now < one.expires_at);
        let (stage, phone, address, secret) = (Stage::Shown, None, None, None);
        codes.insert(id, Code { user, user_name, tunnel, stage, expires_at, phone, address, code, secret });
        drop(codes);
        self.changed.send_replace(());
        expires_at
    }

    /// A phone has scanned `code`, and from now on is known by `secret`.
    pub(super) fn scan(
        &self,
        code: &str,
        secret: String,
        (phone, address): (String, String),
        now: Timestamp,
    ) -> Option<Code> {
        let wanted = |one: &Code| one.code == code && one.stage == Stage::Shown;
        self.step(now, wanted, |one| {
            one.stage = Stage::Scanned;
            one.expires_at = now + DECIDED_WITHIN;
            (one.phone, one.address, one.secret) = (Some(phone), Some(address), Some(secret));
        })
    }

    /// The phone asks to register a passkey.
    pub(super) fn ask(&self, secret: &str, number: u8, now: Timestamp) -> Option<Code> {
        let wanted = |one: &Code| one.secret.as_deref() == Some(secret) && one.stage == Stage::Scanned;
        self.step(now, wanted, |one| one.stage = Stage::Asking { number })
    }

    /// The person at the desktop says yes or no to what they see.
    pub(super) fn decide(&self, id: &str, user: &UserId, verdict: Stage, now: Timestamp) -> Option<Code> {
        self.change(now, |key, one| {
            let open = matches!(one.stage, Stage::Asking { .. });
            (key == id && one.user == *user && open).then(|| one.stage = verdict.clone())
        })
    }

    /// The phone fetches what it was approved for; once.
    pub(super) fn fetch(&self, secret: &str, now: Timestamp) -> Option<Code> {
        let wanted = |one: &Code| one.secret.as_deref() == Some(secret) && one.stage == Stage::Approved;
        self.step(now, wanted, |one| one.stage = Stage::Used)
    }

    /// The code that the person has on the screen under `id`.
    pub(super) fn of_desktop(&self, id: &str, user: &UserId, now: Timestamp) -> Option<Code> {
        self.lock().get(id).filter(|one| one.user == *user && now < one.expires_at).cloned()
    }

    /// The code that a phone has scanned.
    pub(super) fn of_phone(&self, secret: &str, now: Timestamp) -> Option<Code> {
        let codes = self.lock();
        codes.values().find(|one| one.secret.as_deref() == Some(secret) && now < one.expires_at).cloned()
    }

    /// Tells of every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn step(
        &self,
        now: Timestamp,
        wanted: impl Fn(&Code) -> bool,
        step: impl FnOnce(&mut Code),
    ) -> Option<Code> {
        let mut step = Some(step);
        self.change(now, |_, one| {
            let step = if wanted(one) { step.take() } else { None };
            step.map(|step| step(one))
        })
    }

    fn change(&self, now: Timestamp, mut change: impl FnMut(&str, &mut Code) -> Option<()>) -> Option<Code> {
        let changed = self
            .lock()
            .iter_mut()
            .filter(|(_, one)| now < one.expires_at)
            .find_map(|(key, one)| change(key, one).map(|()| one.clone()))?;
        self.changed.send_replace(());
        Some(changed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Code>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn shown() -> (Codes, UserId) {
        let (codes, user) = (Codes::default(), UserId::random(&*SystemEntropy::shared()));
        let who = (user.clone(), UserName::parse("ada").expect("a name"));
        codes.show("id".into(), "code".into(), who, TunnelId::parse("ada-abc234").expect("a label"), NOW);
        (codes, user)
    }

    fn scan(codes: &Codes, secret: &str, now: Timestamp) -> bool {
        codes.scan("code", secret.to_owned(), ("iPhone".into(), "192.0.2.7".into()), now).is_some()
    }

    #[test]
    fn a_code_is_scanned_once_and_within_a_minute() {
        let (codes, _) = shown();
        assert!(!scan(&codes, "late", NOW + SCANNED_WITHIN));
        let won = std::thread::scope(|threads| {
            let tries: Vec<_> = (0..50)
                .map(|n| {
                    threads.spawn({
                        let codes = &codes;
                        move || scan(codes, &n.to_string(), NOW)
                    })
                })
                .collect();
            tries.into_iter().filter_map(|one| one.join().ok()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn nothing_is_approved_that_did_not_ask_and_a_verdict_stands() {
        let (codes, user) = shown();
        let decide = |verdict| codes.decide("id", &user, verdict, NOW).is_some();
        assert!(!decide(Stage::Approved), "nobody has scanned it");
        assert!(scan(&codes, "phone", NOW) && !decide(Stage::Approved), "nobody asks");
        assert!(codes.ask("another", 42, NOW).is_none() && codes.ask("phone", 42, NOW).is_some());
        let other = UserId::random(&*SystemEntropy::shared());
        assert!(codes.decide("id", &other, Stage::Approved, NOW).is_none(), "another person");
        assert!(codes.fetch("phone", NOW).is_none(), "not approved yet");
        assert!(decide(Stage::Denied) && !decide(Stage::Approved));
        assert!(codes.fetch("phone", NOW).is_none());
    }

    #[test]
    fn what_was_approved_is_fetched_once_and_in_time() {
        let (codes, user) = shown();
        scan(&codes, "phone", NOW);
        codes.ask("phone", 42, NOW).expect("asked");
        codes.decide("id", &user, Stage::Approved, NOW).expect("approved");
        assert!(codes.fetch("phone", NOW + DECIDED_WITHIN).is_none());
        assert!(codes.fetch("phone", NOW).is_some() && codes.fetch("phone", NOW).is_none());
    }
}
