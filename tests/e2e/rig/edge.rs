//! An edge of the test's own: the built program, a folder, a certificate, ports that the system chose.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use url::Url;

use super::ca::{Ca, Dates};
use super::client::Visitor;
use super::process::{Finished, Process, finish};

/// Names under it lead to loopback everywhere, in the agent too.
const BASE: &str = "patapim.localhost";

/// A domain under which browsers take each tunnel for a site of its own: whatever is right under it is a public suffix
/// (`*.kawasaki.jp` on the list), all but `city`.
pub(crate) const SITES_APART: &str = "kawasaki.jp";

/// The label of the sign-in site under `base`.
pub(super) fn deployer_label(base: &str) -> &'static str {
    if base == SITES_APART { "city" } else { "deployer" }
}

/// What is special about a test's edge.
pub(crate) struct Setup {
    base: &'static str,
    extra: String,
    upstreams: String,
    dates: Dates,
}

impl Default for Setup {
    fn default() -> Self {
        Self { base: BASE, extra: String::new(), upstreams: String::new(), dates: Dates::Always }
    }
}

impl Setup {
    /// More of the configuration file, such as a `[session]` table.
    pub(crate) fn with(mut self, toml: &str) -> Self {
        self.extra += toml;
        self.extra += "\n";
        self
    }

    /// A tunnel of `user` that is served from `to`, with no agent.
    pub(crate) fn upstream(mut self, tunnel: &str, user: &str, to: &str) -> Self {
        self.upstreams += &format!("[[upstream]]\ntunnel = \"{tunnel}\"\nuser = \"{user}\"\nto = \"{to}\"\n");
        self
    }

    /// Another base domain than the usual one.
    pub(crate) fn base(mut self, base: &'static str) -> Self {
        self.base = base;
        self
    }

    /// Another time that its certificate is good for than always.
    pub(crate) fn certified(mut self, dates: Dates) -> Self {
        self.dates = dates;
        self
    }

    /// Starts it and waits until it accepts.
    pub(crate) async fn start(self) -> Edge {
        self.plan().start().await
    }

    /// Everything that it needs, without starting it.
    pub(crate) fn plan(self) -> Plan {
        let home = TempDir::with_prefix("patapim-edge-").expect("a temporary folder");
        let ca = Ca::for_edge(self.base, home.path());
        ca.certify(self.base, self.dates);
        let config = home.path().join("edge.toml");
        let ports = Ports::reserved();
        let text = self.file(&ca, &home.path().join("data"), ports.numbers());
        std::fs::write(&config, text).expect("our own folder");
        Plan { setup: self, ca, config, ports, home }
    }

    fn file(&self, ca: &Ca, data: &Path, [https, http]: [u16; 2]) -> String {
        let Self { base, extra, upstreams, .. } = self;
        let (cert, key) = (ca.cert_file.display(), ca.key_file.display());
        let (data, deployer) = (data.display(), deployer_label(base));
        format!(
            r#"base_domain = "{base}"
deployer = "{deployer}"
public_port = 0
data_dir = "{data}"

[listen]
https = ["127.0.0.1:{https}"]
http = ["127.0.0.1:{http}"]
admin = "127.0.0.1:0"

[tls]
cert = "{cert}"
key = "{key}"

{extra}
{upstreams}"#
        )
    }
}

/// The ports of its two public listeners. Bound here as well, and never listened on, they are nobody else's while the edge
/// is down: another test would be given them.
struct Ports([TcpSocket; 2]);

impl Ports {
    fn reserved() -> Self {
        let any = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            Ok::<_, std::io::Error>(socket)
        };
        Self([any().expect("a port"), any().expect("a port")])
    }

    fn numbers(&self) -> [u16; 2] {
        self.0.each_ref().map(|socket| socket.local_addr().expect("bound").port())
    }
}

/// Where the edge listens, as it said itself.
#[derive(serde::Deserialize)]
pub(crate) struct Ready {
    ready: bool,
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    admin: SocketAddr,
}

impl Ready {
    /// Reads the line that `serve` prints once it accepts.
    fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().filter(|told: &Self| told.ready)
    }
}

/// An edge that was not started yet: its folder, its certificate, its configuration.
pub(crate) struct Plan {
    setup: Setup,
    pub(crate) ca: Ca,
    config: PathBuf,
    ports: Ports,
    home: TempDir,
}

impl Plan {
    /// Its configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Where its data will be.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Replaces a part of the configuration file.
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("our own file");
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(&self.config, text.replace(from, to)).expect("our own file");
    }

    /// The command that starts it.
    pub(crate) fn serve(&self) -> Command {
        serve(&self.config)
    }

    /// Tries to start it, and gives what it said when it gave up.
    pub(crate) async fn must_fail(&self) -> Finished {
        let told = finish(&mut self.serve()).await;
        assert!(told.code > 0 && told.out.is_empty(), "it started: {}{}", told.out, told.err);
        told
    }

    /// Starts it and waits until it accepts.
    pub(crate) async fn start(self) -> Edge {
        let command = self.serve();
        self.start_as(command).await
    }

    /// As [`Self::start`], by a command of the test's own.
    pub(crate) async fn start_as(self, mut command: Command) -> Edge {
        let Self { setup, ca, config, ports, home } = self;
        let (process, ready) = launch(&mut command).await;
        Edge { setup, ca, config, ports, process, ready, home }
    }
}

/// A running edge.
pub(crate) struct Edge {
    setup: Setup,
    pub(crate) ca: Ca,
    config: PathBuf,
    ports: Ports,
    pub(crate) process: Process,
    ready: Ready,
    home: TempDir,
}

/// The program that cargo built for this test.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_patapim-edge"))
}

fn serve(config: &Path) -> Command {
    let mut command = program();
    command.arg("serve").arg("--config").arg(config);
    command
}

async fn launch(command: &mut Command) -> (Process, Ready) {
    let process = Process::start(command);
    let ready = process.line("the edge's ready line", Ready::read).await;
    (process, ready)
}

impl Edge {
    /// With nothing special about it.
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// Ends it with `kill -9`.
    pub(crate) async fn kill(&self) {
        self.process.kill().await;
    }

    /// Starts it again where it was: same data, same ports, so that links and origins stay good.
    pub(crate) async fn start_again(&mut self) {
        self.start_again_on(|_| ()).await;
    }

    /// As [`Self::start_again`], on a machine that is not what it was.
    pub(crate) async fn start_again_on(&mut self, change: impl FnOnce(&mut Command)) {
        self.restore_config();
        let mut command = serve(&self.config);
        change(&mut command);
        (self.process, self.ready) = launch(&mut command).await;
    }

    /// As [`Self::start_again_on`]; false: it ended before it accepted.
    pub(crate) async fn try_to_start_again_on(&mut self, change: impl FnOnce(&mut Command)) -> bool {
        self.restore_config();
        let mut command = serve(&self.config);
        change(&mut command);
        self.process = Process::start(&mut command);
        let ready = self.process.line_or_end(Ready::read).await;
        ready.map(|ready| self.ready = ready).is_some()
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts it again with the same ports on another address of this machine.
    pub(crate) async fn move_to(&mut self, address: &str, change: impl FnOnce(&mut Command)) {
        self.restore_config();
        let text = std::fs::read_to_string(&self.config).expect("our own file");
        std::fs::write(&self.config, text.replace("[\"127.0.0.1:", &format!("[\"{address}:")))
            .expect("our own file");
        let mut command = serve(&self.config);
        change(&mut command);
        (self.process, self.ready) = launch(&mut command).await;
    }

    /// Starts another that takes its place, and gives back the one before.
    pub(crate) async fn upgrade(&mut self) -> Process {
        let new = self.successor();
        self.ready = new.line("the new edge's ready line", Ready::read).await;
        std::mem::replace(&mut self.process, new)
    }

    /// Starts another to take its place, which may fail.
    pub(crate) fn successor(&self) -> Process {
        Process::start(serve(&self.config).arg("--upgrade"))
    }

    /// Writes its configuration as it was at first.
    fn restore_config(&self) {
        let text = self.setup.file(&self.ca, &self.home.path().join("data"), self.ports.numbers());
        std::fs::write(&self.config, text).expect("our own folder");
    }

    /// Changes its configuration file; it hears of that by itself.
    pub(crate) fn edit(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.config).expect("our own file");
        super::ca::replace(&self.config, &change(text));
    }

    /// The test's own folder; the edge's data is in `data` there.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The configuration file it was started with.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The port that browsers see.
    pub(crate) fn port(&self) -> u16 {
        self.ready.https[0].port()
    }

    /// The domain that everything is under.
    pub(crate) fn base(&self) -> &str {
        self.setup.base
    }

    /// A page of the deployer.
    pub(crate) fn deployer(&self, path: &str) -> Url {
        self.url(&format!("{}.{}", deployer_label(self.base()), self.base()), path)
    }

    /// A page of a tunnel.
    pub(crate) fn tunnel(&self, tunnel: &str, path: &str) -> Url {
        self.url(&format!("{tunnel}.tunnel.{}", self.base()), path)
    }

    fn url(&self, host: &str, path: &str) -> Url {
        let text = format!("https://{host}:{}{path}", self.port());
        Url::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The same page over plain http.
    pub(crate) fn plain(&self, url: &Url) -> Url {
        let mut url = url.clone();
        url.set_scheme("http").expect("another web scheme");
        url.set_port(Some(self.ready.http[0].port())).expect("a port");
        url
    }

    /// A path on the operator's listener.
    pub(crate) fn operator(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.ready.admin)).expect("an address")
    }

    /// A browser without a window and without a cookie.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::trusting(&self.ca)
    }

    /// Runs an admin command, such as `["user", "list"]`, as `--json`.
    pub(crate) async fn admin(&self, words: &[&str]) -> Value {
        self.try_admin(words).await.json()
    }

    /// Runs an admin command that may fail.
    pub(crate) async fn try_admin(&self, words: &[&str]) -> Finished {
        finish(program().args(words).arg("--config").arg(&self.config).arg("--json")).await
    }

    /// Invites somebody, and returns the link to enrol with.
    pub(crate) async fn invite(&self, user: &str) -> Url {
        self.invited(&["user", "add", user]).await
    }

    /// The same for somebody whose address is known.
    pub(crate) async fn invite_at(&self, user: &str, email: &str) -> Url {
        self.invited(&["user", "add", user, "--email", email]).await
    }

    async fn invited(&self, words: &[&str]) -> Url {
        let told = self.admin(words).await;
        let link = told["enrol_url"].as_str().unwrap_or_else(|| panic!("no enrol_url: {told}"));
        Url::parse(link).expect("a link")
    }
}
