//! The running agent's door for other commands on this desktop: a loopback port and a key, both in the folder.
//!
//! Whoever can read the folder's file may ask. A question is one line of JSON and so is its answer; a browser that
//! was lured to the port speaks HTTP and is shut out by its first line. When nobody answers, the agent that wrote the
//! file is gone, however it went.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::home::{Home, HomeError};
use super::run::AgentState;
use crate::secret::{Entropy, SecretText, same};

const FILE: &str = "run.json";
const PATIENCE: Duration = Duration::from_secs(2);
const LINE_LIMIT: u64 = 4096;

/// What is asked of a running agent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ask {
    /// How things stand.
    Status,
    /// To stop.
    Stop,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) pid: u32,
    #[serde(flatten)]
    pub(super) state: AgentState,
}

#[derive(Serialize, Deserialize)]
struct Question {
    key: String,
    ask: Ask,
}

#[derive(Serialize, Deserialize)]
struct Door {
    pid: u32,
    address: SocketAddr,
    key: String,
}

/// The open door. Dropped, it closes.
pub(super) struct Console {
    home: Home,
    key: SecretText,
    _answering: AbortOnDropHandle<()>,
    /// Closed with the door: whoever asked the agent to stop waits for it.
    _stopped: DropGuard,
}

/// The door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConsoleError {
    #[error("no loopback port can be had: {0}")]
    Listen(#[from] std::io::Error),
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl Console {
    /// Opens it in `home`: answers with `state`, and cancels `stop` when asked to stop.
    pub(super) async fn open(
        home: Home,
        state: watch::Receiver<AgentState>,
        stop: CancellationToken,
        entropy: &dyn Entropy,
    ) -> Result<Self, ConsoleError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let key = SecretText::random(entropy);
        let door =
            Door { pid: std::process::id(), address: listener.local_addr()?, key: key.reveal().to_owned() };
        home.write(FILE, &door)?;
        let stopped = CancellationToken::new();
        let (expected, closed) = (key.clone(), stopped.clone());
        let answering = tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (state, stop) = (state.clone(), stop.clone());
                let (expected, closed) = (expected.clone(), closed.clone());
                tokio::spawn(async move {
                    let mut caller = BufReader::new(caller);
                    let answered = timeout(PATIENCE, answer(&mut caller, &state, &expected)).await;
                    if let Ok(Ok(Some(Ask::Stop))) = answered {
                        stop.cancel();
                        closed.cancelled().await;
                    }
                });
            }
        });
        let answering = AbortOnDropHandle::new(answering);
        Ok(Self { home, key, _answering: answering, _stopped: stopped.drop_guard() })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Another agent that was started in the same folder has its own there by now.
        let own = |door: &Door| door.key == self.key.reveal();
        if self.home.read::<Door>(FILE).ok().flatten().as_ref().is_some_and(own) {
            let _ = self.home.remove(FILE);
        }
    }
}

/// Answers one question, and returns it for what is to be done about it.
async fn answer(
    caller: &mut BufReader<TcpStream>,
    state: &watch::Receiver<AgentState>,
    key: &SecretText,
) -> std::io::Result<Option<Ask>> {
    let question: Question = read_line(caller).await?;
    if !same(question.key.as_bytes(), key.reveal().as_bytes()) {
        return Ok(None);
    }
    let status = Status { pid: std::process::id(), state: state.borrow().clone() };
    write_line(caller.get_mut(), &status).await?;
    Ok(Some(question.ask))
}

/// How the agent that runs in `home` stands. `None` when none does.
pub(super) async fn status(home: &Home) -> Result<Option<Status>, HomeError> {
    let asked = ask(home, Ask::Status).await?;
    Ok(asked.map(|(status, _)| status))
}

/// Stops the agent that runs in `home`, and waits for its end as long as `patience` lasts: `false` when it lasts longer.
pub(super) async fn stop(home: &Home, patience: Duration) -> Result<bool, HomeError> {
    let Some((_, mut agent)) = ask(home, Ask::Stop).await? else { return Ok(true) };
    Ok(timeout(patience, agent.read_to_end(&mut Vec::new())).await.is_ok())
}

async fn ask(home: &Home, ask: Ask) -> Result<Option<(Status, BufReader<TcpStream>)>, HomeError> {
    let Some(door) = home.read::<Door>(FILE)? else { return Ok(None) };
    let exchange = async {
        let mut agent = BufReader::new(TcpStream::connect(door.address).await?);
        write_line(agent.get_mut(), &Question { key: door.key, ask }).await?;
        let status = read_line::<Status>(&mut agent).await?;
        Ok::<_, std::io::Error>((status, agent))
    };
    Ok(timeout(PATIENCE, exchange).await.ok().and_then(Result::ok))
}

async fn read_line<T: serde::de::DeserializeOwned>(from: &mut BufReader<TcpStream>) -> std::io::Result<T> {
    let mut line = String::new();
    from.take(LINE_LIMIT).read_line(&mut line).await?;
    Ok(serde_json::from_str(&line)?)
}

async fn write_line(to: &mut TcpStream, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[tokio::test]
    async fn a_running_agent_answers_and_a_stale_file_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        let (_state, states) = watch::channel(AgentState::Connecting);
        let entropy = SystemEntropy::shared();
        let console =
            Console::open(home.clone(), states, CancellationToken::new(), &*entropy).await.expect("open");

        let found = status(&home).await.expect("readable").expect("running");
        assert_eq!((found.pid, found.state), (std::process::id(), AgentState::Connecting));

        let mut door: Door = home.read(FILE).expect("readable").expect("there");
        door.key = "guessed".into();
        home.write(FILE, &door).expect("written");
        assert!(status(&home).await.expect("readable").is_none(), "a wrong key is not answered");

        drop(console);
        assert!(home.read::<Door>(FILE).expect("readable").is_some(), "another's file is left alone");
        assert!(status(&home).await.expect("readable").is_none(), "nobody answers any more");
    }

    #[tokio::test]
    async fn who_stops_an_agent_waits_for_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        let (_state, states) = watch::channel(AgentState::Connecting);
        let asked = CancellationToken::new();
        let entropy = SystemEntropy::shared();
        let console = Console::open(home.clone(), states, asked.clone(), &*entropy).await.expect("open");
        let agent = tokio::spawn(async move {
            asked.cancelled().await;
            drop(console);
        });
        assert!(stop(&home, Duration::from_secs(60)).await.expect("readable"));
        agent.await.expect("ended");
        assert!(stop(&home, Duration::ZERO).await.expect("readable"), "one that does not run is stopped");
    }
}
