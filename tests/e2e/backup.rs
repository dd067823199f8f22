//! A backup under load, and what is left of the old world after its restore (contract, section 2; threats, "Storage").

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::rig::agent::Desktop;
use crate::rig::edge::{Edge, program};
use crate::rig::journey::{Person, query};
use crate::rig::process::{Finished, finish};
use crate::rig::scene::{Scene, TUNNEL};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

fn file(edge: &Edge) -> PathBuf {
    edge.home().join("backup")
}

async fn restore(edge: &Edge, from: &Path) -> Finished {
    finish(program().arg("restore").arg(from).arg("--config").arg(edge.config()).arg("--json")).await
}

/// As after a lost disk: the configuration is there, the data is not.
fn lose_the_data(edge: &Edge) {
    std::fs::rename(edge.home().join("data"), edge.home().join("lost")).expect("our own folder");
}

/// The kids that the edge publishes.
async fn published(edge: &Edge) -> Value {
    edge.visitor().curl(&edge.deployer("/.well-known/jwks.json")).await.must_be(200).json()
}

#[tokio::test]
async fn a_backup_under_load_brings_back_people_and_desktops_and_nothing_that_was_good_once() {
    let mut scene = Scene::start().await;
    let desktop = Desktop::linked(&scene.edge, "ada").await;
    let page = scene.page("/");
    let token = scene.ada.token_for(&scene.page("/other")).await;
    scene.ada.open(&page).await.must_be(200);

    let over = Arc::new(AtomicBool::new(false));
    let mut load = Vec::new();
    for name in ["ben", "cleo", "dora"] {
        let mut person = Person::enrolled(&scene.edge, name).await;
        let over = Arc::clone(&over);
        load.push(tokio::spawn(async move {
            let mut done = 0;
            while !over.load(Ordering::Relaxed) {
                person.tap(&json!({})).await;
                person.api_get("/sessions").await.must_be(200);
                done += 1;
            }
            (person, done)
        }));
    }
    let cookie = scene.session_cookie();
    let access = json!({"name": "Script", "tunnel": TUNNEL, "expires_at": a_year_ahead(&scene).await});
    let access = scene.ada.api_post("/access-tokens", &access).await.must_be(201).json();
    let access = access["token"].as_str().expect("a token").to_owned();
    let invitation = scene.edge.invite("eve").await;
    let link = scene.edge.admin(&["agent", "token", "--user", "ada"]).await;
    let doomed = scene.sessions().await.pop().expect("a session");
    let keys = published(&scene.edge).await;

    let made = scene.edge.admin(&["backup", text(&file(&scene.edge))]).await;
    assert_eq!(made["backup"], text(&file(&scene.edge)));
    let mode = std::fs::metadata(file(&scene.edge)).expect("a backup").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    scene.edge.admin(&["session", "revoke", &doomed]).await;
    over.store(true, Ordering::Relaxed);
    for one in load {
        let (_, done) = one.await.expect("no sign-in failed while the backup was made");
        assert!(done > 0);
    }

    scene.edge.kill().await;
    lose_the_data(&scene.edge);
    let restored = restore(&scene.edge, &file(&scene.edge)).await.json();
    assert!(restored["aside"].is_null() && restored["ended"].as_u64() > Some(3), "{restored}");
    scene.edge.start_again().await;

    assert_eq!(scene.edge.admin(&["session", "list"]).await, json!([]));
    let old = scene.ada.browser.stranger();
    old.curl(&page).header("cookie", &format!("__Host-patapim-session={cookie}")).await.must_be(401);
    scene.ada.browser.curl(&page).await.must_be(401);
    scene.ada.api_get("/passkeys").await.must_be(401);
    scene.ada.browser.navigate(&token).await.must_be(401);
    old.curl(&page).header("x-patapim-token", &access).await.must_be(401);
    let refused = Desktop::blank().link(&scene.edge, link["token"].as_str().expect("a token")).await;
    assert_eq!(refused.code, 1, "{}", refused.err);
    let mut eve = Person::with_nothing(&scene.edge, "eve");
    let ticket = query(&invitation, "ticket").expect("a ticket");
    let refused = eve.api_post("/passkeys/registration", &json!({"name": "x", "ticket": ticket})).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    let after = published(&scene.edge).await;
    assert_ne!(after["keys"][0]["kid"], keys["keys"][0]["kid"]);
    assert_eq!(after["keys"].as_array().map(Vec::len), Some(1));

    scene.ada.open(&page).await.must_be(200);
    assert_eq!(scene.sessions().await.len(), 1);
    assert!(!scene.sessions().await.contains(&doomed));
    let again = scene.edge.admin(&["user", "invite", "eve"]).await;
    let link = again["enrol_url"].as_str().expect("a link").parse().expect("a URL");
    eve.enrol(&link).await.must_be(201);
    desktop.run(&scene.app.url()).await;
}

/// A moment that an access token may last to.
async fn a_year_ahead(scene: &Scene) -> String {
    let sessions = scene.ada.api_get("/sessions").await.must_be(200).json();
    let year: u32 = sessions[0]["since"].as_str().expect("a time")[..4].parse().expect("a year");
    format!("{}-01-01T00:00:00Z", year + 1)
}

#[tokio::test]
async fn a_restore_wants_a_stopped_server_and_a_whole_backup_and_sets_the_old_data_aside() {
    let mut edge = Edge::start().await;
    edge.admin(&["user", "add", "ada"]).await;
    let backup = file(&edge);
    edge.admin(&["backup", text(&backup)]).await;
    let again = edge.try_admin(&["backup", text(&backup)]).await;
    assert_eq!(again.code, 1, "never over a file");
    assert!(again.err.contains("is there already"), "{}", again.err);
    edge.admin(&["user", "add", "ben"]).await;

    let running = restore(&edge, &backup).await;
    assert_eq!((running.code, running.out.as_str()), (1, ""));
    assert!(running.err.contains("stop it first"), "{}", running.err);

    edge.kill().await;
    let damaged = edge.home().join("damaged");
    let whole = std::fs::read(&backup).expect("a backup");
    std::fs::write(&damaged, &whole[..whole.len() / 2]).expect("our own folder");
    for (from, why) in [(&damaged, "is damaged"), (&edge.config().to_owned(), "not a backup of patapim-edge")]
    {
        let refused = restore(&edge, from).await;
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains(why), "{}", refused.err);
    }
    edge.start_again().await;
    assert_eq!(edge.admin(&["user", "list"]).await.as_array().map(Vec::len), Some(2), "nothing was changed");

    edge.admin(&["user", "remove", "ada"]).await;
    edge.kill().await;
    let restored = restore(&edge, &backup).await.json();
    assert_eq!(restored["back"], json!({"people": 1, "passkeys": 0, "desktops": 0}));
    let aside = PathBuf::from(restored["aside"].as_str().expect("a folder"));
    assert!(aside.join("edge.db").is_file() && aside.join("keys").is_dir());
    edge.start_again().await;
    let users = edge.admin(&["user", "list"]).await;
    assert_eq!((users[0]["user"].as_str(), users.as_array().map(Vec::len)), (Some("ada"), Some(1)));
}
