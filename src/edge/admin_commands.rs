//! What an operator's commands do: on the accounts, on the live sessions, on the connected agents.
//!
//! The order matters wherever somebody is shut out: first the record, so that nothing new begins; then the sessions and
//! the agents' connections, so that nothing old goes on.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::admin_documents::{
    BackedUp, Examined, Invited, KeyKind, KeyLine, KeysRotated, LinkToken, Revoked, SessionLine, TunnelLine,
    UserLine,
};
use super::admin_socket::Command;
use super::{CertificateStore, Ready};
use crate::access::rotation::RotateError;
use crate::access::sessions::SessionError;
use crate::access::{Assertor, Cause, Former, Sessions, Target};
use crate::accounts::{AccountError, Accounts, Tunnel, TunnelKind, User, UserState};
use crate::clock::{Clock, Timestamp};
use crate::names::{EmailAddress, PublicHosts, SessionId, TunnelId, UserId, UserName};
use crate::store::{BackupError, Existing, Store, StoreError};
use crate::trail::{Trail, TrailError};
use crate::tunnel::{Cut, Registry};

/// Why a command was not done; the sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The accounts refused.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The sessions refused.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The keys were not rotated, or not all.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no backup.
    #[error("there is no backup: {0}")]
    Backup(#[from] BackupError),
    /// It was done, or not even begun, and the trail does not take it.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// No such session.
    #[error("there is no live session {0}")]
    NoSession(SessionId),
    /// The configuration would make it again.
    #[error("the tunnel {0} stands in the configuration as an [[upstream]]; take it out there and restart")]
    Configured(TunnelId),
    /// Not an answer that can be told.
    #[error("the answer cannot be written down: {0}")]
    Answer(#[from] serde_json::Error),
}

/// A tunnel that the configuration serves from a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedTunnel {
    /// Its label.
    pub tunnel: TunnelId,
    /// Whose it is.
    pub user: UserName,
}

/// What commands work on.
pub struct AdminCommands {
    /// People, tunnels, desktops.
    pub accounts: Accounts,
    /// Live sessions.
    pub sessions: Arc<Sessions>,
    /// Connected agents.
    pub agents: Arc<Registry>,
    /// The keys of assertions; those of tokens are with the sessions.
    pub assertor: Arc<Assertor>,
    /// For links.
    pub hosts: PublicHosts,
    /// What the configuration serves itself.
    pub fixed: Vec<FixedTunnel>,
    /// What is examined and backed up.
    pub store: Arc<dyn Store>,
    /// What is served.
    pub certificates: Arc<CertificateStore>,
    /// Where.
    pub listening: Ready,
    /// For "last seen" of what is seen now.
    pub clock: Arc<dyn Clock>,
    /// Where acts are written down.
    pub trail: Arc<Trail>,
}

impl AdminCommands {
    /// Does what is asked, and gives the command's document. Nothing is written down here.
    pub(super) async fn act(&self, command: Command) -> Result<Value, CommandError> {
        match command {
            Command::UserAdd { name, email } => told(self.add_user(name, email).await?),
            Command::UserList {} => told(self.users().await?),
            Command::UserDisable { name } => told(self.disable_user(&name).await?),
            Command::UserEnable { name } => {
                let user = self.accounts.user_named(&name).await?;
                let user = self.accounts.set_user_state(&user.id, UserState::Active).await?;
                told(self.user_line(user).await?)
            }
            Command::UserRemove { name } => told(self.remove_user(&name).await?),
            Command::UserInvite { name } => {
                let user = self.accounts.user_named(&name).await?;
                told(self.invite(user).await?)
            }
            Command::TunnelList {} => told(self.tunnels().await?),
            Command::TunnelRemove { id } => told(self.remove_tunnel(&id).await?),
            Command::AgentToken { user, tunnel } => {
                let user = self.accounts.user_named(&user).await?;
                let (token, tunnel) = self.accounts.make_link_token(&user.id, tunnel).await?;
                told(LinkToken { token: token.reveal().to_owned(), tunnel })
            }
            Command::SessionList { user } => told(self.live_sessions(user.as_ref()).await?),
            Command::SessionRevoke { id } => {
                if self.sessions.get(&id).is_none() {
                    return Err(CommandError::NoSession(id));
                }
                told(self.revoke(&Target::Session(id), Cause::Operator).await?)
            }
            Command::SessionRevokeAll { user } => {
                let user = self.accounts.user_named(&user).await?;
                told(self.revoke(&Target::User(user.id), Cause::Operator).await?)
            }
            Command::KeyList {} => told(self.keys()),
            Command::KeyRotate { now } => {
                let former = if now { Former::Forgotten } else { Former::Kept };
                let rotated = self.sessions.rotate_keys(&self.assertor, former).await?;
                let (token, assertion) = (rotated.token_kid, rotated.assertion_kid.as_ref().to_owned());
                told(KeysRotated { token, assertion, revoked: rotated.ended })
            }
            Command::Examine {} => told(self.examine().await?),
            Command::AuditVerify {} => told(self.trail.verify().await?),
            // Answered line by line, where the connection is.
            Command::Audit { .. } => told(()),
            Command::Backup { to, existing } => told(self.backup(to, existing).await?),
        }
    }

    async fn examine(&self) -> Result<Examined, CommandError> {
        let mut passkeys = BTreeMap::new();
        for passkey in self.accounts.passkeys().await? {
            *passkeys.entry(passkey.rp_id).or_default() += 1;
        }
        let Ready { https, http, admin, .. } = &self.listening;
        Ok(Examined {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            now: self.clock.now().rfc3339(),
            listening: https.iter().chain(http).chain([admin]).copied().collect(),
            certificate_until: self.certificates.expires_at().rfc3339(),
            open_files: most_open_files(),
            store: self.store.examine().await?,
            passkeys,
        })
    }

    async fn backup(&self, to: PathBuf, existing: Existing) -> Result<BackedUp, CommandError> {
        let as_of = self.clock.now().rfc3339();
        let bytes = self.store.backup_to(&to, existing).await?;
        Ok(BackedUp { backup: to, bytes, as_of })
    }

    fn keys(&self) -> Vec<KeyLine> {
        let now = self.clock.now();
        let (tokens, assertions) = (self.sessions.keys().all(), self.assertor.published(now));
        let tokens = tokens.iter().filter(|key| key.until().is_none_or(|until| now < until));
        let tokens = tokens.map(|key| KeyLine::new(&key.kid, KeyKind::Token, key.created_at, key.until()));
        let assertions = assertions.iter();
        let assertions =
            assertions.map(|key| KeyLine::new(&key.kid, KeyKind::Assertion, key.created_at, key.until()));
        tokens.chain(assertions).collect()
    }

    async fn add_user(&self, name: UserName, email: Option<EmailAddress>) -> Result<Invited, CommandError> {
        let user = self.accounts.add_user(name, email).await?;
        for fixed in self.fixed.iter().filter(|fixed| fixed.user == user.name) {
            // The person is added all the same; the tunnel was somebody else's once, and stays theirs.
            if let Err(error) = self.accounts.claim_fixed_tunnel(&fixed.tunnel, &user.id).await {
                tracing::warn!(tunnel = %fixed.tunnel, user = %user.name, %error, "an [[upstream]] is not served");
            }
        }
        self.invite(user).await
    }

    async fn invite(&self, user: User) -> Result<Invited, CommandError> {
        let user = self.accounts.active_user(&user.id).await?;
        let ticket = self.accounts.invite(&user.id).await?;
        let enrol_url = format!("{}/enrol?ticket={}", self.hosts.deployer_origin(), ticket.reveal());
        Ok(Invited { user: user.name, id: user.id, enrol_url })
    }

    async fn users(&self) -> Result<Vec<UserLine>, CommandError> {
        let mut users = self.accounts.users().await?;
        users.sort_by(|a, b| a.name.cmp(&b.name));
        let mut lines = Vec::with_capacity(users.len());
        for user in users {
            lines.push(self.user_line(user).await?);
        }
        Ok(lines)
    }

    async fn user_line(&self, user: User) -> Result<UserLine, CommandError> {
        let passkeys = self.accounts.passkeys_of(&user.id).await?.len();
        let User { id, name, email, state, created_at } = user;
        Ok(UserLine { user: name, id, email, state, passkeys, since: created_at.rfc3339() })
    }

    async fn disable_user(&self, name: &UserName) -> Result<UserLine, CommandError> {
        let user = self.accounts.user_named(name).await?;
        let user = self.accounts.set_user_state(&user.id, UserState::Disabled).await?;
        self.revoke(&Target::User(user.id.clone()), Cause::User).await?;
        for tunnel in self.accounts.tunnels_of(&user.id).await? {
            self.agents.cut(&tunnel.id, Cut::Suspended);
        }
        self.user_line(user).await
    }

    async fn remove_user(&self, name: &UserName) -> Result<UserLine, CommandError> {
        let user = self.accounts.user_named(name).await?;
        let (line, tunnels) =
            (self.user_line(user.clone()).await?, self.accounts.tunnels_of(&user.id).await?);
        self.accounts.remove_user(&user.id).await?;
        self.revoke(&Target::User(user.id), Cause::User).await?;
        for tunnel in tunnels {
            self.agents.cut(&tunnel.id, Cut::Unlinked);
        }
        Ok(line)
    }

    async fn tunnels(&self) -> Result<Vec<TunnelLine>, CommandError> {
        let names = self.names().await?;
        let tunnels = self.accounts.tunnels().await?;
        Ok(tunnels.into_iter().map(|tunnel| self.tunnel_line(tunnel, &names)).collect())
    }

    fn tunnel_line(&self, tunnel: Tunnel, names: &HashMap<UserId, UserName>) -> TunnelLine {
        let agent = self.agents.find(&tunnel.id);
        let online = match tunnel.kind {
            TunnelKind::Agent => agent.is_some(),
            TunnelKind::Fixed => self.fixed.iter().any(|fixed| fixed.tunnel == tunnel.id),
        };
        let last_seen = if online { Some(self.clock.now()) } else { tunnel.last_seen };
        TunnelLine {
            user: names.get(&tunnel.user).cloned(),
            url: self.hosts.tunnel_origin(&tunnel.id),
            online,
            desktop: agent.map(|agent| agent.desktop().to_owned()).or(tunnel.desktop),
            last_seen: last_seen.map(Timestamp::rfc3339),
            id: tunnel.id,
        }
    }

    async fn remove_tunnel(&self, id: &TunnelId) -> Result<TunnelLine, CommandError> {
        if self.fixed.iter().any(|fixed| fixed.tunnel == *id) {
            return Err(CommandError::Configured(id.clone()));
        }
        let names = self.names().await?;
        let line = self.tunnel_line(self.accounts.remove_tunnel(id).await?, &names);
        self.revoke(&Target::Tunnel(id.clone()), Cause::Tunnel).await?;
        self.agents.cut(id, Cut::Unlinked);
        Ok(line)
    }

    async fn live_sessions(&self, of: Option<&UserName>) -> Result<Vec<SessionLine>, CommandError> {
        let wanted = match of {
            Some(name) => Some(self.accounts.user_named(name).await?.id),
            None => None,
        };
        let sessions = self.sessions.all();
        let wanted =
            sessions.iter().filter(|session| wanted.as_ref().is_none_or(|user| session.user() == user));
        Ok(wanted.map(|session| SessionLine::of(session)).collect())
    }

    async fn revoke(&self, target: &Target, cause: Cause) -> Result<Revoked, CommandError> {
        Ok(Revoked { revoked: self.sessions.revoke(target, cause).await? })
    }

    async fn names(&self) -> Result<HashMap<UserId, UserName>, CommandError> {
        Ok(self.accounts.users().await?.into_iter().map(|user| (user.id, user.name)).collect())
    }
}

/// How many files and connections this process may have open; none: any number.
pub fn most_open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

fn told(document: impl Serialize) -> Result<Value, CommandError> {
    Ok(serde_json::to_value(document)?)
}
