//! `patapim-agent run`: an agent in the foreground, saying how things stand, until it is interrupted.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::devices::lines_about;
use super::interruption::Interruptions;
use super::{Failure, RunArgs, print, warn};
use crate::agent::approvals::Shown;
use crate::agent::belief::Refusal;
use crate::agent::console::Console;
use crate::agent::desk::Snapshot;
use crate::agent::listing::short;
use crate::agent::panel::{Panel, PanelError, Shows};
use crate::agent::{Agent, AgentState, AppAddress, Desk, Home, Link, Pace, RunError, notify, run};
use crate::clock::{SystemClock, Timestamp};
use crate::secret::{Entropy, SystemEntropy};

pub(super) async fn run_until_interrupted(args: RunArgs) -> Result<(), Failure> {
    let mut app = AppAddress::parse(&args.to).map_err(Failure::usage)?;
    if let Some(host) = &args.host_header {
        app = app.with_host(host).map_err(Failure::usage)?;
    }
    let home = Home::from_environment()?;
    let link = Link::load(&home)?.ok_or_else(|| {
        Failure::failed("this desktop is not linked: run `patapim-agent link https://HOST` first")
    })?;

    let mut interruptions = Interruptions::listen().map_err(Failure::failed)?;
    let entropy = SystemEntropy::shared();
    let clock = SystemClock::not_before(Timestamp::default());
    let (owner, judge) = (&*link.user, link.judge());
    let desk = Desk::open(home.clone(), args.rules(), owner, judge, clock.clone(), Arc::clone(&entropy))?;
    desk.reports().iter().for_each(warn);
    let shutdown = CancellationToken::new();
    let (state, states) = watch::channel(AgentState::Connecting);
    let console = Console::open(home, states.clone(), Arc::clone(&desk), shutdown.clone(), &*entropy).await;
    if let Err(error) = &console {
        warn(format!("`patapim-agent status` will not see this agent: {error}"));
    }
    let panel = match args.panel {
        Some(address) => Some(open_panel(address, &args, &link, &desk, states.clone(), &*entropy).await?),
        None => None,
    };
    if let Some(panel) = &panel {
        // A secret, for whoever sits here: this terminal is where it belongs.
        print(format!("Panel: {}", panel.link().reveal()));
    }
    let shown = app.to_string();
    let _announcing = AbortOnDropHandle::new(tokio::spawn(announce(Arc::clone(&desk))));
    let agent = Agent { link, app, pace: Pace::default(), clock, entropy, desk };
    let mut ran = std::pin::pin!(run(agent, shutdown.clone(), state));
    let ended = tokio::select! {
        ended = &mut ran => ended,
        () = tell(states, &shown) => Ok(()),
        () = interruptions.next() => {
            shutdown.cancel();
            tokio::select! {
                ended = ran => ended,
                // The second one does not wait for anything.
                () = interruptions.next() => Ok(()),
            }
        }
    };
    ended.map_err(|error| match error {
        // What keeps a program running must not start these again: somebody has to mend the link first.
        RunError::Trust(_) | RunError::Replaced | RunError::Unlinked => Failure::configuration(error),
        RunError::Outdated(_) => Failure::failed(error),
    })
}

async fn open_panel(
    address: SocketAddr,
    args: &RunArgs,
    link: &Link,
    desk: &Arc<Desk>,
    states: watch::Receiver<AgentState>,
    entropy: &dyn Entropy,
) -> Result<Panel, Failure> {
    let shows = Shows { name: link.name.clone(), url: link.tunnel_url.clone(), trust: args.trust.into() };
    Panel::open(address, shows, Arc::clone(desk), states, entropy).await.map_err(|error| match error {
        PanelError::NotLoopback(_) => Failure::usage(error),
        PanelError::Listen(..) => Failure::failed(error),
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

/// Says when a device begins to wait, here and on the desktop's screen; and whom this desktop did not believe.
async fn announce(desk: Arc<Desk>) {
    let mut changes = desk.changes();
    let mut announced: Vec<Shown> = Vec::new();
    let mut refused: Vec<Refusal> = Vec::new();
    loop {
        changes.mark_unchanged();
        let Snapshot { waiting, refusals, .. } = desk.snapshot();
        for one in refusals.iter().filter(|one| !refused.contains(one)) {
            warn(format!("not let in: “{}” from {}: {}", one.name, one.address, one.why));
        }
        refused = refusals;
        let asked_already =
            |one: &Shown| announced.iter().any(|other| (&other.id, other.since) == (&one.id, one.since));
        for one in waiting.iter().filter(|one| !asked_already(one)) {
            print("A device asks to be let in:");
            lines_about(one).into_iter().for_each(print);
            print(format!(
                "          If it shows {} too: patapim-agent devices approve {}",
                one.number,
                short(&one.id)
            ));
            notify::show(one);
        }
        announced = waiting;
        if changes.changed().await.is_err() {
            return;
        }
    }
}
