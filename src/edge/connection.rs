//! One connection: from the accepted socket, through TLS, to the requests on it.
//!
//! We accept ourselves. Pingora's services would bind late, and when they stop close those who are just asking. The
//! ClientHello tells visitors from agents, and each gets a TLS configuration of its own. A visitor's connection goes
//! to Pingora as HTTP/2 or HTTP/1.1, with each request wrapped in a [`Life`]; an agent's goes to the tunnels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use pingora::apps::{HttpServerApp, ReusedHttpStream, ServerApp as _};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::{ALPN, Stream, TcpKeepalive};
use pingora::proxy::{HttpProxy, ProxyHttp, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Limits;
use super::buffered::{self, AgentStream};
use super::drain::{ConnectionGuard, InFlight};
use super::entrance::{Arrived, Entrance};
use super::handover::Passing;
use super::hello::{self, Hello};
use super::http2;
use super::life::{Connection, Life, Sharing};
use super::visitor_stream::{Course, VisitorStream};
use crate::metrics::{Handshake, metrics};

/// Handshakes under way at once; each costs about as much as thirty requests.
const HANDSHAKES: usize = 1024;
/// The largest head that HTTP/2 takes in; most of one that is larger than need be is thrown away at once.
const LARGEST_HEAD: u32 = 768 * 1024;
/// What HTTP/2 may hold for one stream whose visitor reads slowly.
const SEND_BUFFER: usize = 128 * 1024;

/// What a visitor may send on one stream of HTTP/2 before its reader takes it: on a long way home, HTTP/2's own 64 KiB
/// would be the limit of an upload's speed.
const UPLOAD_WINDOW: u32 = 1 << 20;

/// Takes an agent's connection, after a handshake that proved its key, until it ends.
pub(super) type AgentDoor = Box<dyn Fn(Box<AgentStream>, SocketAddr) -> BoxFuture<'static, ()> + Send + Sync>;

/// How connections of one kind of listener begin.
pub(super) enum Front {
    /// With TLS, everywhere but in the demo.
    Tls(TlsFront),
    /// Without, for browsers of the demo: names under `.localhost`, on loopback.
    Plain,
}

/// What a TLS listener needs.
pub(super) struct TlsFront {
    visitors: Acceptor,
    agents: TlsAcceptor,
    tunnel_alpn: Vec<u8>,
    agent_door: AgentDoor,
    passing: Arc<Passing>,
    handshakes: Semaphore,
}

impl TlsFront {
    /// Agents are told by `tunnel_alpn`, and go through `agent_door`, unless `passing` takes them elsewhere.
    pub(super) fn new(
        visitors: Arc<ServerConfig>,
        agents: Arc<ServerConfig>,
        tunnel_alpn: &[u8],
        agent_door: AgentDoor,
        passing: Arc<Passing>,
    ) -> Self {
        Self {
            visitors: Acceptor::from_server_config(visitors),
            agents: TlsAcceptor::from(agents),
            tunnel_alpn: tunnel_alpn.to_vec(),
            agent_door,
            passing,
            handshakes: Semaphore::new(HANDSHAKES),
        }
    }
}

/// One kind of listener: `proxy` behind `front`.
pub(super) struct Door<SV> {
    proxy: Arc<HttpProxy<SV>>,
    front: Front,
    entrance: Arc<Entrance>,
    in_flight: InFlight,
    limits: Limits,
}

/// A connection as it came out of TLS.
enum Entered {
    Visitor(Stream, Option<String>),
    Agent(Box<AgentStream>),
    /// An agent that is another server's now.
    PassedOn,
}

impl<SV> Door<SV>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync + 'static,
{
    pub(super) fn new(
        conf: &Arc<ServerConf>,
        proxy: SV,
        front: Front,
        entrance: Arc<Entrance>,
        in_flight: InFlight,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self { proxy: Arc::new(http_proxy(conf, proxy)), front, entrance, in_flight, limits })
    }

    /// Accepts on `listener` until `shutdown`; what is connected then goes on.
    pub(super) async fn open(self: Arc<Self>, listener: TcpListener, mut shutdown: ShutdownWatch) {
        loop {
            let arrived = tokio::select! {
                biased;
                // An error means that whoever could shut it down is gone.
                _ = shutdown.wait_for(|down| *down) => break,
                arrived = self.entrance.accept(&listener) => arrived,
            };
            let (door, shutdown, guard) = (Arc::clone(&self), shutdown.clone(), self.in_flight.connection());
            tokio::spawn(async move { door.receive(arrived, &shutdown, guard).await });
        }
        drop(listener);
        self.in_flight.idle_over().await;
        self.proxy.http_cleanup().await;
    }

    /// Serves an agent that another server accepted and that has said `heard`.
    pub(super) async fn take_over(&self, tcp: TcpStream, heard: Vec<u8>) {
        if let (Front::Tls(tls), Ok(peer)) = (&self.front, tcp.peer_addr())
            && let Some(Entered::Agent(stream)) =
                tls.enter(tcp, peer, Some(heard), self.limits.handshake).await
        {
            (tls.agent_door)(stream, peer).await;
        }
    }

    async fn receive(&self, arrived: Arrived, shutdown: &ShutdownWatch, guard: ConnectionGuard) {
        let Some((tcp, peer, _place)) = self.entrance.introduced(arrived).await else { return };
        let (stream, server_name): (Stream, _) = match &self.front {
            Front::Plain => (Box::new(buffered::short_answers(tuned(tcp))), None),
            // Boxed, so that what a handshake takes is given back after it: a connection may do nothing for hours.
            Front::Tls(tls) => match Box::pin(tls.enter(tcp, peer, None, self.limits.handshake)).await {
                Some(Entered::Visitor(stream, server_name)) => (stream, server_name),
                Some(Entered::Agent(stream)) => {
                    // An agent's connection ends when the edge says so, not when it drains.
                    drop(guard);
                    return (tls.agent_door)(stream, peer).await;
                }
                Some(Entered::PassedOn) | None => return,
            },
        };
        let (limits, course) = (self.limits, Arc::<Course>::default());
        let stream: Stream = Box::new(VisitorStream::new(stream, Arc::clone(&course), limits));
        let connection = Arc::new(Connection { peer, server_name, course, limits });
        let streams = self.entrance.caps.streams();
        let visitor = Arc::new(VisitorConnection { proxy: Arc::clone(&self.proxy), connection, streams });
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            let answer = |session| {
                let (visitor, shutdown) = (Arc::clone(&visitor), shutdown.clone());
                async move { drop(visitor.answer(session, &shutdown).await) }
            };
            Box::pin(http2::serve(visitor.h2_options(), answer, stream, &limits, shutdown)).await;
        } else {
            visitor.process_new(stream, shutdown).await;
            let connection = Arc::clone(&visitor.connection);
            drop(visitor);
            let dress = |io| VisitorStream::new(io, Arc::clone(&connection.course), limits);
            connection.course.exit.afterwards(dress).await;
        }
    }
}

/// Small writes leave at once. A visitor whose machine fell asleep says nothing more; within two minutes the system
/// notices.
fn tuned(tcp: TcpStream) -> L4Stream {
    let mut stream = L4Stream::from(tcp);
    let keepalive = TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::from_secs(120),
    };
    // A socket that cannot is still good.
    let _ = stream.set_nodelay();
    let _ = stream.set_keepalive(&keepalive);
    stream
}

impl TlsFront {
    /// The handshake, in time or not at all.
    async fn enter(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        heard: Option<Vec<u8>>,
        deadline: Duration,
    ) -> Option<Entered> {
        let (result, entered) = match timeout(deadline, self.handshake(tcp, heard)).await {
            Ok(Ok(Entered::PassedOn)) => return None,
            Ok(Ok(entered @ Entered::Visitor(..))) => (Handshake::Visitor, Some(entered)),
            Ok(Ok(entered @ Entered::Agent(..))) => (Handshake::Agent, Some(entered)),
            Ok(Err(error)) => {
                tracing::debug!(%peer, error, "TLS handshake failed");
                (Handshake::Failed, None)
            }
            Err(_) => (Handshake::Timeout, None),
        };
        metrics().tls_handshake(result);
        entered
    }

    /// `heard` is what an agent has said to another server.
    async fn handshake(&self, mut tcp: TcpStream, heard: Option<Vec<u8>>) -> Result<Entered, String> {
        let Hello { server_name, offers_tunnel, bytes } = match heard {
            Some(bytes) => Hello { server_name: None, offers_tunnel: true, bytes },
            None => hello::read(&mut tcp, &self.tunnel_alpn).await.map_err(|error| error.to_string())?,
        };
        if offers_tunnel && self.passing.pass(&tcp, &bytes).await {
            return Ok(Entered::PassedOn);
        }
        let _turn = self.handshakes.acquire().await.map_err(|error| error.to_string())?;
        let mut stream = tuned(tcp);
        stream.rewind(&bytes);
        let stream = buffered::records(stream);
        if offers_tunnel {
            let stream = self.agents.accept(stream).await.map_err(|error| error.to_string())?;
            return Ok(Entered::Agent(Box::new(stream)));
        }
        let stream = self.visitors.tls_handshake(stream).await.map_err(|error| error.to_string())?;
        Ok(Entered::Visitor(Box::new(buffered::short_answers(stream)), server_name))
    }
}

/// What Pingora serves HTTP on a visitor's connection with: the proxy, each request of it in a [`Life`].
struct VisitorConnection<SV> {
    proxy: Arc<HttpProxy<SV>>,
    connection: Arc<Connection>,
    /// How many requests it may have under way over HTTP/2.
    streams: u32,
}

impl<SV> VisitorConnection<SV>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync + 'static,
{
    async fn answer(&self, mut session: ServerSession, shutdown: &ShutdownWatch) -> Option<ReusedHttpStream> {
        // A visitor who has the whole of an answer may ask again before we have seen its end ourselves. Without this,
        // Pingora takes what comes early for a mistake and closes the connection.
        session.set_pipelining_enabled(true);
        let sharing = if session.is_http2() {
            // Whoever gives back no window for so long takes nothing.
            session.set_write_timeout(Some(self.connection.limits.stall));
            Sharing::Many
        } else {
            // The stream below sees to both, as totals. While the server stops, nobody waits for another request.
            if session.get_keepalive().is_some() {
                session.set_keepalive(Some(0));
            }
            session.set_read_timeout(None);
            Sharing::Alone
        };
        Life::run(&self.connection, sharing, self.proxy.process_new_http(session, shutdown)).await
    }

    fn h2_options(&self) -> H2Options {
        let mut options = default_h2_options();
        options.max_header_list_size(LARGEST_HEAD);
        options.max_send_buffer_size(SEND_BUFFER);
        options.max_concurrent_streams(self.streams);
        options.initial_window_size(UPLOAD_WINDOW);
        options.initial_connection_window_size(4 * UPLOAD_WINDOW);
        options
    }
}

/// As Pingora asks over HTTP/1.1; over HTTP/2 we do.
#[async_trait]
impl<SV> HttpServerApp for VisitorConnection<SV>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync + 'static,
{
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.answer(session, shutdown).await
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
