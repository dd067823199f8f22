//! What the operator does, on its way to the audit trail.
//!
//! Whoever may open the admin socket is the operator; nobody asks for a name.

use serde_json::Value;

use super::admin_commands::{AdminCommands, CommandError};
use super::admin_socket::Command;
use crate::names::{UserId, UserName};
use crate::trail::{Act, By, Event};

impl AdminCommands {
    /// Does what is asked, writes it down, and gives the command's document.
    pub async fn run(&self, command: Command) -> Result<Value, CommandError> {
        // Before it is done: afterwards some of those it concerns are gone.
        let Some(event) = self.event_of(&command).await else { return self.act(command).await };
        if gives(&command) {
            self.trail.trusted()?;
        }
        let mut event = event.by(By::Operator);
        let done = self.act(command.clone()).await?;
        if let Command::UserAdd { .. } = command
            && let Some((id, name)) = added(&done)
        {
            event = event.of(&id, &name);
        }
        if let Some(count) = done.get("revoked").and_then(Value::as_u64) {
            event = event.count(count);
        }
        self.trail.record(event).await?;
        Ok(done)
    }

    /// What `command` will be in the trail; none: it only looks.
    async fn event_of(&self, command: &Command) -> Option<Event> {
        Some(match command {
            Command::UserAdd { .. } => Event::new(Act::UserAdded),
            Command::UserDisable { name } => self.about(Act::UserDisabled, name).await,
            Command::UserEnable { name } => self.about(Act::UserEnabled, name).await,
            Command::UserRemove { name } => self.about(Act::UserRemoved, name).await,
            Command::UserInvite { name } => self.about(Act::UserInvited, name).await,
            Command::TunnelRemove { id } => {
                let event = Event::new(Act::TunnelRemoved).tunnel(id);
                match self.accounts.tunnel(id).await {
                    Ok(tunnel) => self.of(event, &tunnel.user).await,
                    Err(_) => event,
                }
            }
            Command::AgentToken { user, tunnel } => {
                let event = self.about(Act::LinkTokenMade, user).await;
                tunnel.as_ref().map_or(event.clone(), |tunnel| event.tunnel(tunnel))
            }
            Command::SessionRevoke { id } => {
                let event = Event::new(Act::SessionEnded).session(id);
                let sessions = self.sessions.all();
                let Some(session) = sessions.iter().find(|session| session.id() == id) else {
                    return Some(event);
                };
                let event = event.device(session.device(), session.device_name());
                let event = event.of(session.user(), session.user_name());
                session.realm().tunnel().map_or(event.clone(), |tunnel| event.tunnel(tunnel))
            }
            Command::SessionRevokeAll { user } => self.about(Act::AllSessionsEnded, user).await,
            Command::KeyRotate { now } => Event::new(Act::KeysRotated).because(if *now {
                "the old ones are forgotten"
            } else {
                "the old ones still verify"
            }),
            Command::Backup { to, .. } => Event::new(Act::BackupMade).named(&to.to_string_lossy()),
            Command::UserList {}
            | Command::TunnelList {}
            | Command::SessionList { .. }
            | Command::KeyList {}
            | Command::Examine {}
            | Command::Audit { .. }
            | Command::AuditVerify {} => {
                return None;
            }
        })
    }

    async fn about(&self, act: Act, name: &UserName) -> Event {
        let event = Event::new(act);
        match self.accounts.user_named(name).await {
            Ok(user) => event.of(&user.id, &user.name),
            Err(_) => event,
        }
    }

    async fn of(&self, event: Event, user: &UserId) -> Event {
        match self.accounts.user(user).await {
            Ok(user) => event.of(&user.id, &user.name),
            Err(_) => event,
        }
    }
}

/// Whether it lets somebody in, or out with what is kept. What takes something away is done even when it cannot be
/// written down; the operator is told so.
fn gives(command: &Command) -> bool {
    matches!(
        command,
        Command::UserAdd { .. }
            | Command::UserEnable { .. }
            | Command::UserInvite { .. }
            | Command::AgentToken { .. }
            | Command::Backup { .. }
    )
}

fn added(done: &Value) -> Option<(UserId, UserName)> {
    let id = UserId::parse(done.get("id")?.as_str()?).ok()?;
    Some((id, UserName::parse(done.get("user")?.as_str()?).ok()?))
}
