//! The first words on a connection.
//!
//! Fields that are not known are ignored, so that either side may say more than the other understands. A version that
//! is not known is refused with a sentence, because what follows could mean anything.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::names::TunnelId;
use crate::proof::Nonce;

/// Where the edge says hello, on the control authority.
pub const HELLO_PATH: &str = "/hello";

/// The edge's hello: whom it took the agent for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EdgeHello {
    /// [`VERSION`].
    pub version: u32,
    /// The tunnel that the agent serves.
    pub tunnel: TunnelId,
    /// Where visitors find it.
    pub url: String,
    /// The edge's program and its version, for the log.
    #[serde(default)]
    pub software: String,
}

/// The agent's hello: the first line of its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentHello {
    /// [`VERSION`].
    pub version: u32,
    /// The desktop's name, as its owner gave it.
    #[serde(default)]
    pub name: String,
    /// The agent's program and its version, for the log.
    #[serde(default)]
    pub software: String,
    /// Whether this program was connected before.
    #[serde(default)]
    pub again: bool,
    /// What sign-ins are to commit to, until the agent says [another](super::AgentEvent::Nonce).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Nonce>,
}

/// A hello, and who says it to whom: a sentence about it is read on both sides, so "this program" would mislead one.
pub trait Hello: DeserializeOwned {
    /// Who says it.
    const SPEAKER: &str;
    /// Who reads it.
    const READER: &str;
}

impl Hello for EdgeHello {
    const SPEAKER: &str = "edge";
    const READER: &str = "agent";
}

impl Hello for AgentHello {
    const SPEAKER: &str = "agent";
    const READER: &str = "edge";
}

/// The other side speaks a version that this one does not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownVersion {
    /// It is newer.
    #[error(
        "the {speaker} speaks version {version} of the tunnel's messages and the {reader} version {VERSION}: update the {reader}"
    )]
    Newer {
        /// Whose hello it was.
        speaker: &'static str,
        /// Who does not understand it.
        reader: &'static str,
        /// What the speaker speaks.
        version: u32,
    },
    /// It is older.
    #[error(
        "the {speaker} speaks version {version} of the tunnel's messages and the {reader} version {VERSION}: update the {speaker}"
    )]
    Older {
        /// Whose hello it was.
        speaker: &'static str,
        /// Who does not understand it.
        reader: &'static str,
        /// What the speaker speaks.
        version: u32,
    },
    /// It named none.
    #[error("the {0} did not say hello in a way that can be understood")]
    None(&'static str),
}

/// Reads a hello of either side. The version is looked at before anything else is.
pub fn read_hello<T: Hello>(message: &[u8]) -> Result<T, UnknownVersion> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let (speaker, reader) = (T::SPEAKER, T::READER);
    let unread = |_| UnknownVersion::None(speaker);
    let Versioned { version } = serde_json::from_slice(message).map_err(unread)?;
    match version.cmp(&VERSION) {
        std::cmp::Ordering::Greater => Err(UnknownVersion::Newer { speaker, reader, version }),
        std::cmp::Ordering::Less => Err(UnknownVersion::Older { speaker, reader, version }),
        std::cmp::Ordering::Equal => serde_json::from_slice(message).map_err(unread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_ignored() {
        let hello: AgentHello =
            read_hello(br#"{"version":1,"name":"Laptop","mood":"good"}"#).expect("a hello");
        assert_eq!(hello.name, "Laptop");
    }

    #[test]
    fn unknown_versions_are_refused_whatever_else_they_say() {
        let read = |text: &str| read_hello::<AgentHello>(text.as_bytes()).map(|hello| hello.version);
        let (speaker, reader) = ("agent", "edge");
        let newer = UnknownVersion::Newer { speaker, reader, version: 2 };
        assert!(newer.to_string().ends_with("update the edge"), "{newer}");
        assert_eq!(read(r#"{"version":2,"name":["changed"]}"#), Err(newer));
        let older = UnknownVersion::Older { speaker, reader, version: 0 };
        assert!(older.to_string().ends_with("update the agent"), "{older}");
        assert_eq!(read(r#"{"version":0}"#), Err(older));
        assert_eq!(read(r#"{"name":"Laptop"}"#), Err(UnknownVersion::None("agent")));
        assert_eq!(read("GET / HTTP/1.1"), Err(UnknownVersion::None("agent")));
    }
}
