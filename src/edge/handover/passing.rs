//! Agents that come to a server that has a successor: they are passed on, before the TLS handshake.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::line::Line;
use super::{HeirCall, PATIENCE};
use crate::secret::base64url;

/// Where agents are passed on to, if anywhere.
#[derive(Debug, Default)]
pub(in crate::edge) struct Passing(ArcSwapOption<PathBuf>);

impl Passing {
    /// From now on to the server that is heard at `heir`; none: they are served here.
    pub(super) fn to(&self, heir: Option<PathBuf>) {
        self.0.store(heir.map(Arc::new));
    }

    /// Passes on an agent that has said `heard` over `tcp`, if agents are passed on. An agent that could not be passed on
    /// dials again.
    pub(in crate::edge) async fn pass(&self, tcp: &TcpStream, heard: &[u8]) -> bool {
        let Some(heir) = self.0.load_full() else { return false };
        let passed = async {
            let mut line = Line::dial(&heir).await?;
            line.say_with(&HeirCall::Agent(base64url(heard)), &[tcp.as_fd()]).await?;
            line.hear::<()>().await?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        match timeout(PATIENCE, passed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an agent could not be passed on"),
            Err(_) => tracing::warn!("an agent was not taken over in time"),
        }
        true
    }
}
