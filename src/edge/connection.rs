//! One connection: from the accepted socket, through TLS, to the requests on it.
//!
//! Pingora accepts on plain TCP and hands every socket to [`Front::serve`] (it calls this a custom session). Here the
//! ClientHello tells visitors from agents, and each gets a TLS configuration of its own. A visitor's connection goes
//! back to Pingora as HTTP/2 or HTTP/1.1, with each request wrapped in a [`Life`]; an agent's goes to the tunnels.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp as _};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::proxy::{HttpProxy, ProxyHttp, http_proxy_service_with_name_custom};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::drain::InFlight;
use super::hello::{self, Hello};
use super::life::{Connection, Life};
use crate::metrics::{Handshake, metrics};

/// From the accepted socket to the end of the TLS handshake.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Handshakes under way at once; each costs about as much as thirty requests.
const HANDSHAKES: usize = 1024;
/// A connection of HTTP/2 without a stream for this long is closed.
const IDLE_H2: Duration = Duration::from_secs(180);
/// What HTTP/2 may hold for one stream whose visitor reads slowly.
const SEND_BUFFER: usize = 128 * 1024;

/// What a visitor may send on one stream of HTTP/2 before its reader takes it: on a long way home, HTTP/2's own 64 KiB
/// would be the limit of an upload's speed.
const UPLOAD_WINDOW: u32 = 1 << 20;

/// Takes an agent's connection, after a handshake that proved its key, until it ends.
pub(super) type AgentDoor =
    Box<dyn Fn(TlsStream<L4Stream>, SocketAddr) -> BoxFuture<'static, ()> + Send + Sync>;

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
    handshakes: Semaphore,
}

impl TlsFront {
    /// Agents are told by `tunnel_alpn`, and go through `agent_door`.
    pub(super) fn new(
        visitors: Arc<ServerConfig>,
        agents: Arc<ServerConfig>,
        tunnel_alpn: &[u8],
        agent_door: AgentDoor,
    ) -> Self {
        Self {
            visitors: Acceptor::from_server_config(visitors),
            agents: TlsAcceptor::from(agents),
            tunnel_alpn: tunnel_alpn.to_vec(),
            agent_door,
            handshakes: Semaphore::new(HANDSHAKES),
        }
    }
}

/// Pingora's service for one kind of listener: `proxy` behind `front`. Its listeners are added by the caller.
pub(super) fn service<SV>(
    conf: &Arc<ServerConf>,
    proxy: SV,
    front: Front,
    in_flight: InFlight,
) -> Service<HttpProxy<SV>>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync + 'static,
{
    let front = Arc::new(front);
    let on_accepted = move |proxy, stream, shutdown: &ShutdownWatch| -> BoxFuture<'static, Option<Stream>> {
        let (front, shutdown, guard) = (Arc::clone(&front), shutdown.clone(), in_flight.connection());
        Box::pin(async move {
            front.serve(proxy, stream, &shutdown, guard).await;
            None
        })
    };
    let mut service = http_proxy_service_with_name_custom(conf, proxy, "patapim", (), Arc::new(on_accepted));
    if let Some(proxy) = service.app_logic_mut() {
        let mut options = HttpServerOptions::default();
        options.force_custom = true;
        proxy.server_options = Some(options);
    }
    service
}

/// A connection as it came out of TLS.
enum Entered {
    Visitor(Stream, Option<String>),
    Agent(Box<TlsStream<L4Stream>>),
}

impl Front {
    async fn serve<SV>(
        &self,
        proxy: Arc<HttpProxy<SV>>,
        stream: Stream,
        shutdown: &ShutdownWatch,
        guard: super::drain::ConnectionGuard,
    ) where
        SV: ProxyHttp + Send + Sync + 'static,
        SV::CTX: Send + Sync + 'static,
    {
        let Some(peer) = peer_of(&stream) else { return };
        let (stream, server_name) = match self {
            Self::Plain => (stream, None),
            Self::Tls(tls) => match tls.enter(stream, peer).await {
                Some(Entered::Visitor(stream, server_name)) => (stream, server_name),
                Some(Entered::Agent(stream)) => {
                    // An agent's connection ends when the edge says so, not when it drains.
                    drop(guard);
                    return (tls.agent_door)(*stream, peer).await;
                }
                None => return,
            },
        };
        let connection = Arc::new(Connection { peer, server_name });
        Arc::new(VisitorConnection::new(proxy, connection)).process_new(stream, shutdown).await;
    }
}

fn peer_of(stream: &Stream) -> Option<SocketAddr> {
    stream.get_socket_digest()?.peer_addr()?.as_inet().copied()
}

impl TlsFront {
    /// The handshake, in time or not at all.
    async fn enter(&self, stream: Stream, peer: SocketAddr) -> Option<Entered> {
        let stream = *stream.into_any().downcast::<L4Stream>().ok()?;
        let (result, entered) = match timeout(HANDSHAKE_DEADLINE, self.handshake(stream)).await {
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

    async fn handshake(&self, mut stream: L4Stream) -> Result<Entered, String> {
        let Hello { server_name, offers_tunnel } =
            hello::read(&mut stream, &self.tunnel_alpn).await.map_err(|error| error.to_string())?;
        let _turn = self.handshakes.acquire().await.map_err(|error| error.to_string())?;
        if offers_tunnel {
            let stream = self.agents.accept(stream).await.map_err(|error| error.to_string())?;
            return Ok(Entered::Agent(Box::new(stream)));
        }
        let stream = self.visitors.tls_handshake(stream).await.map_err(|error| error.to_string())?;
        Ok(Entered::Visitor(Box::new(stream), server_name))
    }
}

/// What Pingora serves HTTP on a visitor's connection with: the proxy, each request of it in a [`Life`].
struct VisitorConnection<SV> {
    proxy: Arc<HttpProxy<SV>>,
    connection: Arc<Connection>,
    options: HttpServerOptions,
}

impl<SV> VisitorConnection<SV> {
    fn new(proxy: Arc<HttpProxy<SV>>, connection: Arc<Connection>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(IDLE_H2);
        Self { proxy, connection, options }
    }
}

#[async_trait]
impl<SV> HttpServerApp for VisitorConnection<SV>
where
    SV: ProxyHttp + Send + Sync + 'static,
    SV::CTX: Send + Sync + 'static,
{
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // A visitor who has the whole of an answer may ask again before we have seen its end ourselves. Without this,
        // Pingora takes what comes early for a mistake and closes the connection.
        session.set_pipelining_enabled(true);
        Life::run(&self.connection, self.proxy.process_new_http(session, shutdown)).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_send_buffer_size(SEND_BUFFER);
        options.initial_window_size(UPLOAD_WINDOW);
        options.initial_connection_window_size(4 * UPLOAD_WINDOW);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
