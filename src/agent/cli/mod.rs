//! The commands of `patapim-agent` (contract, section 2).
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage, 78 a link that cannot be read or is no longer good. With `--json` there
//! is one document on stdout and nothing else; sentences for people go to stderr then.

mod devices;
mod foreground;
mod interruption;
mod link;

use std::fmt::Display;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::console;
use super::listing::Sessions;
use super::{AgentState, Desk, Home, HomeError, Link, LinkError, Unproven};
use crate::manual::{CompletionsArgs, ManArgs};

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
    Link(link::LinkArgs),
    /// Show an app through the tunnel until interrupted
    Run(RunArgs),
    /// Whom this desktop lets in, and who asks
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Say how this desktop is linked, and whether the agent runs
    Status {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Forget the link, its key and the devices trusted with it, and stop the agent
    Unlink {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Print what makes a shell complete these commands
    Completions(CompletionsArgs),
    /// Write a manual page for every command into a folder
    Man(ManArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Where the app listens, for example http://127.0.0.1:3000
    #[arg(long, value_name = "URL")]
    to: String,
    /// Whom to let in
    #[arg(long, value_enum, default_value = "ask")]
    trust: Trust,
    /// Let nobody in who has not proven to this desktop that a trusted passkey was used
    #[arg(long)]
    require_proof: bool,
    /// Tell the app this host instead of the tunnel's
    #[arg(long, value_name = "HOST")]
    host_header: Option<String>,
    /// Where to show the local panel, for example 127.0.0.1:7717
    #[arg(long, value_name = "ADDRESS")]
    panel: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trust {
    /// Ask here about every new device
    Ask,
    /// Any passkey of the tunnel's owner
    Owner,
}

impl RunArgs {
    /// Whom to let in, and what becomes of those who can prove nothing.
    fn rules(&self) -> (super::Trust, Unproven) {
        (self.trust.into(), if self.require_proof { Unproven::Refused } else { Unproven::Asked })
    }
}

impl From<Trust> for super::Trust {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Ask => Self::Ask,
            Trust::Owner => Self::Owner,
        }
    }
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
            HomeError::Unreadable { .. } | HomeError::Open { .. } | HomeError::Nowhere => {
                Self::configuration(error)
            }
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
        Command::Link(args) => link::link(args).await,
        Command::Run(args) => foreground::run_until_interrupted(args).await,
        Command::Devices(command) => devices::devices(command).await,
        Command::Status { json } => status(json).await,
        Command::Unlink { json } => unlink(json).await,
        Command::Completions(args) => {
            print(args.script(Cli::command()).trim_end());
            Ok(())
        }
        Command::Man(args) => manual_pages(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            warn(failure.sentence);
            failure.status.into()
        }
    }
}

fn manual_pages(args: &ManArgs) -> Result<(), Failure> {
    let pages = args.write(Cli::command()).map_err(Failure::failed)?;
    print(format!("{pages} manual pages are in {}.", args.folder().display()));
    Ok(())
}

async fn status(json: bool) -> Result<(), Failure> {
    let home = Home::from_environment()?;
    let link = Link::load(&home)?;
    let running = console::status(&home).await?;
    let sessions = console::sessions(&home).await?;
    if json {
        let mut shown = link.as_ref().map_or_else(|| json!({"linked": false}), describe);
        let running = match &running {
            Some(status) => merged(json!({"running": true}), status),
            None => json!({"running": false}),
        };
        shown = merged(merged(shown, &running), &sessions.unwrap_or_default());
        return print_json(&shown);
    }
    match link {
        Some(link) => {
            print(format!("Linked as {:?} to {}, for {}.", link.name, link.tunnel_url, link.user));
            print(format!("This desktop's key: {}", link.key.pin().fingerprint()));
        }
        None => print("Not linked: run `patapim-agent link https://HOST`."),
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
    sessions.iter().flat_map(Sessions::lines).for_each(print);
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
    // Not before: a running agent would write them again.
    Desk::forget(&home)?;
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

    #[test]
    fn the_commands_are_put_together_soundly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_may_begin_with_a_hyphen() {
        let line =
            ["patapim-agent", "link", "https://deployer.patapim.test", "--token", "-I7V", "--name", "x"];
        assert!(Cli::try_parse_from(line).is_ok());
    }

    #[test]
    fn a_status_is_one_flat_document() {
        let status = console::Status { pid: 7, state: AgentState::Waiting { problem: "x".into() } };
        let shown = merged(json!({"linked": true}), &status);
        assert_eq!(shown, json!({"linked": true, "pid": 7, "state": "waiting", "problem": "x"}));
    }
}
