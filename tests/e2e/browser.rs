//! The two journeys in a real browser, clicking what a person would click.

use serde_json::json;

use crate::rig::scene::TUNNEL;
use crate::rig::stage::Stage;

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
