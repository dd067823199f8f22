//! One connection to the edge, from the end of its TLS handshake. Here the roles have turned: the edge asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode, header};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::local::App;
use crate::wire::{
    AgentEvent, AgentHello, CONTROL_AUTHORITY, EdgeHello, HELLO_PATH, Listened, MESSAGE_LIMIT, Notice,
    NoticeBody, Rhythm, UnknownVersion, http2, one_line, pulse, read_hello,
};

/// How long the edge may take to say hello, and to say all of a message.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(10);

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
    let mut beat = std::pin::pin!(async {
        match pings {
            Some(pings) => pulse(pings, heard, service.rhythm, drop).await,
            None => std::future::pending().await,
        }
    });

    let (said, mut hears) = mpsc::channel(4);
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
                    let _ = service.words.send(Word::Met(hello));
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
    respond: SendResponse<Bytes>,
    service: &Service,
    said: &mpsc::Sender<Said>,
) {
    if request.uri().authority().is_some_and(|authority| authority == CONTROL_AUTHORITY) {
        let (said, hello) = (said.clone(), line(&service.hello));
        tokio::spawn(async move {
            if let Err(error) = control(request, respond, said, hello).await {
                tracing::debug!(%error, "a control message broke off");
            }
        });
    } else {
        let app = Arc::clone(&service.app);
        tokio::spawn(async move { app.serve(request, respond).await });
    }
}

enum Said {
    Hello(EdgeHello, SendStream<Bytes>),
    Mismatch(UnknownVersion),
    Notice(Notice, String),
}

/// Answers the edge's own requests. What was said is passed on before it is answered, because the edge may close on
/// the answer.
async fn control(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    said: mpsc::Sender<Said>,
    hello: Bytes,
) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let is_post = request.method() == Method::POST;
    let message = match timeout(MESSAGE_PATIENCE, message(request.into_body())).await {
        Ok(message) => message?,
        Err(_) => return Err(h2::Reason::CANCEL.into()),
    };
    let (true, Some(message)) = (is_post, message) else {
        respond.send_response(head(StatusCode::BAD_REQUEST), true)?;
        return Ok(());
    };
    if path == HELLO_PATH {
        return match read_hello::<EdgeHello>(&message) {
            Ok(edge) => {
                let mut events = respond.send_response(head(StatusCode::OK), false)?;
                events.send_data(hello, false)?;
                let _ = said.send(Said::Hello(edge, events)).await;
                Ok(())
            }
            Err(mismatch) => {
                let sentence = mismatch.to_string();
                let _ = said.send(Said::Mismatch(mismatch)).await;
                let mut body = respond.send_response(head(StatusCode::UPGRADE_REQUIRED), false)?;
                body.send_data(line(&NoticeBody { sentence }), true)
            }
        };
    }
    let status = match Notice::at(&path) {
        Some(notice) => {
            let NoticeBody { sentence } = serde_json::from_slice(&message).unwrap_or_default();
            let _ = said.send(Said::Notice(notice, one_line(&sentence))).await;
            StatusCode::NO_CONTENT
        }
        None => StatusCode::NOT_FOUND,
    };
    respond.send_response(head(status), true)?;
    Ok(())
}

fn head(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let lines = header::HeaderValue::from_static("application/json-lines");
        response.headers_mut().insert(header::CONTENT_TYPE, lines);
    }
    response
}

fn line(message: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// A whole message; `None` when it is too long to be one.
async fn message(mut body: RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let mut whole = BytesMut::new();
    while let Some(piece) = http2::receive(&mut body).await {
        whole.extend_from_slice(&piece?);
        if whole.len() > MESSAGE_LIMIT {
            return Ok(None);
        }
    }
    Ok(Some(whole.freeze()))
}
