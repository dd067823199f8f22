//! What the agent at the other end of a connection says of the sessions that would use it.
//!
//! The desktop decides whom to let in; the edge asks once for each session and connection, and remembers the answer for
//! as long as the connection lasts. Only a session that the agent approved gets an [`Approved`], and only with one can a
//! stream be opened. The agent looks at each stream itself all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use h2::RecvStream;
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;

use super::accept::{post, send};
use super::link::{AgentLink, OpenError, Opened};
use crate::access::{Permit, Session};
use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId, TunnelId};
use crate::wire::approval::{
    Answer, Ask, DEVICES_LIMIT, DEVICES_PATH, SESSION_HEADER, SESSION_PATH, TrustedDevice,
};
use crate::wire::{AgentEvent, MESSAGE_LIMIT, http2};

/// How long an agent may take to answer (contract, section 4).
const PATIENCE: Duration = Duration::from_secs(5);

/// From so many sessions on, those that have ended are looked for and forgotten.
const TIDY_FROM: usize = 64;

/// The desktop's last word on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its streams are served; nobody had to be asked now.
    Served,
    /// Its streams are served: somebody there approved it.
    Approved,
    /// Somebody there would not have it.
    Denied,
    /// Nobody there said anything in time.
    Expired,
    /// Its device is no longer trusted.
    Removed,
}

impl Verdict {
    /// What an event says, and about which session.
    pub(super) fn of(event: AgentEvent) -> Option<(SessionId, Self)> {
        Some(match event {
            AgentEvent::Approved { session } => (session, Self::Approved),
            AgentEvent::Denied { session } => (session, Self::Denied),
            AgentEvent::Expired { session } => (session, Self::Expired),
            AgentEvent::Removed { session } => (session, Self::Removed),
            AgentEvent::Leaving | AgentEvent::Nonce { .. } | AgentEvent::Unknown => return None,
        })
    }
}

/// Told of each verdict before whoever waits for it: the tunnel, the session, what was decided. What the visitor may do from
/// then on holds when it returns; what it gives resolves when all that follows is kept. A verdict may come again.
pub type Verdicts = Arc<dyn Fn(&TunnelId, &SessionId, Verdict) -> BoxFuture<'static, ()> + Send + Sync>;

/// How a session stands at the desktop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The agent has not answered yet.
    Asking,
    /// Somebody at the desktop is asked.
    Waiting {
        /// Two digits, shown there too.
        number: u8,
        /// When it is too late.
        until: Timestamp,
    },
    /// Nobody is asked, because too many were.
    Crowded {
        /// When to try again.
        until: Timestamp,
    },
    /// It was decided.
    Decided(Verdict),
    /// The agent is of a version that is not asked; it serves nobody until it is updated.
    Outdated,
    /// No answer came.
    Unanswered,
}

impl Standing {
    /// Whether the next request should ask again.
    const fn is_open(&self) -> bool {
        matches!(self, Self::Crowded { .. } | Self::Unanswered)
    }
}

/// Proof that the agent of this connection approved the session. Made here alone.
#[derive(Clone, Debug)]
pub struct Approved {
    link: Arc<AgentLink>,
    session: HeaderValue,
}

impl Approved {
    /// Opens a stream for a request of the approved session: see [`AgentLink::open`].
    pub fn open(&self, mut request: Request<()>, end_of_stream: bool) -> Result<Opened, OpenError> {
        request.headers_mut().insert(SESSION_HEADER, self.session.clone());
        self.link.open(request, end_of_stream)
    }

    /// One that an edge made up which does not ask, for tests of what the agent makes of it.
    #[cfg(test)]
    pub(crate) fn claimed(link: Arc<AgentLink>, session: &SessionId) -> Self {
        Self { link, session: HeaderValue::from_str(session.as_str()).expect("an id") }
    }

    /// One that nobody gave, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn unasked(link: Arc<AgentLink>) -> Self {
        Self { link, session: HeaderValue::from_static("none") }
    }
}

/// The sessions that an agent was asked about.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<HashMap<SessionId, Entry>>);

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    /// Until when the session was said to last.
    until: Timestamp,
    standing: watch::Sender<Standing>,
}

impl Standings {
    fn locked(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent's answer to a question; what was decided meanwhile counts more.
    fn answered(&self, session: &SessionId, standing: Standing) {
        if let Some(entry) = self.locked().get(session) {
            entry.standing.send_if_modified(|now| {
                let first = *now == Standing::Asking;
                if first {
                    *now = standing;
                }
                first
            });
        }
    }

    /// The agent's verdict.
    pub(super) fn decided(&self, session: &SessionId, verdict: Verdict) {
        if let Some(entry) = self.locked().get(session) {
            entry.standing.send_replace(Standing::Decided(verdict));
        }
    }
}

/// A session at one connection, for whoever waits for the desktop's word.
#[derive(Debug)]
pub struct Watched {
    link: Arc<AgentLink>,
    session: Arc<Session>,
    standing: watch::Receiver<Standing>,
}

impl Watched {
    /// How it stands, once the agent has said something.
    pub async fn standing(&mut self) -> Standing {
        let answered = self.standing.wait_for(|standing| *standing != Standing::Asking);
        tokio::select! {
            answered = answered => answered.map_or(Standing::Unanswered, |standing| standing.clone()),
            () = self.link.closed().cancelled() => Standing::Unanswered,
        }
    }

    /// Resolves when there may be something else to say.
    pub async fn changed(&mut self) {
        tokio::select! {
            _ = self.standing.changed() => {}
            () = self.link.closed().cancelled() => {}
            () = self.session.over() => {}
        }
    }

    /// The proof, if the agent approved.
    pub fn approved(&self) -> Option<Approved> {
        let approved =
            matches!(*self.standing.borrow(), Standing::Decided(Verdict::Served | Verdict::Approved));
        let session = HeaderValue::from_str(self.session.id().as_str()).ok()?;
        approved.then(|| Approved { link: Arc::clone(&self.link), session })
    }
}

/// Why nothing is known of a desktop's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevicesError {
    /// It did not answer.
    #[error("the desktop did not answer")]
    Unanswered,
    /// It is too old to say.
    #[error("the desktop's agent is too old to say")]
    Outdated,
    /// It trusts no such device.
    #[error("the desktop trusts no such device")]
    NotTrusted,
}

impl AgentLink {
    /// The admitted session, if this agent was asked about it and need not be asked again. In memory: no I/O.
    pub fn known(self: &Arc<Self>, permit: &Permit) -> Option<Watched> {
        self.known_among(&self.standings().locked(), permit.session())
    }

    fn known_among(
        self: &Arc<Self>,
        standings: &HashMap<SessionId, Entry>,
        session: &Session,
    ) -> Option<Watched> {
        let entry = standings.get(session.id())?;
        // A session that was joined by a later sign-in lasts longer than the agent was told.
        let holds = !entry.standing.borrow().is_open() && entry.until >= session.expires_at();
        holds.then(|| self.watched(entry))
    }

    /// Asks the agent about the admitted session, unless somebody was faster.
    pub fn ask(self: &Arc<Self>, permit: &Permit, ask: Ask, verdicts: &Verdicts) -> Watched {
        let session = Arc::clone(permit.session());
        let (id, until) = (session.id().clone(), ask.expires_at);
        let mut standings = self.standings().locked();
        if let Some(known) = self.known_among(&standings, &session) {
            return known;
        }
        if standings.len() >= TIDY_FROM {
            standings.retain(|_, entry| !entry.session.is_over());
        }
        let entry = Entry { session, until, standing: watch::Sender::new(Standing::Asking) };
        let watched = self.watched(&entry);
        standings.insert(id.clone(), entry);
        drop(standings);

        // On its own, so that a visitor who leaves does not leave others waiting for an answer that nobody hears.
        let (link, verdicts) = (Arc::clone(self), Arc::clone(verdicts));
        tokio::spawn(async move {
            let standing = link.put_question(&ask).await;
            let follows = match standing {
                Standing::Decided(verdict) => Some(verdicts(&link.identity().tunnel, &id, verdict)),
                _ => None,
            };
            link.standings().answered(&id, standing);
            if let Some(follows) = follows {
                follows.await;
            }
        });
        watched
    }

    /// What was known of the session no longer holds: the agent did not take its stream.
    pub fn forget(&self, permit: &Permit) {
        self.standings().locked().remove(permit.session().id());
    }

    fn watched(self: &Arc<Self>, entry: &Entry) -> Watched {
        Watched {
            link: Arc::clone(self),
            session: Arc::clone(&entry.session),
            standing: entry.standing.subscribe(),
        }
    }

    async fn put_question(&self, ask: &Ask) -> Standing {
        let exchange = async {
            let mut requests = self.requests()?;
            let response = post(&mut requests, SESSION_PATH, ask).ok()?.await.ok()?;
            let status = response.status();
            Some((status, whole(response.into_body(), MESSAGE_LIMIT).await?))
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Some((StatusCode::OK, answer))) => match serde_json::from_slice(&answer) {
                Ok(Answer::Approved) => Standing::Decided(Verdict::Served),
                Ok(Answer::Denied) => Standing::Decided(Verdict::Denied),
                Ok(Answer::Pending { number, until }) => Standing::Waiting { number, until },
                Ok(Answer::Crowded { until }) => Standing::Crowded { until },
                Ok(Answer::Unknown) | Err(_) => Standing::Unanswered,
            },
            Ok(Some((StatusCode::NOT_FOUND, _))) => Standing::Outdated,
            _ => Standing::Unanswered,
        }
    }

    /// The passkeys that the desktop trusts.
    pub async fn devices(&self) -> Result<Vec<TrustedDevice>, DevicesError> {
        let (status, answer) = self.exchange(Method::GET, DEVICES_PATH, DEVICES_LIMIT).await?;
        match status {
            StatusCode::OK => serde_json::from_slice(&answer).map_err(|_| DevicesError::Unanswered),
            // An agent that knows no such path takes nothing but POST.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Err(DevicesError::Outdated),
            _ => Err(DevicesError::Unanswered),
        }
    }

    /// Has the desktop trust a device no longer; it ends the device's sessions.
    pub async fn remove_device(&self, device: &DeviceId) -> Result<(), DevicesError> {
        let path = format!("{DEVICES_PATH}/{device}");
        match self.exchange(Method::DELETE, &path, MESSAGE_LIMIT).await? {
            (StatusCode::NO_CONTENT, _) => Ok(()),
            (StatusCode::NOT_FOUND, _) => Err(DevicesError::NotTrusted),
            (StatusCode::BAD_REQUEST, _) => Err(DevicesError::Outdated),
            _ => Err(DevicesError::Unanswered),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        limit: usize,
    ) -> Result<(StatusCode, Vec<u8>), DevicesError> {
        let exchange = async {
            let mut requests = self.requests()?;
            let response = send(&mut requests, method, path, None).ok()?.await.ok()?;
            let status = response.status();
            Some((status, whole(response.into_body(), limit).await?))
        };
        timeout(PATIENCE, exchange).await.ok().flatten().ok_or(DevicesError::Unanswered)
    }
}

/// A whole answer; none when it breaks off, or is longer than it may be.
async fn whole(mut body: RecvStream, limit: usize) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(piece) = http2::receive(&mut body).await {
        whole.extend_from_slice(&piece.ok()?);
        if whole.len() > limit {
            return None;
        }
    }
    Some(whole)
}
