//! Approved, denied, removed, not asked at all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::rig::journey::{ceremony, sign_in_request};

/// Within this everything open must be gone (threats, Binding).
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_new_device_waits_for_the_desktop_and_is_trusted_from_then_on() {
    let (mut asking, pending) = Asking::waiting().await;
    let mut members: Vec<_> = pending.as_object().expect("an object").keys().map(String::as_str).collect();
    members.retain(|name| ["id", "name", "fingerprint", "address", "since", "last_used"].contains(name));
    assert_eq!(members.len(), 6, "{pending}");
    let passkey = &asking.ada.api_get("/passkeys").await.json()[0];
    assert_eq!((&pending["id"], &pending["fingerprint"]), (&passkey["id"], &passkey["fingerprint"]));
    assert_eq!((&pending["name"], &pending["address"]), (&json!("Test key"), &json!("127.0.0.1")));
    assert_eq!(pending["fingerprint"], asking.ada.key.fingerprint());

    let refused = script(&asking.ada.browser, &asking.page("/echo")).await.must_be(403);
    assert_eq!(refused.problem(), "/problems/approval-pending");
    assert!(asking.ada.browser.websocket(&asking.page("/ws")).await.is_err());
    assert_eq!(asking.app.count(), 0, "nothing reached the app");

    asking.decide("approve", &pending).await;
    script(&asking.ada.browser, &asking.page("/echo")).await.must_be(200);
    assert_eq!(asking.pending().await, [] as [Value; 0]);
    let trusted = asking.trusted().await;
    assert_eq!((trusted.len(), &trusted[0]["id"]), (1, &pending["id"]));
    assert!(trusted[0]["last_used"].is_string() && trusted[0]["since"].is_string());
    let file = asking.file();
    assert_eq!((&file["version"], &file["devices"][0]["fingerprint"]), (&json!(1), &pending["fingerprint"]));

    asking.ada.browser = asking.edge.visitor();
    let page = asking.page("/echo");
    let answer = asking.ada.open(&page).await.must_be(200);
    assert_eq!(answer.url, page, "another browser with the same passkey is not asked about");
}

#[tokio::test]
async fn a_denied_sign_in_is_over_and_a_later_one_asks_again() {
    let (mut asking, pending) = Asking::waiting().await;
    let mut events = asking.events().await;
    told(&mut events, &format!("asked-{}", pending["number"])).await;
    asking.decide("deny", &pending).await;
    told(&mut events, "over").await;
    let page =
        asking.ada.browser.navigate(&asking.page("/.patapim/waiting?return_to=%2Fa")).await.must_be(403);
    assert!(
        page.text().contains("The desktop said no") && page.text().contains("return_to=%2Fa"),
        "{}",
        page.text()
    );
    asking.ada.browser.curl(&asking.page("/")).await.must_be(401);
    assert_eq!(asking.trusted().await, [] as [Value; 0]);
    let sessions = asking.edge.admin(&["session", "list"]).await;
    let here = |one: &&Value| one["tunnel"] == asking.desktop.tunnel.as_str();
    assert_eq!(sessions.as_array().expect("a list").iter().filter(here).count(), 0);

    let again = asking.signs_in_and_waits().await;
    assert_eq!(again["id"], pending["id"]);
    assert_eq!(asking.app.count(), 0, "nothing reached the app");
}

#[tokio::test]
async fn of_approving_and_denying_at_once_one_counts() {
    let (mut asking, mut pending) = Asking::waiting().await;
    for _ in 0..3 {
        let id = pending["id"].as_str().expect("an id").to_owned();
        let (yes, no) = (["devices", "approve", &*id], ["devices", "deny", &*id]);
        let before = asking.edge.approvals();
        let (approved, denied) = tokio::join!(asking.desktop.command(&yes), asking.desktop.command(&no));
        assert_eq!(approved.code + denied.code, 1, "one done, one too late: {}{}", approved.err, denied.err);
        if approved.code == 0 {
            asking.edge.hears_of_approval(before).await;
        }
        let answer = script(&asking.ada.browser, &asking.page("/echo")).await;
        assert_eq!(answer.status == 200, approved.code == 0, "{answer:?}");
        assert_eq!(asking.trusted().await.len(), usize::from(approved.code == 0));
        if approved.code == 0 {
            asking.desktop.command(&["devices", "remove", &id]).await;
        }
        pending = asking.signs_in_and_waits().await;
    }
}

#[tokio::test]
async fn removing_a_device_cuts_its_sessions_at_once_and_no_others() {
    let asking = Asking::approved().await;
    let mut phone = asking.another_device("Phone").await;
    let page = asking.page("/echo");
    phone.open(&page).await.must_be(200);
    let pending = asking.pending().await.remove(0);
    asking.decide("approve", &pending).await;
    let mut socket = phone.browser.websocket(&asking.page("/ws")).await.expect("a socket");
    assert_eq!(socket.ask("hello").await, "hello");
    let mut events =
        phone.browser.fetch(Method::GET, &asking.page("/events/one")).open().await.expect("a stream");
    asking.app.streaming("one").await;
    asking.app.tick("one", "before");
    assert_eq!(events.text().await, "data: before\n\n");

    asking.decide("remove", &pending).await;
    let answered = Instant::now();
    socket.cut().await;
    events.cut().await;
    assert!(answered.elapsed() < AT_ONCE, "{:?}", answered.elapsed());
    asking.app.left("/ws").await;
    phone.browser.curl(&page).await.must_be(401);
    script(&asking.ada.browser, &page).await.must_be(200);
    let told = phone.browser.navigate(&asking.page("/.patapim/waiting")).await.must_be(403);
    assert!(told.text().contains("trusts this device no longer"), "{}", told.text());
    let waits = phone.open(&page).await.must_be(200);
    assert_eq!(waits.url.path(), "/.patapim/waiting", "it is asked about again");
}

#[tokio::test]
async fn a_device_that_was_removed_while_no_agent_ran_is_out_when_it_runs_again() {
    let mut asking = Asking::approved().await;
    let id = asking.trusted().await[0]["id"].as_str().expect("an id").to_owned();
    asking.agent.kill().await;
    let removed = asking.desktop.command(&["devices", "remove", &id]).await;
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert_eq!(asking.trusted().await, [] as [Value; 0]);
    let unheard = asking.desktop.command(&["devices", "approve", &id]).await;
    assert!(unheard.code == 1 && unheard.err.contains("not running"), "{}", unheard.err);
    asking.app.forget();
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
    asking.ada.browser.curl(&asking.page("/")).await.must_be(401);
    assert_eq!(asking.app.count(), 0, "nothing reached the app");
}

#[tokio::test]
async fn any_passkey_of_the_owner_is_let_in_where_the_desktop_wants_it() {
    let mut asking = Asking::start().await;
    asking.agent.kill().await;
    let _agent = asking.desktop.run(&asking.app.url()).await;
    let page = asking.page("/echo");
    let answer = asking.ada.open(&page).await.must_be(200);
    assert_eq!(answer.url, page);
    assert_eq!((asking.pending().await.len(), asking.trusted().await.len()), (0, 0), "nobody was asked");
}

#[tokio::test]
async fn whoever_approved_the_linking_is_trusted_by_that() {
    let edge = Setup::default().start().await;
    let app = App::start("ada's app").await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let mut desktop = Desktop::blank();
    let site = edge.deployer("");
    let mut link = desktop.agent();
    link.args(["link", site.as_str().trim_end_matches('/'), "--name", "Desk", "--ca"])
        .arg(&edge.ca.root_file);
    let linking = Process::start(&mut link);
    let code =
        linking.line("the code", |line| line.strip_prefix("Code:").map(|code| code.trim().to_owned())).await;
    let approved = ada.api_post("/link/approve", &json!({"user_code": code})).await.must_be(200).json();
    assert!(linking.end().await.success(), "{}", linking.all_printed());
    assert!(linking.all_printed().contains(&ada.key.fingerprint()), "{}", linking.all_printed());
    desktop.tunnel = approved["tunnel"].as_str().expect("a tunnel").to_owned();

    let _agent = desktop.run_asking(&app.url()).await;
    let page = edge.tunnel(&desktop.tunnel, "/echo");
    let answer = ada.open(&page).await.must_be(200);
    assert_eq!(answer.url, page);
    assert_eq!(list(&desktop, "list").await.len(), 1);
}

#[tokio::test]
async fn the_site_lists_whom_a_desktop_trusts_and_removes_but_never_adds() {
    let mut asking = Asking::approved().await;
    let path = format!("/tunnels/{}/devices", asking.desktop.tunnel);
    let listed = asking.ada.api_get(&path).await.must_be(200).json();
    let trusted = asking.trusted().await;
    for member in ["id", "name", "fingerprint", "since", "last_used"] {
        assert_eq!(listed[0][member], trusted[0][member], "{member}");
    }
    let mut eve = Person::enrolled(&asking.edge, "eve").await;
    eve.api_get(&path).await.must_be(404);
    let one = format!("{path}/{}", trusted[0]["id"].as_str().expect("an id"));
    eve.api_delete(&one).await.must_be(404);
    let added = asking.ada.api_post(&path, &listed[0]).await;
    assert!(added.status.is_client_error());
    asking.ada.api_delete(&format!("{path}/{}", "a".repeat(26))).await.must_be(404);

    asking.ada.api_delete(&one).await.must_be(204);
    asking.ada.browser.curl(&asking.page("/")).await.must_be(401);
    assert_eq!(asking.trusted().await, [] as [Value; 0]);
    asking.agent.kill().await;
    let away = asking.ada.api_get(&path).await.must_be(503);
    assert_eq!(away.problem(), "/problems/desktop-offline");
    eve.browser = asking.edge.visitor();
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
}

#[tokio::test]
async fn a_code_lets_in_once_approved_and_only_then_makes_a_passkey() {
    let asking = Asking::start().await;
    let made = asking.ada.api_post("/fallbacks/backup-codes", &json!({})).await.must_be(201).json();
    let mut phone = Person::with_nothing(&asking.edge, "ada");
    let page = asking.page("/echo");
    let auth = phone.browser.navigate(&page).await.must_be(303).location();
    let mut body = sign_in_request(&auth);
    body["user"] = json!("ada");
    body["code"] = made["codes"][0].clone();
    let entered = phone.api_post("/sign-in/backup-code", &body).await.must_be(200).json();
    let link = Url::parse(entered["redirect"].as_str().expect("a link")).expect("a link");
    let waits = phone.browser.follow(&link).await.pop().expect("an answer");
    assert_eq!(waits.url.path(), "/.patapim/waiting");
    let wanted = json!({"name": "Phone"});
    let early = phone.api_post("/passkeys/registration", &wanted).await.must_be(403);
    assert_eq!(early.problem(), "/problems/approval-required");

    let pending = asking.pending().await.pop().expect("a device that waits");
    assert_eq!(pending["name"], "Backup code", "{pending}");
    asking.decide("approve", &pending).await;
    script(&phone.browser, &page).await.must_be(200);
    assert_eq!(asking.trusted().await.len(), 0, "a code is asked about each time");

    let begun = phone.begin_registration(&wanted).await;
    let made = phone.key.register(&begun["publicKey"]);
    phone.api_post(&format!("/passkeys/registration/{}", ceremony(&begun)), &made).await.must_be(201);
    let other = phone.api_post("/fallbacks/backup-codes", &json!({})).await.must_be(403);
    assert_eq!(other.problem(), "/problems/passkey-required", "and changes no other factor");
}
