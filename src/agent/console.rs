//! The running agent's door for other commands on this desktop: a loopback port and a key, both in the folder.
//!
//! Whoever can read the folder's file may ask. A question is one line of JSON and so is its answer; a browser that
//! was lured to the port speaks HTTP and is shut out by its first line. When nobody answers, the agent that wrote the
//! file is gone, however it went.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::approvals::Shown;
use super::desk::{Desk, DeskError, Snapshot};
use super::home::{Home, HomeError};
use super::listing::{Listed, Sessions, listed};
use super::run::AgentState;
use crate::names::DeviceId;
use crate::secret::{Entropy, SecretText, same};

const FILE: &str = "run.json";
const PATIENCE: Duration = Duration::from_secs(2);
/// A question is short, an answer may list many devices.
const QUESTION_LIMIT: u64 = 4096;
const ANSWER_LIMIT: u64 = 1 << 20;

/// What is asked of a running agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ask {
    /// How things stand.
    Status,
    /// To stop.
    Stop,
    /// Whom it trusts.
    Devices,
    /// Whom it serves, and whom it did not believe.
    Sessions,
    /// Who waits.
    Pending,
    /// To do something about a device, which is named by the beginning of its id.
    Decide(Decision, String),
}

/// What can be done about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Decision {
    Approve,
    Deny,
    Remove,
}

/// What was done about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) id: DeviceId,
    /// Who it was, where it had been waiting.
    pub(super) waited: Option<Shown>,
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
    /// Opens it in `home`: answers with `state` and for `desk`, and cancels `stop` when asked to stop.
    pub(super) async fn open(
        home: Home,
        state: watch::Receiver<AgentState>,
        desk: Arc<Desk>,
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
                let (state, desk, stop) = (state.clone(), Arc::clone(&desk), stop.clone());
                let (expected, closed) = (expected.clone(), closed.clone());
                tokio::spawn(async move {
                    let mut caller = BufReader::new(caller);
                    let answered = timeout(PATIENCE, answer(&mut caller, &state, desk, &expected)).await;
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
    desk: Arc<Desk>,
    key: &SecretText,
) -> std::io::Result<Option<Ask>> {
    let question: Question = read_line(caller, QUESTION_LIMIT).await?;
    if !same(question.key.as_bytes(), key.reveal().as_bytes()) {
        return Ok(None);
    }
    let to = caller.get_mut();
    match question.ask.clone() {
        Ask::Status | Ask::Stop => {
            let state = state.borrow().clone();
            write_line(to, &Status { pid: std::process::id(), state }).await?;
        }
        Ask::Devices => {
            let Snapshot { devices, sessions, .. } = desk.snapshot();
            write_line(to, &listed(&devices, &sessions)).await?;
        }
        Ask::Sessions => write_line(to, &Sessions::of(&desk.snapshot())).await?,
        Ask::Pending => write_line(to, &desk.snapshot().waiting).await?,
        Ask::Decide(decision, typed) => {
            let done = spawn_blocking(move || decide(&desk, decision, &typed)).await;
            let done =
                done.map_err(|panic| panic.to_string()).and_then(|done| done.map_err(|why| why.to_string()));
            write_line(to, &done).await?;
        }
    }
    Ok(Some(question.ask))
}

fn decide(desk: &Desk, decision: Decision, typed: &str) -> Result<Done, DeskError> {
    let id = desk.device_meant(typed)?;
    let waited = match decision {
        Decision::Approve => Some(desk.approve(&id)?),
        Decision::Deny => Some(desk.deny(&id)?),
        Decision::Remove => {
            desk.remove(&id)?;
            None
        }
    };
    Ok(Done { id, waited })
}

/// How the agent that runs in `home` stands. `None` when none does.
pub(super) async fn status(home: &Home) -> Result<Option<Status>, HomeError> {
    Ok(ask(home, Ask::Status).await?.map(|(status, _)| status))
}

/// Whom the agent that runs in `home` trusts. `None` when none does.
pub(super) async fn devices(home: &Home) -> Result<Option<Vec<Listed>>, HomeError> {
    Ok(ask(home, Ask::Devices).await?.map(|(devices, _)| devices))
}

/// Whom it serves, and whom it did not believe.
pub(super) async fn sessions(home: &Home) -> Result<Option<Sessions>, HomeError> {
    Ok(ask(home, Ask::Sessions).await?.map(|(sessions, _)| sessions))
}

/// Who waits at it.
pub(super) async fn pending(home: &Home) -> Result<Option<Vec<Shown>>, HomeError> {
    Ok(ask(home, Ask::Pending).await?.map(|(waiting, _)| waiting))
}

/// Has it do something about a device; a sentence where it cannot.
pub(super) async fn decided(
    home: &Home,
    decision: Decision,
    typed: &str,
) -> Result<Option<Result<Done, String>>, HomeError> {
    Ok(ask(home, Ask::Decide(decision, typed.to_owned())).await?.map(|(done, _)| done))
}

/// Stops the agent that runs in `home`, and waits for its end as long as `patience` lasts: `false` when it lasts longer.
pub(super) async fn stop(home: &Home, patience: Duration) -> Result<bool, HomeError> {
    let Some((_, mut agent)) = ask::<Status>(home, Ask::Stop).await? else { return Ok(true) };
    Ok(timeout(patience, agent.read_to_end(&mut Vec::new())).await.is_ok())
}

async fn ask<T: DeserializeOwned>(
    home: &Home,
    ask: Ask,
) -> Result<Option<(T, BufReader<TcpStream>)>, HomeError> {
    let Some(door) = home.read::<Door>(FILE)? else { return Ok(None) };
    let exchange = async {
        let mut agent = BufReader::new(TcpStream::connect(door.address).await?);
        write_line(agent.get_mut(), &Question { key: door.key, ask }).await?;
        let answer = read_line::<T>(&mut agent, ANSWER_LIMIT).await?;
        Ok::<_, std::io::Error>((answer, agent))
    };
    Ok(timeout(PATIENCE, exchange).await.ok().and_then(Result::ok))
}

async fn read_line<T: DeserializeOwned>(from: &mut BufReader<TcpStream>, limit: u64) -> std::io::Result<T> {
    let mut line = String::new();
    from.take(limit).read_line(&mut line).await?;
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
    use crate::agent::proof::{Judge, SignInSite};
    use crate::agent::{Trust, Unproven};
    use crate::clock::{SystemClock, Timestamp};
    use crate::names::TunnelId;
    use crate::secret::SystemEntropy;

    fn desk(home: &Home) -> Arc<Desk> {
        let clock = SystemClock::not_before(Timestamp::default());
        let tunnel = TunnelId::parse("ada-abc234").expect("a label");
        let judge = Judge::new(&tunnel, &SignInSite::of("https://deployer.patapim.test"));
        let rules = (Trust::Ask, Unproven::Asked);
        Desk::open(home.clone(), rules, "ada", judge, clock, SystemEntropy::shared()).expect("open")
    }

    #[tokio::test]
    async fn a_running_agent_answers_and_a_stale_file_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::at(folder.path());
        let (_state, states) = watch::channel(AgentState::Connecting);
        let entropy = SystemEntropy::shared();
        let console = Console::open(home.clone(), states, desk(&home), CancellationToken::new(), &*entropy)
            .await
            .expect("open");

        let found = status(&home).await.expect("readable").expect("running");
        assert_eq!((found.pid, found.state), (std::process::id(), AgentState::Connecting));

        assert_eq!(devices(&home).await.expect("readable"), Some(Vec::new()));
        assert_eq!(pending(&home).await.expect("readable"), Some(Vec::new()));
        let unknown = decided(&home, Decision::Approve, "abcdefgh").await.expect("readable");
        assert!(unknown.expect("running").expect_err("nobody waits").contains("no device here"));

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
        let console =
            Console::open(home.clone(), states, desk(&home), asked.clone(), &*entropy).await.expect("open");
        let agent = tokio::spawn(async move {
            asked.cancelled().await;
            drop(console);
        });
        assert!(stop(&home, Duration::from_secs(60)).await.expect("readable"));
        agent.await.expect("ended");
        assert!(stop(&home, Duration::ZERO).await.expect("readable"), "one that does not run is stopped");
    }
}
