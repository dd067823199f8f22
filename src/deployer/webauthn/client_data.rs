//! What the browser says it was asked to sign (WebAuthn Level 3 §5.8.1), compared as it stands.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::{Challenge, Fault};

#[derive(Deserialize)]
struct ClientData {
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

/// Refuses client data of another kind, challenge or origin, and any from inside a frame of another origin.
///
/// The library compares origins as parsed URLs, in which case, default ports and much else is gone; here it is the text.
pub(super) fn check(json: &[u8], kind: &str, challenge: &Challenge, origin: &str) -> Result<(), Fault> {
    let data: ClientData = serde_json::from_slice(json).map_err(|_| Fault::ClientData)?;
    if data.r#type != kind {
        return Err(Fault::Type);
    }
    if data.challenge != challenge.to_text() {
        return Err(Fault::Challenge);
    }
    if data.origin != origin {
        return Err(Fault::Origin);
    }
    if data.cross_origin || data.top_origin {
        return Err(Fault::CrossOrigin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ORIGIN: &str = "https://deployer.patapim.test";

    fn challenge() -> Challenge {
        Challenge([7; 32])
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Result<(), Fault> {
        let mut data = json!({
            "type": "webauthn.get", "challenge": challenge().to_text(), "origin": ORIGIN, "crossOrigin": false,
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        change(&mut data);
        check(data.to_string().as_bytes(), "webauthn.get", &challenge(), ORIGIN)
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
        assert_eq!(judged(|data| data["type"] = "webauthn.create".into()), Err(Fault::Type));
        assert_eq!(
            judged(|data| data["challenge"] = Challenge([8; 32]).to_text().into()),
            Err(Fault::Challenge)
        );
        let padded = format!("{}=", challenge().to_text());
        assert_eq!(judged(|data| data["challenge"] = padded.into()), Err(Fault::Challenge));
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
            assert_eq!(judged(|data| data["origin"] = origin.into()), Err(Fault::Origin), "{origin}");
        }
    }

    #[test]
    fn nothing_from_a_frame_passes() {
        assert_eq!(judged(|data| data["crossOrigin"] = true.into()), Err(Fault::CrossOrigin));
        assert_eq!(judged(|data| data["topOrigin"] = ORIGIN.into()), Err(Fault::CrossOrigin));
        assert_eq!(judged(|data| data["topOrigin"] = Value::Null), Err(Fault::CrossOrigin));
        assert_eq!(judged(|data| data["crossOrigin"] = "false".into()), Err(Fault::ClientData));
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        let text = format!(
            r#"{{"type":"webauthn.get","challenge":"{}","origin":"https://evil.test","origin":"{ORIGIN}"}}"#,
            challenge().to_text()
        );
        assert_eq!(check(text.as_bytes(), "webauthn.get", &challenge(), ORIGIN), Err(Fault::ClientData));
    }
}
