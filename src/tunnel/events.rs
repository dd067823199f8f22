//! What an agent says after its hello: a line now and then.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use tokio::time::Instant;

use super::driver::Agreements;
use crate::metrics::{Limit, metrics};
use crate::wire::{AgentEvent, LineTooLong, Lines, MESSAGE_LIMIT};

/// What an agent says for long has no more events than one in this time.
const BETWEEN_EVENTS: Duration = Duration::from_millis(100);
/// And at once so many: a device that is trusted no longer may have had many sessions.
const AT_ONCE: u32 = 1000;

/// The agent's side of the conversation.
pub(super) struct Events {
    body: RecvStream,
    agreements: Agreements,
    lines: Lines,
    /// When all that was said so far would have been said, one after the other.
    said_at: Instant,
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
    /// It says more than there can be to say.
    #[error("more events than there can be")]
    Flood,
    /// It broke off.
    #[error(transparent)]
    Stream(#[from] h2::Error),
}

impl Events {
    pub(super) fn of(body: RecvStream, agreements: Agreements) -> Self {
        Self { body, agreements, lines: Lines::of_at_most(MESSAGE_LIMIT), said_at: Instant::now() }
    }

    /// The next line; `None` once the agent has said its last.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, EventError> {
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Ok(Some(line));
            }
            match self.agreements.receive(&mut self.body).await {
                Some(chunk) => self.lines.push(&chunk?),
                None => return Ok(None),
            }
        }
    }

    /// The next event; `None` once the agent has said its last.
    pub(super) async fn next(&mut self) -> Result<Option<AgentEvent>, EventError> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let now = Instant::now();
        self.said_at = self.said_at.max(now) + BETWEEN_EVENTS;
        if self.said_at > now + BETWEEN_EVENTS * AT_ONCE {
            metrics().limited(Limit::AgentEvents);
            return Err(EventError::Flood);
        }
        serde_json::from_slice(&line).map(Some).map_err(|_| EventError::NotAnEvent)
    }
}
