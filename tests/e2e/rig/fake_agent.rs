//! An agent of the test's own making. It holds a linked desktop's key and greets as it should; what it does then is the
//! test's choice, down to the single frame ([`super::raw_http2`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rcgen::KeyPair;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::agent::Desktop;
use super::edge::Edge;
use super::peers::{as_key, key_of, whole};
use super::process::within;
use super::raw_http2::ACK;
use super::raw_http2::kind::SETTINGS;

pub(crate) type Tls = tokio_rustls::client::TlsStream<TcpStream>;

/// Dials `edge` with `key` and shakes hands; says nothing yet.
pub(crate) async fn dial(edge: &Edge, key: &KeyPair) -> std::io::Result<Tls> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(as_key(edge, key)));
    let tcp = TcpStream::connect(("127.0.0.1", edge.port())).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(format!("deployer.{}", edge.base())).expect("a name");
    connector.connect(name, tcp).await
}

/// A visitor's request, as the agent has it.
pub(crate) struct Asked {
    pub(crate) request: Request<RecvStream>,
    /// For those who answer as one should.
    pub(crate) respond: SendResponse<Bytes>,
    /// For those who do not.
    pub(crate) wire: Wire,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// The stream's number.
    pub(crate) fn stream(&self) -> u32 {
        self.respond.stream_id().as_u32()
    }

    /// Answers with a page of nothing but `text`.
    pub(crate) fn say(mut self, text: &str) {
        if let Ok(mut body) = self.respond.send_response(Response::new(()), false) {
            let _ = body.send_data(Bytes::copy_from_slice(text.as_bytes()), true);
        }
    }
}

type App = Arc<dyn Fn(Asked) -> BoxFuture<'static, ()> + Send + Sync>;
type Doorkeeper = Arc<dyn Fn(&Value) -> String + Send + Sync>;

/// How it behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    hello: String,
    app: App,
    doorkeeper: Doorkeeper,
}

impl Default for Manners {
    /// Lets everybody in, and says "well" to everything.
    fn default() -> Self {
        Self {
            hello: r#"{"version":1,"name":"Fake"}"#.to_owned() + "\n",
            app: Arc::new(|asked| async { asked.say("well") }.boxed()),
            doorkeeper: Arc::new(|_| r#"{"answer":"approved"}"#.to_owned()),
        }
    }
}

impl Manners {
    /// Answers visitors like this.
    pub(crate) fn app<F>(mut self, app: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.app = Arc::new(move |asked| app(asked).boxed());
        self
    }

    /// Greets like this, in place of a hello.
    pub(crate) fn hello(mut self, hello: String) -> Self {
        self.hello = hello;
        self
    }

    /// Answers the edge's questions about sessions like this.
    pub(crate) fn doorkeeper(mut self, answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        self.doorkeeper = Arc::new(answer);
        self
    }
}

/// The connection's bytes, below HTTP/2.
#[derive(Clone)]
pub(crate) struct Wire {
    inject: mpsc::UnboundedSender<Bytes>,
    deaf: Arc<AtomicBool>,
    obstinate: Arc<AtomicBool>,
}

impl Wire {
    /// Writes `frames` between two frames of the agent's own.
    pub(crate) fn write(&self, frames: impl Into<Bytes>) {
        let _ = self.inject.send(frames.into());
    }

    /// From now on it agrees to no settings, whatever else it does.
    pub(crate) fn agree_to_nothing(&self) {
        self.obstinate.store(true, Ordering::SeqCst);
    }

    /// From now on nothing is read that the edge says.
    pub(crate) fn stop_reading(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }
}

/// It is connected until it is dropped.
pub(crate) struct FakeAgent {
    pub(crate) wire: Wire,
    said: mpsc::UnboundedSender<Bytes>,
    /// What the edge asked the agent itself: path and body.
    told: watch::Receiver<Vec<(String, Value)>>,
    /// What visitors asked for.
    asked: Arc<Mutex<Vec<String>>>,
    over: watch::Receiver<bool>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl FakeAgent {
    /// With the key of `desktop`.
    pub(crate) async fn dial(edge: &Edge, desktop: &Desktop, manners: Manners) -> Self {
        Self::dial_with(edge, &key_of(desktop), manners).await
    }

    /// With this key. Returns when the edge has heard the hello.
    pub(crate) async fn dial_with(edge: &Edge, key: &KeyPair, manners: Manners) -> Self {
        let agent = Self::begin(edge, key, manners).await;
        agent.was_told("/hello").await;
        agent
    }

    /// The same, without waiting for anything after the handshake.
    pub(crate) async fn begin(edge: &Edge, key: &KeyPair, manners: Manners) -> Self {
        let tls = within("a handshake", dial(edge, key)).await.expect("a linked desktop");
        let (near, far) = tokio::io::duplex(1 << 20);
        let (from_edge, to_edge) = tokio::io::split(tls);
        let (from_agent, to_agent) = tokio::io::split(far);
        let (inject, injected) = mpsc::unbounded_channel();
        let wire = Wire { inject, deaf: Arc::default(), obstinate: Arc::default() };
        let (ended, over) = watch::channel(false);
        let (telling, told) = watch::channel(Vec::new());
        let (said, saying) = mpsc::unbounded_channel();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let serving = serve(near, manners, wire.clone(), Arc::clone(&asked), telling, saying);
        let tasks = [
            tokio::spawn(hear(from_edge, to_agent, Arc::clone(&wire.deaf), ended)),
            tokio::spawn(speak(from_agent, to_edge, injected, Arc::clone(&wire.obstinate))),
            tokio::spawn(serving),
        ];
        Self { wire, said, told, asked, over, _tasks: tasks.map(AbortOnDropHandle::new).into() }
    }

    /// Says one more line to the edge.
    pub(crate) fn say(&self, line: &str) {
        self.mumble(&format!("{line}\n"));
    }

    /// Says something that need be no line.
    pub(crate) fn mumble(&self, words: &str) {
        let _ = self.said.send(Bytes::copy_from_slice(words.as_bytes()));
    }

    /// How often visitors asked for `path`.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.asked.lock().expect("whole").iter().filter(|asked| *asked == path).count()
    }

    /// Waits until the edge has asked it for `path`, and gives the body.
    pub(crate) async fn was_told(&self, path: &str) -> Value {
        let mut told = self.told.clone();
        let heard = told.wait_for(|all| all.iter().any(|(asked, _)| asked == path));
        let all = within(&format!("the edge's {path}"), heard).await.expect("connected");
        all.iter().find(|(asked, _)| asked == path).expect("just seen").1.clone()
    }

    /// Waits until the edge has ended the connection.
    pub(crate) async fn cut(&self) {
        let mut over = self.over.clone();
        let _ = within("the edge to end the agent's connection", over.wait_for(|over| *over)).await;
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }
}

async fn hear(
    mut from: ReadHalf<Tls>,
    mut to: WriteHalf<DuplexStream>,
    deaf: Arc<AtomicBool>,
    ended: watch::Sender<bool>,
) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        if deaf.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            // An agent that misbehaved may be gone before the edge is.
            Ok(count) => drop(to.write_all(&piece[..count]).await),
        }
    }
    ended.send_replace(true);
}

/// Sends the agent's own frames whole, and the test's in between.
async fn speak(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<Tls>,
    mut injected: mpsc::UnboundedReceiver<Bytes>,
    obstinate: Arc<AtomicBool>,
) {
    let mut held = BytesMut::new();
    loop {
        let frames = tokio::select! {
            read = from.read_buf(&mut held) => match read {
                Ok(0) | Err(_) => std::future::pending().await,
                Ok(_) => whole_frames(&mut held, obstinate.load(Ordering::SeqCst)),
            },
            injected = injected.recv() => injected.unwrap_or_default(),
        };
        if to.write_all(&frames).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

fn whole_frames(held: &mut BytesMut, obstinate: bool) -> Bytes {
    let mut frames = BytesMut::new();
    while let Some([a, b, c, kind, flags]) = held.get(..5) {
        let is_agreement = (*kind, *flags) == (SETTINGS, ACK);
        let length = 9 + u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if length > held.len() {
            break;
        }
        let frame = held.split_to(length);
        if !(is_agreement && obstinate) {
            frames.extend_from_slice(&frame);
        }
    }
    frames.freeze()
}

async fn serve(
    io: DuplexStream,
    manners: Manners,
    wire: Wire,
    asked: Arc<Mutex<Vec<String>>>,
    telling: watch::Sender<Vec<(String, Value)>>,
    saying: mpsc::UnboundedReceiver<Bytes>,
) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 30).enable_connect_protocol();
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else { return };
    let (mut saying, mut tasks) = (Some(saying), tokio::task::JoinSet::new());
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let control = request.uri().authority().is_some_and(|one| one == "control.patapim.invalid");
        if !control {
            asked.lock().expect("whole").push(request.uri().path().to_owned());
            tasks.spawn((manners.app)(Asked { request, respond, wire: wire.clone() }));
            continue;
        }
        let path = request.uri().path().to_owned();
        let hello = (path == "/hello").then(|| saying.take()).flatten();
        let (manners, telling) = (manners.clone(), telling.clone());
        tasks.spawn(async move {
            let body = serde_json::from_slice(&whole(request.into_body()).await).unwrap_or_default();
            let answer = match path.as_str() {
                "/hello" => manners.hello.clone(),
                "/session" => (manners.doorkeeper)(&body) + "\n",
                _ => String::new(),
            };
            let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
            let _ = stream.send_data(answer.into(), hello.is_none());
            telling.send_modify(|all| all.push((path, body)));
            if let Some(saying) = hello {
                go_on(stream, saying).await;
            }
        });
    }
    // What is answered is answered, though nobody hears more.
    std::future::pending::<()>().await;
}

async fn go_on(mut events: SendStream<Bytes>, mut saying: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(line) = saying.recv().await {
        let _ = events.send_data(line, false);
    }
    std::future::pending::<()>().await;
}
