//! The desktop's leave: asked for before a session's first request goes over an agent's connection, and not again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Edge;
use crate::access::{Cause, Method, Permit, Session, Sessions, Target};
use crate::accounts::{AccountError, Accounts};
use crate::names::{SessionId, TunnelId};
use crate::proof::Proof;
use crate::trail::{Act, By, Event, Trail};
use crate::tunnel::{AgentLink, Approved, Standing, Verdict, Verdicts, Watched};
use crate::wire::approval::{Ask, Credential, Passing, PasskeyFacts, PublicKey};

/// From this many approvals on, those of sessions that are over are forgotten.
const TIDY_FROM: usize = 1024;

/// Why an admitted session gets no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// Somebody at the desktop is asked, or too many were.
    Waiting,
    /// The desktop would not have it.
    Over,
    /// The desktop's agent is too old to be asked.
    Outdated,
    /// The agent did not answer.
    Unanswered,
}

/// The proof that the desktop approved the admitted session.
pub(super) async fn leave(edge: &Edge, link: &Arc<AgentLink>, permit: &Permit) -> Result<Approved, Withheld> {
    let mut watched = match link.known(permit) {
        Some(known) => known,
        None => ask(edge, link, permit).await?,
    };
    let standing = watched.standing().await;
    if let Some(approved) = watched.approved() {
        return Ok(approved);
    }
    Err(match standing {
        Standing::Waiting { .. } | Standing::Crowded { .. } => Withheld::Waiting,
        Standing::Decided(verdict) => {
            // Heard before; but whether the session's end was written down then is not certain.
            (edge.verdicts)(permit.tunnel(), permit.session().id(), verdict).await;
            Withheld::Over
        }
        Standing::Outdated => Withheld::Outdated,
        Standing::Asking | Standing::Unanswered => Withheld::Unanswered,
    })
}

/// Puts the question, and waits for the answer.
pub(super) async fn ask(edge: &Edge, link: &Arc<AgentLink>, permit: &Permit) -> Result<Watched, Withheld> {
    let ask = question(edge, permit).await?;
    let mut watched = link.ask(permit, ask, &edge.verdicts);
    if let Standing::Waiting { .. } = watched.standing().await {
        note(&edge.trail, Act::DeviceAsked, permit.session(), permit.tunnel()).await;
    }
    Ok(watched)
}

/// Writes down what became of a session's device at a desktop.
async fn note(trail: &Trail, act: Act, session: &Session, tunnel: &TunnelId) {
    let event = Event::new(act).by(By::Desktop).of(session.user(), session.user_name()).tunnel(tunnel);
    let event = event.session(session.id()).device(session.device(), session.device_name());
    if let Err(error) = trail.record(event.from(session.address())).await {
        tracing::error!(%error, ?act, "what a desktop decided is not in the trail");
    }
}

/// What the desktop is told of the session: for a passkey, the key as it was registered.
async fn question(edge: &Edge, permit: &Permit) -> Result<Ask, Withheld> {
    let session = permit.session();
    let passing = || Passing { id: session.device().clone(), name: session.device_name().to_owned() };
    let device = match session.method() {
        Method::Passkey => Credential::Passkey(passkey(&edge.accounts, permit).await?),
        Method::BackupCode => Credential::BackupCode(passing()),
        Method::MagicLink => Credential::MagicLink(passing()),
        Method::Password => Credential::Password(passing()),
        Method::AccessToken => {
            let name = session.access_token_name().unwrap_or_default().to_owned();
            Credential::AccessToken(Passing { name, ..passing() })
        }
    };
    Ok(Ask {
        session: session.id().clone(),
        user: session.user_name().to_string(),
        device,
        address: session.address().to_owned(),
        user_agent: session.user_agent().to_owned(),
        expires_at: session.expires_at(),
        proof: session.proof().map(|proof| Proof::clone(&proof)),
    })
}

async fn passkey(accounts: &Accounts, permit: &Permit) -> Result<PasskeyFacts, Withheld> {
    let passkey = match accounts.passkey(permit.session().device()).await {
        Ok(passkey) => passkey,
        // It was revoked this instant, and the session with it.
        Err(AccountError::Missing(_)) => return Err(Withheld::Over),
        Err(error) => {
            tracing::error!(%error, "a session's passkey could not be looked up");
            return Err(Withheld::Unanswered);
        }
    };
    let key = PublicKey::parse(&passkey.public_key).ok_or(Withheld::Unanswered)?;
    Ok(PasskeyFacts::new(passkey.id, passkey.name, key))
}

/// What follows from a desktop's verdict: what it would not have is over, and what it approved is known at the deployer.
pub(super) fn verdicts(sessions: Arc<Sessions>, trail: Arc<Trail>) -> Verdicts {
    let approved = Mutex::<HashMap<SessionId, Arc<Session>>>::default();
    Arc::new(move |tunnel: &TunnelId, session: &SessionId, verdict| {
        // A desktop has a say in sessions of its own tunnel and in no others.
        let Some(session) = sessions.of_tunnel(session, tunnel) else { return Box::pin(async {}) };
        if verdict == Verdict::Approved && !is_first(&approved, &session) {
            return Box::pin(async {});
        }
        let (act, cause) = match verdict {
            Verdict::Served => (None, None),
            Verdict::Approved => (Some(Act::DeviceApproved), None),
            Verdict::Denied => (Some(Act::DeviceDenied), Some(Cause::Denied)),
            Verdict::Expired => (Some(Act::DeviceExpired), Some(Cause::Unanswered)),
            Verdict::Removed => (Some(Act::DeviceRemoved), Some(Cause::Untrusted)),
        };
        let (sessions, trail, tunnel) = (Arc::clone(&sessions), Arc::clone(&trail), tunnel.clone());
        let vouches = cause.is_none() && session.method().is_fallback();
        let vouched = vouches.then(|| sessions.approve_device(session.device()));
        Box::pin(async move {
            let done = match (cause, vouched) {
                (Some(cause), _) => {
                    sessions.revoke(&Target::Session(session.id().clone()), cause).await.map(drop)
                }
                (None, Some(vouched)) => vouched.await,
                (None, None) => Ok(()),
            };
            if let Err(error) = done {
                tracing::error!(%error, "a desktop's verdict could not be kept");
            }
            if let Some(act) = act {
                note(&trail, act, &session, &tunnel).await;
            }
        })
    })
}

/// Whether a session's approval is heard for the first time: an agent may say the same for ever, and fills no disk.
fn is_first(approved: &Mutex<HashMap<SessionId, Arc<Session>>>, session: &Arc<Session>) -> bool {
    let mut approved = approved.lock().unwrap_or_else(PoisonError::into_inner);
    if approved.len() >= TIDY_FROM && approved.len().is_power_of_two() {
        approved.retain(|_, session| !session.is_over());
    }
    approved.insert(session.id().clone(), Arc::clone(session)).is_none()
}
