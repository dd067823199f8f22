//! The local panel: a page on this desktop that shows who asks to be let in, whom it trusts and who is in, and takes the
//! person's word about each.
//!
//! It listens on loopback and nowhere else. The page itself knows nothing and anybody may have it; what there is to know
//! or to do needs the key in the link that the agent printed. The key stands behind the `#` there, so that it never
//! travels in an address: the page's script keeps it and sends it in a header, which no other page can do for it. Which
//! address a request was meant for is checked all the same ([`door`]), so that no foreign page gets as far as the key.

mod door;
mod requests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::door::Door;
use self::requests::Room;
use super::desk::Desk;
use super::run::AgentState;
use crate::secret::{Entropy, SecretText};

/// More than a person's browsers open.
const MOST_CONNECTIONS: usize = 64;
/// A browser sends its request at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// What the panel shows besides what the desk knows.
pub(super) struct Shows {
    /// What this desktop is called.
    pub(super) name: String,
    /// Where visitors find the tunnel.
    pub(super) url: String,
    /// Whom it lets in without a question.
    pub(super) trust: super::Trust,
}

/// The panel cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum PanelError {
    #[error("{0} is not on this machine alone: the panel is shown on 127.0.0.1 or [::1] only")]
    NotLoopback(IpAddr),
    #[error("the panel cannot be shown on {0}: {1}; choose another port")]
    Listen(SocketAddr, std::io::Error),
}

/// The panel, being shown. Dropped, it goes.
pub(super) struct Panel {
    link: SecretText,
    _serving: AbortOnDropHandle<()>,
}

impl Panel {
    /// Shows it at `address`.
    pub(super) async fn open(
        address: SocketAddr,
        shows: Shows,
        desk: Arc<Desk>,
        state: watch::Receiver<AgentState>,
        entropy: &dyn Entropy,
    ) -> Result<Self, PanelError> {
        if !address.ip().is_loopback() {
            return Err(PanelError::NotLoopback(address.ip()));
        }
        let failed = |error| PanelError::Listen(address, error);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let key = SecretText::random(entropy);
        let link = SecretText::new(format!("http://{bound}/#key={}", key.reveal()));
        let room = Arc::new(Room { door: Door::new(bound, key), shows, desk, state });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, room)));
        Ok(Self { link, _serving: serving })
    }

    /// What the person opens. Whoever has it decides here.
    pub(super) fn link(&self) -> &SecretText {
        &self.link
    }
}

async fn serve(listener: TcpListener, room: Arc<Room>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // They end with the panel.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let caller = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((caller, _)) = caller else { continue };
        let room = Arc::clone(&room);
        connections.spawn(async move {
            let _place = place;
            let answer = service_fn(move |request| {
                let room = Arc::clone(&room);
                async move { Ok::<_, std::convert::Infallible>(room.answer(request).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
            if let Err(error) = http.serve_connection(TokioIo::new(caller), answer).await {
                tracing::debug!(%error, "a browser left the panel");
            }
        });
    }
}
