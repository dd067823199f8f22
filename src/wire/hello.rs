//! The first words on a connection.
//!
//! Fields that are not known are ignored, so that either side may say more than the other understands. A version that
//! is not known is refused with a sentence, because what follows could mean anything.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::names::TunnelId;

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
}

/// The other side speaks a version that this one does not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownVersion {
    /// It is newer.
    #[error(
        "the other side speaks version {0} of the tunnel's messages and this program version {VERSION}: update this program"
    )]
    Newer(u32),
    /// It is older.
    #[error(
        "the other side speaks version {0} of the tunnel's messages and this program version {VERSION}: update the other side"
    )]
    Older(u32),
    /// It named none.
    #[error("the other side did not say hello in a way that can be understood")]
    None,
}

/// Reads a hello of either side. The version is looked at before anything else is.
pub fn read_hello<T: DeserializeOwned>(message: &[u8]) -> Result<T, UnknownVersion> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(message).map_err(|_| UnknownVersion::None)?;
    match version.cmp(&VERSION) {
        std::cmp::Ordering::Greater => Err(UnknownVersion::Newer(version)),
        std::cmp::Ordering::Less => Err(UnknownVersion::Older(version)),
        std::cmp::Ordering::Equal => serde_json::from_slice(message).map_err(|_| UnknownVersion::None),
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
        assert_eq!(read(r#"{"version":2,"name":["changed"]}"#), Err(UnknownVersion::Newer(2)));
        assert_eq!(read(r#"{"version":0}"#), Err(UnknownVersion::Older(0)));
        assert_eq!(read(r#"{"name":"Laptop"}"#), Err(UnknownVersion::None));
        assert_eq!(read("GET / HTTP/1.1"), Err(UnknownVersion::None));
    }
}
