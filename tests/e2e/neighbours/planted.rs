//! Cookies that a page plants: for its neighbours, in the edge's name, and more of them than a request may carry.

use serde_json::json;

use super::{EVIL, Neighbourhood};
use crate::rig::journey::{BIND, DEPLOYER, SESSION};
use crate::rig::stage::ONE_SITE;

/// Plants every look-alike of the edge's cookies on all of the base domain; gives what its own page can see of them.
const TOSS: &str = "({ base, names }) => { for (const domain of [base, `tunnel.${base}`]) for (const name of names) \
    for (const look of [name, name.toLowerCase(), name.toUpperCase(), ` ${name}`, `\\t${name}`, `=${name}`, \
        `${name} `, name.replace('__Host-', ''), name.replace('__Host-', '__Secure-')]) \
    for (const path of ['/', '/.patapim/', '/api/v1']) \
        document.cookie = `${look}=evil; Secure; Path=${path}; Domain=${domain}`; return document.cookie; }";

#[tokio::test]
async fn planted_cookies_are_nobodys_session_and_lock_nobody_out() {
    let hood = Neighbourhood::under(ONE_SITE).await;
    look_alikes_are_no_hindrance(&hood).await;
    twins_are_taken_away(&hood).await;
    heaps_are_undone(&hood).await;
}

/// Cookies in the edge's name, tossed at the neighbours by way of the domain above them all.
async fn look_alikes_are_no_hindrance(hood: &Neighbourhood) {
    let (victim, deployer) = (hood.stage.page("/"), hood.stage.edge.deployer("/"));
    let before = (hood.cookie(&victim, SESSION).await, hood.cookie(&deployer, DEPLOYER).await);
    let names = [SESSION, BIND, DEPLOYER, "__Host-patapim-state", "__Host-patapim-browser"];
    let planted = hood.attack(TOSS, json!({"base": ONE_SITE, "names": names})).await;
    assert!(planted.as_str().expect("cookies").contains("patapim-session=evil"), "{planted}");
    assert_eq!((hood.cookie(&victim, SESSION).await, hood.cookie(&deployer, DEPLOYER).await), before);
    hood.the_others_session_lives().await;
    hood.the_deployers_session_lives().await;
    // And among them a sign-in goes as ever.
    hood.stage.tab.call("Network.deleteCookies", json!({"name": SESSION, "url": victim.as_str()})).await;
    hood.stage.tab.call("Network.deleteCookies", json!({"name": BIND, "url": victim.as_str()})).await;
    hood.sign_in(&victim).await;
}

/// A cookie of one partition stands beside its namesake of none, and the browser sends both.
async fn twins_are_taken_away(hood: &Neighbourhood) {
    hood.go_evil().await;
    let twin = "({ names }) => { for (const name of names) \
        document.cookie = `${name}=evil; Secure; Path=/; Partitioned`; return document.cookie; }";
    let planted = hood.attack(twin, json!({"names": [SESSION, BIND]})).await;
    assert!(planted.as_str().expect("cookies").contains("patapim-session=evil"), "{planted}");
    hood.sign_in(&hood.evil_page("/")).await;
    hood.the_others_session_lives().await;
}

/// A quarter of a megabyte for the whole base domain, two cookies of them of the kind that is kept for this site alone;
/// gives how much of it the browser has taken.
const HEAP: &str = "({ base }) => { const more = 'x'.repeat(4000); for (let at = 0; at < 64; at += 1) \
    document.cookie = `heap${at}=${more}; Secure; Path=/; Domain=${at % 2 ? base : `tunnel.${base}`}` \
        + (at < 2 ? '; Partitioned' : ''); return document.cookie.length; }";

/// No app can be asked with so many. The sign-in site can, and whoever is refused gets rid of them and of nothing else; who
/// is refused again, of those too that stand beside their namesakes.
async fn heaps_are_undone(hood: &Neighbourhood) {
    // The browser must ask the evil tunnel for nothing more, or its own heap is undone there.
    hood.evil.answer_with("/heap", &[], "<!doctype html><link rel=icon href='data:,'><p>The app");
    let (tab, victim) = (&hood.stage.tab, hood.stage.page("/"));
    for left in [2, 0] {
        tab.go(&hood.evil_page("/heap")).await;
        let planted = hood.attack(HEAP, json!({"base": ONE_SITE})).await;
        assert!(planted.as_u64() > Some(240_000), "{planted}");
        tab.go(&hood.stage.edge.deployer("/")).await;
        tab.reads(EVIL).await;
        tab.go(&victim).await;
        tab.reads("Too many cookies came along").await;
        tab.click("Try again").await;
        hood.is_in_app(&victim).await;
        let kept = tab.eval("document.cookie.split('heap').length - 1").await;
        assert!(kept.as_u64() <= Some(left), "{kept} are left of them");
        hood.the_others_session_lives().await;
    }
    hood.the_deployers_session_lives().await;
}
