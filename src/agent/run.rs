//! Staying connected.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::{Backoff, jittered};
use super::desk::Desk;
use super::dial::{Dialer, TrustError};
use super::identity::Link;
use super::local::{App, AppAddress};
use super::serve::{Parted, Service, Word, serve};
use crate::clock::{Clock, Timestamp};
use crate::secret::Entropy;
use crate::wire::{AgentHello, Rhythm, VERSION};

/// A connection that lasted this long was a good one; one that did not counts as a failure to connect.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Everything an agent runs with.
pub struct Agent {
    /// Whom it serves.
    pub link: Link,
    /// What it serves.
    pub app: AppAddress,
    /// How patient it is.
    pub pace: Pace,
    /// For "connected since".
    pub clock: Arc<dyn Clock>,
    /// For WebSocket keys and jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Who says whom to let in.
    pub desk: Arc<Desk>,
}

/// Times that tests shorten.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When to dial again.
    pub backoff: Backoff,
    /// How often to ask whether the edge lives.
    pub rhythm: Rhythm,
    /// How long to leave an edge in peace that does not want this agent for now.
    pub refused: Duration,
    /// How long what is in flight may take when the agent stops.
    pub grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            // Slower than the edge's, which finds a dead connection first and holds visitors for the next one. An edge that
            // asks need not be asked.
            rhythm: Rhythm {
                every: Duration::from_secs(4),
                at_rest: Duration::from_secs(16),
                deadline: Duration::from_secs(6),
            },
            // Who is let in again should not wait for minutes.
            refused: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// How things stand, for whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum AgentState {
    /// It dials, and nothing went wrong so far.
    Connecting,
    /// Visitors may come.
    Connected {
        /// Where they find the tunnel.
        url: String,
        /// Since when.
        #[serde(
            serialize_with = "crate::clock::as_rfc3339",
            deserialize_with = "crate::clock::from_rfc3339"
        )]
        since: Timestamp,
    },
    /// It dials again, after a while.
    Waiting {
        /// What went wrong, and what helps.
        problem: String,
    },
    /// Another took its place; it ends what is in flight.
    Replaced,
    /// It ends what is in flight.
    Stopping,
}

/// Why an agent stopped though nobody asked it to. Dialing again would not help; the sentence says what does.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot dial at all.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Another took its place.
    #[error(
        "replaced: an agent with the same link connected later, and this one stops, for else the two would take turns; if the \
         agent's folder was copied to another machine, run `patapim-agent unlink` on one of them and link it by itself; if the \
         agent runs twice on this one, run it once"
    )]
    Replaced,
    /// Its key is no longer good.
    #[error(
        "unlinked: the edge no longer knows this desktop's key; run `patapim-agent unlink`, then `patapim-agent link` again"
    )]
    Unlinked,
    /// The two do not understand each other.
    #[error("version mismatch: {0}")]
    Outdated(String),
}

/// Keeps the tunnel up until `shutdown` is cancelled, or until the edge says that it is of no use. `state` tells how
/// things stand.
pub async fn run(
    agent: Agent,
    shutdown: CancellationToken,
    state: watch::Sender<AgentState>,
) -> Result<(), RunError> {
    let Agent { link, app, pace, clock, entropy, desk } = agent;
    let _timing = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&desk).keep_time()));
    let _renewing = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&desk).keep_nonces()));
    let dialer = Dialer::for_tunnel(link.edge.clone(), link.ca.as_deref(), &link.key)?;
    let mut runner = Runner {
        app: Arc::new(App::new(app, Arc::clone(&entropy))),
        name: link.name,
        pace,
        clock,
        desk,
        shutdown: shutdown.clone(),
        state,
        met_before: false,
        former: Vec::new(),
    };
    let mut backoff = pace.backoff;
    loop {
        // What went wrong stands until a dial succeeds: whoever looks in between must find it.
        if !matches!(*runner.state.borrow(), AgentState::Waiting { .. }) {
            runner.state.send_replace(AgentState::Connecting);
        }
        let dialed = tokio::select! {
            dialed = dialer.dial() => dialed,
            () = shutdown.cancelled() => break,
        };
        let (problem, pause) = match dialed {
            Err(error) => (error.to_string(), backoff.next(&*entropy)),
            Ok(io) => {
                let began = Instant::now();
                match runner.connection(io).await {
                    None => {
                        backoff.reset();
                        continue_after_drain(&pace, &*entropy, &shutdown).await;
                        continue;
                    }
                    Some(Parted::Left) => break,
                    Some(Parted::Replaced) => return Err(RunError::Replaced),
                    Some(Parted::Unlinked) => return Err(RunError::Unlinked),
                    Some(Parted::Outdated(why)) => return Err(RunError::Outdated(why)),
                    Some(Parted::Refused(why)) => {
                        let pause = pace.refused / 2 + jittered(pace.refused / 2, &*entropy);
                        (format!("refused by the edge: {why}"), pause)
                    }
                    Some(Parted::Lost(why)) => {
                        if began.elapsed() > GOOD_CONNECTION {
                            backoff.reset();
                        }
                        (format!("connection lost: {why}"), backoff.next(&*entropy))
                    }
                }
            }
        };
        runner.state.send_replace(AgentState::Waiting { problem });
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.cancelled() => break,
        }
    }
    runner.state.send_replace(AgentState::Stopping);
    for former in runner.former {
        let _ = former.await;
    }
    Ok(())
}

/// All agents of an edge that stops hear so at once; they do not come back at once.
async fn continue_after_drain(pace: &Pace, entropy: &dyn Entropy, shutdown: &CancellationToken) {
    let pause = pace.backoff.clone().next(entropy);
    tokio::select! {
        () = sleep(pause) => {}
        () = shutdown.cancelled() => {}
    }
}

struct Runner {
    app: Arc<App>,
    name: String,
    pace: Pace,
    clock: Arc<dyn Clock>,
    desk: Arc<Desk>,
    shutdown: CancellationToken,
    state: watch::Sender<AgentState>,
    met_before: bool,
    /// Connections that were told to drain: they serve until their edge closes them.
    former: Vec<AbortOnDropHandle<Parted>>,
}

impl Runner {
    /// Serves one connection. `None` when it goes on by itself and another is to be made.
    async fn connection<IO>(&mut self, io: IO) -> Option<Parted>
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (words, mut hears) = mpsc::unbounded_channel();
        let service = Service {
            app: Arc::clone(&self.app),
            desk: Arc::clone(&self.desk),
            hello: AgentHello {
                version: VERSION,
                name: self.name.clone(),
                software: concat!("patapim-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
                again: self.met_before,
                nonce: None,
            },
            rhythm: self.pace.rhythm,
            grace: self.pace.grace,
            leave: self.shutdown.clone(),
            words,
        };
        let mut served = AbortOnDropHandle::new(tokio::spawn(serve(io, service)));
        loop {
            tokio::select! {
                biased;
                Some(word) = hears.recv() => match word {
                    Word::Met(hello) => {
                        self.met_before = true;
                        let since = self.clock.now();
                        self.state.send_replace(AgentState::Connected { url: hello.url, since });
                    }
                    Word::Replaced => drop(self.state.send_replace(AgentState::Replaced)),
                    Word::Drain => {
                        self.former.retain(|former| !former.is_finished());
                        self.former.push(served);
                        return None;
                    }
                },
                parted = &mut served => {
                    return Some(parted.unwrap_or_else(|panic| Parted::Lost(panic.to_string())));
                }
            }
        }
    }
}
