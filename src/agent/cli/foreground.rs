//! `patapim-agent run`: an agent in the foreground, saying how things stand, until it is interrupted.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Failure, RunArgs, Trust, print, warn};
use crate::agent::console::Console;
use crate::agent::{Agent, AgentState, AppAddress, Home, Link, Pace, RunError, run};
use crate::clock::{SystemClock, Timestamp};
use crate::secret::SystemEntropy;

pub(super) async fn run_until_interrupted(args: RunArgs) -> Result<(), Failure> {
    if args.trust == Trust::Ask {
        return Err(Failure::usage(
            "--trust ask is not there yet; with --trust owner any passkey of the tunnel's owner is let in",
        ));
    }
    if args.panel.is_some() {
        return Err(Failure::usage("--panel is not there yet; `patapim-agent status` says how things stand"));
    }
    let mut app = AppAddress::parse(&args.to).map_err(Failure::usage)?;
    if let Some(host) = &args.host_header {
        app = app.with_host(host).map_err(Failure::usage)?;
    }
    let home = Home::from_environment()?;
    let link = Link::load(&home)?.ok_or_else(|| {
        Failure::failed("this desktop is not linked: run `patapim-agent link https://HOST` first")
    })?;

    let entropy = SystemEntropy::shared();
    let shutdown = CancellationToken::new();
    let (state, states) = watch::channel(AgentState::Connecting);
    let console = Console::open(home, states.clone(), shutdown.clone(), &*entropy).await;
    if let Err(error) = &console {
        warn(format!("`patapim-agent status` will not see this agent: {error}"));
    }
    let shown = app.to_string();
    let clock = SystemClock::not_before(Timestamp::default());
    let agent = Agent { link, app, pace: Pace::default(), clock, entropy };
    let mut ran = std::pin::pin!(run(agent, shutdown.clone(), state));
    let ended = tokio::select! {
        ended = &mut ran => ended,
        () = tell(states, &shown) => Ok(()),
        interrupted = interruption() => {
            interrupted.map_err(Failure::failed)?;
            shutdown.cancel();
            tokio::select! {
                ended = ran => ended,
                // The second one does not wait for anything.
                _ = interruption() => Ok(()),
            }
        }
    };
    ended.map_err(|error| match error {
        // What keeps a program running must not start these again: somebody has to mend the link first.
        RunError::Trust(_) | RunError::Replaced | RunError::Unlinked => Failure::configuration(error),
        RunError::Outdated(_) => Failure::failed(error),
    })
}

/// Prints how things stand whenever that changes.
async fn tell(mut states: watch::Receiver<AgentState>, app: &str) {
    let mut told = None;
    loop {
        let state = states.borrow_and_update().clone();
        match &state {
            AgentState::Connected { url, .. } => print(format!("Connected: {url} shows {app}")),
            AgentState::Waiting { .. } if told.as_ref() == Some(&state) => {}
            AgentState::Waiting { problem } => warn(format!("{problem} (trying again)")),
            AgentState::Replaced => warn("replaced by a newer agent; ending what is in flight"),
            AgentState::Connecting | AgentState::Stopping => {}
        }
        if state != AgentState::Connecting {
            told = Some(state);
        }
        if states.changed().await.is_err() {
            // The agent has ended; what it ended with is told by whoever ran it.
            std::future::pending::<()>().await;
        }
    }
}

/// Somebody pressed Ctrl-C, or the system wants the process to end.
pub(super) async fn interruption() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
