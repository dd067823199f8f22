//! Client data: what we take for the right words means the same to every other reader of JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::proof::Challenge;
use patapim_edge::proof::client_data::{ClientData, Kind};
use patapim_fuzz::ORIGIN;
use serde_json::Value;
use webauthn_rs_core::proto::CollectedClientData;

// All of it, or what follows the first three members.
fuzz_target!(|text: &str| {
    let challenge = Challenge::from([7; 32]);
    let json = if text.starts_with('{') {
        text.to_owned()
    } else {
        format!(r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"{ORIGIN}"{text}}}"#)
    };
    let Ok(data) = ClientData::parse(json.as_bytes()) else { return };
    assert!(!data.answers(&Challenge::from([8; 32])) || !data.answers(&challenge));
    let passes = |kind| data.check(kind, ORIGIN).is_ok();
    assert!(!passes(Kind::Get) || !passes(Kind::Create));
    if !data.answers(&challenge) || !passes(Kind::Get) {
        return;
    }
    // Who reads all of it may find something in what we pass over that is no JSON, and then reads nothing.
    let Ok(read) = serde_json::from_str::<Value>(&json) else { return };
    assert_eq!(read["type"], "webauthn.get");
    assert_eq!(read["challenge"], challenge.to_string());
    assert_eq!(read["origin"], ORIGIN);
    assert!(matches!(read.get("crossOrigin"), None | Some(Value::Bool(false))), "{json}");
    assert_eq!(read.get("topOrigin"), None);
    if let Ok(theirs) = serde_json::from_str::<CollectedClientData>(&json) {
        assert_eq!(theirs.challenge, challenge.as_bytes());
        assert_eq!(theirs.origin.origin().ascii_serialization(), ORIGIN);
        assert!(!theirs.cross_origin.unwrap_or_default());
    }
});
