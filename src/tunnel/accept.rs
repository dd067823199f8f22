//! The life of one agent's connection, from the end of its TLS handshake.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, header};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use super::TunnelSettings;
use super::approval::{Verdict, Verdicts};
use super::driver::{Agreements, Driver};
use super::events::{EventError, Events};
use super::link::{AgentIdentity, AgentLink, Course};
use super::registry::{Claim, Registry};
use crate::access::Nonces;
use crate::clock::Clock;
use crate::metrics::{Limit, metrics};
use crate::wire::{
    AgentEvent, AgentHello, CONTROL_AUTHORITY, Calm, EdgeHello, HELLO_PATH, Listened, MESSAGE_LIMIT, Notice,
    NoticeBody, Silence, UnknownVersion, VERSION, http2, one_line, pulse, read_hello,
};

/// How long an agent may take to hear a notice. Two of them and the end fit into a second.
const NOTICE_PATIENCE: Duration = Duration::from_millis(400);

/// How long a connection with nothing left to do may take to say goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// What small frames that nobody reads may cost beyond their bytes is the tunnel's memory once more, or this.
const LEAST_FOR_CRUMBS: usize = 8 << 20;

/// How long an agent that is not served may take to hear why.
const TURN_AWAY_PATIENCE: Duration = Duration::from_secs(2);

/// What every agent's connection needs from the edge.
pub struct AgentHost {
    /// Where agents are found by those who send to them.
    pub registry: Arc<Registry>,
    /// Where agents hand over what sign-ins commit to.
    pub nonces: Arc<Nonces>,
    /// For "connected since".
    pub clock: Arc<dyn Clock>,
    /// What a tunnel may cost.
    pub settings: TunnelSettings,
    /// Whether the agent's key is still good for its tunnel; true when in doubt, because an agent that hears "unlinked"
    /// does not come back. Asked once more after the agent can be found, so that an unlinking that came between the
    /// handshake and the claim is not missed.
    pub still_linked: Box<dyn Fn(AgentIdentity) -> BoxFuture<'static, bool> + Send + Sync>,
    /// Told what the desktops decide about sessions.
    pub verdicts: Verdicts,
}

/// Why an agent's connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ending {
    /// Nothing is wrong: the agent closed it.
    #[error("closed by the agent")]
    Closed,
    /// It broke off, or the agent broke the rules of HTTP/2.
    #[error("the connection broke: {0}")]
    Broken(#[from] h2::Error),
    /// The agent no longer answers.
    #[error(transparent)]
    Silent(#[from] Silence),
    /// No hello in time.
    #[error("no hello within the deadline")]
    NoHello,
    /// The agent will not have this edge.
    #[error("refused by the agent: {0}")]
    RefusedByAgent(String),
    /// The hello was not understood.
    #[error("hello refused: {0}")]
    Outdated(#[from] UnknownVersion),
    /// The agent's events cannot be read.
    #[error("broken events: {0}")]
    Events(#[from] EventError),
    /// The agent kept the connection busy for nothing.
    #[error("flooded by the agent")]
    Flooded,
    /// A newer connection of the same agent took over, and this one has ended its work.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The tunnel was cut.
    #[error("cut")]
    Cut,
}

/// Serves one agent over `io`, a connection whose TLS handshake proved `identity`, until it ends.
///
/// Dropping the future ends the connection.
pub async fn serve_agent<IO>(io: IO, identity: AgentIdentity, host: &AgentHost) -> Ending
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let tunnel = identity.tunnel.clone();
    let ending = serve(io, identity, host).await.unwrap_or_else(|ending| ending);
    tracing::info!(%tunnel, %ending, "agent disconnected");
    ending
}

async fn serve<IO>(io: IO, identity: AgentIdentity, host: &AgentHost) -> Result<Ending, Ending>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let deadline = tokio::time::Instant::now() + host.settings.hello_deadline;
    let (io, overdrawn) = Calm::with_server(io);
    let (io, heard) = Listened::to(io);
    // What is over soon is boxed, and given back when it is: most agents do nothing for hours.
    let crumbs = host.settings.memory.max(LEAST_FOR_CRUMBS);
    let handshake = http2::client().data_frame_budget(crumbs).handshake(io);
    let handshake = Box::pin(timeout_at(deadline, handshake));
    let (requests, mut connection) = handshake.await.map_err(|_| Ending::NoHello)??;
    let pings = connection.ping_pong();
    let (window, windows) = watch::channel(http2::STREAM_WINDOW);
    let (mut driver, agreements) = Driver::start(connection, windows);

    let greeting = Box::pin(timeout_at(deadline, greet(requests.clone(), &identity, agreements.clone())));
    let greeted = tokio::select! {
        greeted = greeting => greeted.unwrap_or(Err(Ending::NoHello)),
        () = overdrawn.told() => Err(flooded()),
    };
    let (hello, mut events) = match greeted {
        Ok(met) => met,
        Err(ending) => {
            if let Ending::Outdated(mismatch) = &ending {
                let sentence = format!("This edge cannot serve this agent: {mismatch}.");
                Box::pin(tell(requests, Notice::Outdated, sentence)).await;
            }
            return Err(ending);
        }
    };

    let desktop = one_line(&hello.name);
    let link =
        AgentLink::new(identity, desktop, host.clock.now(), requests, host.settings, window, agreements);
    let link = Arc::new(link);
    // Before it can be found: whoever knows that it is there may begin to sign in.
    if !hello.again {
        host.nonces.forget(&link.identity().tunnel, host.clock.now());
    }
    if let Some(nonce) = hello.nonce {
        host.nonces.handed_over(&link.identity().tunnel, nonce, host.clock.now());
    }
    let claim = host.registry.claim(Arc::clone(&link));
    if hello.again {
        metrics().tunnel_reconnect();
    }
    let (tunnel, desktop) = (&link.identity().tunnel, link.desktop());
    tracing::info!(%tunnel, desktop, software = one_line(&hello.software), "agent connected");

    let unlinked_meanwhile = async {
        if !(host.still_linked)(link.identity().clone()).await {
            link.steer(Course::Unlinked);
        }
        std::future::pending::<Ending>().await
    };
    let ending = tokio::select! {
        ending = unlinked_meanwhile => ending,
        ending = driver.ended() => ending,
        ending = listen(&mut events, &claim, &link, host) => ending.into(),
        ending = obey(&link) => ending,
        () = overdrawn.told() => flooded(),
        silence = beat(pings, heard, host, &link) => silence.into(),
    };

    // First nobody finds it any more; then whoever holds it cannot open anything; then it ends.
    drop(claim);
    link.close();
    drop(events);
    if matches!(ending, Ending::Replaced) {
        let _ = timeout(CLOSE_PATIENCE, driver.ended()).await;
    }
    Ok(ending)
}

fn flooded() -> Ending {
    metrics().limited(Limit::AgentFrames);
    Ending::Flooded
}

/// Tells an agent that is not served why, and closes. For a key that is not linked: [`Notice::Unlinked`].
pub async fn turn_away<IO>(io: IO, notice: Notice, sentence: String)
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let told = async {
        let (requests, connection) = http2::client().handshake(io).await?;
        let (mut driver, _) = Driver::start(connection, watch::channel(http2::STREAM_WINDOW).1);
        tell(requests, notice, sentence).await;
        driver.ended().await;
        Ok::<_, h2::Error>(())
    };
    let _ = timeout(TURN_AWAY_PATIENCE, told).await;
}

/// The hellos of both sides.
async fn greet(
    mut requests: SendRequest<Bytes>,
    identity: &AgentIdentity,
    agreements: Agreements,
) -> Result<(AgentHello, Events), Ending> {
    let hello = EdgeHello {
        version: VERSION,
        tunnel: identity.tunnel.clone(),
        url: identity.public_url.clone(),
        software: concat!("patapim-edge/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let response = post(&mut requests, HELLO_PATH, &hello)?.await?;
    let status = response.status();
    let mut events = Events::of(response.into_body(), agreements);
    let line = events.line().await?.unwrap_or_default();
    if status != StatusCode::OK {
        let refusal: NoticeBody = serde_json::from_slice(&line).unwrap_or_default();
        return Err(Ending::RefusedByAgent(one_line(&refusal.sentence)));
    }
    Ok((read_hello(&line)?, events))
}

/// Hears the agent's events. Its last word is not its end: what is in flight goes on, and the connection says when it
/// is over.
async fn listen(events: &mut Events, claim: &Claim, link: &AgentLink, host: &AgentHost) -> EventError {
    loop {
        match events.next().await {
            Ok(Some(AgentEvent::Leaving)) => claim.step_back(),
            Ok(Some(AgentEvent::Nonce { nonce })) => {
                if let Some(tunnel) = claim.holds() {
                    host.nonces.handed_over(tunnel, nonce, host.clock.now());
                }
            }
            Ok(Some(event)) => {
                if let Some((session, verdict)) = Verdict::of(event) {
                    let follows = (host.verdicts)(&link.identity().tunnel, &session, verdict);
                    link.standings().decided(&session, verdict);
                    tokio::spawn(follows);
                }
            }
            Ok(None) => std::future::pending().await,
            Err(error) => return error,
        }
    }
}

/// Does what the registry decided about this connection, until it is to end.
async fn obey(link: &AgentLink) -> Ending {
    let mut course = link.watch_course();
    loop {
        let now = *course.borrow_and_update();
        if let (Some((notice, sentence)), Some(requests)) = (words_for(now), link.requests()) {
            Box::pin(tell(requests, notice, sentence.to_owned())).await;
        }
        match now {
            Course::Serving | Course::Draining => drop(course.changed().await),
            Course::Replaced => tokio::select! {
                () = link.drained() => return Ending::Replaced,
                _ = course.changed() => {}
            },
            Course::Crowded | Course::Suspended | Course::Unlinked => return Ending::Cut,
        }
    }
}

const fn words_for(course: Course) -> Option<(Notice, &'static str)> {
    match course {
        Course::Serving | Course::Crowded => None,
        Course::Draining => Some((Notice::Drain, "The edge is about to stop.")),
        Course::Replaced => Some((Notice::Replaced, "The same agent connected again from elsewhere.")),
        Course::Suspended => Some((Notice::Refused, "The tunnel's owner has been disabled at the edge.")),
        Course::Unlinked => Some((Notice::Unlinked, "This desktop is no longer linked to the tunnel.")),
    }
}

async fn beat(
    pings: Option<h2::PingPong>,
    heard: crate::wire::Heard,
    host: &AgentHost,
    link: &AgentLink,
) -> Silence {
    let Some(pings) = pings else { return std::future::pending().await };
    let is_awaited = || link.streams_open() > 0;
    pulse(pings, heard, host.settings.rhythm, is_awaited, |rtt, bytes| {
        link.measured(rtt, bytes);
        metrics().agent_rtt(rtt);
    })
    .await
}

/// Gives a notice and waits a little for it to be heard. One that is not heard changes nothing: what it announces
/// happens all the same.
async fn tell(mut requests: SendRequest<Bytes>, notice: Notice, sentence: String) {
    let told = async { post(&mut requests, notice.path(), &NoticeBody { sentence })?.await };
    if !matches!(timeout(NOTICE_PATIENCE, told).await, Ok(Ok(_))) {
        tracing::debug!(?notice, "the agent did not hear a notice");
    }
}

pub(super) fn post(
    requests: &mut SendRequest<Bytes>,
    path: &str,
    message: &impl Serialize,
) -> Result<h2::client::ResponseFuture, h2::Error> {
    let message = serde_json::to_vec(message).unwrap_or_default();
    debug_assert!((1..=MESSAGE_LIMIT).contains(&message.len()));
    send(requests, Method::POST, path, Some(message.into()))
}

/// A request to the agent itself.
pub(super) fn send(
    requests: &mut SendRequest<Bytes>,
    method: Method,
    path: &str,
    message: Option<Bytes>,
) -> Result<h2::client::ResponseFuture, h2::Error> {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://{CONTROL_AUTHORITY}{path}"))
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/json")
        .body(())
        .map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let (response, mut body) = requests.send_request(request, message.is_none())?;
    if let Some(message) = message {
        body.send_data(message, true)?;
    }
    Ok(response)
}
