//! Linking a desktop by a token.

use super::*;
use crate::secret::{base64url, sha256};

fn key() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    rcgen::PublicKeyData::subject_public_key_info(&key)
}

fn asked(key: &[u8], token: &str) -> Value {
    json!({"name": "Server in the cellar", "public_key": base64url(key), "token": token})
}

#[tokio::test]
async fn a_token_links_one_desktop() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let (token, _) = house.accounts.make_link_token(&ada.user.id, None).await.expect("a token");
    let agent = house.browser();
    let key = key();
    let linked = agent.post("/link", &asked(&key, token.reveal())).await.must_be(StatusCode::CREATED).json();
    assert_eq!(linked["user"], "ada");
    let tunnel = linked["tunnel"].as_str().expect("a tunnel");
    assert_eq!(linked["tunnel_url"], format!("https://{tunnel}.tunnel.patapim.test"));
    let pinned = house.accounts.agent(&base64url(sha256(&key))).await.expect("pinned");
    assert_eq!((pinned.tunnel.as_str(), &*pinned.name), (tunnel, "Server in the cellar"));
    let again = agent.post("/link", &asked(&self::key(), token.reveal())).await;
    again.must_be_problem(StatusCode::FORBIDDEN, "link-refused");
}

#[tokio::test]
async fn a_key_that_is_linked_already_is_not_linked_again() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let key = key();
    for status in [StatusCode::CREATED, StatusCode::CONFLICT] {
        let (token, _) = house.accounts.make_link_token(&ada.user.id, None).await.expect("a token");
        house.browser().post("/link", &asked(&key, token.reveal())).await.must_be(status);
    }
}

#[tokio::test]
async fn taking_over_a_tunnel_hangs_up_on_its_former_desktop() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let (token, _) =
        house.accounts.make_link_token(&ada.user.id, Some(tunnel.id.clone())).await.expect("a token");
    let linked = house.browser().post("/link", &asked(&key(), token.reveal())).await;
    assert_eq!(linked.must_be(StatusCode::CREATED).json()["tunnel"], tunnel.id.as_str());
    assert_eq!(*house.desktops.unlinked.lock().expect("a lock"), [tunnel.id]);
}

#[tokio::test]
async fn without_a_good_token_and_key_nothing_is_linked() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let agent = house.browser();
    agent
        .post("/link", &asked(&key(), "made up"))
        .await
        .must_be_problem(StatusCode::FORBIDDEN, "link-refused");
    let (token, _) = house.accounts.make_link_token(&ada.user.id, None).await.expect("a token");
    let problem = agent.post("/link", &asked(b"not a key", token.reveal())).await;
    let problem = problem.must_be_problem(StatusCode::BAD_REQUEST, "malformed").json();
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("public_key: ")), "{problem}");
}
