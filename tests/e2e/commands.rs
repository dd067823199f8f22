//! Each command about people, tunnels, desktops and sessions: what it answers, what it does, and how it refuses
//! (contract, section 2).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rig::agent::Desktop;
use crate::rig::edge::{Edge, program};
use crate::rig::process::finish;
use crate::rig::scene::{Scene, TUNNEL};

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().map(String::as_str).collect()
}

/// Both ways: as JSON, which is all there is on standard output, and as text for people.
async fn as_text(edge: &Edge, words: &[&str]) -> String {
    let told = finish(program().args(words).arg("--config").arg(edge.config())).await;
    assert_eq!(told.code, 0, "{words:?}: {}", told.err);
    assert!(serde_json::from_str::<Value>(&told.out).is_err(), "{words:?} tells people JSON: {}", told.out);
    told.out
}

/// Fails with a sentence, and leaves standard output alone.
async fn refused(edge: &Edge, words: &[&str], code: i32, why: &str) {
    let told = edge.try_admin(words).await;
    assert_eq!((told.code, told.out.as_str()), (code, ""), "{words:?}: {}", told.err);
    assert!(told.err.contains(why), "{words:?} must say {why:?}: {}", told.err);
}

#[tokio::test]
async fn people_are_added_invited_disabled_enabled_and_removed() {
    let edge = Edge::start().await;
    let added = edge.admin(&["user", "add", "ada", "--email", "ada@patapim.test"]).await;
    assert_eq!(members(&added), BTreeSet::from(["enrol_url", "id", "user"]));
    assert!(
        added["enrol_url"]
            .as_str()
            .is_some_and(|link| link.starts_with(edge.deployer("/enrol?ticket=").as_str()))
    );
    let again = edge.admin(&["user", "invite", "ada"]).await;
    assert_eq!((&again["id"], &again["user"]), (&added["id"], &added["user"]));
    assert_ne!(again["enrol_url"], added["enrol_url"]);

    let line = &edge.admin(&["user", "list"]).await[0];
    assert_eq!(members(line), BTreeSet::from(["email", "id", "passkeys", "since", "state", "user"]));
    assert_eq!((line["email"].as_str(), line["state"].as_str()), (Some("ada@patapim.test"), Some("active")));
    assert!(as_text(&edge, &["user", "list"]).await.contains("ada@patapim.test"));
    assert_eq!(edge.admin(&["user", "disable", "ada"]).await["state"], "disabled");
    refused(&edge, &["user", "invite", "ada"], 1, "disabled").await;
    assert_eq!(edge.admin(&["user", "enable", "ada"]).await["state"], "active");
    assert_eq!(edge.admin(&["user", "remove", "ada"]).await["user"], "ada");
    assert_eq!(edge.admin(&["user", "list"]).await, Value::Array(Vec::new()));
    assert!(as_text(&edge, &["user", "list"]).await.contains("nobody yet"));
    for act in ["invite", "disable", "enable", "remove"] {
        refused(&edge, &["user", act, "ada"], 1, "there is no").await;
        refused(&edge, &["user", act], 2, "NAME").await;
        refused(&edge, &["user", act, "../etc"], 2, "not a user name").await;
    }
}

#[tokio::test]
async fn tunnels_are_listed_with_their_desktops_and_removed_for_good() {
    let scene = Scene::start().await;
    let desktop = Desktop::linked(&scene.edge, "ada").await;
    let of = |list: &Value, id: &str| {
        let found = list.as_array().expect("a list").iter().find(|line| line["id"] == id);
        found.unwrap_or_else(|| panic!("{id} in {list}")).clone()
    };
    let list = scene.edge.admin(&["tunnel", "list"]).await;
    let line = of(&list, &desktop.tunnel);
    for member in ["id", "user", "online", "desktop", "last_seen"] {
        assert!(line.get(member).is_some(), "{member} in {line}");
    }
    assert_eq!((line["user"].as_str(), line["online"].as_bool()), (Some("ada"), Some(false)));
    assert_eq!(line["desktop"], "Test desk");
    let agent = desktop.run(&scene.app.url()).await;
    let list = scene.edge.admin(&["tunnel", "list"]).await;
    let line = of(&list, &desktop.tunnel);
    assert!(line["online"] == true && line["last_seen"].is_string(), "{line}");
    assert!(as_text(&scene.edge, &["tunnel", "list"]).await.contains("online"));

    assert_eq!(scene.edge.admin(&["tunnel", "remove", &desktop.tunnel]).await["id"], desktop.tunnel.as_str());
    agent.end().await;
    refused(&scene.edge, &["tunnel", "remove", &desktop.tunnel], 1, "there is no").await;
    refused(&scene.edge, &["tunnel", "remove", TUNNEL], 1, "[[upstream]]").await;
    refused(&scene.edge, &["tunnel", "remove", "Not A Label"], 2, "not a DNS label").await;
    let list = scene.edge.admin(&["tunnel", "list"]).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn a_link_token_is_for_one_desktop_of_one_person() {
    let edge = Edge::start().await;
    edge.admin(&["user", "add", "ada"]).await;
    edge.admin(&["user", "add", "ben"]).await;
    let made = edge.admin(&["agent", "token", "--user", "ada"]).await;
    assert_eq!(members(&made), BTreeSet::from(["token", "tunnel"]));
    assert!(made["tunnel"].as_str().is_some_and(|tunnel| tunnel.starts_with("ada-")), "{made}");
    assert!(
        as_text(&edge, &["agent", "token", "--user", "ada"]).await.contains("patapim-agent link https://")
    );
    let desktop = Desktop::linked(&edge, "ada").await;
    let over = edge.admin(&["agent", "token", "--user", "ada", "--tunnel", &desktop.tunnel]).await;
    assert_eq!(over["tunnel"], desktop.tunnel.as_str());
    refused(&edge, &["agent", "token", "--user", "ben", "--tunnel", &desktop.tunnel], 1, "there is no").await;
    refused(&edge, &["agent", "token", "--user", "eve"], 1, "there is no").await;
    refused(&edge, &["agent", "token"], 2, "--user").await;
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_or_all_of_a_person() {
    let mut scene = Scene::signed_in().await;
    let page = scene.page("/");
    let id = scene.sessions().await.pop().expect("a session");
    assert!(as_text(&scene.edge, &["session", "list", "--user", "ada"]).await.contains(&id));
    refused(&scene.edge, &["session", "list", "--user", "eve"], 1, "there is no").await;
    refused(&scene.edge, &["session", "revoke"], 2, "--user").await;
    refused(&scene.edge, &["session", "revoke", &id, "--user", "ada"], 2, "cannot be used with").await;
    refused(&scene.edge, &["session", "revoke", "nonsense"], 2, "not an id").await;

    assert_eq!(scene.edge.admin(&["session", "revoke", &id]).await, serde_json::json!({"revoked": 1}));
    scene.ada.browser.curl(&page).await.must_be(401);
    refused(&scene.edge, &["session", "revoke", &id], 1, "there is no live session").await;
    scene.ada.open(&page).await.must_be(200);
    let all = scene.edge.admin(&["session", "list", "--user", "ada"]).await.as_array().map(Vec::len);
    let ended = scene.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    assert_eq!(ended["revoked"].as_u64(), all.map(|all| all as u64));
    assert!(as_text(&scene.edge, &["session", "revoke", "--user", "ada"]).await.contains("no live session"));
    assert!(as_text(&scene.edge, &["session", "list"]).await.contains("Nobody is signed in"));
}

#[tokio::test]
async fn with_no_server_every_command_that_needs_one_says_so() {
    let edge = Edge::start().await;
    edge.kill().await;
    let id = "a".repeat(26);
    for words in [
        &["user", "add", "ada"][..],
        &["user", "list"],
        &["user", "disable", "ada"],
        &["user", "enable", "ada"],
        &["user", "remove", "ada"],
        &["user", "invite", "ada"],
        &["tunnel", "list"],
        &["tunnel", "remove", "ada-abc234"],
        &["agent", "token", "--user", "ada"],
        &["session", "list"],
        &["session", "revoke", &id],
        &["session", "revoke", "--user", "ada"],
        &["key", "list"],
        &["key", "rotate"],
        &["backup", "/nowhere/at/all"],
    ] {
        refused(&edge, words, 1, "not running").await;
    }
}
