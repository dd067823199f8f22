//! What the two sides tell each other after the hello.

use serde::{Deserialize, Serialize};

use crate::names::SessionId;
use crate::proof::Nonce;

/// From the edge: a `POST` to the control authority, with a [`NoticeBody`]. What is not known is answered with 404 and
/// changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The edge is about to stop: dial again now, and serve this connection until the edge closes it.
    Drain,
    /// The same agent dialed in anew. Finish what is in flight; do not dial again, or the two would take turns.
    Replaced,
    /// The edge no longer knows this agent's key. Do not dial again.
    Unlinked,
    /// Not served for now; the sentence says why. Dial again, but not soon.
    Refused,
    /// Not served by this edge in this version. Do not dial again before one of the two is updated.
    Outdated,
}

impl Notice {
    const ALL: [Self; 5] = [Self::Drain, Self::Replaced, Self::Unlinked, Self::Refused, Self::Outdated];

    /// Where it is posted.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Drain => "/drain",
            Self::Replaced => "/replaced",
            Self::Unlinked => "/unlinked",
            Self::Refused => "/refused",
            Self::Outdated => "/outdated",
        }
    }

    /// The notice that is posted there.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|notice| notice.path() == path)
    }
}

/// The body of a [`Notice`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NoticeBody {
    /// What happened and what to do, for the person at the desktop.
    #[serde(default)]
    pub sentence: String,
}

/// From the agent: a line in the body of its answer to the hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum AgentEvent {
    /// It is about to stop: send nothing new, let what is in flight end.
    Leaving,
    /// Another nonce for sign-ins to commit to, [now and again](crate::proof::NONCE_EVERY).
    Nonce {
        /// The nonce.
        nonce: Nonce,
    },
    /// Somebody at the desktop approved the session's device.
    Approved {
        /// Which.
        session: SessionId,
    },
    /// Somebody at the desktop would not have it: the session is over.
    Denied {
        /// Which.
        session: SessionId,
    },
    /// Nobody said anything in time: the session is over.
    Expired {
        /// Which.
        session: SessionId,
    },
    /// Its device is no longer trusted: the session is over.
    Removed {
        /// Which.
        session: SessionId,
    },
    /// Something a later version says.
    #[serde(other)]
    Unknown,
}

/// Why the agent answered in the app's stead; the value of [`super::AGENT_ERROR_HEADER`] on a 502 or 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppFault {
    /// Nothing listens where the app should be.
    Unreachable,
    /// The app took the connection and closed it without an answer.
    NoAnswer,
    /// The app answered with something that is not HTTP, or not an answer to what was asked.
    BadAnswer,
    /// The request cannot be put to an app that speaks HTTP/1.1.
    BadRequest,
    /// The desktop has not approved the session: the app was not asked.
    NotApproved,
}

impl AppFault {
    const ALL: [Self; 5] =
        [Self::Unreachable, Self::NoAnswer, Self::BadAnswer, Self::BadRequest, Self::NotApproved];

    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no-answer",
            Self::BadAnswer => "bad-answer",
            Self::BadRequest => "bad-request",
            Self::NotApproved => "not-approved",
        }
    }

    /// Reads the header's value.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_later_version_is_read_as_unknown() {
        let read = |text: &str| serde_json::from_str::<AgentEvent>(text).expect("an event");
        assert_eq!(read(r#"{"event":"leaving","reason":"sleep"}"#), AgentEvent::Leaving);
        assert_eq!(read(r#"{"event":"yawning","at":[1]}"#), AgentEvent::Unknown);
        assert_eq!(serde_json::to_string(&AgentEvent::Leaving).expect("JSON"), r#"{"event":"leaving"}"#);
    }

    #[test]
    fn every_notice_is_found_at_its_path() {
        for notice in Notice::ALL {
            assert_eq!(Notice::at(notice.path()), Some(notice));
        }
        assert_eq!(Notice::at("/hello"), None);
    }
}
