//! Requests that are too large, above all those that somebody else has made so: a page behind another tunnel can plant
//! cookies that a browser then sends everywhere under the domain. Their owner gets out of it, and stays signed in.

use http::Method;

use crate::rig::answer::Answer;
use crate::rig::client::Visitor;
use crate::rig::cookies::SetCookie;
use crate::rig::edge::Setup;
use crate::rig::journey::SESSION;
use crate::rig::raw_http2::kind::HEADERS;
use crate::rig::raw_http2::{END_HEADERS, END_STREAM, Frames, authority, fields, frame};
use crate::rig::scene::Scene;

/// Cookies as a browser sends them, planted or not.
fn cookies(count: usize, length: usize) -> String {
    (0..count).map(|at| format!("planted{at}={}", "x".repeat(length))).collect::<Vec<_>>().join("; ")
}

/// 240 KB.
fn bomb() -> String {
    cookies(60, 4000)
}

/// Both kinds of HTTP.
fn both(browser: &Visitor) -> [Visitor; 2] {
    [browser.clone(), browser.h2()]
}

/// `browser`'s own cookies at `url`, and others.
fn beside(browser: &Visitor, url: &url::Url, others: &str) -> String {
    browser.cookies.header(url).map_or_else(|| others.to_owned(), |own| format!("{own}; {others}"))
}

/// Which of the cookies so named are undone, on which domain and path.
fn undone(answer: &Answer, name: &str) -> Vec<String> {
    let all = answer.set_cookies();
    let here = all.iter().filter(|cookie| cookie.name == name && cookie.deletes());
    here.map(|cookie| {
        let told = |what: &str| cookie.attributes.iter().find(|one| one.starts_with(what)).cloned();
        format!("{} {}", told("domain=").unwrap_or_default(), told("path=").unwrap_or_default())
    })
    .collect()
}

fn untouched(answer: &Answer) -> bool {
    answer.set_cookies().iter().all(|cookie: &SetCookie| cookie.name != SESSION)
}

#[tokio::test]
async fn a_browser_full_of_planted_cookies_signs_in_all_the_same() {
    let mut scene = Scene::start().await;
    let page = scene.page("/notes?a=b");
    for browser in both(&scene.ada.browser.stranger()) {
        let away = browser.navigate(&page).header("cookie", &bomb()).await.must_be(303);
        assert!(away.location().path() == "/auth", "{}", away.location());
        browser.navigate(&away.location()).header("cookie", &bomb()).await.must_be(200);
    }
    scene.ada.open(&page).await.must_be(200);
    let api = scene.ada.api("/sessions");
    for browser in both(&scene.ada.browser) {
        let crowded = beside(&browser, &api, &bomb());
        browser.fetch(Method::GET, &api).header("cookie", &crowded).await.must_be(200);
        let own = scene.page("/.patapim/session");
        let crowded = beside(&browser, &own, &cookies(180, 4000));
        browser.fetch(Method::GET, &own).header("cookie", &crowded).await.must_be(200);
    }
}

#[tokio::test]
async fn cookies_that_no_app_can_be_sent_are_undone_where_they_were_planted() {
    let scene = Scene::signed_in().await;
    let (page, base) = (scene.page("/a/b?c"), scene.edge.base());
    let before = scene.app.count();
    let crowded = beside(&scene.ada.browser, &page, &format!("{}; own=1", cookies(180, 4000)));
    for browser in both(&scene.ada.browser) {
        let shown = browser.navigate(&page).header("cookie", &crowded).await.must_be(431);
        assert!(shown.header("content-type").starts_with("text/html"), "{}", shown.text());
        assert!(shown.text().contains("Try again"), "{}", shown.text());
        let told = browser.fetch(Method::GET, &page).header("cookie", &crowded).await.must_be(431);
        assert_eq!(told.problem(), "/problems/too-large");
        for answer in [shown, told] {
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(answer.header("clear-site-data").is_empty(), "nobody is signed out");
            assert!(untouched(&answer), "{:?}", answer.headers);
            for name in ["planted0", "planted179", "own"] {
                let domains = undone(&answer, name);
                assert!(domains.contains(&format!("domain={base} path=/")), "{name}: {domains:?}");
                assert!(domains.contains(&format!("domain=tunnel.{base} path=/")), "{name}: {domains:?}");
                assert!(
                    domains.iter().all(|one| one.starts_with("domain=")),
                    "its own host's stay: {domains:?}"
                );
            }
        }
    }
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
    assert!(scene.edge.counted("limited_total{limit=\"head_size\"}").await >= 4);
    scene.echo().await;
}

#[tokio::test]
async fn who_comes_back_with_as_many_loses_the_apps_own_as_well() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let browser = &scene.ada.browser;
    let crowded = || beside(browser, &page, &bomb());
    let first = browser.navigate(&page).header("cookie", &crowded()).await.must_be(431);
    assert!(undone(&first, "planted0").iter().all(|one| one.starts_with("domain=")));
    let again = browser.navigate(&page).header("cookie", &crowded()).await.must_be(431);
    assert!(undone(&again, "planted0").contains(&" path=/".to_owned()), "{:?}", again.headers);
    let apart = |answer: &Answer| {
        answer.set_cookies().iter().any(|one| one.attributes.contains(&"partitioned".into()))
    };
    assert!(apart(&again) && !apart(&first), "what is kept for one site alone goes with the second refusal");
    scene.echo().await;
}

#[tokio::test]
async fn an_app_that_finds_the_cookies_too_many_is_helped_out() {
    let scene = Scene::signed_in().await;
    let (page, base) = (scene.page("/crowded"), scene.edge.base());
    let crowded = beside(&scene.ada.browser, &page, &cookies(5, 4000));
    for browser in both(&scene.ada.browser) {
        let answer = browser.navigate(&page).header("cookie", &crowded).await.must_be(431);
        assert_eq!(answer.text(), "the app's own words");
        assert!(
            undone(&answer, "planted4").contains(&format!("domain={base} path=/")),
            "{:?}",
            answer.headers
        );
        let few = browser.navigate(&page).await.must_be(431);
        assert!(few.set_cookies().is_empty(), "its own business");
    }
}

#[tokio::test]
async fn heads_too_large_get_an_answer_that_can_be_read() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let before = scene.app.count();
    let long = |length: usize| scene.page(&format!("/{}", "a".repeat(length)));
    for browser in both(&scene.ada.browser) {
        for length in [16 * 1024, 32 * 1024, 60 * 1024] {
            let shown = browser.navigate(&long(length)).await.must_be(414);
            assert!(shown.text().contains("too long"), "{}", shown.text());
            assert!(shown.set_cookies().is_empty(), "{:?}", shown.headers);
            assert_eq!(
                browser.fetch(Method::GET, &long(length)).await.must_be(414).problem(),
                "/problems/too-long"
            );
        }
        for length in [64 * 1024, 300 * 1024] {
            let field = "a".repeat(length);
            browser.navigate(&page).header("x-long", &field).await.must_be(431);
            let deployer = scene.edge.deployer("/auth");
            browser.navigate(&deployer).header("x-long", &field).await.must_be(431);
        }
        let mut many = browser.fetch(Method::GET, &page);
        for at in 0..150 {
            many = many.header(&format!("x-field-{at}"), "b");
        }
        assert_eq!(many.await.must_be(431).problem(), "/problems/too-large");
        browser.fetch(Method::GET, &long(15 * 1024)).header("x-long", &"a".repeat(30_000)).await.must_be(200);
    }
    assert_eq!(scene.app.count(), before + 2, "nothing else reaches the app");
}

#[tokio::test]
async fn thousands_of_fields_get_the_same_answer_as_a_few_too_many() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let before = scene.app.count();
    let browser = &scene.ada.browser;
    let own = browser.cookies.header(&page).expect("cookies");
    let host = authority(&page);
    for count in [250, 5000, 60_000] {
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {own}\r\nSec-Fetch-Mode: navigate\r\n{}\r\n",
            "X-A: b\r\n".repeat(count)
        );
        let answer = crate::limits::say(browser, &page, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("Try again"), "{count}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close"), "{answer}");
    }
    let mut frames = Frames::open(browser, &page).await;
    let head = [
        fields(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            (":authority", host),
            ("cookie", &own),
        ]),
        // Nothing but fields that the table has.
        vec![0x90; 4000],
    ]
    .concat();
    frames.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
    let answer = frames.until(|frame| frame.stream == 1).await;
    assert_eq!(answer.and_then(|frame| frame.status()), Some(431));
    assert!(frames.lives().await);
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
}

#[tokio::test]
async fn an_edge_under_a_deep_domain_undoes_what_is_planted_above_it() {
    let mut scene = Scene::with(Setup::default().base("deep.patapim.localhost")).await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
    let browser = &scene.ada.browser;
    let crowded = beside(browser, &page, &bomb());
    let answer = browser.navigate(&page).header("cookie", &crowded).await.must_be(431);
    let domains = undone(&answer, "planted0");
    assert!(domains.contains(&"domain=patapim.localhost path=/".to_owned()), "{domains:?}");
}
