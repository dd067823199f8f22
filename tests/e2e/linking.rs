//! Linking a desktop as a television is linked: a code in the terminal, a person in a browser.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::rig::app::App;
use crate::rig::browser::Chromium;
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::Person;
use crate::rig::process::{Finished, Process, finish};

/// A desktop with a folder of its own, that nobody has linked.
struct Desk {
    home: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { home: TempDir::with_prefix("patapim-agent-").expect("a folder") }
    }

    fn agent(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patapim-agent"));
        command.env("PATAPIM_HOME", self.home.path());
        command
    }

    /// Asks to be linked, and waits.
    async fn asks(&self, edge: &Edge) -> Asking {
        let site = edge.deployer("");
        let mut command = self.agent();
        command.args(["link", site.as_str().trim_end_matches('/'), "--name", "Work laptop"]);
        let process = Process::start(command.arg("--ca").arg(&edge.ca.root_file));
        let url = process.line("the page to open", |line| Url::parse(line.trim()).ok()).await;
        let code = process.line("the code", |line| told(line, "Code:")).await;
        let key = process.line("the key", |line| told(line, "This desktop's key:")).await;
        Asking { process, url, code, key }
    }

    async fn status(&self) -> Value {
        finish(self.agent().args(["status", "--json"])).await.json()
    }

    async fn does(&self, words: &[&str]) -> Finished {
        finish(self.agent().args(words)).await
    }
}

/// A desktop that waits for an answer.
struct Asking {
    process: Process,
    url: Url,
    code: String,
    key: String,
}

fn told(line: &str, what: &str) -> Option<String> {
    line.strip_prefix(what).map(|rest| rest.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_that_is_approved_in_a_browser_shows_its_app() {
    let edge = Setup::default().start().await;
    let app = App::start("desk").await;
    let browser = Chromium::for_edge(&edge).await;
    let tab = browser.tab().await;
    tab.go(&edge.invite("ada").await).await;
    tab.until("!document.getElementById('destination').hidden").await;
    tab.click("Create passkey").await;
    tab.until("!document.getElementById('done').hidden").await;

    let desk = Desk::new();
    let asking = desk.asks(&edge).await;
    tab.go(&asking.url).await;
    tab.until("!document.getElementById('request').hidden").await;
    let page = tab.text().await;
    for shown in ["“Work laptop”", &asking.key, "127.0.0.1"] {
        assert!(page.contains(shown), "{shown} is not on the page:\n{page}");
    }
    tab.screenshots("link").await;
    tab.click("Approve").await;
    tab.until("!document.getElementById('over').hidden").await;
    let trusted = tab.eval("document.getElementById('passkey-fingerprint').textContent").await;
    tab.screenshots("linked").await;
    assert!(asking.process.end().await.success(), "{}", asking.process.all_printed());
    let told = asking.process.all_printed();
    assert!(told.contains("Verified here"), "{told}");
    assert!(
        told.contains(trusted.as_str().expect("text")),
        "the page shows {trusted}; the terminal:\n{told}"
    );
    let status = desk.status().await;
    assert_eq!((&status["user"], &status["fingerprint"]), (&json!("ada"), &json!(asking.key)));

    let tunnel = status["tunnel"].as_str().expect("a tunnel").to_owned();
    let running = Process::start(desk.agent().args(["run", "--to", &app.url()]));
    running.line("a connection", |line| line.starts_with("Connected:").then_some(())).await;
    tab.go(&edge.deployer(&format!("/auth?tunnel={tunnel}"))).await;
    tab.click("Sign in with a passkey").await;
    app.reached("/").await;

    // Another desktop takes its place, and only because that was chosen by name.
    let other = Desk::new();
    let asking = other.asks(&edge).await;
    tab.go(&asking.url).await;
    tab.until("!document.getElementById('choice').hidden").await;
    tab.eval(&format!("document.querySelector('input[value=\"{tunnel}\"]').click()")).await;
    tab.screenshots("link-take-over").await;
    tab.click(&format!("Approve and take over {tunnel}")).await;
    assert!(asking.process.end().await.success(), "{}", asking.process.all_printed());
    assert_eq!(other.status().await["tunnel"], tunnel);
    assert!(!running.end().await.success(), "the former desktop stops for good");
    assert!(running.all_printed().contains("unlinked: "), "{}", running.all_printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_says_what_became_of_its_code() {
    let edge = Setup::default().start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let desk = Desk::new();

    let denied = desk.asks(&edge).await;
    ada.api_post("/link/deny", &json!({"user_code": denied.code})).await.must_be(204);
    assert_eq!(denied.process.end().await.code(), Some(1));
    assert!(denied.process.all_printed().contains("denied: "), "{}", denied.process.all_printed());

    let interrupted = desk.asks(&edge).await;
    interrupted.process.signal("INT");
    assert_eq!(interrupted.process.end().await.code(), Some(1));
    let late = ada.api_post("/link/approve", &json!({"user_code": interrupted.code})).await.must_be(403);
    assert!(late.problem().ends_with("link-code-refused"), "the code was taken back");

    assert_eq!(desk.status().await["linked"], false);
    assert_eq!(edge.admin(&["tunnel", "list"]).await, json!([]), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_away_for_a_while_is_waited_for() {
    let mut edge = Setup::default().start().await;
    let desk = Desk::new();
    let ada = Person::enrolled(&edge, "ada").await;
    let asking = desk.asks(&edge).await;
    edge.kill().await;
    let tries = |line: &str| line.contains("trying again").then_some(());
    asking.process.says("word of the trouble", tries).await;
    edge.start_again().await;
    ada.api_post("/link/approve", &json!({"user_code": asking.code})).await.must_be(200);
    assert!(asking.process.end().await.success(), "{}", asking.process.all_printed());
    assert!(!asking.process.all_printed().contains("\u{1b}"), "no colours where there is no terminal");
    assert_eq!(desk.does(&["link", "https://deployer.patapim.localhost"]).await.code, 1, "linked already");
}
