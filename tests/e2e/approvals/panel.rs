//! The panel on the desktop.

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::rig::browser::Chromium;

/// As the others, with its panel open.
struct Paneled {
    asking: Asking,
    link: Url,
}

impl Paneled {
    async fn start() -> Self {
        let mut asking = Asking::start().await;
        asking.agent.kill().await;
        let to = asking.app.url();
        let mut run = asking.desktop.agent();
        run.args(["run", "--to", &to, "--panel", "127.0.0.1:0"]);
        asking.agent = Process::start(&mut run);
        let told = |line: &str| Url::parse(line.strip_prefix("Panel: ")?).ok();
        let link = asking.agent.line("the panel's link", told).await;
        asking.agent.says("that it is connected", |line| line.starts_with("Connected:").then_some(())).await;
        Self { asking, link }
    }

    fn key(&self) -> String {
        format!("Bearer {}", self.link.fragment().expect("a key").trim_start_matches("key="))
    }

    fn at(&self, path: &str) -> Url {
        self.link.join(path).expect("a path")
    }

    /// As the panel's own page calls.
    async fn call(&self, method: Method, path: &str) -> Answer {
        let browser = self.asking.edge.visitor();
        browser.fetch(method, &self.at(path)).header("authorization", &self.key()).await
    }
}

#[tokio::test]
async fn the_panel_needs_the_key_and_its_own_page() {
    let paneled = Paneled::start().await;
    let browser = paneled.asking.edge.visitor();
    let page = browser.navigate(&paneled.at("/")).await.must_be(200);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert!(!page.text().contains(&paneled.asking.desktop.tunnel), "the page knows nobody");

    let live = paneled.at("/api/live");
    browser.fetch(Method::GET, &live).await.must_be(401);
    browser.fetch(Method::GET, &live).header("authorization", "Bearer guess").await.must_be(401);
    let with_key = || browser.fetch(Method::GET, &live).header("authorization", &paneled.key());
    with_key().header("host", "evil.test").await.must_be(421);
    with_key().header("origin", "http://evil.test").await.must_be(403);
    with_key().header("sec-fetch-site", "cross-site").await.must_be(403);
    let approve = paneled.at("/api/devices/aaaaaaaa/approve");
    let post = browser.send(Method::POST, &approve).header("authorization", &paneled.key());
    post.await.must_be(403);
    let nobody = paneled.call(Method::POST, "/api/devices/aaaaaaaa/approve").await;
    assert_eq!(nobody.status, StatusCode::CONFLICT);
    paneled.call(Method::GET, "/api/devices").await.must_be(404);
}

#[tokio::test]
async fn the_panel_is_shown_on_this_machine_alone() {
    let asking = Asking::start().await;
    let run = asking.desktop.command(&["run", "--to", "http://127.0.0.1:9", "--panel", "0.0.0.0:0"]).await;
    assert!(run.code == 2 && run.err.contains("127.0.0.1"), "{}", run.err);
}

#[tokio::test]
async fn approving_in_the_panel_lets_the_device_in_and_removing_it_cuts() {
    let mut paneled = Paneled::start().await;
    let pending = paneled.asking.signs_in_and_waits().await;
    let path = format!("/api/devices/{}/", pending["id"].as_str().expect("an id"));
    paneled.call(Method::POST, &format!("{path}approve")).await.must_be(204);
    script(&paneled.asking.ada.browser, &paneled.asking.page("/echo")).await.must_be(200);
    let again = paneled.call(Method::POST, &format!("{path}deny")).await.must_be(409);
    assert!(
        again.json()["detail"].as_str().expect("a sentence").contains("decided already"),
        "{}",
        again.text()
    );
    let mut socket =
        paneled.asking.ada.browser.websocket(&paneled.asking.page("/ws")).await.expect("a socket");
    paneled.call(Method::POST, &format!("{path}remove")).await.must_be(204);
    socket.cut().await;
    paneled.asking.ada.browser.curl(&paneled.asking.page("/")).await.must_be(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_a_person_approves_and_removes_with_a_click() {
    let mut paneled = Paneled::start().await;
    let chromium = Chromium::start(&[]).await;
    let tab = chromium.tab().await;
    tab.go(&paneled.at("/")).await;
    tab.until("document.body.innerText.includes('Open the link that the agent printed')").await;
    tab.go(&paneled.link).await;
    tab.until("document.body.innerText.includes('Nobody is asking right now')").await;
    assert_eq!(
        tab.eval("location.href").await,
        json!(paneled.at("/").as_str()),
        "the key is not in the address"
    );
    tab.screenshots("panel-empty").await;

    let pending = paneled.asking.signs_in_and_waits().await;
    let number = pending["number"].to_string();
    tab.until(&format!("document.querySelector('.asking .number').innerText === '{number}'")).await;
    assert!(tab.text().await.contains(&paneled.asking.ada.key.fingerprint()));
    tab.screenshots("panel-asking").await;
    tab.must_be_accessible("the panel").await;
    tab.click("Approve").await;
    tab.until("document.querySelector('#devices strong') && document.querySelector('#sessions strong')")
        .await;
    script(&paneled.asking.ada.browser, &paneled.asking.page("/echo")).await.must_be(200);

    let mut phone = paneled.asking.another_device("<img src=x onerror=alert(1)>").await;
    phone.open(&paneled.asking.page("/")).await.must_be(200);
    tab.until("document.querySelector('.asking h3').innerText.includes('<img src=x')").await;
    tab.screenshots("panel").await;
    tab.click("Deny").await;
    tab.until("document.body.innerText.includes('Nobody is asking right now')").await;

    tab.click("Remove").await;
    tab.until("document.querySelector('#devices .danger')").await;
    tab.click("Remove").await;
    tab.until("document.body.innerText.includes('None yet')").await;
    paneled.asking.ada.browser.curl(&paneled.asking.page("/")).await.must_be(401);

    paneled.asking.agent.kill().await;
    tab.until("document.body.innerText.includes('The agent is not running')").await;
}
