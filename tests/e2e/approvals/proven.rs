//! What the desktop has checked for itself, and what it does about the rest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::rig::fake_agent::{FakeAgent, Manners};
use crate::rig::journey::sign_in_request;

impl Asking {
    /// How things stand, as the desktop's person reads it.
    async fn status(&self) -> Value {
        let told = self.desktop.command(&["status", "--json"]).await;
        assert_eq!(told.code, 0, "{}", told.err);
        serde_json::from_str(&told.out).expect("one document")
    }

    async fn access_token(&self) -> String {
        let sessions = self.ada.api_get("/sessions").await.must_be(200).json();
        let year: u32 = sessions[0]["since"].as_str().expect("a time")[..4].parse().expect("a year");
        let end = format!("{}-01-01T00:00:00Z", year + 1);
        let wanted = json!({"name": "CI", "tunnel": self.desktop.tunnel, "expires_at": end});
        let made = self.ada.api_post("/access-tokens", &wanted).await.must_be(201).json();
        made["token"].as_str().expect("a token").to_owned()
    }
}

#[tokio::test]
async fn a_sign_in_is_verified_at_the_desktop_and_its_session_outlives_the_agent() {
    let mut asking = Asking::approved().await;
    let served = asking.status().await["sessions"].clone();
    assert_eq!((&served[0]["verified"], &served[0]["checked"]), (&json!(true), &json!("verified here")));
    assert_eq!(asking.status().await["refused"], json!([]));

    asking.agent.kill().await;
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
    asking.ada.browser.navigate(&asking.page("/")).await.must_be(200);
    assert_eq!(asking.status().await["sessions"], served, "without another look at the sign-in");
}

#[tokio::test]
async fn where_any_passkey_of_the_owner_will_do_the_desktop_says_that_it_took_the_edges_word() {
    let mut asking = Asking::start().await;
    asking.agent.kill().await;
    asking.agent = asking.desktop.run(&asking.app.url()).await;
    let page = asking.page("/");
    asking.ada.open(&page).await.must_be(200);
    let served = asking.status().await["sessions"].clone();
    assert_eq!(served[0]["verified"], json!(false));
    assert!(served[0]["checked"].as_str().expect("words").contains("the edge says"), "{served}");
}

#[tokio::test]
async fn a_script_is_asked_about_when_its_token_is_first_used() {
    let asking = Asking::start().await;
    let (token, page) = (asking.access_token().await, asking.page("/echo"));
    let run = async || asking.edge.visitor().curl(&page).header("x-patapim-token", &token).await;
    let waits = run().await.must_be(403).json();
    assert_eq!(waits["type"], "/problems/approval-pending");
    let pending = asking.pending().await.pop().expect("a script that waits");
    assert_eq!(pending["name"], "CI");
    asking.decide("approve", &pending).await;
    run().await.must_be(200);
    assert_eq!((asking.pending().await.len(), asking.trusted().await.len()), (0, 0));
    assert_eq!(asking.status().await["sessions"][0]["verified"], json!(false));
}

#[tokio::test]
async fn a_desktop_that_requires_proof_takes_a_passkey_and_nothing_else() {
    let mut asking = Asking::start().await;
    asking.agent.kill().await;
    let strict =
        Process::start(asking.desktop.agent().args(["run", "--require-proof", "--to", &asking.app.url()]));
    strict.says("the agent's word that it is connected", crate::rig::agent::connected).await;
    asking.agent = strict;
    let token = asking.access_token().await;
    let refused = asking.edge.visitor().curl(&asking.page("/echo")).header("x-patapim-token", &token).await;
    assert!(matches!(refused.status.as_u16(), 401 | 403), "{}", refused.status);
    let shown = asking.status().await["refused"].clone();
    assert!(shown[0]["why"].as_str().expect("words").contains("--require-proof"), "{shown}");
    asking.agent.says("the same, where it runs", |line| line.contains("not let in").then_some(())).await;

    let pending = asking.signs_in_and_waits().await;
    asking.decide("approve", &pending).await;
    asking.ada.browser.navigate(&asking.page("/")).await.must_be(200);
    assert_eq!(asking.status().await["sessions"][0]["verified"], json!(true));
}

/// The request that Ada's page at the sign-in site makes, sent there from her tunnel's.
async fn sent_away(ada: &mut Person, page: &Url) -> Value {
    ada.browser = ada.browser.stranger();
    let auth = ada.browser.navigate(page).await.must_be(303).location();
    ada.browser.navigate(&auth).await.must_be(200);
    sign_in_request(&auth)
}

#[tokio::test]
async fn who_was_about_to_sign_in_when_the_agent_was_started_anew_touches_twice_and_signs_in_once() {
    let mut asking = Asking::approved().await;
    let page = asking.page("/echo");
    let wanted = sent_away(&mut asking.ada, &page).await;
    let begun = asking.ada.begin_sign_in(&wanted).await;
    asking.agent.kill().await;
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
    let touched = asking.ada.key.assert(&begun["publicKey"]);
    let told = asking.ada.finish_sign_in(&begun, &touched).await.must_be(409);
    assert_eq!(told.problem(), "/problems/ceremony-outlived");

    let link = asking.ada.tap(&wanted).await;
    let shown = asking.ada.browser.follow(&link).await.pop().expect("an answer").must_be(200);
    assert_eq!(shown.url, page);
    assert_eq!(asking.status().await["refused"], json!([]));
}

#[tokio::test]
async fn an_agent_that_only_lost_its_connection_costs_nobody_a_touch() {
    let edge = Setup::default().start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let desktop = Desktop::linked(&edge, "ada").await;
    let comes = async |again: bool, nonce: u8| {
        let hello = json!({"version": 1, "again": again, "nonce": URL_SAFE_NO_PAD.encode([nonce; 32])});
        FakeAgent::dial(&edge, &desktop, Manners::default().hello(format!("{hello}\n"))).await
    };
    let page = edge.tunnel(&desktop.tunnel, "/");
    let mut agent = comes(false, 1).await;
    for (again, nonce, status) in [(true, 2, 200), (false, 3, 409)] {
        let wanted = sent_away(&mut ada, &page).await;
        let begun = ada.begin_sign_in(&wanted).await;
        drop(agent);
        agent = comes(again, nonce).await;
        let touched = ada.key.assert(&begun["publicKey"]);
        ada.finish_sign_in(&begun, &touched).await.must_be(status);
    }
}
