//! Many at once that do nothing: desktops that dialed in, and visitors with an open WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Method, Response};
use http_body_util::BodyExt as _;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::client::{Connection, Visitor};
use super::edge::Edge;
use super::journey::Person;
use super::peers::as_key;
use super::websocket::Socket;

/// How many are brought up side by side.
const ABREAST: usize = 32;

/// A desktop that was linked: its key, and the tunnel that it serves.
pub(crate) struct Desk {
    pub(crate) key: KeyPair,
    pub(crate) tunnel: String,
}

/// Links so many desktops of `user`, as its operator and its desktops would, only faster.
pub(crate) async fn link(edge: &Edge, user: &str, count: usize) -> Vec<Desk> {
    let visitor = edge.visitor();
    let lanes = (0..ABREAST).map(|lane| {
        let visitor = visitor.clone();
        async move {
            let mut connection = visitor.connect(&edge.deployer("/"), None).await.expect("a connection");
            let mut desks = Vec::new();
            for _ in (lane..count).step_by(ABREAST) {
                desks.push(link_one(edge, user, &visitor, &mut connection).await);
            }
            desks
        }
    });
    futures_util::future::join_all(lanes).await.into_iter().flatten().collect()
}

async fn link_one(edge: &Edge, user: &str, visitor: &Visitor, connection: &mut Connection) -> Desk {
    let granted = operator(edge, &json!({"command": "agent-token", "user": user, "tunnel": null})).await;
    let key = KeyPair::generate().expect("a key");
    let public = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        key.subject_public_key_info(),
    );
    let asked = json!({"name": "Desk", "public_key": public, "token": granted["token"]});
    let sent =
        connection.send(visitor.post(&edge.deployer("/api/v1/link"), &asked)).await.expect("an answer");
    let status = sent.status();
    let body = sent.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    Desk { key, tunnel: granted["tunnel"].as_str().expect("a tunnel").to_owned() }
}

/// What a command does, without the program around it.
async fn operator(edge: &Edge, command: &Value) -> Value {
    let mut socket =
        UnixStream::connect(edge.home().join("data/admin.sock")).await.expect("the edge's socket");
    socket.write_all(format!("{command}\n").as_bytes()).await.expect("written");
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).await.expect("an answer");
    let answer: Value = serde_json::from_str(&line).expect("JSON");
    assert!(answer["done"].is_object(), "{command}: {answer}");
    answer["done"].clone()
}

/// The way in of one desktop, wherever the edge is in its life.
pub(crate) struct Way {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
    port: u16,
}

impl Way {
    /// To `edge`, with the key of `desk`.
    pub(crate) fn of(edge: &Edge, desk: &Desk) -> Self {
        let name = ServerName::try_from(format!("deployer.{}", edge.base())).expect("a name");
        Self { config: Arc::new(as_key(edge, &desk.key)), name, port: edge.port() }
    }

    /// Dials in, and returns once the edge has said hello.
    pub(crate) async fn dial(&self) -> std::io::Result<IdleAgent> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.config));
        let tls = connector.connect(self.name.clone(), tcp).await?;
        let (greeted, hello) = oneshot::channel();
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(tls, greeted)));
        hello.await.map_err(std::io::Error::other)?;
        Ok(IdleAgent { serving })
    }
}

/// An agent that takes what comes and says nothing but yes. Dropped, it is gone.
pub(crate) struct IdleAgent {
    /// Ends with the connection.
    pub(crate) serving: AbortOnDropHandle<()>,
}

/// What an answer leaves open.
type Held = (Option<RecvStream>, SendStream<Bytes>);

async fn serve(tls: tokio_rustls::client::TlsStream<TcpStream>, greeted: oneshot::Sender<()>) {
    let mut greeted = Some(greeted);
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4096).enable_connect_protocol();
    let Ok(mut connection) = builder.handshake::<_, Bytes>(tls).await else { return };
    let mut held: Vec<Held> = Vec::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let control = request.uri().authority().is_some_and(|one| one == "control.patapim.invalid");
        let kept = match (control, request.uri().path(), request.method()) {
            (true, "/hello", _) => answer(respond, "{\"version\":1,\"name\":\"Idle\"}\n", None, true),
            (true, "/session", _) => answer(respond, "{\"answer\":\"approved\"}\n", None, false),
            (true, ..) => answer(respond, "", None, false),
            (false, _, &Method::CONNECT) => answer(respond, "", Some(request.into_body()), true),
            (false, ..) => answer(respond, "well", None, false),
        };
        held.extend(kept);
        if let Some(greeted) = greeted.take() {
            // Whoever dialed may have given up.
            let _ = greeted.send(());
        }
    }
}

fn answer(
    mut respond: SendResponse<Bytes>,
    text: &'static str,
    request: Option<RecvStream>,
    stays: bool,
) -> Option<Held> {
    let mut body = respond.send_response(Response::new(()), false).ok()?;
    if !(stays && text.is_empty()) {
        body.send_data(Bytes::from_static(text.as_bytes()), !stays).ok()?;
    }
    stays.then_some((request, body))
}

/// Has all of them dial in, and waits until the edge has them.
pub(crate) async fn dial_in(edge: &Edge, desks: &[Desk]) -> Vec<IdleAgent> {
    let before = edge.counted("tunnels_connected").await;
    let dialing = stream::iter(desks).map(|desk| async move { Way::of(edge, desk).dial().await });
    let agents = dialing.buffer_unordered(ABREAST);
    let agents: Vec<_> = agents.map(|agent| agent.expect("a linked desktop")).collect().await;
    while edge.counted("tunnels_connected").await < before + desks.len() as u64 {
        assert!(agents.iter().all(|agent| !agent.serving.is_finished()), "one was turned away");
    }
    agents
}

/// Somebody with a session on one tunnel.
pub(crate) struct SignedIn {
    browser: Visitor,
    page: Url,
}

impl SignedIn {
    /// To the tunnel of `desk`, which is `owner`'s.
    pub(crate) async fn to(edge: &Edge, owner: &mut Person, desk: &Desk) -> Self {
        let page = edge.tunnel(&desk.tunnel, "/");
        owner.open(&page).await.must_be(200);
        Self { browser: owner.browser.clone(), page }
    }

    /// Opens so many WebSockets.
    pub(crate) async fn websockets(&self, count: usize) -> Vec<Socket> {
        let opening =
            (0..count).map(|_| async { self.browser.websocket(&self.page).await.expect("a WebSocket") });
        stream::iter(opening).buffer_unordered(ABREAST).collect().await
    }
}
