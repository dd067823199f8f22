//! The first passkey that a desktop trusts: what the terminal says of it, and which lies of an edge it sees through.
//!
//! What a proof is made of is written here once more, from the description of the protocol alone.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::authenticator::{Authenticator, Draft, UP};
use crate::rig::edge::{Edge, Setup};
use crate::rig::false_edge::{CODE, FalseEdge};
use crate::rig::journey::{Person, ceremony};
use crate::rig::process::{Finished, Process, finish};

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

fn bytes(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().expect("text")).expect("base64url")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

const SALT: [u8; 32] = [9; 32];

/// The challenge of an approval of the desktop that `asked`.
fn challenge(asked: &Value) -> String {
    let pin = encode(sha256(&[&bytes(&asked["public_key"])]));
    let place = sha256(&[b"patapim/link/1\0", pin.as_bytes(), b"\0", CODE.as_bytes()]);
    let root = sha256(&[b"patapim/leaf/1\0", &place, &bytes(&asked["nonce"])]);
    encode(sha256(&[b"patapim/challenge/1\0", &SALT, &root]))
}

/// Ada's passkey, in the hands of whoever plays the edge.
struct Passkey(Authenticator);

impl Passkey {
    fn at(origin: &str) -> Self {
        let mut passkey = Self(Authenticator::at(origin));
        let options = json!({
            "rp": {"id": "deployer.patapim.localhost"}, "user": {"id": encode("ada")}, "challenge": "",
            "pubKeyCredParams": [{"alg": -7, "type": "public-key"}],
        });
        passkey.0.register(&options);
        passkey
    }

    /// The proof that it approved the desktop that `asked`, bent before it is signed.
    fn proof(&mut self, asked: &Value, bend: impl FnOnce(&mut Draft)) -> Value {
        let options = json!({"rpId": "deployer.patapim.localhost", "challenge": challenge(asked)});
        let signed = self.0.assert_bent(&options, bend)["response"].clone();
        json!({
            "assertion": {
                "authenticator_data": signed["authenticatorData"], "client_data": signed["clientDataJSON"],
                "signature": signed["signature"],
            },
            "salt": encode(SALT), "path": "",
        })
    }

    /// As an edge names it, with `proof`.
    fn named(&self, proof: Value) -> Value {
        json!({
            "id": "a".repeat(26), "name": "Phone", "fingerprint": self.0.fingerprint(),
            "public_key": encode(self.0.public_key()), "proof": proof,
        })
    }
}

/// A blank desktop asks `edge` to be linked, and ends.
async fn linked(edge: &FalseEdge, words: &[&str]) -> (Desktop, Finished) {
    let desktop = Desktop::blank();
    let mut command = desktop.agent();
    command.args(["link", &edge.origin, "--name", "Desk"]).args(words).arg("--ca").arg(&edge.root_file);
    let finished = finish(&mut command).await;
    (desktop, finished)
}

/// An edge that names Ada's passkey and shows for it what `lie` makes of it is not believed, for the reason `why`, and
/// nothing is left of it on the desktop.
async fn is_seen_through(why: &str, lie: impl Fn(&mut Passkey, &Value) -> Value + Send + Sync + 'static) {
    let passkey = Mutex::new(None);
    let edge = FalseEdge::start(move |origin, asked| {
        let mut passkey = passkey.lock().expect("whole");
        lie(passkey.get_or_insert_with(|| Passkey::at(origin)), asked)
    })
    .await;
    let (desktop, finished) = linked(&edge, &[]).await;
    assert_eq!(finished.code, 1, "{why}: {}{}", finished.out, finished.err);
    assert!(
        finished.err.contains("does not believe the edge") && finished.err.contains("“Phone”"),
        "{}",
        finished.err
    );
    assert!(finished.err.contains(why), "{why}: {}", finished.err);
    assert!(!finished.out.contains("Trusted here"), "{}", finished.out);
    assert!(!desktop.link_file().exists() && !desktop.home().join("trusted-passkeys.json").exists(), "{why}");
}

#[tokio::test]
async fn a_proof_of_another_time_or_desktop_links_nothing() {
    let other_nonce = is_seen_through("not made for this desktop", |passkey, asked| {
        let other = json!({"public_key": asked["public_key"], "nonce": encode([7; 32])});
        let old = passkey.proof(&other, |_| ());
        passkey.named(old)
    });
    let other_key = is_seen_through("not made for this desktop", |passkey, asked| {
        let other = json!({"public_key": encode(b"another desktop"), "nonce": asked["nonce"]});
        let anothers = passkey.proof(&other, |_| ());
        passkey.named(anothers)
    });
    let sign_in = is_seen_through("not made for this desktop", |passkey, asked| {
        let mut proof = passkey.proof(asked, |_| ());
        proof["path"] = encode([1; 32]).into();
        passkey.named(proof)
    });
    tokio::join!(other_nonce, other_key, sign_in);
}

#[tokio::test]
async fn a_proof_that_was_bent_links_nothing() {
    let sibling = is_seen_through("another origin", |passkey, asked| {
        let proof =
            passkey.proof(asked, |draft| draft.claim("origin", "https://eve.tunnel.patapim.localhost"));
        passkey.named(proof)
    });
    let unverified = is_seen_through("not verified", |passkey, asked| {
        let proof = passkey.proof(asked, |draft| draft.flags = UP);
        passkey.named(proof)
    });
    let registration = is_seen_through("another type", |passkey, asked| {
        let proof = passkey.proof(asked, |draft| draft.claim("type", "webauthn.create"));
        passkey.named(proof)
    });
    let spoilt = is_seen_through("not that of the passkey", |passkey, asked| {
        let proof = passkey.proof(asked, |draft| draft.spoil_signature = true);
        passkey.named(proof)
    });
    tokio::join!(sibling, unverified, registration, spoilt);
}

#[tokio::test]
async fn a_key_that_was_swapped_links_nothing() {
    let swapped = is_seen_through("not that of the passkey", |passkey, asked| {
        let proof = passkey.proof(asked, |_| ());
        Passkey::at("https://eve.test").named(proof)
    });
    let misnamed = is_seen_through("not that of its key", |passkey, asked| {
        let proof = passkey.proof(asked, |_| ());
        let mut named = passkey.named(proof);
        named["fingerprint"] = Passkey::at("https://eve.test").0.fingerprint().into();
        named
    });
    tokio::join!(swapped, misnamed);
}

#[tokio::test]
async fn an_edge_that_shows_no_proof_is_said_to_and_refused_where_one_is_required() {
    let edge = FalseEdge::start(|origin, _| Passkey::at(origin).named(Value::Null)).await;
    let (_, told) = linked(&edge, &[]).await;
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    assert!(
        told.out.contains("On the edge's word alone") && !told.out.contains("Verified here"),
        "{}",
        told.out
    );
    let (_, listed) = linked(&edge, &["--json"]).await;
    assert_eq!(listed.json()["trusted"]["verified"], false);

    let (desktop, refused) = linked(&edge, &["--require-proof"]).await;
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("no proof") && refused.err.contains("--require-proof"), "{}", refused.err);
    assert!(!desktop.link_file().exists());
}

#[tokio::test]
async fn a_passkey_that_approved_this_very_desktop_is_verified_there() {
    let passkey = Mutex::new(None);
    let edge = FalseEdge::start(move |origin, asked| {
        let mut passkey = passkey.lock().expect("whole");
        let passkey = passkey.get_or_insert_with(|| Passkey::at(origin));
        let proof = passkey.proof(asked, |_| ());
        passkey.named(proof)
    })
    .await;
    let (_, linked) = linked(&edge, &["--require-proof"]).await;
    assert_eq!(linked.code, 0, "{}{}", linked.out, linked.err);
    assert!(linked.out.contains("Verified here"), "as the description has it: {}", linked.out);
}

/// A desktop that waits to be approved, and its code.
async fn asking(edge: &Edge, desktop: &Desktop, words: &[&str]) -> (Process, String) {
    let site = edge.deployer("");
    let mut command = desktop.agent();
    command.args(["link", site.as_str().trim_end_matches('/'), "--name", "Desk"]).args(words);
    let linking = Process::start(command.arg("--ca").arg(&edge.ca.root_file));
    let code = linking.line("the code", |line| line.strip_prefix("Code:").map(|code| code.trim().to_owned()));
    let code = code.await;
    (linking, code)
}

#[tokio::test]
async fn a_touch_links_a_desktop_that_requires_proof_and_lets_its_person_in() {
    let edge = Setup::default().start().await;
    let app = App::start("ada's app").await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let mut desktop = Desktop::blank();
    let (linking, code) = asking(&edge, &desktop, &["--require-proof"]).await;
    let begun = ada.api_post("/link/confirm", &json!({"user_code": code})).await.must_be(200).json();
    let credential = ada.key.assert(&begun["publicKey"]);
    let confirmation = json!({"ceremony": ceremony(&begun), "credential": credential});
    let approval = json!({"user_code": code, "confirmation": confirmation});
    let approved = ada.api_post("/link/approve", &approval).await.must_be(200).json();
    assert!(linking.end().await.success(), "{}", linking.all_printed());
    let told = linking.all_printed();
    assert!(told.contains("Verified here") && told.contains(&ada.key.fingerprint()), "{told}");
    desktop.tunnel = approved["tunnel"].as_str().expect("a tunnel").to_owned();

    let _agent = desktop.run_asking(&app.url()).await;
    let page = edge.tunnel(&desktop.tunnel, "/echo");
    assert_eq!(ada.open(&page).await.must_be(200).url, page, "without another question");
}
