//! The side of a successor: what it does for the server whose place it takes, for as long as that one lasts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use super::lent::lend;
use super::line::Line;
use super::{HeirCall, heir_in};
use crate::edge::private_socket::PrivateSocket;
use crate::secret::from_base64url;
use crate::store::Store;
use crate::trail::Trail;

/// Serves an agent that another server accepted, and what it has said so far.
pub(in crate::edge) type AgentsWay = Arc<dyn Fn(TcpStream, Vec<u8>) -> BoxFuture<'static, ()> + Send + Sync>;

/// A server in whose place another one was. Dropped, it serves that one no more.
pub(in crate::edge) struct Heir(#[expect(dead_code, reason = "held for its end")] AbortOnDropHandle<()>);

impl Heir {
    /// Lends `store` to the server before, writes its acts to `trail`, and takes the agents that it passes on.
    pub(in crate::edge) fn serve(
        data_dir: &Path,
        store: Arc<dyn Store>,
        trail: Arc<Trail>,
        agents: AgentsWay,
    ) -> io::Result<Self> {
        let socket = PrivateSocket::bind(&heir_in(data_dir))?;
        let served = tokio::spawn(async move {
            while let Ok(stream) = socket.accept().await {
                let (store, trail, agents) = (Arc::clone(&store), Arc::clone(&trail), Arc::clone(&agents));
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &*store, &trail, &agents).await {
                        tracing::debug!(%error, "the server before was not answered");
                    }
                });
            }
        });
        Ok(Self(AbortOnDropHandle::new(served)))
    }
}

async fn answer(stream: UnixStream, store: &dyn Store, trail: &Trail, agents: &AgentsWay) -> io::Result<()> {
    let mut line = Line::new(stream);
    let Some((call, mut sockets)) = line.hear_with::<HeirCall>().await? else { return Ok(()) };
    match call {
        HeirCall::Store(call) => lend(store, call, &mut line).await,
        HeirCall::Act(event) => {
            let written = trail.record(*event).await;
            line.say(&written.map_err(|error| error.to_string())).await
        }
        HeirCall::Agent(heard) => {
            let (Some(socket), Some(heard)) = (sockets.pop(), from_base64url(&heard)) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let socket = std::net::TcpStream::from(socket);
            socket.set_nonblocking(true)?;
            let tcp = TcpStream::from_std(socket)?;
            line.say(&()).await?;
            agents(tcp, heard).await;
            Ok(())
        }
    }
}
