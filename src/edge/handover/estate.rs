//! The side of the server that runs: what it has to hand over, and how it does.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::acts::forward_to;
use super::lent::Lent;
use super::line::Line;
use super::passing::Passing;
use super::{HandoverError, Reply, Request, VERSION, heir_in, socket_in};
use crate::clock::Clock;
use crate::edge::listen::{Bound, Sockets};
use crate::edge::private_socket::PrivateSocket;
use crate::edge::store_file;
use crate::store::Store;
use crate::store::replaceable::{Replaceable, Vacancy};
use crate::store::sqlite::OpenError;
use crate::trail::{Trail, Yielded};
use crate::tunnel::Registry;

/// A successor that ends gives its lock back with its last breath, which may be a moment after its last word.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often the lock is tried meanwhile.
const LOCK_RHYTHM: Duration = Duration::from_millis(50);

/// All that a successor takes over.
pub(in crate::edge) struct Estate {
    pub(in crate::edge) data_dir: PathBuf,
    pub(in crate::edge) store: Arc<Replaceable>,
    pub(in crate::edge) trail: Arc<Trail>,
    pub(in crate::edge) clock: Arc<dyn Clock>,
    pub(in crate::edge) registry: Arc<Registry>,
    pub(in crate::edge) passing: Arc<Passing>,
    /// None: this server listens no more.
    pub(in crate::edge) sockets: Mutex<Option<Sockets>>,
}

/// The files that a successor gets, closed.
struct Closed {
    trail: Yielded,
    vacancy: Vacancy,
}

/// A successor accepts. While it lives it has the line.
pub(in crate::edge) struct HandedOver(Line);

impl HandedOver {
    /// Resolves if the successor ends.
    pub(in crate::edge) async fn ended(&mut self) {
        self.0.gone().await;
    }
}

impl Estate {
    /// Closes the listening sockets, as far as it depends on us.
    pub(in crate::edge) fn close_sockets(&self) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for a successor, and hands over to the first that takes everything. Until this server is `alone`, because the
    /// one whose place it took has ended, it has none.
    ///
    /// # Errors
    /// A successor ended half-way and the store could not be taken back.
    pub(in crate::edge) async fn await_successor(
        &self,
        socket: &PrivateSocket,
        alone: &CancellationToken,
    ) -> Result<HandedOver, HandoverError> {
        loop {
            let stream = match socket.accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a successor was not heard");
                    sleep(LOCK_RHYTHM).await;
                    continue;
                }
            };
            let mut line = Line::new(stream);
            match self.hand_over(&mut line, !alone.is_cancelled()).await {
                Ok(()) => return Ok(HandedOver(line)),
                Err(lost @ (HandoverError::Lost(_) | HandoverError::TrailLost(_))) => return Err(lost),
                Err(error) => tracing::error!(%error, "not handed over; this server goes on"),
            }
        }
    }

    async fn hand_over(&self, line: &mut Line, busy: bool) -> Result<(), HandoverError> {
        let Request::Listeners { version } = hear(line).await? else {
            return Err(refuse(line, "not now").await);
        };
        if version != VERSION {
            let why = "the two are too far apart in version: stop this one and start the other";
            return Err(refuse(line, why).await);
        }
        if busy {
            let why = "the server before it still ends what it has in flight: try again in a moment";
            return Err(refuse(line, why).await);
        }
        tracing::info!("a new server asks to take over");
        self.give_sockets(line).await?;
        expect(line, Request::Store).await?;
        let closed = self.close().await?;
        if let Err(error) = self.give_store(line).await {
            self.take_back(closed).await?;
            return Err(error);
        }
        let heir = heir_in(&self.data_dir);
        closed.vacancy.fill(Arc::new(Lent { heir: heir.clone() }));
        closed.trail.forward(forward_to(heir.clone()));

        self.passing.to(Some(heir));
        self.registry.drain();
        if let Err(error) = move_on(line).await {
            self.passing.to(None);
            self.registry.stay();
            let closed = self.close().await?;
            self.take_back(closed).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Lets go of both files, once what was asked for is done. Whoever needs them waits.
    async fn close(&self) -> Result<Closed, HandoverError> {
        let trail = self.trail.yield_file().await.map_err(HandoverError::TrailLost)?;
        Ok(Closed { trail, vacancy: self.store.vacate().await })
    }

    async fn give_sockets(&self, line: &mut Line) -> Result<(), HandoverError> {
        // Copies, so that nothing is held while they are sent.
        let copied = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Sockets::copy);
        let Some(copied) = copied else { return Err(refuse(line, "it is about to stop").await) };
        let Sockets { https, http, admin } = copied?;
        let all: Vec<_> = https.iter().chain(&http).chain([&admin]).map(Bound::as_fd).collect();
        let reply = Reply::Listeners { https: https.len(), http: http.len() };
        Ok(line.say_with(&reply, &all).await?)
    }

    /// The file is closed. Comes back when the successor serves it.
    async fn give_store(&self, line: &mut Line) -> Result<(), HandoverError> {
        let tunnels = self.registry.online().into_iter().map(|agent| agent.tunnel).collect();
        line.say(&Reply::Store { tunnels }).await?;
        expect(line, Request::Serving).await
    }

    /// The successor is gone, or going. One that is neither keeps the store, and then it is the server.
    async fn take_back(&self, closed: Closed) -> Result<(), HandoverError> {
        let Closed { trail, vacancy } = closed;
        vacancy.fill(self.reopen().await?);
        let store: Arc<dyn Store> = Arc::clone(&self.store) as _;
        self.trail.take_back(trail, &store).await.map_err(HandoverError::TrailLost)
    }

    async fn reopen(&self) -> Result<Arc<dyn Store>, HandoverError> {
        let until = Instant::now() + LOCK_PATIENCE;
        loop {
            match store_file::reopen(&self.data_dir, &self.clock) {
                Ok(store) => return Ok(store),
                Err(OpenError::InUse { .. }) if Instant::now() < until => sleep(LOCK_RHYTHM).await,
                Err(error) => return Err(HandoverError::Lost(error)),
            }
        }
    }

    /// Where it hears a successor.
    pub(in crate::edge) fn listen(&self) -> std::io::Result<PrivateSocket> {
        PrivateSocket::bind(&socket_in(&self.data_dir))
    }
}

async fn move_on(line: &mut Line) -> Result<(), HandoverError> {
    line.say(&Reply::Done).await?;
    expect(line, Request::Accepting).await
}

/// However long it takes: that the successor lives is seen by its line.
async fn hear(line: &mut Line) -> Result<Request, HandoverError> {
    line.hear().await?.ok_or_else(|| HandoverError::Broken(std::io::ErrorKind::UnexpectedEof.into()))
}

async fn expect(line: &mut Line, wanted: Request) -> Result<(), HandoverError> {
    match hear(line).await? {
        said if said == wanted => Ok(()),
        said => Err(HandoverError::Broken(std::io::Error::other(format!("{said:?} out of turn")))),
    }
}

async fn refuse(line: &mut Line, why: &str) -> HandoverError {
    // It may be gone; either way there is no hand-over.
    let _ = line.say(&Reply::Refused(why.to_owned())).await;
    HandoverError::Refused(why.to_owned())
}
