//! Who is measured: the edge with a session of the real journey, and what people would use instead.

use std::any::Any;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use http::Method;

use crate::rig::agent::{Desktop, connected};
use crate::rig::ca::Ca;
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::Person;
use crate::rig::process::{Process, finish};
use crate::rig::scene::{NOT_OURS, TUNNEL};

/// The host that peers are asked for; they take any.
const PEER_HOST: &str = "ada-abc234.tunnel.patapim.localhost";

/// One of those that are compared.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// Whose processor time counts, their children's included.
    pub(crate) pids: Vec<u32>,
    /// `https://host:port`, without a path.
    pub(crate) origin: String,
    pub(crate) port: u16,
    /// The header that lets a request in.
    pub(crate) good: String,
    /// A header and the end of a path that are no good; none for those who take any.
    pub(crate) forged: Option<(String, String)>,
    /// What must live for as long as it is measured.
    _kept: Box<dyn Any + Send>,
}

/// The edge, with Ada signed in; in front of the origin itself, or of her desktop with the origin as its app.
pub(crate) struct Ours {
    pub(crate) edge: Edge,
    pub(crate) ada: Person,
    pub(crate) tunnel: String,
    pub(crate) agent: Option<Process>,
    _desktop: Option<Desktop>,
}

impl Ours {
    /// With a fixed upstream.
    pub(crate) async fn alone(origin: &str) -> Self {
        Self::with(Setup::default(), origin).await
    }

    /// The same on an edge of this kind.
    pub(crate) async fn with(setup: Setup, origin: &str) -> Self {
        let edge = started(setup.upstream(TUNNEL, "ada", origin)).await;
        let mut ada = Person::enrolled(&edge, "ada").await;
        ada.open(&edge.tunnel(TUNNEL, "/small")).await.must_be(200);
        Self { edge, ada, tunnel: TUNNEL.to_owned(), agent: None, _desktop: None }
    }

    /// With a desktop that asked about Ada's passkey, and wants its proof for each session.
    pub(crate) async fn with_tunnel(origin: &str) -> Self {
        Self::linked(started(Setup::default()).await, origin, |_| ()).await
    }

    /// The same at this edge, with the desktop's programs run as `on` has them run.
    pub(crate) async fn linked(edge: Edge, origin: &str, on: impl Fn(&mut Command)) -> Self {
        let mut ada = Person::enrolled(&edge, "ada").await;
        let told = edge.admin(&["agent", "token", "--user", "ada"]).await;
        let tunnel = told["tunnel"].as_str().expect("a tunnel").to_owned();
        let desktop = Desktop::blank();
        let linked = desktop.link_on(&edge, told["token"].as_str().expect("a token"), &on).await;
        assert_eq!(linked.code, 0, "link: {}{}", linked.out, linked.err);
        let mut run = desktop.agent();
        run.args(["run", "--require-proof", "--to", origin]);
        on(&mut run);
        let agent = Process::start(&mut run);
        agent.says("the agent's word that it is connected", connected).await;
        until_online(&edge, &tunnel).await;
        let page = edge.tunnel(&tunnel, "/small");
        ada.open(&page).await.must_be(200);
        let told = async |words: &[&str]| {
            let mut command = desktop.agent();
            command.args(words);
            on(&mut command);
            finish(&mut command).await
        };
        let pending = told(&["devices", "pending", "--json"]).await.json();
        let device = pending[0]["id"].as_str().expect("Ada's passkey").to_owned();
        let before = edge.approvals();
        assert_eq!(told(&["devices", "approve", &device]).await.code, 0, "approved");
        edge.hears_of_approval(before).await;
        ada.browser.fetch(Method::GET, &page).await.must_be(200);
        Self { edge, ada, tunnel, agent: Some(agent), _desktop: Some(desktop) }
    }

    /// The header that Ada's browser sends.
    pub(crate) fn cookie(&self) -> String {
        let page = self.edge.tunnel(&self.tunnel, "/");
        format!("cookie: {}", self.ada.browser.cookies.header(&page).unwrap_or_default())
    }

    /// The programs that serve her.
    pub(crate) fn pids(&self) -> Vec<u32> {
        std::iter::once(&self.edge.process).chain(&self.agent).map(|process| process.pid).collect()
    }

    /// As one to be compared.
    pub(crate) fn contestant(&self, name: &'static str) -> Contestant {
        let page = self.edge.tunnel(&self.tunnel, "/");
        Contestant {
            name,
            pids: self.pids(),
            origin: page.as_str().trim_end_matches('/').to_owned(),
            port: self.edge.port(),
            good: self.cookie(),
            forged: Some((String::new(), format!("?token={NOT_OURS}"))),
            _kept: Box::new(()),
        }
    }
}

/// The agent says that it is connected a moment before the edge has heard all of its hello, and a sign-in that begins in that
/// moment has to begin again.
async fn until_online(edge: &Edge, tunnel: &str) {
    loop {
        let listed = edge.admin(&["tunnel", "list"]).await;
        let mut all = listed.as_array().into_iter().flatten();
        if all.any(|one| one["id"] == tunnel && one["online"] == true) {
            return;
        }
    }
}

/// Starts an edge whose log goes to a file, as a service's does.
pub(crate) async fn started(setup: Setup) -> Edge {
    let plan = setup.plan();
    let serve = plan.serve();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>\"$LOG\"", "sh"]).arg(serve.get_program()).args(serve.get_args());
    command.env("LOG", plan.config().with_extension("log"));
    plan.start_as(command).await
}

/// The origin itself, without TLS and without anything between.
pub(crate) fn direct(port: u16) -> Contestant {
    Contestant {
        name: "direct",
        pids: Vec::new(),
        origin: format!("http://127.0.0.1:{port}"),
        port,
        good: String::new(),
        forged: None,
        _kept: Box::new(()),
    }
}

/// A program that is not ours.
pub(crate) struct Peer(Child);

impl Peer {
    /// Starts `command`, and waits until something listens on `port`.
    pub(crate) fn start(command: &mut Command, port: u16) -> io::Result<Self> {
        let peer = Self::spawn(command)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{command:?} does not listen")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// Starts `command`.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map(Self)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// As one to be compared: the token it takes, if it looks at any, is in a cookie.
    pub(crate) fn contestant(
        self,
        name: &'static str,
        port: u16,
        checks: bool,
        with: Vec<Self>,
    ) -> Contestant {
        let pids = std::iter::once(&self).chain(&with).map(Self::pid).collect();
        let cookie = |token: &str| format!("cookie: auth_token={token}");
        Contestant {
            name,
            pids,
            origin: format!("https://{PEER_HOST}:{port}"),
            port,
            good: cookie(&super::peers::token()),
            forged: checks.then(|| (cookie(&super::peers::forged_token()), String::new())),
            _kept: Box::new((self, with)),
        }
    }
}

impl Drop for Peer {
    /// Asked politely: a server with children of its own takes them along. One that waits for its visitors first is not
    /// waited for.
    fn drop(&mut self) {
        let _ = Command::new("sh").arg("-c").arg(format!("kill {}", self.pid())).status();
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program in another of its roles.
pub(crate) fn ourselves(words: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words);
    Ok(command)
}

/// A port that nobody has at this moment.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Certificate and key in one file, as HAProxy wants them.
pub(crate) fn combined(ca: &Ca, folder: &Path) -> io::Result<std::path::PathBuf> {
    let both = fs::read_to_string(&ca.cert_file)? + &fs::read_to_string(&ca.key_file)?;
    let file = folder.join("both.pem");
    fs::write(&file, both)?;
    Ok(file)
}
