//! What the browser says it was asked to sign (WebAuthn Level 3 §5.8.1), compared as it stands.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::Challenge;

/// What a ceremony was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Making a passkey.
    Create,
    /// Using one.
    Get,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "webauthn.create",
            Self::Get => "webauthn.get",
        }
    }
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientDataFault {
    /// Not client data.
    #[error("the client data cannot be read")]
    Unreadable,
    /// For something else.
    #[error("client data of another type")]
    Type,
    /// Asked by somebody else, or at another time.
    #[error("another challenge")]
    Challenge,
    /// On another page.
    #[error("another origin")]
    Origin,
    /// Inside somebody else's page.
    #[error("from a frame of another origin")]
    CrossOrigin,
}

/// What it says, as far as anybody here asks.
#[derive(Debug, Deserialize)]
pub struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
    #[serde(default, rename = "topOrigin", deserialize_with = "is_there")]
    top_origin: bool,
}

fn is_there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(from).map(|_| true)
}

impl ClientData {
    /// Reads JSON. A member that is asked for and comes twice makes it unreadable.
    pub fn parse(json: &[u8]) -> Result<Self, ClientDataFault> {
        serde_json::from_slice(json).map_err(|_| ClientDataFault::Unreadable)
    }

    /// Whether `challenge` was what the page asked with.
    pub fn answers(&self, challenge: &Challenge) -> bool {
        self.challenge == challenge.to_string()
    }

    /// Refuses another kind or origin, and any from inside a frame of another origin.
    ///
    /// Libraries compare origins as parsed URLs, in which case, default ports and much else is gone; here it is the text.
    pub fn check(&self, kind: Kind, origin: &str) -> Result<(), ClientDataFault> {
        if self.r#type != kind.as_str() {
            return Err(ClientDataFault::Type);
        }
        if self.origin != origin {
            return Err(ClientDataFault::Origin);
        }
        if self.cross_origin || self.top_origin {
            return Err(ClientDataFault::CrossOrigin);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ORIGIN: &str = "https://deployer.patapim.test";

    fn challenge() -> Challenge {
        Challenge::from([7; 32])
    }

    fn read(json: &[u8]) -> Result<(), ClientDataFault> {
        let data = ClientData::parse(json)?;
        if !data.answers(&challenge()) {
            return Err(ClientDataFault::Challenge);
        }
        data.check(Kind::Get, ORIGIN)
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Result<(), ClientDataFault> {
        let mut data = json!({
            "type": "webauthn.get", "challenge": challenge(), "origin": ORIGIN, "crossOrigin": false,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        change(&mut data);
        read(data.to_string().as_bytes())
    }

    #[test]
    fn what_our_own_page_signs_passes() {
        assert_eq!(judged(|_| ()), Ok(()));
        assert_eq!(
            judged(|data| drop(data.as_object_mut().expect("an object").remove("crossOrigin"))),
            Ok(())
        );
    }

    #[test]
    fn another_type_challenge_or_origin_does_not() {
        assert_eq!(judged(|data| data["type"] = "webauthn.create".into()), Err(ClientDataFault::Type));
        assert_eq!(
            judged(|data| data["challenge"] = Challenge::from([8; 32]).to_string().into()),
            Err(ClientDataFault::Challenge)
        );
        let padded = format!("{}=", challenge());
        assert_eq!(judged(|data| data["challenge"] = padded.into()), Err(ClientDataFault::Challenge));
        for origin in [
            "https://deployer.patapim.test:443",
            "https://deployer.patapim.test/",
            "https://deployer.patapim.test.",
            "https://DEPLOYER.patapim.test",
            "http://deployer.patapim.test",
            "https://patapim.test",
            "https://ada.tunnel.patapim.test",
            "https://deployer.patapim.test.evil.test",
        ] {
            assert_eq!(
                judged(|data| data["origin"] = origin.into()),
                Err(ClientDataFault::Origin),
                "{origin}"
            );
        }
    }

    #[test]
    fn nothing_from_a_frame_passes() {
        assert_eq!(judged(|data| data["crossOrigin"] = true.into()), Err(ClientDataFault::CrossOrigin));
        assert_eq!(judged(|data| data["topOrigin"] = ORIGIN.into()), Err(ClientDataFault::CrossOrigin));
        assert_eq!(judged(|data| data["topOrigin"] = Value::Null), Err(ClientDataFault::CrossOrigin));
        assert_eq!(judged(|data| data["crossOrigin"] = "false".into()), Err(ClientDataFault::Unreadable));
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        let text = format!(
            r#"{{"type":"webauthn.get","challenge":"{}","origin":"https://evil.test","origin":"{ORIGIN}"}}"#,
            challenge()
        );
        assert_eq!(read(text.as_bytes()), Err(ClientDataFault::Unreadable));
    }
}
