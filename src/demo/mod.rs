//! The demo: an edge, a desktop agent and a sample app in one process, with data that goes when it ends.
//!
//! ```text
//!  browser ── http, 127.0.0.1:8080, *.patapim.localhost ──▶ edge ═══ TLS, loopback ═══ agent ──▶ sample app
//! ```
//!
//! Nothing is short-cut but the browser's side, which is plain http: names under `.localhost` lead to this machine and
//! count as secure, so that passkeys work there without a certificate that the browser would have to trust. The agent is
//! linked with a token and dials in over TLS, as it would from elsewhere; the admin commands go through the socket.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::sample_app::SampleApp;
use self::throw_away::{Folder, Identity};
use crate::access::sessions::SessionSettings;
use crate::agent::{
    Agent, AgentState, AppAddress, AppAddressError, Desk, EdgeAddress, Home, HomeError, LinkRequest,
    LinkingError, NotAnEdge, Pace, RunError, Trust, Unproven, link_desktop,
};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::deployer::WebauthnSettings;
use crate::edge::admin_documents::{Invited, LinkToken};
use crate::edge::admin_socket::{self, Answer, Command};
use crate::edge::{
    Browsers, CapSettings, CertificateFiles, EdgeError, ListenSettings, ProxySettings, Ready, Settings, Start,
};
use crate::names::{BaseDomain, NameError, PublicHosts, Scheme, UserName};
use crate::secret::{Entropy, SecretText, SystemEntropy};
use crate::tunnel::TunnelSettings;

mod sample_app;
mod throw_away;

/// Under it the demo's names are.
const BASE: &str = "patapim.localhost";
/// The deployer's label.
const DEPLOYER: &str = "deployer";
/// Who uses the demo.
const USER: &str = "demo";
/// What its desktop is called.
const DESKTOP: &str = "Demo desktop";
/// Nobody waits for a demo to end.
const GRACE: Duration = Duration::from_secs(1);

/// Which port the browser's side gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// This one or none.
    Exactly(u16),
    /// This one, or another if it is taken.
    Preferably(u16),
}

/// What the person who runs the demo needs.
#[derive(Clone, Debug, Serialize)]
pub struct Links {
    /// Where the app is.
    pub url: String,
    /// Where to register a passkey.
    pub enrol_url: String,
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The system refused something.
    #[error("the demo cannot run here: {0}")]
    System(#[from] std::io::Error),
    /// No certificate.
    #[error("the demo's certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The edge.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// A constant of the demo's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A constant of the demo's.
    #[error(transparent)]
    Address(#[from] NotAnEdge),
    /// The app's address.
    #[error(transparent)]
    App(#[from] AppAddressError),
    /// The agent was not linked.
    #[error("the demo's agent cannot be linked: {0}")]
    Linking(#[from] LinkingError),
    /// The agent gave up.
    #[error("the demo's agent stopped: {0}")]
    Agent(#[from] RunError),
    /// The agent's folder.
    #[error("the demo's desktop cannot keep what it decides: {0}")]
    Home(#[from] HomeError),
    /// A command was refused.
    #[error("the edge refused a command of the demo: {0}")]
    Refused(String),
    /// The edge ended while the demo was being put together.
    #[error("the edge ended early")]
    Ended,
}

/// Runs the demo until it is interrupted. Calls `told` once the app can be reached.
pub fn run(port: PortChoice, told: impl FnOnce(&Links)) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // From here on an interrupt ends the demo in order, so that no data stays behind.
    let interrupted = CancellationToken::new();
    let stop = interrupted.child_token();
    let mut interrupts = runtime.block_on(async { Interrupts::listen() })?;
    runtime.spawn({
        let interrupted = interrupted.clone();
        async move {
            interrupts.next().await;
            interrupted.cancel();
        }
    });
    let entropy = SystemEntropy::shared();
    let folder = Folder::new(&*entropy)?;
    let (settings, authority) = settings(&folder, port)?;
    let data_dir = settings.data_dir.clone();
    let (accepting, accepts) = oneshot::channel();
    let edge = std::thread::Builder::new().name("demo-edge".to_owned()).spawn({
        let stop = stop.clone();
        move || {
            // Whoever waits may have given up; the edge ends by `stop` then.
            let served = crate::edge::serve(settings, None, Start::Alone, stop.clone(), |ready| {
                drop(accepting.send(ready))
            });
            stop.cancel();
            served
        }
    })?;
    let around = Around { entropy, data_dir, authority, stop: stop.clone() };
    let ended = runtime.block_on(around.run(accepts, told));
    stop.cancel();
    // The edge's own reason comes first: without an edge, all else fails too.
    edge.join().map_err(|_| DemoError::Ended)??;
    // Half-way through its beginning, an interrupt looks like a fault of whatever it met.
    if interrupted.is_cancelled() { Ok(()) } else { ended }
}

/// What ends the demo from outside.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What the edge is told, and the authority that signed its certificate.
fn settings(folder: &Folder, port: PortChoice) -> Result<(Settings, String), DemoError> {
    let base_domain = BaseDomain::parse(BASE)?;
    let hosts = PublicHosts::new(Scheme::Https, base_domain.clone(), DEPLOYER, 0)?;
    let identity = Identity::for_edge(&hosts)?;
    let tls = CertificateFiles {
        cert: folder.write("certificate.pem", &identity.certificate)?,
        key: folder.write("key.pem", &identity.key)?,
    };
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listen = ListenSettings {
        https: vec![loopback(0)],
        http: vec![loopback(chosen(port))],
        admin: loopback(0),
        admin_hosts: Vec::new(),
    };
    let settings = Settings {
        webauthn: WebauthnSettings { rp_id: hosts.deployer_host().to_owned() },
        base: base_domain,
        deployer_label: DEPLOYER.to_owned(),
        public_port: 0,
        data_dir: folder.path().join("data"),
        browsers: Browsers::PlainLoopback,
        listen,
        tls,
        session: SessionSettings::default(),
        limits: Default::default(),
        caps: CapSettings::default(),
        proxies: ProxySettings::default(),
        tunnel: TunnelSettings::default(),
        grace: GRACE,
        mail: None,
        upstreams: Vec::new(),
    };
    Ok((settings, identity.authority))
}

/// A port that is taken is found out by trying; the edge binds it for good a moment later.
fn chosen(port: PortChoice) -> u16 {
    match port {
        PortChoice::Exactly(port) => port,
        PortChoice::Preferably(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_or(0, |_| port),
    }
}

/// What stands around the demo's edge: its operator, its desktop, its app.
struct Around {
    entropy: Arc<dyn Entropy>,
    data_dir: PathBuf,
    authority: String,
    stop: CancellationToken,
}

impl Around {
    async fn run(
        self,
        accepts: oneshot::Receiver<Ready>,
        told: impl FnOnce(&Links),
    ) -> Result<(), DemoError> {
        let ready = accepts.await.map_err(|_| DemoError::Ended)?;
        let clock: Arc<dyn Clock> = SystemClock::not_before(Timestamp::default());
        let app = SampleApp::start(Arc::clone(&clock)).await?;

        let user = UserName::parse(USER)?;
        let invited: Invited = self.command(Command::UserAdd { name: user.clone(), email: None }).await?;
        let LinkToken { token, .. } = self.command(Command::AgentToken { user, tunnel: None }).await?;
        let port = ready.https.first().map_or(0, SocketAddr::port);
        let asked = LinkRequest {
            edge: EdgeAddress::parse(&format!("https://{DEPLOYER}.{BASE}:{port}"))?,
            origin: Some(browsers_origin(&ready)?),
            ca: Some(self.authority.clone()),
            name: DESKTOP.to_owned(),
        };
        let link = link_desktop(asked, &SecretText::new(token)).await?;
        // Nobody sits at this desktop who could be asked.
        let home = Home::at(self.data_dir.with_file_name("desktop"));
        let entropy = Arc::clone(&self.entropy);
        let rules = (Trust::Owner, Unproven::Asked);
        let desk = Desk::open(home, rules, &link.user, link.judge(), Arc::clone(&clock), entropy)?;
        let agent = Agent {
            link,
            desk,
            app: AppAddress::parse(&format!("http://{}", app.address))?,
            pace: Pace::default(),
            clock,
            entropy: Arc::clone(&self.entropy),
        };

        let (state, mut states) = watch::channel(AgentState::Connecting);
        let mut running = std::pin::pin!(crate::agent::run(agent, self.stop.clone(), state));
        let url = tokio::select! {
            ended = &mut running => return ended.map_err(DemoError::from),
            url = connected(&mut states) => url.ok_or(DemoError::Ended)?,
        };
        told(&Links { url, enrol_url: invited.enrol_url });
        Ok(running.await?)
    }

    /// Has the edge do something, through the socket that its operator would use.
    async fn command<T: DeserializeOwned>(&self, command: Command) -> Result<T, DemoError> {
        let data_dir = self.data_dir.clone();
        let asked = tokio::task::spawn_blocking(move || admin_socket::ask(&data_dir, &command)).await;
        match asked.map_err(std::io::Error::other)?? {
            Answer::Done(document) => Ok(serde_json::from_value(document).map_err(std::io::Error::other)?),
            Answer::Failed(sentence) => Err(DemoError::Refused(sentence)),
        }
    }
}

/// The sign-in site as browsers know it, which is not where the agent dials.
fn browsers_origin(ready: &Ready) -> Result<String, DemoError> {
    let port = ready.http.first().map_or(0, SocketAddr::port);
    let hosts = PublicHosts::new(Scheme::Http, BaseDomain::parse(BASE)?, DEPLOYER, port)?;
    Ok(hosts.deployer_origin())
}

/// Where visitors find the tunnel, once the agent is connected.
async fn connected(states: &mut watch::Receiver<AgentState>) -> Option<String> {
    let state = states.wait_for(|state| matches!(state, AgentState::Connected { .. })).await.ok()?;
    match &*state {
        AgentState::Connected { url, .. } => Some(url.clone()),
        _ => None,
    }
}
