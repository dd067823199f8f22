//! Edge and agent together, over real TLS on loopback, with an app behind.

mod app;
mod keys;
mod life;
mod linking;
mod registry;
mod traffic;
mod visitors;
mod websockets;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{
    AgentHost, AgentIdentity, AgentLink, Opened, Registry, TunnelSettings, client_cert, serve_agent,
    turn_away,
};
use crate::agent::{
    Agent, AgentState, AppAddress, Backoff, Desk, DesktopKey, EdgeAddress, Home, Link, Pace, RunError, Trust,
    Unproven, proof::SignInSite, run,
};
use crate::clock::{SystemClock, Timestamp};
use crate::names::{SessionId, TunnelId, UserId};
use crate::secret::SystemEntropy;
use crate::wire::approval::SESSION_HEADER;
use crate::wire::{Notice, Rhythm, SpkiPin, http2};

/// Nothing here takes this long unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

const EDGE_HOST: &str = "deployer.patapim.localhost";
const HOST: &str = "ada-abc234.tunnel.patapim.localhost";

/// The session that the agent has approved.
const SESSION: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

fn tunnel() -> TunnelId {
    TunnelId::parse("ada-abc234").expect("a label")
}

/// As the agent's owner would be told, within the test's patience.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// An edge's agent side: a listener, its certificate, and the keys that it knows.
struct Edge {
    port: u16,
    ca: String,
    registry: Arc<Registry>,
    known: Arc<Mutex<HashMap<SpkiPin, AgentIdentity>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Edge {
    async fn start() -> Self {
        Self::with(TunnelSettings::default()).await
    }

    async fn with(settings: TunnelSettings) -> Self {
        let (certificates, ca) = certificates(EDGE_HOST);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = client_cert::server_config(provider, certificates).expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let known: Arc<Mutex<HashMap<SpkiPin, AgentIdentity>>> = Arc::default();
        let (registry, asked) = (Registry::new(), Arc::clone(&known));
        let host = Arc::new(AgentHost {
            registry: Arc::clone(&registry),
            nonces: Arc::default(),
            clock: SystemClock::not_before(Timestamp::default()),
            settings,
            still_linked: Box::new(move |who| {
                let linked = asked.lock().expect("whole").contains_key(&who.pin);
                Box::pin(async move { linked })
            }),
            verdicts: Arc::new(|_, _, _| Box::pin(async {})),
        });
        let accepting = tokio::spawn(accept(listener, Arc::new(config).into(), host, Arc::clone(&known)));
        Self { port, ca, registry, known, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// A desktop that is linked here.
    fn link(&self) -> Link {
        let key = DesktopKey::generate().expect("a key");
        let identity = AgentIdentity {
            tunnel: tunnel(),
            user: UserId::random(&*SystemEntropy::shared()),
            pin: key.pin(),
            public_url: format!("https://{HOST}"),
        };
        self.known.lock().expect("whole").insert(key.pin(), identity);
        Link {
            edge: EdgeAddress::parse(&format!("https://{EDGE_HOST}:{}", self.port)).expect("an address"),
            tunnel: tunnel(),
            user: "ada".into(),
            tunnel_url: format!("https://{HOST}"),
            name: "Laptop".into(),
            ca: Some(self.ca.clone()),
            site: SignInSite::of(&format!("https://{EDGE_HOST}")),
            key,
        }
    }

    async fn agent_link(&self) -> Arc<AgentLink> {
        self.registry.wait_for(&tunnel(), PATIENCE).await.expect("an agent")
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    host: Arc<AgentHost>,
    known: Arc<Mutex<HashMap<SpkiPin, AgentIdentity>>>,
) {
    loop {
        let (tcp, _) = listener.accept().await.expect("a connection");
        let (tls, host, known) = (tls.clone(), Arc::clone(&host), Arc::clone(&known));
        tokio::spawn(async move {
            let Ok(io) = tls.accept(tcp).await else { return };
            let pin = client_cert::pin_of(io.get_ref().1).expect("a certificate was demanded");
            let identity = known.lock().expect("whole").get(&pin).cloned();
            match identity {
                Some(identity) => drop(serve_agent(io, identity, &host).await),
                None => turn_away(io, Notice::Unlinked, "This key is not linked.".into()).await,
            }
        });
    }
}

/// A certificate for `name`, and the PEM of the authority that made it.
fn certificates(name: &str) -> (Arc<dyn ResolvesServerCert>, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let signing =
        rustls::crypto::ring::sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into());
    let certified = CertifiedKey::new(vec![certificate.der().clone()], signing.expect("an ECDSA key"));
    (Arc::new(Always(Arc::new(certified))), authority_certificate.pem())
}

/// One certificate for whoever asks.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// An agent that runs.
struct Running {
    state: watch::Receiver<AgentState>,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(link: Link, app: &str) -> Self {
        Self::with(link, AppAddress::parse(app).expect("an address"))
    }

    fn with(link: Link, app: AppAddress) -> Self {
        let (state, states) = watch::channel(AgentState::Connecting);
        let shutdown = CancellationToken::new();
        let pace = Pace {
            backoff: Backoff::between(Duration::from_millis(10), Duration::from_millis(100)),
            rhythm: Rhythm {
                every: Duration::from_millis(200),
                at_rest: Duration::ZERO,
                deadline: Duration::from_secs(5),
            },
            ..Pace::default()
        };
        let folder = tempfile::tempdir().expect("a folder");
        let clock = SystemClock::not_before(Timestamp::default());
        let entropy = SystemEntropy::shared();
        let home = Home::at(folder.path());
        let rules = (Trust::Ask, Unproven::Asked);
        let desk = Desk::open(home, rules, "ada", link.judge(), clock.clone(), Arc::clone(&entropy));
        let desk = desk.expect("open");
        desk.admit_for_test(&SessionId::parse(SESSION).expect("an id"));
        let agent = Agent { link, app, pace, clock, entropy, desk };
        let ended = tokio::spawn(run(agent, shutdown.clone(), state));
        Self { state: states, ended, shutdown, _folder: folder }
    }

    async fn ended(self) -> Result<(), RunError> {
        soon(self.ended).await.expect("no panic")
    }

    async fn until(&mut self, what: impl Fn(&AgentState) -> bool) -> AgentState {
        soon(self.state.wait_for(|state| what(state))).await.expect("running").clone()
    }
}

/// An edge and an agent before `app`, connected.
async fn connected(app: &str) -> (Edge, Running, Arc<AgentLink>) {
    let edge = Edge::start().await;
    let agent = Running::start(edge.link(), app);
    let link = edge.agent_link().await;
    (edge, agent, link)
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://{HOST}{path}")).header(SESSION_HEADER, SESSION).body(()).expect("a request")
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://{HOST}{path}"))
        .header(SESSION_HEADER, SESSION)
        .body(())
        .expect("a request")
}

/// A whole answer.
struct Answer {
    head: Response<()>,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn fault(&self) -> Option<&str> {
        self.head.headers().get(crate::wire::AGENT_ERROR_HEADER).map(|value| value.to_str().expect("text"))
    }
}

/// Sends a request with nothing more to say, and reads the whole answer.
async fn ask(link: &AgentLink, request: Request<()>) -> Result<Answer, h2::Error> {
    let opened = link.open(request, true).expect("a stream");
    soon(read(opened)).await
}

async fn read(opened: Opened) -> Result<Answer, h2::Error> {
    let Opened { response, body: _body, permit: _permit } = opened;
    let (head, mut stream) = response.await?.into_parts();
    let mut body = BytesMut::new();
    while let Some(piece) = http2::receive(&mut stream).await {
        body.extend_from_slice(&piece?);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { head: Response::from_parts(head, ()), body: body.freeze(), trailers })
}

/// A TCP app that is written by hand: `serve` gets each connection.
async fn raw_app<F, S>(serve: F) -> (String, AbortOnDropHandle<()>)
where
    F: Fn(TcpStream) -> S + Send + Sync + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp));
        }
    });
    (address, AbortOnDropHandle::new(serving))
}

/// A port where nobody listens, for as long as the socket is kept: else another test might.
fn port_without_listener() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = socket.local_addr().expect("bound").port();
    (socket, port)
}
