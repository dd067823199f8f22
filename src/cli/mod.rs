//! The commands of `patapim-edge` (contract, section 2).
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad configuration. With `--json` there is one JSON document on
//! stdout and nothing else; sentences and logs are on stderr.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{BadConfig, Loaded};
use crate::manual::{CompletionsArgs, ManArgs};

mod admin;
mod ask;
mod audit;
mod backup;
#[cfg(feature = "agent")]
mod demo;
mod doctor;
mod key;
mod log;
mod print;
mod serve;
mod table;

#[derive(Parser)]
#[command(
    name = "patapim-edge",
    version,
    about = "Reach an app on a desktop from any browser, with a fingerprint instead of a password",
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad configuration.",
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an edge, an agent and a sample app with throw-away data
    #[cfg(feature = "agent")]
    Demo(demo::DemoArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Check a configuration, and print the one in effect, secrets redacted
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Examine names, certificate, clock, files, store and ports, and say what to mend
    ///
    /// Each finding is ok, a warning or a failure. It changes nothing; run it as the user that the server runs as. With a
    /// failure the exit status is 1.
    Doctor(doctor::DoctorArgs),
    /// People: who may sign in
    #[command(subcommand)]
    User(admin::User),
    /// Tunnels: the public names of apps
    #[command(subcommand)]
    Tunnel(admin::Tunnel),
    /// Desktops
    #[command(subcommand)]
    Agent(admin::Agent),
    /// Sessions: who is signed in, and where
    #[command(subcommand)]
    Session(admin::Session),
    /// What was done here, by whom and from where
    Audit(audit::Audit),
    /// Signing keys
    #[command(subcommand)]
    Key(key::Key),
    /// Copy all that the running server keeps into one file, while it serves
    ///
    /// The file has people, passkeys, tunnels and desktops, and the sessions and codes of the moment as hashes; the
    /// signing keys are not in it. Only its owner may read it.
    Backup(backup::BackupArgs),
    /// Put a backup in the place of what a stopped server keeps
    ///
    /// Ends every session, access token, invitation and code, and has new keys made at the next start, so that nothing
    /// that was revoked since the backup is good again. What was there is set aside in a folder beside it.
    Restore(backup::RestoreArgs),
    /// Print what makes a shell complete these commands
    Completions(CompletionsArgs),
    /// Write a manual page for every command into a folder
    Man(ManArgs),
}

#[derive(Args, Clone, Debug)]
struct ConfigArg {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "PATAPIM_EDGE_CONFIG",
        default_value = "/etc/patapim-edge/edge.toml"
    )]
    config: PathBuf,
}

/// A command that was not done.
#[derive(Debug)]
enum Failure {
    Failed(String),
    BadConfig(BadConfig),
}

impl Failure {
    fn because(why: impl Display) -> Self {
        Self::Failed(why.to_string())
    }
}

impl From<BadConfig> for Failure {
    fn from(bad: BadConfig) -> Self {
        Self::BadConfig(bad)
    }
}

/// Parses the process's arguments, does what they say, and gives the process's exit status.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        #[cfg(feature = "agent")]
        Command::Demo(args) => demo::demo(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Check { config } => check(&config),
        Command::Doctor(args) => doctor::doctor(args),
        Command::User(command) => command.run(),
        Command::Tunnel(command) => command.run(),
        Command::Agent(command) => command.run(),
        Command::Session(command) => command.run(),
        Command::Key(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
        Command::Completions(args) => print::text(&args.script(Cli::command())),
        Command::Man(args) => manual_pages(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => {
            print::complain(&why);
            ExitCode::from(1)
        }
        Err(Failure::BadConfig(bad)) => {
            print::complain(&bad.to_string());
            ExitCode::from(78)
        }
    }
}

fn manual_pages(args: &ManArgs) -> Result<(), Failure> {
    let pages = args.write(Cli::command()).map_err(Failure::because)?;
    print::text(&format!("{pages} manual pages are in {}.", args.folder().display()))
}

fn check(config: &ConfigArg) -> Result<(), Failure> {
    let Loaded { config, warnings } = crate::config::load(&config.config, environment())?;
    for warning in warnings {
        print::complain(&format!("warning: {warning}"));
    }
    print::text(&config.effective())
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is() {
        fn explained(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} does not say what it does");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} does not say what {} is", argument.get_id());
            }
            for inner in command.get_subcommands() {
                explained(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        explained(&Cli::command(), "patapim-edge");
    }
}
