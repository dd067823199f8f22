//! The desk: where the edge's questions meet the person's answers.
//!
//! What is decided is decided in [`Approvals`]; here it gets the time, is kept on the disk before anybody hears of it,
//! and is told to whoever must know: the connections to the edge, the streams that are open, the console, the panel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::approvals::{Approvals, Policy, Shown, Undecided};
use super::belief::{Refusal, Unproven};
use super::decisions::{Decided, Decisions};
use super::home::{Home, HomeError};
use super::listing::{NotMeant, meant};
use super::proof::{Judge, ProofFault};
use super::trust::TrustedDevices;
use crate::clock::{Clock, Timestamp};
use crate::names::{DeviceId, SessionId};
use crate::proof::Nonce;
use crate::secret::Entropy;
use crate::wire::AgentEvent;
use crate::wire::approval::{Answer, Ask, Credential, PasskeyFacts, TrustedDevice};

/// A connection that is further behind than this is ended, and the next one asks anew.
const EVENTS_HELD: usize = 256;

/// How often the clock is looked at for the next nonce: while the machine sleeps, timers stand still.
const CLOCK_LOOKED_AT: Duration = Duration::from_secs(15);

/// Whom to let in without a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The passkeys that somebody at this desktop has approved.
    Ask,
    /// Any passkey of the tunnel's owner.
    Owner,
}

/// Where devices wait and people decide.
pub struct Desk {
    home: Home,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    judge: Judge,
    approvals: Mutex<Approvals>,
    /// The approved sessions, for the path of each request.
    served: RwLock<HashMap<SessionId, Served>>,
    events: broadcast::Sender<AgentEvent>,
    changes: watch::Sender<()>,
    reports: Vec<String>,
}

struct Served {
    expires_at: Timestamp,
    cut: CancellationToken,
}

/// A decision that was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeskError {
    /// There was nothing to decide.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    /// Nobody can tell about which device.
    #[error(transparent)]
    NotMeant(#[from] NotMeant),
    /// It could not be kept.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// What to do with a decision that the disk would not take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unkept {
    /// Forget it: it would let somebody in.
    Undone,
    /// Abide by it until the agent ends: it keeps somebody out.
    Stands,
}

/// All there is to show.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) waiting: Vec<Shown>,
    pub(super) devices: Vec<TrustedDevice>,
    pub(super) sessions: Vec<Decided>,
    pub(super) refusals: Vec<Refusal>,
}

impl Desk {
    /// With what is kept in `home`, for the owner called `owner`; `judge` says what the edge's word is worth.
    pub fn open(
        home: Home,
        (trust, unproven): (Trust, Unproven),
        owner: &str,
        judge: Judge,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, HomeError> {
        let policy = match trust {
            Trust::Ask => Policy::Ask,
            Trust::Owner => Policy::Owner(owner.to_owned()),
        };
        let (devices, damaged_devices) = TrustedDevices::load(&home)?;
        let (decisions, damaged_sessions) = Decisions::load(&home)?;
        let desk = Self {
            judge,
            approvals: Mutex::new(Approvals::new(policy, unproven, devices, decisions)),
            served: RwLock::default(),
            events: broadcast::Sender::new(EVENTS_HELD),
            changes: watch::Sender::new(()),
            reports: damaged_devices.into_iter().chain(damaged_sessions).collect(),
            home,
            clock,
            entropy,
        };
        desk.serve_as_decided(&desk.locked());
        Ok(Arc::new(desk))
    }

    /// Begins anew in `home`, with nobody trusted but `first`, the passkey that approved the linking.
    pub fn begin(home: &Home, first: Option<&PasskeyFacts>, clock: &dyn Clock) -> Result<(), HomeError> {
        Decisions::forget(home)?;
        TrustedDevices::begin(home, first, clock.now())
    }

    /// Forgets all that is kept in `home`.
    pub fn forget(home: &Home) -> Result<(), HomeError> {
        Decisions::forget(home)?;
        TrustedDevices::forget(home)
    }

    /// What was wrong with the folder's files, for the person to read.
    pub(super) fn reports(&self) -> &[String] {
        &self.reports
    }

    /// The edge asks about a session.
    pub(super) fn ask(&self, ask: &Ask) -> Result<Answer, DeskError> {
        let proof = match &ask.device {
            Credential::Passkey(passkey) => {
                let key = passkey.public_key.as_bytes();
                self.judge.judge(&ask.session, ask.proof.as_ref(), key, self.clock.now())
            }
            _ => Err(ProofFault::Missing),
        };
        self.change(Unkept::Undone, |approvals, now| {
            Ok((approvals.ask(ask, proof, &*self.entropy, now), Vec::new()))
        })
    }

    /// Approves `session` without anybody's leave, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn admit_for_test(&self, session: &SessionId) {
        let served = Served { expires_at: Timestamp::from_millis(u64::MAX), cut: CancellationToken::new() };
        self.served.write().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), served);
    }

    /// Somebody approves the device.
    pub(super) fn approve(&self, id: &DeviceId) -> Result<Shown, DeskError> {
        let shown = self.change(Unkept::Undone, |approvals, now| approvals.approve(id, now))?;
        tracing::info!(device = %id, "a device was approved here");
        Ok(shown)
    }

    /// Somebody denies it.
    pub(super) fn deny(&self, id: &DeviceId) -> Result<Shown, DeskError> {
        let shown = self.change(Unkept::Stands, |approvals, now| approvals.deny(id, now))?;
        tracing::info!(device = %id, "a device was denied here");
        Ok(shown)
    }

    /// Somebody trusts it no longer.
    pub(super) fn remove(&self, id: &DeviceId) -> Result<(), DeskError> {
        self.change(Unkept::Stands, |approvals, now| Ok(((), approvals.remove(id, now)?)))?;
        tracing::info!(device = %id, "a device is no longer trusted here");
        Ok(())
    }

    /// The device that somebody means who typed the beginning of its id.
    pub(super) fn device_meant(&self, typed: &str) -> Result<DeviceId, NotMeant> {
        let Snapshot { waiting, devices, sessions, .. } = self.snapshot();
        let waiting = waiting.iter().map(|one| &one.id);
        let trusted = devices.iter().map(|one| &one.id);
        meant(typed, waiting.chain(trusted).chain(sessions.iter().map(|one| &one.device)))
    }

    /// Ends the wait of those who have waited long enough.
    fn expire(&self) -> Result<(), DeskError> {
        self.change(Unkept::Stands, |_, _| Ok(((), Vec::new())))
    }

    /// What there is to show.
    pub(super) fn snapshot(&self) -> Snapshot {
        let approvals = self.locked();
        let mut waiting = approvals.waiting();
        let now = self.clock.now();
        waiting.retain(|one| one.until > now);
        let live = approvals.decisions.approved().filter(|one| one.expires_at > now);
        Snapshot {
            waiting,
            sessions: live.cloned().collect(),
            devices: approvals.devices.list(),
            refusals: approvals.refusals().to_vec(),
        }
    }

    /// Told whenever there is something else to show.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// What the edge is told from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<AgentEvent> {
        self.events.subscribe()
    }

    /// Whether streams of `session` are served; and what ends them.
    pub(super) fn admits(&self, session: &SessionId) -> Option<CancellationToken> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        let served = served.get(session)?;
        (self.clock.now() < served.expires_at).then(|| served.cut.clone())
    }

    /// What sign-ins are to commit to from now on.
    pub(super) fn nonce(&self) -> Nonce {
        self.judge.nonce(self.clock.now(), &*self.entropy)
    }

    /// Hands the edge another nonce whenever it is time, for as long as the agent runs.
    pub(super) async fn keep_nonces(self: Arc<Self>) {
        let mut newest = self.nonce();
        loop {
            sleep(self.judge.renewed_in(self.clock.now()).min(CLOCK_LOOKED_AT)).await;
            let nonce = self.nonce();
            if nonce != newest {
                newest = nonce;
                // Without a connection there is nobody to tell; the next one begins with it.
                let _ = self.events.send(AgentEvent::Nonce { nonce });
            }
        }
    }

    /// Has those who wait too long run out of time, for as long as the agent runs.
    pub(super) async fn keep_time(self: Arc<Self>) {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let next = self.locked().next_expiry();
            let expiry = async {
                match next {
                    Some(at) => sleep(at.since(self.clock.now()) + Duration::from_millis(1)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender is in this desk, so it is there.
                _ = changes.changed() => {}
                () = expiry => {
                    let desk = Arc::clone(&self);
                    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || desk.expire()).await {
                        tracing::warn!(%error, "what ran out of time could not be written down");
                    }
                }
            }
        }
    }

    /// Decides, keeps it, tells it. Nothing of it waits for the network; the disk is waited for.
    fn change<T>(
        &self,
        unkept: Unkept,
        decide: impl FnOnce(&mut Approvals, Timestamp) -> Result<(T, Vec<AgentEvent>), Undecided>,
    ) -> Result<T, DeskError> {
        let mut held = self.locked();
        let now = self.clock.now();
        let mut next = held.clone();
        let mut events = next.expire(now);
        let decided = decide(&mut next, now).map(|(value, more)| {
            events.extend(more);
            value
        });
        let kept = self.keep(unkept, &held, &next);
        if kept.is_ok() || unkept == Unkept::Stands {
            *held = next;
            self.serve_as_decided(&held);
            for event in events {
                // Without a connection there is nobody to tell; the next one asks.
                let _ = self.events.send(event);
            }
        }
        drop(held);
        self.changes.send_replace(());
        kept?;
        Ok(decided?)
    }

    /// Two files cannot be written as one. What trusts somebody for good is written last where it gives trust, and first
    /// where it takes it: whatever is left half done, by a full disk or by a crash, trusts nobody.
    fn keep(&self, unkept: Unkept, before: &Approvals, after: &Approvals) -> Result<(), HomeError> {
        let devices =
            || if before.devices == after.devices { Ok(()) } else { after.devices.save(&self.home) };
        let decisions =
            || if before.decisions == after.decisions { Ok(()) } else { after.decisions.save(&self.home) };
        match unkept {
            Unkept::Undone => decisions().and_then(|()| devices()),
            Unkept::Stands => devices().and_then(|()| decisions()),
        }
    }

    /// Brings what is served in line with what was decided, and cuts what no longer is.
    fn serve_as_decided(&self, approvals: &Approvals) {
        let mut served = self.served.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *served);
        for decided in approvals.decisions.approved() {
            let cut = former.remove(&decided.session).map(|served| served.cut).unwrap_or_default();
            served.insert(decided.session.clone(), Served { expires_at: decided.expires_at, cut });
        }
        former.into_values().for_each(|served| served.cut.cancel());
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Approvals> {
        self.approvals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Desk({})", self.home.path().display())
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
