//! One connection to the edge, from the end of its TLS handshake. Here the roles have turned: the edge asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::control::{MESSAGE_PATIENCE, Said, control, line};
use super::desk::Desk;
use super::local::{App, answer_for_app};
use crate::names::SessionId;
use crate::wire::approval::SESSION_HEADER;
use crate::wire::{
    AgentEvent, AgentHello, AppFault, CONTROL_AUTHORITY, EdgeHello, Listened, Notice, Rhythm, http2, pulse,
};

/// How long the edge may take to close after it said that it will.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What happens while a connection lasts.
#[derive(Debug)]
pub(super) enum Word {
    /// The edge said hello: visitors may come.
    Met(EdgeHello),
    /// The edge is about to stop; time to dial anew.
    Drain,
    /// Another took this agent's place; what is in flight goes on.
    Replaced,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Parted {
    /// It broke, or was closed: dial again.
    Lost(String),
    /// The edge will not have this agent for now.
    Refused(String),
    /// Another took its place.
    Replaced,
    /// The edge no longer knows the key.
    Unlinked,
    /// The two do not understand each other.
    Outdated(String),
    /// As asked.
    Left,
}

/// What a connection is served with.
pub(super) struct Service {
    pub(super) app: Arc<App>,
    /// Who says which sessions are served.
    pub(super) desk: Arc<Desk>,
    pub(super) hello: AgentHello,
    pub(super) rhythm: Rhythm,
    /// How long what is in flight may take once the agent is to stop.
    pub(super) grace: Duration,
    /// Cancelled when it is.
    pub(super) leave: CancellationToken,
    pub(super) words: mpsc::UnboundedSender<Word>,
}

/// Serves the edge over `io` until either side ends it.
pub(super) async fn serve<IO>(io: IO, service: Service) -> Parted
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (io, heard) = Listened::to(io);
    let handshake = timeout(MESSAGE_PATIENCE, http2::server().handshake::<_, Bytes>(io));
    let mut connection = match handshake.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Parted::Lost(error.to_string()),
        Err(_) => return Parted::Lost("the edge did not begin".to_owned()),
    };
    let pings = connection.ping_pong();
    let (greeted, greets) = oneshot::channel();
    let mut greeted = Some(greeted);
    let mut beat = std::pin::pin!(async {
        let (Some(pings), Ok(hello)) = (pings, greets.await) else { return std::future::pending().await };
        // Our hello left before the first PING, so that whoever answers it has our hello, and our nonce: who is told that
        // we are connected may sign in at once.
        let mut hello = Some(hello);
        let answered =
            |_, _| hello.take().into_iter().for_each(|hello| drop(service.words.send(Word::Met(hello))));
        // Nobody here waits for the edge: it asks us, and that is heard.
        pulse(pings, heard, service.rhythm, || false, answered).await
    });

    let (said, mut hears) = mpsc::channel(4);
    let mut decided = service.desk.events();
    let mut fate = None;
    let mut events: Option<SendStream<Bytes>> = None;
    let mut until = Some((Instant::now() + MESSAGE_PATIENCE, "the edge did not say hello"));
    let mut leaving = false;
    loop {
        tokio::select! {
            // What the edge said counts before what it did: it says "replaced", and then it closes.
            biased;
            Some(said) = hears.recv() => match said {
                Said::Hello(hello, stream) => {
                    until = None;
                    events = Some(stream);
                    let _ = greeted.take().map(|greeted| greeted.send(hello));
                }
                Said::Mismatch(mismatch) => {
                    until = Some((Instant::now() + CLOSE_PATIENCE, ""));
                    fate = Some(Parted::Outdated(mismatch.to_string()));
                }
                Said::Notice(Notice::Drain, _) => drop(service.words.send(Word::Drain)),
                Said::Notice(Notice::Replaced, _) => {
                    fate = Some(Parted::Replaced);
                    let _ = service.words.send(Word::Replaced);
                }
                Said::Notice(notice, sentence) => {
                    until = Some((Instant::now() + CLOSE_PATIENCE, ""));
                    fate = Some(match notice {
                        Notice::Unlinked => Parted::Unlinked,
                        Notice::Outdated => Parted::Outdated(sentence),
                        _ => Parted::Refused(sentence),
                    });
                }
            },
            event = decided.recv() => match (event, &mut events) {
                (Ok(event), Some(events)) => drop(events.send_data(line(&event), false)),
                // Before the hello and after the last word, the edge has asked about nothing that it would wait for.
                (Ok(_), None) => {}
                (Err(_), _) => return fate.unwrap_or_else(|| {
                    Parted::Lost("more was decided at once than could be told".to_owned())
                }),
            },
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => receive(request, respond, &service, &said),
                Some(Err(error)) => return fate.unwrap_or_else(|| Parted::Lost(error.to_string())),
                None if leaving => return fate.unwrap_or(Parted::Left),
                None => return fate.unwrap_or_else(|| Parted::Lost("the edge closed the connection".to_owned())),
            },
            silence = &mut beat => return fate.unwrap_or_else(|| Parted::Lost(silence.to_string())),
            () = service.leave.cancelled(), if !leaving => {
                leaving = true;
                until = Some((Instant::now() + service.grace, ""));
                if let Some(mut events) = events.take() {
                    let _ = events.send_data(line(&AgentEvent::Leaving), true);
                }
                connection.graceful_shutdown();
            }
            why = expire(until) => return fate.unwrap_or_else(|| match leaving {
                true => Parted::Left,
                false => Parted::Lost(why.to_owned()),
            }),
        }
    }
}

async fn expire(until: Option<(Instant, &'static str)>) -> &'static str {
    match until {
        Some((at, why)) => {
            sleep_until(at).await;
            why
        }
        None => std::future::pending().await,
    }
}

/// Each stream is a task of its own, so that none waits for another. It ends with the connection at the latest.
fn receive(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    service: &Service,
    said: &mpsc::Sender<Said>,
) {
    if request.uri().authority().is_some_and(|authority| authority == CONTROL_AUTHORITY) {
        let hello = AgentHello { nonce: Some(service.desk.nonce()), ..service.hello.clone() };
        let (said, hello, desk) = (said.clone(), line(&hello), Arc::clone(&service.desk));
        tokio::spawn(async move {
            if let Err(error) = control(request, respond, said, hello, desk).await {
                tracing::debug!(%error, "a control message broke off");
            }
        });
        return;
    }
    // Whatever the edge takes a session for: here it counts what this desktop decided.
    let Some(cut) = session_of(&request).and_then(|session| service.desk.admits(&session)) else {
        return answer_for_app(AppFault::NotApproved, &mut respond);
    };
    let app = Arc::clone(&service.app);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            () = app.serve(request, respond) => {}
        }
    });
}

/// The one session that a stream names.
fn session_of(request: &Request<RecvStream>) -> Option<SessionId> {
    let mut named = request.headers().get_all(SESSION_HEADER).iter();
    let session = SessionId::parse(named.next()?.to_str().ok()?).ok()?;
    named.next().is_none().then_some(session)
}
