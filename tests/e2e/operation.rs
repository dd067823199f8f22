//! What an operator relies on: configuration, commands, exits, the listener of their own, and silent logs.

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;

use crate::rig::edge::{Edge, Setup, program};
use crate::rig::journey::{BIND, DEPLOYER, SESSION, query};
use crate::rig::process::{Process, finish, within};
use crate::rig::scene::{NOT_OURS, Scene, with_parameter};

/// sysexits.h: bad configuration.
const BAD_CONFIGURATION: i32 = 78;

#[tokio::test]
async fn a_bad_configuration_is_told_with_every_fault_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.toml");
    let text = "base_domain = \"not a domain\"\ndata_dir = \"/nonexistent\"\ncolour = \"red\"\n\
        [listen]\nhttps = [\"nowhere\"]\n[session]\ntoken_ttl = \"soon\"\n[store]\nengine = \"etcd\"\n";
    std::fs::write(&file, text).expect("our own folder");
    for command in ["check", "serve"] {
        let told = finish(program().arg(command).arg("--config").arg(&file)).await;
        assert_eq!(told.code, BAD_CONFIGURATION, "{command}: {}", told.err);
        assert_eq!(told.out, "", "{command}");
        for key in ["base_domain", "colour", "https", "token_ttl", "engine", "bad.toml"] {
            assert!(told.err.contains(key), "{command} must name {key}: {}", told.err);
        }
    }
    let missing = finish(program().args(["serve", "--config", "/nonexistent/edge.toml"])).await;
    assert_eq!(missing.code, BAD_CONFIGURATION, "{}", missing.err);
}

#[tokio::test]
async fn every_key_can_be_overridden_from_the_environment() {
    let edge = Edge::start().await;
    let mut command = program();
    let command = command.arg("check").arg("--config").arg(edge.config());
    let told = finish(command.env("PATAPIM_EDGE__SESSION__TOKEN_TTL", "7h")).await;
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("7h"), "{}", told.out);
    let bad = finish(command.env("PATAPIM_EDGE__SESSION__TOKEN_TTL", "soon")).await;
    assert_eq!(bad.code, BAD_CONFIGURATION);
    assert!(bad.err.contains("token_ttl") || bad.err.contains("TOKEN_TTL"), "{}", bad.err);
}

#[tokio::test]
async fn the_exit_status_tells_done_failed_and_wrong_usage_apart() {
    let edge = Edge::start().await;
    assert_eq!(edge.try_admin(&["user", "list"]).await.code, 0);
    assert_eq!(edge.try_admin(&["user", "frobnicate"]).await.code, 2);
    assert_eq!(edge.try_admin(&["user", "disable", "nobody"]).await.code, 1);
    edge.admin(&["user", "add", "ada"]).await;
    assert_eq!(edge.try_admin(&["user", "add", "ada"]).await.code, 1, "taken");
    assert_eq!(edge.try_admin(&["user", "add", "No Name!"]).await.code, 2);
    edge.kill().await;
    let told = edge.try_admin(&["user", "list"]).await;
    assert_eq!(told.code, 1);
    assert!(told.err.contains("not running"), "{}", told.err);
    assert_eq!(told.out, "");
}

#[tokio::test]
async fn every_command_explains_itself() {
    for words in [
        vec![],
        vec!["serve"],
        vec!["demo"],
        vec!["check"],
        vec!["user"],
        vec!["user", "add"],
        vec!["session", "revoke"],
        vec!["agent", "token"],
    ] {
        let told = finish(program().args(&words).arg("--help")).await;
        assert_eq!(told.code, 0, "{words:?}");
        assert!(told.out.contains("Usage"), "{words:?}: {}", told.out);
    }
}

#[tokio::test]
async fn listings_have_the_shapes_that_scripts_rely_on() {
    let scene = Scene::signed_in().await;
    let told = scene.edge.admin(&["user", "add", "bob"]).await;
    assert_eq!(members(&told), BTreeSet::from(["enrol_url", "id", "user"]));
    let sessions = scene.edge.admin(&["session", "list", "--user", "ada"]).await;
    let wanted = BTreeSet::from(["address", "device", "id", "last_seen", "since", "tunnel", "user"]);
    assert!(members(&sessions[0]).is_superset(&wanted), "{sessions}");
    let tunnels = scene.edge.admin(&["tunnel", "list"]).await;
    let wanted = BTreeSet::from(["desktop", "id", "last_seen", "online", "user"]);
    assert!(members(&tunnels[0]).is_superset(&wanted), "{tunnels}");
    assert_eq!(scene.edge.admin(&["session", "list", "--user", "bob"]).await, json!([]));
}

#[tokio::test]
async fn plain_http_only_leads_to_https() {
    let edge = Edge::start().await;
    let visitor = edge.visitor();
    for url in [edge.deployer("/auth?x=1"), edge.tunnel("ada-abc234", "/a%2Fb?c=d")] {
        let answer = visitor.navigate(&edge.plain(&url)).await;
        assert!(matches!(answer.status.as_u16(), 301 | 308), "{answer:?}");
        assert_eq!(answer.header("location"), url.as_str());
        assert!(answer.set_cookies().is_empty());
    }
}

#[tokio::test]
async fn health_and_metrics_are_on_the_operators_listener_and_nowhere_else() {
    let scene = Scene::signed_in().await;
    let visitor = scene.edge.visitor();
    for path in ["/healthz", "/readyz"] {
        visitor.curl(&scene.edge.operator(path)).await.must_be(200);
    }
    let metrics = visitor.curl(&scene.edge.operator("/metrics")).await.must_be(200).text();
    for name in [
        "patapim_edge_requests_total{",
        "patapim_edge_request_seconds",
        "patapim_edge_token_checks_total{",
        "patapim_edge_sign_ins_total{",
        "patapim_edge_sessions_active",
        "patapim_edge_tunnels_connected",
        "patapim_edge_build_info{",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    for leak in ["ada", scene.edge.base()] {
        assert!(!metrics.contains(leak), "{leak} in {metrics}");
    }
    let admin = scene.edge.operator("/metrics");
    let host = &admin[url::Position::BeforeHost..url::Position::AfterPort];
    for path in ["/metrics", "/healthz", "/readyz"] {
        visitor.curl(&scene.edge.deployer(path)).await.must_be(404);
        visitor.curl(&scene.page(path)).await.must_be(401);
        let tricked = visitor.curl(&scene.edge.deployer(path)).header("host", host).await;
        assert_eq!(tricked.status, 421);
        let tricked = visitor.curl(&scene.edge.deployer(path)).header("x-forwarded-host", host).await;
        assert_eq!(tricked.status, 404);
    }
}

#[tokio::test]
async fn a_page_whose_name_leads_to_the_operators_machine_reads_nothing_there() {
    let edge = Setup::default().plan();
    edge.rewrite("admin = ", "admin_hosts = [\"edge.internal\"]\nadmin = ");
    let edge = edge.start().await;
    let visitor = edge.visitor();
    let port = edge.operator("/").port().expect("a port");
    let deployer = edge.deployer("/").host_str().expect("a host").to_owned();
    for path in ["/metrics", "/healthz", "/readyz"] {
        let ask = |host: &str| visitor.curl(&edge.operator(path)).header("host", host);
        for host in ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test", &deployer] {
            for host in [host.to_owned(), format!("{host}:{port}")] {
                let told = ask(&host).await.must_be(404).text();
                assert!(!told.contains("patapim_edge_"), "{told}");
            }
        }
        for host in ["localhost", "127.0.0.1", "[::1]", "edge.internal", "EDGE.internal"] {
            ask(&format!("{host}:{port}")).await.must_be(200);
        }
    }
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let mut scene = Scene::start().await;
    let link = scene.ada.token_for(&scene.page("/")).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
    scene.ada.browser.navigate(&link).await.must_be(303);
    scene.ada.browser.stranger().navigate(&link).await.must_be(401);
    let forged = with_parameter(&scene.page("/"), "token", NOT_OURS);
    scene.ada.browser.stranger().navigate(&forged).await.must_be(401);
    let metrics = scene.edge.visitor().curl(&scene.edge.operator("/metrics")).await.text();
    for result in ["ok", "repeat", "bind", "signature"] {
        let line = format!("patapim_edge_token_checks_total{{result=\"{result}\"}} 1");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn no_secret_is_ever_printed_and_every_request_is() {
    let mut scene = Scene::start().await;
    let invitation = query(&scene.edge.invite("bob").await, "ticket").expect("a ticket");
    let page = scene.page("/echo?private=query-of-the-visitor");
    let link = scene.ada.token_for(&page).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
    scene.ada.browser.stranger().navigate(&link).await.must_be(401);
    scene.ada.browser.navigate(&page).await.must_be(200);
    scene.ada.browser.stranger().navigate(&scene.edge.deployer(&format!("/enrol?ticket={invitation}"))).await;
    let id = scene.sessions().await.pop().expect("a session");
    scene.edge.process.signal("TERM");
    scene.edge.process.end().await;

    let log = scene.edge.process.all_printed();
    let token = query(&link, "token").expect("a token");
    let cookies = &scene.ada.browser.cookies;
    let deployer = scene.edge.deployer("/");
    let secrets = [
        ("the token", token.as_str()),
        ("its signature", token.rsplit('.').next().expect("a part")),
        ("the invitation", &invitation),
        ("the session cookie", &cookies.get(&page, SESSION).expect("kept")),
        ("the bind cookie", &cookies.get(&page, BIND).expect("kept")),
        ("the deployer's cookie", &cookies.get(&deployer, DEPLOYER).expect("kept")),
        ("the visitor's query", "query-of-the-visitor"),
    ];
    for (what, secret) in secrets {
        assert!(!log.contains(secret), "{what} is in the log");
        let tail = secret.rsplit('.').next().expect("a part");
        assert!(!log.contains(tail), "{what} is in the log, in part");
    }
    let lines: Vec<serde_json::Value> =
        log.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told = lines.iter().any(|line| {
        let text = line.to_string();
        text.contains("duration_ms") && text.contains("\"tunnel\"") && text.contains(&id)
    });
    assert!(told, "one JSON line per request, with the session's id: {log}");
}

#[tokio::test]
async fn a_polite_end_is_quick_and_lets_what_is_in_flight_finish() {
    let scene = Scene::signed_in().await;
    let mut events =
        scene.ada.browser.fetch(Method::GET, &scene.page("/events/last")).open().await.expect("open");
    scene.app.streaming("last").await;
    scene.app.tick("last", "one");
    assert_eq!(events.text().await, "data: one\n\n");
    scene.edge.process.signal("TERM");
    let visitor = scene.edge.visitor();
    // Not ready any more, still serving what it serves.
    let ready = scene.edge.operator("/readyz");
    within("readyz to say that it drains", async {
        while visitor.curl(&ready).whole().await.is_ok_and(|answer| answer.status == 200) {}
    })
    .await;
    scene.app.tick("last", "two");
    assert_eq!(events.text().await, "data: two\n\n");
    drop(events);
    assert!(scene.edge.process.end().await.success(), "{}", scene.edge.process.all_printed());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let mut edge = Edge::start().await;
    for number in 0..20 {
        edge.admin(&["user", "add", &format!("user-{number}")]).await;
    }
    edge.kill().await;
    edge.start_again().await;
    let users = edge.admin(&["user", "list"]).await;
    assert_eq!(users.as_array().expect("a list").len(), 20);
}

#[tokio::test]
async fn the_data_folder_is_its_owners_alone_and_keys_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let edge = Edge::start().await;
    let data = edge.home().join("data");
    edge.kill().await;
    let mut keys = Vec::new();
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the edge") {
            let (path, about) =
                entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))).expect("readable");
            let mode = about.permissions().mode() & 0o777;
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
            if about.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains("key") {
                keys.push(path);
            }
        }
    }
    let key = keys.pop().expect("a file of keys in the data folder");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("our own file");
    let refused = Process::start(program().arg("serve").arg("--config").arg(edge.config()));
    assert!(!refused.end().await.success());
    let name = key.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(refused.all_printed().contains(&name), "{}", refused.all_printed());
}

fn members(value: &serde_json::Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().map(String::as_str).collect()
}
