//! Ctrl-C, and the system's wish that a program ends.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// Heard from the moment that this is made: what comes before it ends the program at once.
#[cfg(unix)]
pub(super) struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Interruptions {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Heard from the moment that this is made: what comes before it ends the program at once.
#[cfg(windows)]
pub(super) struct Interruptions(CtrlC);

#[cfg(windows)]
impl Interruptions {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        ctrl_c().map(Self)
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
