//! The two journeys in a real browser, clicking what a person would click.

use serde_json::json;

use crate::rig::app::App;
use crate::rig::browser::{Chromium, Tab};
use crate::rig::edge::{Edge, Setup};
use crate::rig::scene::TUNNEL;

/// An edge under a domain that is not this machine's own, an app behind it, and somebody with an invitation.
struct Stage {
    edge: Edge,
    app: App,
    _chromium: Chromium,
    tab: Tab,
}

impl Stage {
    async fn set() -> Self {
        let app = App::start("Ada's notes").await;
        let setup = Setup::default().base("patapim.test").upstream(TUNNEL, "ada", &app.url());
        let edge = setup.start().await;
        let chromium = Chromium::for_edge(&edge).await;
        let tab = chromium.tab().await;
        let invitation = edge.invite("ada").await;
        tab.go(&invitation).await;
        Self { edge, app, _chromium: chromium, tab }
    }

    /// As [`Self::set`], with the passkey made.
    async fn enrolled() -> Self {
        let stage = Self::set().await;
        stage.tab.make_passkey().await;
        stage
    }

    fn page(&self, path: &str) -> url::Url {
        self.edge.tunnel(TUNNEL, path)
    }

    /// Waits until the app's own page is there.
    async fn in_the_app(&self, path: &str) {
        let host = format!("{TUNNEL}.tunnel.{}", self.edge.base());
        let there = json!([host, path]);
        self.tab
            .until(&format!(
                "JSON.stringify([location.hostname, location.pathname + location.search]) === '{there}' \
                 && document.body.innerText.includes('The app')"
            ))
            .await;
    }
}

#[tokio::test]
async fn somebody_invited_makes_a_passkey_and_finds_their_tunnel() {
    let stage = Stage::set().await;
    stage.tab.until("document.querySelector('button').innerText.includes('Create passkey')").await;
    assert!(!stage.tab.url().await.as_str().contains("ticket"), "the ticket leaves the address bar");
    stage.tab.screenshots("enrol").await;
    stage.tab.make_passkey().await;
    stage.tab.screenshots("enrolled").await;
    stage.tab.click("Go to my tunnels").await;
    stage.tab.until(&format!("document.body.innerText.includes('{TUNNEL}')")).await;
    stage.tab.screenshots("home").await;
}

#[tokio::test]
async fn whoever_opens_their_tunnel_signs_in_with_one_tap_and_uses_the_app() {
    let stage = Stage::enrolled().await;
    stage.tab.go(&stage.page("/notes?page=2")).await;
    stage.tab.until("location.pathname === '/auth'").await;
    stage.tab.until("document.querySelector('button').innerText.includes('Sign in with a passkey')").await;
    assert_eq!(stage.app.count(), 0, "nothing reaches the app");
    stage.tab.screenshots("auth").await;
    stage.tab.click("Sign in with a passkey").await;
    stage.in_the_app("/notes?page=2").await;
    stage.tab.screenshots("app").await;

    let echo = "new Promise((done, fail) => { const s = new WebSocket('wss://' + location.host + '/ws'); \
        s.onopen = () => s.send('hello'); s.onerror = fail; s.onmessage = e => done(e.data) })";
    assert_eq!(stage.tab.eval(echo).await, "hello");
    let events = "new Promise(done => { const s = new EventSource('/events/clock'); \
        s.onmessage = e => { s.close(); done(e.data) } })";
    let (told, ()) = tokio::join!(stage.tab.eval(events), async {
        stage.app.streaming("clock").await;
        stage.app.tick("clock", "noon");
    });
    assert_eq!(told, "noon");
    let posted = "fetch('/echo', {method: 'POST', body: 'x'}).then(r => r.json()).then(j => j.body)";
    assert_eq!(stage.tab.eval(posted).await, "x");
    let seen = "fetch('/echo').then(r => r.json()).then(j => j.headers.referer + ' ' + document.cookie)";
    let seen = stage.tab.eval(seen).await.to_string();
    assert!(!seen.contains("token=") && !seen.contains("patapim-session"), "{seen}");
}

#[tokio::test]
async fn whoever_starts_at_the_deployer_reaches_the_app_with_one_tap() {
    let stage = Stage::enrolled().await;
    stage.tab.call("Network.clearBrowserCookies", json!({})).await;
    stage.tab.go(&stage.edge.deployer("/auth")).await;
    stage.tab.click("Sign in with a passkey").await;
    stage.in_the_app("/").await;
}

#[tokio::test]
async fn an_apps_service_worker_does_not_lock_its_owner_out() {
    let stage = Stage::enrolled().await;
    stage.tab.go(&stage.page("/")).await;
    stage.tab.click("Sign in with a passkey").await;
    stage.in_the_app("/").await;
    let register = "navigator.serviceWorker.register('/worker.js').then(() => navigator.serviceWorker.ready).then(() => true)";
    assert_eq!(stage.tab.eval(register).await, true);
    stage.tab.go(&stage.page("/again")).await;
    stage.tab.until("document.body.innerText.includes('Answered by the worker')").await;

    // The session ends where the worker cannot see it.
    stage.tab.call("Network.clearBrowserCookies", json!({})).await;
    stage.tab.go(&stage.page("/again")).await;
    stage.tab.until("location.pathname === '/auth'").await;
}

#[tokio::test]
async fn every_page_that_says_no_says_what_to_do() {
    let stage = Stage::set().await;
    let pages = [
        ("no-ticket", stage.edge.deployer("/enrol?ticket=wrong")),
        ("nowhere", stage.edge.deployer("/nowhere")),
        ("refused", stage.page("/?token=eyJhbGciOiJIUzI1NiJ9.e30.AAAA")),
        ("reserved", stage.page("/.patapim/nothing")),
        ("signed-out-home", stage.edge.deployer("/")),
    ];
    for (name, url) in pages {
        stage.tab.go(&url).await;
        stage.tab.until("document.body.innerText.length > 40").await;
        stage.tab.screenshots(name).await;
    }
}
