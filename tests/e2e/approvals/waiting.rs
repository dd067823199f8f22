//! The page that waits.

use super::*;
use crate::rig::browser::Chromium;

#[tokio::test]
async fn the_page_shows_what_the_desktop_shows_and_says_how_to_approve() {
    let (asking, pending) = Asking::waiting().await;
    let page = asking.ada.browser.navigate(&asking.page("/a?b=1")).await.must_be(303);
    let waiting = page.location();
    assert_eq!(waiting.as_str(), asking.page("/.patapim/waiting?return_to=%2Fa%3Fb%3D1").as_str());
    let shown = asking.ada.browser.navigate(&waiting).await.must_be(200);
    let number = pending["number"].as_u64().expect("a number");
    let id = &pending["id"].as_str().expect("an id")[..8];
    let command = format!("patapim-agent devices approve {id}");
    for text in [
        &format!("<strong>{number}</strong>"),
        &command,
        "Test desk",
        "Test key",
        &asking.ada.key.fingerprint(),
    ] {
        assert!(shown.text().contains(text), "{text} in {}", shown.text());
    }
    assert!(shown.text().contains("<noscript><meta http-equiv=\"refresh\""));
    assert_eq!(shown.header("cache-control"), "no-store");
    let said =
        asking.agent.line("the question", |line| line.contains(&format!("number {number}")).then_some(()));
    said.await;

    let form = asking.ada.browser.send(Method::POST, &asking.page("/")).header("sec-fetch-mode", "navigate");
    let form =
        form.header("sec-fetch-dest", "document").header("sec-fetch-site", "same-origin").await.must_be(403);
    assert!(form.text().contains("/.patapim/waiting?"), "{}", form.text());

    asking.decide("approve", &pending).await;
    let onward = asking.ada.browser.navigate(&waiting).await.must_be(303);
    assert_eq!(onward.location(), asking.page("/a?b=1"));
}

#[tokio::test]
async fn the_way_back_never_leaves_the_tunnel() {
    let asking = Asking::approved().await;
    for target in
        ["https://evil.test/", "//evil.test/", "/\\evil.test", "javascript:alert(1)", "/.patapim/waiting"]
    {
        let mut page = asking.page("/.patapim/waiting");
        page.query_pairs_mut().append_pair("return_to", target);
        let onward = asking.ada.browser.navigate(&page).await.must_be(303).location();
        assert_eq!(origin(&onward), origin(&page), "{target}");
        assert_ne!(onward.path(), "/.patapim/waiting");
    }
}

#[tokio::test]
async fn who_has_no_session_cannot_watch_and_is_sent_to_sign_in() {
    let (asking, _) = Asking::waiting().await;
    let stranger = asking.edge.visitor();
    let page = asking.page("/.patapim/waiting?return_to=%2Fa");
    let sent = stranger.navigate(&page).await.must_be(303);
    assert_eq!(sent.location().path(), "/.patapim/begin");
    stranger.send(Method::GET, &page).header("accept", "text/event-stream").await.must_be(401);
    stranger.send(Method::POST, &page).await.must_be(405);
}

#[tokio::test]
async fn a_hostile_name_is_text_on_the_page_and_one_line_on_the_desktop() {
    let asking = Asking::approved().await;
    let name = "</title><script>alert(1)</script>";
    let mut phone = asking.another_device(name).await;
    let shown = phone.open(&asking.page("/")).await.must_be(200).text();
    assert!(!shown.contains("<script>alert") && shown.contains("&#60;script&#62;alert"), "{shown}");
    let pending = asking.pending().await.remove(0);
    assert_eq!(pending["name"], name);
    asking.agent.line("the question", |line| line.contains(name).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_page_goes_on_to_the_app_by_itself() {
    let asking = Asking::start().await;
    let browser = Chromium::for_edge(&asking.edge).await;
    let tab = browser.tab().await;
    let invited = asking.edge.admin(&["user", "invite", "ada"]).await;
    tab.go(&Url::parse(invited["enrol_url"].as_str().expect("a link")).expect("a link")).await;
    tab.make_passkey().await;
    tab.go(&asking.page("/hello")).await;
    tab.until("document.body.innerText.includes('Approve this on your desktop')").await;
    let pending = asking.pending().await.remove(0);
    let number = pending["number"].to_string();
    tab.until(&format!("document.body.innerText.includes('{number}')")).await;
    tab.screenshots("waiting").await;
    tab.must_be_accessible("the page that waits").await;
    asking.decide("approve", &pending).await;
    tab.until("location.pathname === '/hello'").await;

    // Whom the desktop trusts now is in the settings, and can be taken away there.
    tab.go(&asking.edge.deployer("/settings/security")).await;
    tab.until("document.querySelector('#devices .device .fingerprint')").await;
    assert!(tab.text().await.contains(pending["fingerprint"].as_str().expect("a fingerprint")));
    tab.screenshots("settings-trusted").await;
    tab.must_be_accessible("the settings with a trusted device").await;
    tab.eval("document.querySelector('#devices .remove').click()").await;
    tab.until("document.querySelector('.dialog')").await;
    tab.click("Remove").await;
    tab.reads("No desktop trusts a device yet.").await;
    assert_eq!(asking.trusted().await.len(), 0);
    asking.agent.kill().await;
    tab.go(&asking.edge.deployer("/settings/security")).await;
    tab.until("document.querySelector('#devices .silent')").await;
}
