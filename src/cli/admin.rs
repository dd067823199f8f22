//! Admin commands: what is asked of the running server, and how its answers read.

use std::path::Path;

use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ask::{ask, sign_in_site};
use super::table::table;
use super::{ConfigArg, Failure, print};
use crate::accounts::UserState;
use crate::edge::admin_documents::{Invited, LinkToken, Revoked, SessionLine, TunnelLine, UserLine};
use crate::edge::admin_socket::Command;
use crate::names::{EmailAddress, SessionId, TunnelId, UserName};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigArg,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
pub(super) enum User {
    /// Add a person, and print the link they enrol with
    Add {
        /// 1 to 32 of a-z, 0-9 and inner hyphens
        name: UserName,
        /// Where sign-in links and notices are sent; nobody else may have it
        #[arg(long)]
        email: Option<EmailAddress>,
        #[command(flatten)]
        options: Options,
    },
    /// List all people
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Shut a person out: end their sessions, cut their desktops, let neither in again
    Disable {
        /// Who
        name: UserName,
        #[command(flatten)]
        options: Options,
    },
    /// Let a disabled person in again
    Enable {
        /// Who
        name: UserName,
        #[command(flatten)]
        options: Options,
    },
    /// Remove a person with their passkeys, tunnels and desktops
    Remove {
        /// Who
        name: UserName,
        #[command(flatten)]
        options: Options,
    },
    /// Print another link to enrol with; it works once, for 24 hours
    Invite {
        /// Whom
        name: UserName,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Subcommand)]
pub(super) enum Tunnel {
    /// List all tunnels
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Remove a tunnel: end its sessions, unlink its desktop; nobody else ever gets its name
    Remove {
        /// Its label
        id: TunnelId,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Subcommand)]
pub(super) enum Agent {
    /// Print a token that links one desktop; it works once, for 15 minutes
    Token {
        /// Whose desktop
        #[arg(long, value_name = "NAME")]
        user: UserName,
        /// Take over this tunnel of theirs instead of making a new one
        #[arg(long, value_name = "ID")]
        tunnel: Option<TunnelId>,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Subcommand)]
pub(super) enum Session {
    /// List who is signed in, and where
    List {
        /// Only this person's sessions
        #[arg(long, value_name = "NAME")]
        user: Option<UserName>,
        #[command(flatten)]
        options: Options,
    },
    /// End one session, or all of a person, at once
    #[command(group(clap::ArgGroup::new("which").required(true).args(["id", "user"])))]
    Revoke {
        /// The session's id
        id: Option<SessionId>,
        /// All sessions of this person
        #[arg(long, value_name = "NAME")]
        user: Option<UserName>,
        #[command(flatten)]
        options: Options,
    },
}

impl User {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add { name, email, options } => options.ask(Command::UserAdd { name, email }, added),
            Self::List { options } => options.ask(Command::UserList {}, users),
            Self::Disable { name, options } => options
                .ask(Command::UserDisable { name }, |line: UserLine| {
                    format!("{} is shut out; sessions and desktops were cut.", line.user)
                }),
            Self::Enable { name, options } => options.ask(Command::UserEnable { name }, |line: UserLine| {
                format!("{} may sign in again.", line.user)
            }),
            Self::Remove { name, options } => options.ask(Command::UserRemove { name }, |line: UserLine| {
                format!("{} is removed, with passkeys, tunnels and desktops.", line.user)
            }),
            Self::Invite { name, options } => options.ask(Command::UserInvite { name }, invited),
        }
    }
}

impl Tunnel {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { options } => options.ask(Command::TunnelList {}, tunnels),
            Self::Remove { id, options } => options.ask(Command::TunnelRemove { id }, |line: TunnelLine| {
                format!("The tunnel {} is removed.", line.id)
            }),
        }
    }
}

impl Agent {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Token { user, tunnel, options } = self;
        let site = sign_in_site(&options.config)?;
        options.ask(Command::AgentToken { user, tunnel }, |token| link_token(&site, token))
    }
}

impl Session {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { user, options } => options.ask(Command::SessionList { user }, sessions),
            Self::Revoke { id: Some(id), options, .. } => options.ask(Command::SessionRevoke { id }, revoked),
            Self::Revoke { user: Some(user), options, .. } => {
                options.ask(Command::SessionRevokeAll { user }, revoked)
            }
            Self::Revoke { .. } => Err(Failure::because("name a session, or a person with --user")),
        }
    }
}

impl Options {
    pub(super) fn config(&self) -> &Path {
        &self.config.config
    }

    pub(super) fn config_arg(&self) -> &ConfigArg {
        &self.config
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Asks, and prints the answer: as it is with `--json`, else as `read` tells it.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        command: Command,
        read: impl Fn(T) -> String,
    ) -> Result<(), Failure> {
        let document = ask(&self.config, &command)?;
        if self.json {
            return print::json(&document);
        }
        print::text(&read(understood(document)?))
    }
}

pub(super) fn understood<T: DeserializeOwned>(document: Value) -> Result<T, Failure> {
    serde_json::from_value(document).map_err(|error| {
        Failure::because(format!(
            "the answer of the running server is not understood ({error}); is it of the same version as this program?"
        ))
    })
}

fn added(Invited { user, enrol_url, .. }: Invited) -> String {
    format!("{user} is added. Hand over this link; it works once, for 24 hours:\n\n  {enrol_url}\n")
}

fn invited(Invited { user, enrol_url, .. }: Invited) -> String {
    format!("A link for {user} to register a passkey with; it works once, for 24 hours:\n\n  {enrol_url}\n")
}

fn link_token(site: &str, LinkToken { token, tunnel }: LinkToken) -> String {
    format!(
        "On the desktop, within 15 minutes; the token works once:\n\n  \
         patapim-agent link {site} --token {token}\n\nIt will serve the tunnel {tunnel}.\n"
    )
}

fn revoked(Revoked { revoked }: Revoked) -> String {
    match revoked {
        0 => "There was no live session to end.".to_owned(),
        1 => "One session is ended.".to_owned(),
        more => format!("{more} sessions are ended."),
    }
}

fn users(all: Vec<UserLine>) -> String {
    if all.is_empty() {
        return "There is nobody yet. Add somebody: patapim-edge user add NAME".to_owned();
    }
    let line = |user: &UserLine| {
        let state = match user.state {
            UserState::Active => "active",
            UserState::Disabled => "disabled",
        };
        [
            user.user.to_string(),
            state.to_owned(),
            user.passkeys.to_string(),
            user.since.clone(),
            user.email.as_ref().map(EmailAddress::to_string).unwrap_or_default(),
            user.id.to_string(),
        ]
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    table(["USER", "STATE", "PASSKEYS", "SINCE", "EMAIL", "ID"], &lines)
}

fn tunnels(all: Vec<TunnelLine>) -> String {
    if all.is_empty() {
        return "There is no tunnel yet. Link a desktop: patapim-edge agent token --user NAME".to_owned();
    }
    let line = |tunnel: &TunnelLine| {
        [
            tunnel.id.to_string(),
            tunnel.user.as_ref().map(ToString::to_string).unwrap_or_default(),
            if tunnel.online { "online" } else { "offline" }.to_owned(),
            tunnel.last_seen.clone().unwrap_or_default(),
            tunnel.desktop.clone().unwrap_or_default(),
            tunnel.url.clone(),
        ]
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    table(["TUNNEL", "USER", "STATE", "LAST SEEN", "DESKTOP", "URL"], &lines)
}

fn sessions(all: Vec<SessionLine>) -> String {
    if all.is_empty() {
        return "Nobody is signed in.".to_owned();
    }
    let line = |session: &SessionLine| {
        [
            session.id.to_string(),
            session.user.to_string(),
            session.tunnel.as_ref().map_or("(sign-in site)".to_owned(), ToString::to_string),
            session.since.clone(),
            session.last_seen.clone(),
            session.address.clone(),
            session
                .access_token
                .as_ref()
                .map_or(session.device_name.clone(), |name| format!("access token {name:?}")),
        ]
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    table(["SESSION", "USER", "TUNNEL", "SINCE", "LAST SEEN", "ADDRESS", "DEVICE"], &lines)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told<T: DeserializeOwned>(document: Value, read: fn(T) -> String) -> String {
        read(understood(document).expect("a document of the contract"))
    }

    #[test]
    fn the_documents_of_the_contract_read_as_text() {
        let id = "a".repeat(26);
        let since = "2030-01-02T03:04:05Z";
        let user =
            json!({"user": "ada", "id": id, "enrol_url": "https://deployer.patapim.test/enrol?ticket=t"});
        assert!(told(user, added).contains("\n  https://deployer.patapim.test/enrol?ticket=t\n"));
        let token = json!({"token": "t0ken", "tunnel": "ada-abc234"});
        let text = link_token("https://deployer.patapim.test", understood(token).expect("a document"));
        assert!(
            text.contains("  patapim-agent link https://deployer.patapim.test --token t0ken\n"),
            "{text}"
        );
        let tunnel = json!([{"id": "ada-abc234", "user": "ada", "url": "https://ada-abc234.tunnel.patapim.test", "online": true, "desktop": "Work laptop", "last_seen": since}]);
        assert!(
            told(tunnel, tunnels).contains("ada-abc234  ada   online  2030-01-02T03:04:05Z  Work laptop")
        );
        let session = json!([{"id": id, "user": "ada", "tunnel": null, "device": id, "device_name": "Phone", "since": since, "last_seen": since, "address": "::1"}]);
        assert!(told(session, sessions).contains("(sign-in site)"));
        let token = json!([{"id": id, "user": "ada", "tunnel": "ada-abc234", "device": id, "device_name": "Phone", "access_token": "Backup", "since": since, "last_seen": since, "address": "::1"}]);
        assert!(told(token, sessions).contains("access token \"Backup\""));
        assert!(told(json!([]), users).contains("user add NAME"));
    }

    #[test]
    fn an_answer_of_another_version_is_told_as_that() {
        let refused = understood::<LinkToken>(json!({"tokens": []})).expect_err("another shape");
        assert!(matches!(refused, Failure::Failed(why) if why.contains("same version")));
    }
}
