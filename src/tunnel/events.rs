//! What an agent says after its hello: a line now and then.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use tokio::time::{Instant, sleep_until};

use crate::wire::{AgentEvent, LineTooLong, Lines, MESSAGE_LIMIT, http2};

/// The fastest an agent is listened to. One that says more waits, held back by the stream's window.
const BETWEEN_EVENTS: Duration = Duration::from_millis(10);

/// The agent's side of the conversation.
pub(super) struct Events {
    body: RecvStream,
    lines: Lines,
    next_at: Instant,
}

/// An agent that cannot be listened to any longer.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It does not keep to the form.
    #[error(transparent)]
    Line(#[from] LineTooLong),
    /// A line is not an event.
    #[error("a line was not an event")]
    NotAnEvent,
    /// It broke off.
    #[error(transparent)]
    Stream(#[from] h2::Error),
}

impl Events {
    pub(super) fn of(body: RecvStream) -> Self {
        Self { body, lines: Lines::of_at_most(MESSAGE_LIMIT), next_at: Instant::now() }
    }

    /// The next line; `None` once the agent has said its last.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, EventError> {
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Ok(Some(line));
            }
            match http2::receive(&mut self.body).await {
                Some(chunk) => self.lines.push(&chunk?),
                None => return Ok(None),
            }
        }
    }

    /// The next event; `None` once the agent has said its last.
    pub(super) async fn next(&mut self) -> Result<Option<AgentEvent>, EventError> {
        sleep_until(self.next_at).await;
        self.next_at = Instant::now() + BETWEEN_EVENTS;
        let Some(line) = self.line().await? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|_| EventError::NotAnEvent)
    }
}
