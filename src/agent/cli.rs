//! The commands of `patapim-agent` (contract, section 2).
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage, 78 a link that cannot be read. With `--json` there is one document on
//! stdout and nothing else; sentences for people go to stderr then.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::console::{self, Console};
use super::{
    Agent, AgentState, AppAddress, EdgeAddress, Home, HomeError, Link, LinkError, LinkRequest, Pace,
    RunError, link_desktop, run,
};
use crate::clock::{SystemClock, Timestamp};
use crate::secret::{SecretText, SystemEntropy};

/// How long a running agent may take to stop after the desktop was unlinked.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Parser)]
#[command(
    name = "patapim-agent",
    version,
    about = "Shows an app on this desktop to you, wherever you are",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tie this desktop to a tunnel
    Link(LinkArgs),
    /// Show an app through the tunnel until interrupted
    Run(RunArgs),
    /// Say how this desktop is linked, and whether the agent runs
    Status {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Forget the link and its key, and stop the agent
    Unlink {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct LinkArgs {
    /// The edge's sign-in site, for example https://deployer.patapim.ai
    url: String,
    /// The one-time token that `patapim-edge agent token` printed
    #[arg(long, env = "PATAPIM_LINK_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Trust the authorities in this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What to call this desktop
    #[arg(long)]
    name: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RunArgs {
    /// Where the app listens, for example http://127.0.0.1:3000
    #[arg(long, value_name = "URL")]
    to: String,
    /// Whom to let in
    #[arg(long, value_enum, default_value = "owner")]
    trust: Trust,
    /// Tell the app this host instead of the tunnel's
    #[arg(long, value_name = "HOST")]
    host_header: Option<String>,
    /// Where to show the local panel
    #[arg(long, value_name = "ADDRESS", hide = true)]
    panel: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trust {
    /// Ask here about every new device
    #[value(hide = true)]
    Ask,
    /// Any passkey of the tunnel's owner
    Owner,
}

/// A command that was not done, and its exit status.
struct Failure {
    status: u8,
    sentence: String,
}

impl Failure {
    fn failed(why: impl Display) -> Self {
        Self { status: 1, sentence: why.to_string() }
    }

    fn usage(why: impl Display) -> Self {
        Self { status: 2, sentence: why.to_string() }
    }

    fn configuration(why: impl Display) -> Self {
        Self { status: 78, sentence: why.to_string() }
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        match error {
            HomeError::Unreadable { .. } | HomeError::Nowhere => Self::configuration(error),
            HomeError::Io { .. } => Self::failed(error),
        }
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Home(error) => error.into(),
            LinkError::Contents { .. } => Self::configuration(error),
        }
    }
}

/// Parses the process's arguments and does what they say.
pub async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Link(args) => link(args).await,
        Command::Run(args) => run_until_interrupted(args).await,
        Command::Status { json } => status(json).await,
        Command::Unlink { json } => unlink(json).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            warn(failure.sentence);
            failure.status.into()
        }
    }
}

async fn link(args: LinkArgs) -> Result<(), Failure> {
    let edge = EdgeAddress::parse(&args.url).map_err(Failure::usage)?;
    let token = args.token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()).ok_or_else(|| {
        Failure::usage(
            "a link token is needed: run `patapim-edge agent token --user NAME` on the server, then give it here with --token or in PATAPIM_LINK_TOKEN",
        )
    })?;
    let ca = match args.ca {
        Some(path) => Some(std::fs::read_to_string(&path).map_err(|error| {
            Failure::failed(format!("{}: {error}; --ca wants a file of certificates in PEM", path.display()))
        })?),
        None => None,
    };
    let home = Home::from_environment()?;
    if let Some(link) = Link::load(&home)? {
        return Err(Failure::failed(format!(
            "this desktop is linked to {} already: run `patapim-agent unlink` first, or set PATAPIM_HOME to another folder for a second link",
            link.tunnel_url
        )));
    }
    let name = args.name.unwrap_or_else(desktop_name);
    let request = LinkRequest { edge, ca, name, token: SecretText::new(token) };
    let link = link_desktop(request).await.map_err(Failure::failed)?;
    link.save(&home)?;
    if args.json {
        return print_json(&describe(&link));
    }
    print(format!("Linked as {:?} to {}, for {}.", link.name, link.tunnel_url, link.user));
    print(format!("This desktop's key: {}", link.key.pin().fingerprint()));
    print("Next: patapim-agent run --to http://127.0.0.1:3000");
    Ok(())
}

async fn run_until_interrupted(args: RunArgs) -> Result<(), Failure> {
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
        Failure::failed(
            "this desktop is not linked: run `patapim-agent link https://HOST --token TOKEN` first",
        )
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
        RunError::Trust(_) => Failure::configuration(error),
        _ => Failure::failed(error),
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

async fn interruption() -> std::io::Result<()> {
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

async fn status(json: bool) -> Result<(), Failure> {
    let home = Home::from_environment()?;
    let link = Link::load(&home)?;
    let running = console::status(&home).await?;
    if json {
        let mut shown = link.as_ref().map_or_else(|| json!({"linked": false}), describe);
        let running = match &running {
            Some(status) => merged(json!({"running": true}), status),
            None => json!({"running": false}),
        };
        shown = merged(shown, &running);
        return print_json(&shown);
    }
    match link {
        Some(link) => {
            print(format!("Linked as {:?} to {}, for {}.", link.name, link.tunnel_url, link.user));
            print(format!("This desktop's key: {}", link.key.pin().fingerprint()));
        }
        None => print("Not linked: run `patapim-agent link https://HOST --token TOKEN`."),
    }
    match running {
        None => print("Not running."),
        Some(status) => {
            let pid = status.pid;
            match status.state {
                AgentState::Connected { since, .. } => {
                    print(format!("Running (process {pid}), connected since {}.", since.rfc3339()));
                }
                AgentState::Waiting { problem } => {
                    print(format!("Running (process {pid}), not connected: {problem}"))
                }
                AgentState::Connecting => print(format!("Running (process {pid}), connecting.")),
                AgentState::Replaced | AgentState::Stopping => {
                    print(format!("Running (process {pid}), stopping."))
                }
            }
        }
    }
    Ok(())
}

async fn unlink(json: bool) -> Result<(), Failure> {
    let home = Home::from_environment()?;
    // A link that cannot be read is forgotten all the same: that is the mend.
    let loaded = Link::load(&home);
    if let Err(error) = &loaded {
        warn(format!("forgetting a link that could not be read: {error}"));
    }
    let link = loaded.ok().flatten();
    Link::forget(&home)?;
    if !console::stop(&home, STOP_PATIENCE).await? {
        warn("the agent that runs is still ending what it has in flight");
    }
    if json {
        return print_json(&json!({"linked": false, "tunnel": link.map(|link| link.tunnel)}));
    }
    match link {
        Some(link) => {
            print(format!("Unlinked from {}: the key is gone.", link.tunnel_url));
            print(format!("The tunnel itself stays yours; remove it at {}.", link.edge.origin()));
        }
        None => print("This desktop was not linked."),
    }
    Ok(())
}

fn describe(link: &Link) -> Value {
    json!({
        "linked": true,
        "edge": link.edge.origin(),
        "tunnel": link.tunnel,
        "user": link.user,
        "url": link.tunnel_url,
        "name": link.name,
        "fingerprint": link.key.pin().fingerprint(),
    })
}

/// The fields of both. A link's `url` and a connection's are the same.
fn merged(mut one: Value, other: &impl Serialize) -> Value {
    if let (Value::Object(one), Ok(Value::Object(other))) = (&mut one, serde_json::to_value(other)) {
        one.extend(other);
    }
    one
}

/// What this machine is called.
fn desktop_name() -> String {
    let from_file = || std::fs::read_to_string("/etc/hostname").ok();
    let name =
        std::env::var("COMPUTERNAME").ok().or_else(from_file).or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| crate::wire::one_line(name.trim()))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "Desktop".into())
}

fn print_json(value: &Value) -> Result<(), Failure> {
    print(serde_json::to_string(value).map_err(Failure::failed)?);
    Ok(())
}

/// Whoever closed our stdout does not want to hear about it.
fn print(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "patapim-agent: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_put_together_soundly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_status_is_one_flat_document() {
        let status = console::Status { pid: 7, state: AgentState::Waiting { problem: "x".into() } };
        let shown = merged(json!({"linked": true}), &status);
        assert_eq!(shown, json!({"linked": true, "pid": 7, "state": "waiting", "problem": "x"}));
    }
}
