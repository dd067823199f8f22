//! The audit trail from outside: every act is there, nobody touches it unseen, no secret is in it, and a person sees
//! their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use serde_json::{Value, json};

use crate::rig::edge::{Edge, program};
use crate::rig::journey::{Person, SESSION, query};
use crate::rig::process::{Process, within};
use crate::rig::scene::{NOT_OURS, Scene, TUNNEL, with_parameter};
use crate::rig::stage::Stage;

fn file(edge: &Edge) -> PathBuf {
    edge.home().join("data/audit.jsonl")
}

fn lines(edge: &Edge) -> Vec<String> {
    std::fs::read_to_string(file(edge)).expect("the trail").lines().map(str::to_owned).collect()
}

fn rewrite(edge: &Edge, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file(edge), text).expect("our own folder");
}

async fn entries(edge: &Edge) -> Vec<Value> {
    edge.admin(&["audit"]).await.as_array().expect("a list").clone()
}

fn named(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["event"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn whatever_is_done_is_in_the_trail_with_who_did_it_and_from_where() {
    let mut scene = Scene::signed_in().await;
    scene
        .ada
        .api_post(
            "/access-tokens",
            &json!({"name": "nightly", "tunnel": TUNNEL, "expires_at": "2027-01-01T00:00:00Z"}),
        )
        .await;
    scene.ada.browser.navigate(&with_parameter(&scene.page("/"), "token", NOT_OURS)).await;
    scene.edge.visitor().navigate(&with_parameter(&scene.page("/"), "token", NOT_OURS)).await.must_be(401);
    scene.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    scene.edge.admin(&["key", "rotate"]).await;
    scene.edge.admin(&["user", "disable", "ada"]).await;
    let begun = scene.ada.begin_sign_in(&json!({})).await;
    let asserted = scene.ada.key.assert(&begun["publicKey"]);
    scene.ada.finish_sign_in(&begun, &asserted).await.must_be(401);

    let entries = entries(&scene.edge).await;
    let names = named(&entries);
    for name in [
        "started",
        "user-added",
        "passkey-registered",
        "sign-in",
        "session-opened",
        "access-token-made",
        "token-refused",
        "all-sessions-ended",
        "keys-rotated",
        "user-disabled",
        "sign-in-refused",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let of = |name: &str| entries.iter().find(|entry| entry["event"] == name).expect("it is there");
    let opened = of("session-opened");
    assert_eq!(
        (&opened["user"], &opened["tunnel"], &opened["address"]),
        (&json!("ada"), &json!(TUNNEL), &json!("127.0.0.1"))
    );
    assert_eq!(of("user-disabled")["by"], "operator");
    assert_eq!(of("token-refused")["reason"], "signature");
    assert_eq!(scene.edge.try_admin(&["audit", "--verify"]).await.json()["first_flaw"], Value::Null);
    let ada = scene.edge.admin(&["audit", "--user", "ada"]).await;
    let all_hers = ada.as_array().expect("a list").iter().all(|entry| entry["user"] == "ada");
    assert!(all_hers && named(ada.as_array().expect("a list")).contains(&"sign-in"), "{ada}");
}

#[tokio::test]
async fn a_line_changed_dropped_moved_put_in_or_cut_off_is_found_and_named() {
    let scene = Scene::signed_in().await;
    let good = lines(&scene.edge);
    assert!(good.len() > 4);
    let last = good.len();
    type Touch = fn(&mut Vec<String>);
    let cases: [(Touch, usize, &str); 6] = [
        (|lines| lines[2] = lines[2].replace("ada", "eve"), 3, "changed"),
        (|lines| drop(lines.remove(2)), 3, "missing"),
        (|lines| lines.swap(1, 2), 2, "missing"),
        (|lines| lines.insert(2, lines[1].clone()), 3, "misplaced"),
        (|lines| drop(lines.pop()), last, "cut-off"),
        (|lines| lines.push(lines[0].clone()), last + 1, "foreign"),
    ];
    for (touch, line, flaw) in cases {
        let mut touched = good.clone();
        touch(&mut touched);
        rewrite(&scene.edge, &touched);
        let told = scene.edge.try_admin(&["audit", "--verify"]).await;
        assert_eq!(told.code, 1, "{flaw}: {}", told.out);
        let document: Value = serde_json::from_str(&told.out).expect("a document");
        assert_eq!(document["first_flaw"]["line"], line, "{document}");
        assert_eq!(document["first_flaw"]["flaw"], flaw, "{document}");
        assert!(told.err.contains(&format!("line {line}:")), "{}", told.err);
    }
    rewrite(&scene.edge, &good);
    assert_eq!(scene.edge.try_admin(&["audit", "--verify"]).await.code, 0);
}

#[tokio::test]
async fn what_is_cut_off_while_the_edge_is_down_is_missed_after_its_start() {
    let mut scene = Scene::signed_in().await;
    let whole = lines(&scene.edge);
    scene.edge.kill().await;
    // The store is told of the end in the moment after the line; the first lines it surely knows.
    rewrite(&scene.edge, &whole[..1]);
    scene.edge.start_again().await;
    let told = scene.edge.try_admin(&["audit", "--verify"]).await;
    assert_eq!(told.code, 1, "{}", told.out);
    assert!(named(&entries(&scene.edge).await).contains(&"trail-damaged"));
    scene.ada.tap(&json!({})).await;
}

#[tokio::test]
async fn a_line_that_a_crash_tore_is_set_aside_and_no_reason_not_to_start() {
    let mut scene = Scene::signed_in().await;
    scene.edge.kill().await;
    let mut text = std::fs::read_to_string(file(&scene.edge)).expect("the trail");
    text += r#"{"seq":99,"at":"20"#;
    std::fs::write(file(&scene.edge), text).expect("our own folder");
    scene.edge.start_again().await;
    assert_eq!(scene.edge.try_admin(&["audit", "--verify"]).await.code, 0);
    assert!(named(&entries(&scene.edge).await).contains(&"trail-repaired"));
}

#[tokio::test]
async fn every_act_that_was_acknowledged_is_there_after_kill_9_under_load() {
    let mut edge = Edge::start().await;
    let people: Vec<_> = {
        let mut people = Vec::new();
        for name in ["ada", "bob", "cyd"] {
            people.push(Person::enrolled(&edge, name).await);
        }
        people
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (acknowledged, mut seen) = tokio::sync::watch::channel(0);
    let acknowledged = Arc::new(acknowledged);
    let busy = people.into_iter().map(|person| {
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            let listed = person.api_get("/passkeys").await.json();
            let api = person.api(&format!("/passkeys/{}", listed[0]["id"].as_str().expect("an id")));
            let mut done = Vec::new();
            for n in 0.. {
                let name = format!("{} {n}", person.name);
                let request = person.browser.fetch(Method::PATCH, &api).json(&json!({"name": name}));
                match request.whole().await {
                    Ok(answer) if answer.status == 200 => done.push(name),
                    // It was killed meanwhile.
                    _ => break,
                }
                acknowledged.send_modify(|count| *count += 1);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            done
        })
    });
    let busy: Vec<_> = busy.collect();
    within("a hundred acts", seen.wait_for(|count| *count >= 100)).await.expect("acts");
    edge.kill().await;
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for task in busy {
        done.extend(task.await.expect("a task"));
    }
    edge.start_again().await;
    let entries = entries(&edge).await;
    let written: std::collections::BTreeSet<_> =
        entries.iter().filter_map(|entry| entry["device_name"].as_str()).collect();
    let missing: Vec<_> = done.iter().filter(|name| !written.contains(name.as_str())).collect();
    assert!(done.len() >= 100 && missing.is_empty(), "{missing:?} of {}", done.len());
    assert_eq!(edge.try_admin(&["audit", "--verify"]).await.code, 0);
}

#[tokio::test]
async fn no_secret_is_in_the_trail_after_a_whole_journey() {
    let app = crate::rig::app::App::start("ada's app").await;
    let setup = crate::rig::edge::Setup::default().upstream(TUNNEL, "ada", &app.url());
    let edge = setup.start().await;
    let invitation = edge.invite("ada").await;
    let mut ada = Person::with_nothing(&edge, "ada");
    ada.enrol(&invitation).await.must_be(201);
    let page = edge.tunnel(TUNNEL, "/secret-path?private=query");
    let link = ada.token_for(&page).await;
    ada.browser.follow(&link).await;
    let made = ada
        .api_post(
            "/access-tokens",
            &json!({"name": "nightly", "tunnel": TUNNEL, "expires_at": "2027-01-01T00:00:00Z"}),
        )
        .await
        .json();
    let code = ada.api_post("/phone-codes", &json!({"tunnel": TUNNEL})).await.must_be(201).json();
    let link_token = edge.admin(&["agent", "token", "--user", "ada"]).await;

    let text = std::fs::read_to_string(file(&edge)).expect("the trail");
    let cookie = |url: &url::Url, name: &str| ada.browser.cookies.get(url, name).expect("a cookie");
    let secrets = [
        query(&invitation, "ticket").expect("a ticket"),
        query(&link, "token").expect("a token"),
        cookie(&page, SESSION),
        cookie(&ada.deployer, crate::rig::journey::DEPLOYER),
        made["token"].as_str().expect("a token").to_owned(),
        link_token["token"].as_str().expect("a token").to_owned(),
        code["url"].as_str().expect("a link").rsplit('=').next().expect("a code").to_owned(),
        "secret-path".to_owned(),
        "private=query".to_owned(),
    ];
    for secret in secrets {
        assert!(secret.len() > 8 && !text.contains(&secret), "{secret}");
        // A session's cookie names the session, which is no secret; what follows the name is.
        let part = secret.rsplit(['.', '~']).next().unwrap_or_default();
        assert!(part.len() < 20 || !text.contains(part), "{part}");
    }
}

#[tokio::test]
async fn strangers_cannot_fill_the_disk_and_are_counted() {
    let scene = Scene::start().await;
    let visitor = scene.edge.visitor();
    let before = lines(&scene.edge).len();
    for _ in 0..200 {
        visitor.navigate(&with_parameter(&scene.page("/"), "token", NOT_OURS)).await.must_be(401);
    }
    scene.edge.process.signal("TERM");
    scene.edge.process.end().await;
    let lines = lines(&scene.edge);
    assert!(lines.len() - before < 8, "{}", lines.len() - before);
    let refused = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let refused = refused.filter(|entry| entry["event"] == "token-refused");
    assert_eq!(refused.map(|entry| entry["count"].as_u64().unwrap_or(1)).sum::<u64>(), 200);
}

#[tokio::test]
async fn who_follows_hears_at_once_what_is_done() {
    let edge = Edge::start().await;
    let mut command = program();
    command.args(["audit", "--follow", "--json", "--config"]).arg(edge.config());
    let following = Process::start(&mut command);
    let entry = |name: &'static str| {
        move |line: &str| serde_json::from_str::<Value>(line).ok().filter(|entry| entry["event"] == name)
    };
    following.line("the beginning", entry("started")).await;
    edge.admin(&["user", "add", "ada"]).await;
    let added = following.line("what was done", entry("user-added")).await;
    assert_eq!(added["user"], "ada");
}

#[tokio::test]
async fn a_person_sees_their_own_activity_and_nobody_elses() {
    let mut scene = Scene::signed_in().await;
    let eve = Person::enrolled(&scene.edge, "eve").await;
    scene.ada.tap(&json!({})).await;
    let seen = scene.ada.api_get("/activity").await.must_be(200).json();
    let seen = seen.as_array().expect("a list");
    assert_eq!(named(seen)[..2], ["sign-in", "session-opened"]);
    assert_eq!(seen[0]["device_name"], "Test key");
    let others = eve.api_get("/activity").await.must_be(200).json();
    let others = others.as_array().expect("a list");
    assert_eq!(named(others), ["passkey-registered", "user-added"]);
    scene.edge.visitor().curl(&eve.api("/activity")).await.must_be(401);
}

#[tokio::test]
async fn recent_activity_is_told_in_sentences() {
    let stage = Stage::enrolled().await;
    let tab = &stage.tab;
    tab.go(&stage.edge.deployer("/settings/security")).await;
    tab.reads("Recent activity").await;
    tab.reads("Registered the passkey “").await;
    tab.reads("The operator added your account").await;
    tab.reads("from 127.0.0.1").await;
    tab.screenshots("activity").await;
}

#[test]
fn audit_events_go_through_the_trail_and_nowhere_else() {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("target: \"audit\"")) {
                found.push(path);
            }
        }
    }
    assert!(found.len() == 1 && found[0].ends_with("src/trail/writer.rs"), "{found:?}");
}
