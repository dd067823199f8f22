//! Codes that link a desktop, in the hands of whoever saw one, or makes one up (threats, "Linking"). What a desktop and its
//! person do with them is in `linking` and `introductions`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::Method;
use rcgen::{KeyPair, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::rig::answer::Answer;
use crate::rig::client::Visitor;
use crate::rig::edge::Edge;
use crate::rig::journey::Person;
use crate::tunnel::Linked;

/// A desktop that asks to be linked.
struct Asking {
    fingerprint: String,
    begun: Value,
}

impl Asking {
    async fn at(edge: &Edge) -> Self {
        let key = KeyPair::generate().expect("a key").subject_public_key_info();
        let asked = json!({"name": "Work <b>laptop", "public_key": URL_SAFE_NO_PAD.encode(&key)});
        let begun = at(&edge.visitor(), edge, "/link", &asked).await.must_be(200).json();
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &key)));
        Self { fingerprint, begun }
    }

    fn code(&self) -> &str {
        self.begun["user_code"].as_str().expect("a code")
    }

    async fn poll(&self, edge: &Edge) -> Answer {
        let secret = json!({"device_code": self.begun["device_code"]});
        at(&edge.visitor(), edge, "/link/poll", &secret).await
    }
}

async fn at(browser: &Visitor, edge: &Edge, path: &str, body: &Value) -> Answer {
    browser.post(&edge.deployer(&format!("/api/v1{path}")), body).await
}

#[tokio::test]
async fn whoever_sees_a_code_cannot_hear_the_answer_and_whoever_hears_it_cannot_give_it() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let asking = Asking::at(&edge).await;
    let shown = [
        json!(asking.code()),
        asking.begun["verification_url"].clone(),
        json!(asking.code().replace('-', "")),
    ];
    for seen in shown {
        for browser in [&edge.visitor(), &ada.browser] {
            let answer = at(browser, &edge, "/link/poll", &json!({"device_code": seen})).await.must_be(400);
            assert_eq!(answer.problem(), "/problems/expired-token");
        }
    }
    let secret = json!({"user_code": asking.begun["device_code"]});
    for path in ["/link/lookup", "/link/approve", "/link/deny"] {
        ada.api_post(path, &secret).await.must_be(403);
        at(&edge.visitor(), &edge, path, &json!({"user_code": asking.code()})).await.must_be(401);
    }
    let waits = asking.poll(&edge).await.must_be(400);
    assert_eq!(waits.problem(), "/problems/authorization-pending");
}

#[tokio::test]
async fn who_approves_is_told_whom_and_takes_over_a_tunnel_only_by_naming_it() {
    let linked = Linked::start().await;
    let (edge, ada) = (&linked.edge, &linked.ada);
    let mallory = Person::enrolled(edge, "mallory").await;
    let (first, second) = (Asking::at(edge).await, Asking::at(edge).await);
    let told = ada.api_post("/link/lookup", &json!({"user_code": first.code()})).await.must_be(200).json();
    assert_eq!((&told["name"], &told["address"]), (&json!("Work <b>laptop"), &json!("127.0.0.1")));
    assert_eq!(told["fingerprint"], first.fingerprint);
    assert_eq!(told["tunnels"][0]["id"], linked.desktop.tunnel);

    let approved =
        ada.api_post("/link/approve", &json!({"user_code": first.code()})).await.must_be(200).json();
    assert_ne!(approved["tunnel"], linked.desktop.tunnel, "nothing named, nothing taken over");
    let page = linked.page("/echo");
    ada.browser.fetch(Method::GET, &page).await.must_be(200);

    let take_over = json!({"user_code": second.code(), "tunnel": linked.desktop.tunnel});
    mallory.api_post("/link/approve", &take_over).await.must_be(404);
    ada.browser.fetch(Method::GET, &page).await.must_be(200);
    let approved = ada.api_post("/link/approve", &take_over).await.must_be(200).json();
    assert_eq!(approved["tunnel"], linked.desktop.tunnel);
    assert!(!linked.agent.end().await.success(), "the former desktop is hung up on");
    assert_eq!(second.poll(edge).await.must_be(200).json()["tunnel"], linked.desktop.tunnel);
}

#[tokio::test]
async fn codes_that_are_made_up_are_soon_not_looked_at_any_more() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let asking = Asking::at(&edge).await;
    for number in 0..10 {
        let guess = json!({"user_code": format!("BCDF-234{}", 2 + number % 8)});
        let path = ["/link/lookup", "/link/approve", "/link/deny"][number % 3];
        assert_eq!(ada.api_post(path, &guess).await.must_be(403).problem(), "/problems/link-code-refused");
    }
    let right = json!({"user_code": asking.code()});
    let refused = ada.api_post("/link/approve", &right).await.must_be(429);
    assert_eq!(refused.problem(), "/problems/try-later");
    let waits = asking.poll(&edge).await.must_be(400);
    assert_eq!(waits.problem(), "/problems/authorization-pending", "the right code was not looked at either");
}
