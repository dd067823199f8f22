//! The operator's way in: a Unix socket in the data directory that only its owner may open.
//!
//! One connection is one command: a line of JSON asks ([`Command`]), a line of JSON answers ([`Answer`]). Whoever may
//! open the socket may do everything, so its mode is all there is to guard; commands never touch the store's file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::admin_audit;
use super::admin_commands::AdminCommands;
use super::private_socket::PrivateSocket;
use crate::names::{EmailAddress, SessionId, TunnelId, UserName};
use crate::store::Existing;

/// The longest command, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The other side writes its one line at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// A command commits to the store and cuts connections; longer than this it never takes.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);

/// All that is kept is read once, or copied.
const WHOLE_STORE_PATIENCE: Duration = Duration::from_secs(3600);

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Adds a person and invites them.
    UserAdd {
        /// The name.
        name: UserName,
        /// An address for sign-in links.
        email: Option<EmailAddress>,
    },
    /// All people.
    UserList {},
    /// Ends a person's sessions and desktops' connections, and lets them in no more.
    UserDisable {
        /// The name.
        name: UserName,
    },
    /// Lets a disabled person in again.
    UserEnable {
        /// The name.
        name: UserName,
    },
    /// Removes a person with all they have.
    UserRemove {
        /// The name.
        name: UserName,
    },
    /// Makes another invitation.
    UserInvite {
        /// The name.
        name: UserName,
    },
    /// All tunnels.
    TunnelList {},
    /// Removes a tunnel.
    TunnelRemove {
        /// Its label.
        id: TunnelId,
    },
    /// Makes a token that links one desktop.
    AgentToken {
        /// Whose desktop.
        user: UserName,
        /// An existing tunnel to take over.
        tunnel: Option<TunnelId>,
    },
    /// All live sessions.
    SessionList {
        /// Only this person's.
        user: Option<UserName>,
    },
    /// Ends one session.
    SessionRevoke {
        /// Its id.
        id: SessionId,
    },
    /// Ends every session of a person.
    SessionRevokeAll {
        /// The name.
        user: UserName,
    },
    /// All keys that are good for something.
    KeyList {},
    /// What was done here, line by line.
    Audit {
        /// Only what concerns this person.
        user: Option<UserName>,
        /// And what happens from now on.
        follow: bool,
    },
    /// Whether the trail is as it was written.
    AuditVerify {},
    /// Makes new keys the signing ones.
    KeyRotate {
        /// The old ones are forgotten, and what they signed ends.
        now: bool,
    },
    /// What only the running server knows, for `doctor`.
    Examine {},
    /// Copies all that is kept into one file.
    Backup {
        /// Where to, from the root: the server has a working directory of its own.
        to: PathBuf,
        /// What becomes of a file that is there.
        existing: Existing,
    },
}

impl Command {
    /// How long its answer may take.
    pub const fn patience(&self) -> Duration {
        match self {
            Self::Backup { .. } | Self::Examine {} => WHOLE_STORE_PATIENCE,
            _ => COMMAND_PATIENCE,
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Done; the command's document.
    Done(Value),
    /// Not done; a sentence that says why.
    Failed(String),
}

/// What is answered to a command that is told line by line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// One of the lines; more may follow.
    Line {
        /// As it is.
        line: String,
    },
    /// That was all.
    End(Answer),
}

/// Where the socket is.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the admin socket {path} cannot be made: {source}; its folder must be writable, and its path no longer than about 100 letters", path = path.display())]
pub struct AdminSocketError {
    path: PathBuf,
    source: io::Error,
}

/// The bound socket. Dropping it removes the file.
#[derive(Debug)]
pub struct AdminSocket(PrivateSocket);

impl AdminSocket {
    /// Makes the socket in `data_dir`, in the place of one that a server before left. The store's lock on the same
    /// folder is held already, so no other server needs it.
    pub fn bind(data_dir: &Path) -> Result<Self, AdminSocketError> {
        let path = path_in(data_dir);
        PrivateSocket::bind(&path).map(Self).map_err(|source| AdminSocketError { path, source })
    }

    /// Answers commands until `stop`.
    pub async fn serve(self, commands: Arc<AdminCommands>, stop: CancellationToken) -> io::Result<()> {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = self.0.accept() => accepted?,
            };
            let commands = Arc::clone(&commands);
            tokio::spawn(async move {
                if let Err(error) = answer(stream, &commands).await {
                    tracing::debug!(%error, "an admin command was not answered");
                }
            });
        }
    }
}

/// Has the server whose data is in `data_dir` do one command. Blocks until it is done.
pub fn ask(data_dir: &Path, command: &Command) -> io::Result<Answer> {
    let mut stream = std::os::unix::net::UnixStream::connect(path_in(data_dir))?;
    stream.set_read_timeout(Some(command.patience()))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    io::Write::write_all(&mut stream, &line)?;
    let mut answer = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(stream), &mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// As [`ask`], for a command that answers with lines before it is done; `each` gets them. They may be long in coming.
pub fn ask_for_lines(
    data_dir: &Path,
    command: &Command,
    mut each: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<Answer> {
    let mut stream = std::os::unix::net::UnixStream::connect(path_in(data_dir))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    io::Write::write_all(&mut stream, &line)?;
    for line in io::BufRead::lines(io::BufReader::new(stream)) {
        match serde_json::from_str(&line?)? {
            Told::Line { line } => each(&line)?,
            Told::End(answer) => return Ok(answer),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

async fn answer(mut stream: UnixStream, commands: &AdminCommands) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = Vec::new();
    let mut asked_on = BufReader::new(reading.take(LONGEST));
    timeout(PATIENCE, asked_on.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice::<Command>(&line) {
        Ok(Command::Audit { user, follow }) => {
            let asked = admin_audit::Asked { user, follow };
            admin_audit::tell(&commands.trail, &asked, asked_on.into_inner().into_inner(), &mut writing)
                .await?;
            Answer::Done(Value::Null)
        }
        Ok(command) => match commands.run(command).await {
            Ok(done) => Answer::Done(done),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Err(error) => Answer::Failed(format!(
            "the running server does not understand this command ({error}); is it of the same version as this program?"
        )),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(PATIENCE, writing.write_all(&line)).await?
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
