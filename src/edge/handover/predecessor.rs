//! The side of a successor: the server whose place it takes, as it sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::line::Line;
use super::{HandoverError, PATIENCE, Reply, Request, VERSION, socket_in};
use crate::edge::listen::Bound;
use crate::names::TunnelId;
use crate::tunnel::Registry;

/// How long agents may take to dial anew. A desktop that went to sleep just now must not hold up the others.
const AGENTS_PATIENCE: Duration = Duration::from_secs(5);

/// A running server, in the middle of handing over.
pub(in crate::edge) struct Predecessor {
    line: Line,
    tunnels: Vec<TunnelId>,
}

/// The sockets it listens on.
#[derive(Debug, Default)]
pub(in crate::edge) struct Inherited {
    pub(in crate::edge) https: Vec<Bound>,
    pub(in crate::edge) http: Vec<Bound>,
    pub(in crate::edge) admin: Vec<Bound>,
}

impl Predecessor {
    /// Asks the server that runs on `data_dir` to hand over; none: there is none.
    pub(in crate::edge) async fn meet(data_dir: &Path) -> Result<Option<(Self, Inherited)>, HandoverError> {
        let line = match Line::dial(&socket_in(data_dir)).await {
            Ok(line) => line,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mut met = Self { line, tunnels: Vec::new() };
        let (reply, sockets) = met.ask(Request::Listeners { version: VERSION }).await?;
        let Reply::Listeners { https, http } = reply else { return Err(unexpected(&reply)) };
        let mut sockets = sockets.into_iter().map(Bound::inherited);
        let mut some = |count| sockets.by_ref().take(count).collect::<io::Result<Vec<_>>>();
        let inherited = Inherited { https: some(https)?, http: some(http)?, admin: some(1)? };
        Ok(Some((met, inherited)))
    }

    /// Has it close its store. From now on there is a way back only by ending.
    pub(in crate::edge) async fn give_store(&mut self) -> Result<(), HandoverError> {
        match self.ask(Request::Store).await?.0 {
            Reply::Store { tunnels } => {
                self.tunnels = tunnels;
                Ok(())
            }
            reply => Err(unexpected(&reply)),
        }
    }

    /// Has it go on with the store that is served here, and pass its agents on; waits until they are in `registry`.
    ///
    /// Whoever has the store is the server: should the other one fail now, this one goes on alone.
    pub(in crate::edge) async fn move_agents(&mut self, registry: &Registry) {
        match self.ask(Request::Serving).await {
            Ok((Reply::Done, _)) => {}
            Ok((reply, _)) => return tracing::warn!(error = %unexpected(&reply), "going on alone"),
            Err(error) => return tracing::warn!(%error, "going on alone"),
        }
        let came =
            join_all(self.tunnels.iter().map(|tunnel| registry.wait_for(tunnel, AGENTS_PATIENCE))).await;
        let late = came.iter().filter(|agent| agent.is_none()).count();
        tracing::info!(agents = came.len() - late, late, "agents have moved");
    }

    /// Tells it that visitors are accepted here, and waits until it has ended.
    pub(in crate::edge) async fn accepting_until_its_end(mut self) {
        // An error means that it has.
        if self.line.say(&Request::Accepting).await.is_ok() {
            self.line.gone().await;
        }
    }

    async fn ask(&mut self, request: Request) -> Result<(Reply, Vec<OwnedFd>), HandoverError> {
        self.line.say(&request).await?;
        let heard = timeout(PATIENCE, self.line.hear_with()).await.map_err(|_| HandoverError::Silent)?;
        match heard?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))? {
            (Reply::Refused(why), _) => Err(HandoverError::Refused(why)),
            answered => Ok(answered),
        }
    }
}

fn unexpected(reply: &Reply) -> HandoverError {
    HandoverError::Broken(io::Error::other(format!("{reply:?} out of turn")))
}
