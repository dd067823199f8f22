use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::secret::{SystemEntropy, random_id};

const ISSUER: &str = "https://deployer.patapim.test";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Forge {
    keys: Arc<KeyRing>,
    tunnel: TunnelId,
    _folder: tempfile::TempDir,
}

impl Forge {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys =
            KeyRing::open(folder.path(), &*ManualClock::at(NOW), &*SystemEntropy::shared()).expect("keys");
        let tunnel = TunnelId::parse("ada-abc234").expect("a label");
        Self { keys: Arc::new(keys), tunnel, _folder: folder }
    }

    fn claims(&self) -> Claims {
        let entropy = SystemEntropy::shared();
        Claims {
            iss: ISSUER.to_owned(),
            sub: UserId::random(&*entropy),
            aud: self.tunnel.clone(),
            iat: NOW.secs(),
            exp: NOW.secs() + 86_400,
            jti: TokenId::random(&*entropy),
            bind: base64url([1; 32]),
        }
    }

    /// Signs whatever it is given with the real key: what a thief of the code, but not of the key, cannot do.
    fn sign_raw(&self, header: &serde_json::Value, claims: &serde_json::Value) -> String {
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let tag = base64url(self.keys.active().sign(signed.as_bytes()));
        format!("{signed}.{tag}")
    }

    fn header(&self) -> serde_json::Value {
        json!({"alg": "HS256", "kid": self.keys.active().kid, "typ": "JWT"})
    }

    fn verify(&self, text: &str) -> Result<VerifiedToken, TokenFault> {
        verify(&self.keys, ISSUER, &self.tunnel, text, NOW)
    }
}

#[test]
fn a_token_we_signed_verifies_with_its_claims() {
    let forge = Forge::new();
    let claims = forge.claims();
    let token = sign(&forge.keys, &claims);
    assert_eq!(forge.verify(token.reveal()).expect("good").claims(), &claims);
}

#[test]
fn a_header_other_than_ours_is_refused_even_when_well_signed() {
    let forge = Forge::new();
    let claims = serde_json::to_value(forge.claims()).expect("json");
    let kid = forge.keys.active().kid.clone();
    for header in [
        json!({"alg": "none", "kid": kid, "typ": "JWT"}),
        json!({"alg": "HS512", "kid": kid, "typ": "JWT"}),
        json!({"alg": "hs256", "kid": kid, "typ": "JWT"}),
        json!({"alg": "HS256", "kid": "../../etc/passwd", "typ": "JWT"}),
        json!({"alg": "HS256", "kid": kid}),
        json!({"alg": "HS256", "typ": "JWT"}),
        json!({"alg": "HS256", "kid": kid, "typ": "at+jwt"}),
        json!({"alg": "HS256", "kid": kid, "typ": "JWT", "crit": ["b64"], "b64": false}),
        json!({"alg": "HS256", "kid": kid, "typ": "JWT", "jku": "https://evil.test/keys"}),
        json!({"alg": "HS256", "kid": kid, "typ": "JWT", "jwk": {"kty": "oct", "k": "AA"}}),
        json!({"alg": "HS256", "kid": kid, "typ": "JWT", "x5u": "https://evil.test/cert"}),
        json!([]),
    ] {
        let fault = forge.verify(&forge.sign_raw(&header, &claims)).expect_err("refused");
        assert_eq!(fault, TokenFault::Signature, "{header}");
    }
}

#[test]
fn claims_of_odd_types_or_far_values_are_refused_even_when_well_signed() {
    let forge = Forge::new();
    let good = serde_json::to_value(forge.claims()).expect("json");
    for (claim, value) in [
        ("exp", json!("1900000000")),
        ("exp", json!(1.9e9)),
        ("exp", json!(-1)),
        ("exp", json!(null)),
        ("exp", json!(NOW.secs())),
        ("iat", json!(NOW.secs() + 61)),
        ("iat", json!([NOW.secs()])),
        ("iss", json!("https://deployer.patapim.test.")),
        ("aud", json!([forge.tunnel.as_str()])),
        ("aud", json!("other-abc234")),
        ("nbf", json!(1)),
        ("jti", json!("short")),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        assert!(forge.verify(&forge.sign_raw(&forge.header(), &claims)).is_err(), "{claims}");
    }
    assert!(forge.verify(&forge.sign_raw(&forge.header(), &good)).is_ok(), "the control");
}

#[test]
fn a_second_spelling_of_a_token_is_refused() {
    let forge = Forge::new();
    let token = sign(&forge.keys, &forge.claims());
    let text = token.reveal();
    for other in [
        format!("{text}="),
        format!("{text}."),
        format!(" {text}"),
        text.replace('.', ".."),
        text.to_uppercase(),
    ] {
        assert!(forge.verify(&other).is_err(), "{other}");
    }
}

#[test]
fn a_token_parameter_is_sorted_by_shape_and_issuer() {
    let forge = Forge::new();
    let token = sign(&forge.keys, &forge.claims());
    assert_eq!(seeming(token.reveal(), ISSUER), Seeming::Ours);
    assert_eq!(seeming(token.reveal(), "https://other.test"), Seeming::Foreign);
    for opaque in ["", "abc", "a.b", "a.b.c", "1.2.3", "a.b.c.d"] {
        assert_eq!(seeming(opaque, ISSUER), Seeming::Opaque, "{opaque}");
    }
    let numeric = forge.sign_raw(&forge.header(), &json!({"iss": 7}));
    assert_eq!(seeming(&numeric, ISSUER), Seeming::Foreign);
    let text = token.reveal();
    for (spoilt, is) in [(0, Seeming::Ours), (text.find('.').expect("a dot") + 2, Seeming::Foreign)] {
        let mut bytes = text.as_bytes().to_vec();
        bytes[spoilt] = if bytes[spoilt] == b'B' { b'C' } else { b'B' };
        let spoilt = String::from_utf8(bytes).expect("ascii");
        assert_eq!(seeming(&spoilt, ISSUER), is, "one of ours, spoilt, is still judged: {spoilt}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,300}") {
        let forge = Forge::new();
        prop_assert!(forge.verify(&text).is_err());
        let _ = seeming(&text, ISSUER);
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused(at in 0usize..400, to in 0u8..=127) {
        let forge = Forge::new();
        let token = sign(&forge.keys, &forge.claims());
        let mut bytes = token.reveal().as_bytes().to_vec();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let text = String::from_utf8(bytes).expect("ascii");
        prop_assert!(forge.verify(&text).is_err());
    }
}

#[test]
fn random_ids_have_the_shape_that_claims_demand() {
    assert!(TokenId::parse(&random_id(&*SystemEntropy::shared())).is_ok());
}
