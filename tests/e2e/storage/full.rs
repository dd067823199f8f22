//! A disk that is full or breaks while the server runs: nothing is acknowledged that is not kept, those who are in stay in,
//! and what is wrong is told. A full disk is over when there is space again; a disk that failed to sync is not believed
//! before a restart.

use http::Method;
use serde_json::json;

use super::ledger::Trail;
use crate::rig::answer::Answer;
use crate::rig::disk::{BROKEN, Disk, FULL, Fault, Operation};
use crate::rig::edge::Edge;
use crate::rig::journey::{Person, SESSION};
use crate::rig::process::within;
use crate::rig::scene::Scene;

const LOG: &str = "/edge.db-wal";
const TRAIL: &str = "/audit.jsonl";

/// Ada, signed in to her tunnel, with backup codes, on a disk that can fail.
struct Ward {
    scene: Scene,
    disk: Disk,
    codes: Vec<String>,
}

impl Ward {
    async fn open() -> Self {
        let (mut scene, disk) = (Scene::signed_in().await, Disk::new());
        scene.edge.kill().await;
        let data = scene.edge.data();
        scene.edge.start_again_on(|command| disk.under(&data, command)).await;
        let made = scene.ada.api_post("/fallbacks/backup-codes", &json!({})).await.must_be(201).json();
        let codes = serde_json::from_value(made["codes"].clone()).expect("codes");
        Self { scene, disk, codes }
    }

    fn ada(&self) -> &Person {
        &self.scene.ada
    }

    /// Everything that would give somebody something, each to be refused.
    async fn tries_to_get_something(&mut self) -> Vec<Answer> {
        let code = self.uses(&self.codes[0].clone()).await;
        let token =
            json!({"name": "n", "tunnel": crate::rig::scene::TUNNEL, "expires_at": "2027-01-01T00:00:00Z"});
        let made = self.ada().api_post("/access-tokens", &token).await;
        let more = self.ada().api_post("/fallbacks/backup-codes", &json!({})).await;
        let mut entered = self.ada().api_post("/sign-in/passkey", &json!({})).await;
        if entered.status == 200 {
            let begun = entered.json();
            let signed = self.scene.ada.key.assert(&begun["publicKey"]);
            entered = self.ada().finish_sign_in(&begun, &signed).await;
        }
        vec![code, made, more, entered]
    }

    async fn uses(&self, code: &str) -> Answer {
        let body = json!({"user": "ada", "code": code});
        self.scene.edge.visitor().post(&self.ada().api("/sign-in/backup-code"), &body).await
    }

    /// Ada's session opens her tunnel. Behind it is no agent that would have to be asked.
    async fn is_in(&self) -> bool {
        let page = self.scene.page("/.patapim/session");
        self.ada().browser.fetch(Method::GET, &page).await.status == 200
    }

    async fn ready(&self) -> (u16, String) {
        let answer = self.scene.edge.visitor().curl(&self.scene.edge.operator("/readyz")).await;
        (answer.status.as_u16(), answer.text())
    }

    async fn says(&self, what: &str) {
        let edge = &self.scene.edge;
        edge.process.says(what, |line| line.contains(what).then_some(())).await;
    }

    async fn is_ready_again(&self) {
        within("the edge to be ready again", async { while self.ready().await.0 != 200 {} }).await;
    }

    async fn verified(&self) {
        Trail::read(&self.scene.edge.data());
        let verified = self.scene.edge.admin(&["audit", "--verify"]).await;
        assert!(verified["first_flaw"].is_null(), "{verified}");
    }
}

#[tokio::test]
async fn a_full_disk_gives_nobody_anything_and_is_over_when_there_is_space() {
    for (file, name, told, over) in [
        (LOG, "the store takes no writes", "the store cannot write", "the store takes writes again"),
        (TRAIL, "the audit trail takes no writes", "acts are refused", "the audit trail is written again"),
    ] {
        let mut ward = Ward::open().await;
        ward.disk.fails(&[Fault(Operation::Write, file, FULL)]);
        // Whoever finds it out first loses a code; the next is refused before that.
        ward.uses(&ward.codes[9].clone()).await.must_be(503);
        for refused in ward.tries_to_get_something().await {
            assert_eq!(refused.status, 503, "{file}: {} {}", refused.url, refused.text());
            assert!(refused.set_cookies().is_empty() && !refused.header("retry-after").is_empty());
        }
        assert!(ward.is_in().await, "who is in stays in");
        let (status, why) = ward.ready().await;
        assert!(status == 503 && why.contains(name), "{status} {why}");
        ward.says(told).await;
        assert_eq!(ward.scene.edge.try_admin(&["user", "add", "eve"]).await.code, 1);

        ward.disk.is_mended();
        ward.is_ready_again().await;
        ward.uses(&ward.codes[0].clone()).await.must_be(200);
        ward.scene.ada.tap(&json!({})).await;
        ward.scene.edge.admin(&["user", "add", "bob"]).await;
        ward.says(over).await;
        ward.verified().await;
        ward.scene.edge.kill().await;
        ward.scene.edge.start_again().await;
        assert!(ward.is_in().await);
        ward.uses(&ward.codes[0].clone()).await.must_be(401);
        ward.verified().await;
    }
}

#[tokio::test]
async fn what_ends_something_is_done_even_where_it_cannot_be_written_down() {
    let ward = Ward::open().await;
    ward.disk.fails(&[Fault(Operation::Write, TRAIL, FULL)]);
    ward.ada().api_delete("/sessions").await.must_be(503);
    assert!(!ward.is_in().await, "whoever ends a stolen session does not wait for a disk");
}

#[tokio::test]
async fn what_is_open_is_cut_without_waiting_for_the_disk_and_the_session_can_be_ended_once_there_is_room() {
    let mut ward = Ward::open().await;
    let [session] = ward.scene.sessions().await.try_into().expect("Ada's session");
    let end = format!("/sessions/{session}");
    let page = ward.scene.page("/ws");
    let mut before = ward.ada().browser.websocket(&page).await.expect("a WebSocket");
    ward.disk.fails(&[Fault(Operation::Write, LOG, FULL)]);
    ward.ada().api_delete(&end).await.must_be(503);
    before.cut().await;
    assert!(ward.is_in().await, "nobody was told that it has ended");
    assert_eq!(ward.scene.sessions().await, [session]);

    ward.disk.is_mended();
    ward.is_ready_again().await;
    let mut after = ward.ada().browser.websocket(&page).await.expect("a WebSocket");
    ward.ada().api_delete(&end).await.must_be(204);
    after.cut().await;
    assert!(!ward.is_in().await);
    ward.scene.edge.kill().await;
    ward.scene.edge.start_again().await;
    assert!(!ward.is_in().await);
}

#[tokio::test]
async fn a_disk_that_breaks_is_not_believed_before_a_restart_whatever_it_says_then() {
    for (fault, told) in [
        (Fault(Operation::Sync, LOG, BROKEN), "takes no more writes until a restart"),
        (Fault(Operation::Write, LOG, BROKEN), "takes no more writes until a restart"),
        (Fault(Operation::Sync, TRAIL, BROKEN), "acts are refused until a restart"),
        (Fault(Operation::Sync, TRAIL, FULL), "acts are refused until a restart"),
    ] {
        let mut ward = Ward::open().await;
        let cookie = ward.scene.session_cookie();
        ward.disk.fails(&[fault]);
        ward.uses(&ward.codes[9].clone()).await.must_be(503);
        // It says that all is well; what it has lost meanwhile it does not say.
        ward.disk.is_mended();
        for refused in ward.tries_to_get_something().await {
            assert_eq!(refused.status, 503, "{fault:?}: {} {}", refused.url, refused.text());
        }
        assert!(ward.is_in().await && ward.ready().await.0 == 503, "{fault:?}");
        ward.says(told).await;

        ward.scene.edge.process.signal("TERM");
        ward.scene.edge.process.end().await;
        let data = ward.scene.edge.data();
        let disk = &ward.disk;
        ward.scene.edge.start_again_on(|command| disk.under(&data, command)).await;
        ward.is_ready_again().await;
        assert_eq!(ward.scene.session_cookie(), cookie);
        assert!(ward.is_in().await, "{fault:?}");
        for answer in [ward.uses(&ward.codes[0].clone()).await, ward.uses(&ward.codes[1].clone()).await] {
            assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
        }
        ward.verified().await;
    }
}

#[tokio::test]
async fn the_file_that_the_log_is_written_into_is_believed_as_little() {
    let mut ward = Ward::open().await;
    let listed = ward.ada().api_get("/passkeys").await.must_be(200).json();
    let passkey = ward.ada().api(&format!("/passkeys/{}", listed[0]["id"].as_str().expect("an id")));
    ward.disk.fails(&[Fault(Operation::Sync, "/edge.db$", BROKEN)]);
    let mut kept = 0;
    for n in 0.. {
        let named = json!({"name": format!("name {n}")});
        match ward.ada().browser.fetch(Method::PATCH, &passkey).json(&named).await.status.as_u16() {
            200 => kept = n,
            503 => break,
            other => panic!("{other}"),
        }
    }
    ward.says("takes no more writes until a restart").await;
    assert!(ward.is_in().await && ward.ready().await.0 == 503);
    ward.scene.edge.kill().await;
    ward.scene.edge.start_again().await;
    let named = ward.ada().api_get("/passkeys").await.must_be(200).text();
    assert!(named.contains(&format!("name {kept}")), "{named}");
}

#[tokio::test]
async fn what_cannot_be_read_is_not_guessed() {
    let mut ward = Ward::open().await;
    let listed = ward.ada().api_get("/passkeys").await.must_be(200).json();
    let passkey = ward.ada().api(&format!("/passkeys/{}", listed[0]["id"].as_str().expect("an id")));
    ward.ada().browser.fetch(Method::PATCH, &passkey).json(&json!({"name": "Other"})).await.must_be(200);
    ward.disk.fails(&[Fault(Operation::Read, "/edge.db", BROKEN)]);
    // What was written last is in nobody's memory yet.
    ward.ada().api_get("/passkeys").await.must_be(503);
    ward.disk.is_mended();
    assert!(ward.ada().api_get("/passkeys").await.must_be(200).text().contains("Other"));

    ward.scene.edge.kill().await;
    for part in ["/edge.db", TRAIL, "/token-keys.json"] {
        ward.disk.fails(&[Fault(Operation::Read, part, BROKEN)]);
        let data = ward.scene.edge.data();
        let disk = &ward.disk;
        assert!(!ward.scene.edge.try_to_start_again_on(|command| disk.under(&data, command)).await, "{part}");
        assert_eq!(ward.scene.edge.process.end().await.code(), Some(1), "{part}");
        ward.says(part.trim_start_matches('/')).await;
    }
    ward.scene.edge.start_again().await;
    assert!(ward.is_in().await);
}

#[tokio::test]
async fn keys_that_cannot_be_kept_are_not_used() {
    for operation in [Operation::Write, Operation::Sync] {
        let ward = Ward::open().await;
        let before = ward.scene.edge.admin(&["key", "list"]).await;
        ward.disk.fails(&[Fault(operation, "/token-keys.json", FULL)]);
        let told = ward.scene.edge.try_admin(&["key", "rotate", "--now"]).await;
        assert!(told.code == 1 && told.err.contains("token-keys.json"), "{operation:?}: {}", told.err);
        assert_eq!(ward.scene.edge.admin(&["key", "list"]).await, before);
        assert!(ward.is_in().await);
    }
}

#[tokio::test]
async fn a_trail_that_is_taken_away_shows_before_anything_is_lost_in_it() {
    let ward = Ward::open().await;
    assert_eq!(ward.ready().await.0, 200);
    std::fs::rename(trail_of(&ward.scene.edge), ward.scene.edge.data().join("elsewhere"))
        .expect("our own folder");
    let (status, why) = ward.ready().await;
    assert!(status == 503 && why.contains("the audit trail"), "{status} {why}");
    ward.says("was moved away").await;
    std::fs::remove_file(ward.scene.edge.data().join("elsewhere")).expect("our own folder");
    ward.uses(&ward.codes[0].clone()).await.must_be(503);
    assert!(ward.ada().browser.cookies.get(&ward.scene.page("/"), SESSION).is_some());
}

fn trail_of(edge: &Edge) -> std::path::PathBuf {
    edge.data().join("audit.jsonl")
}
