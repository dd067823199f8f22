//! `patapim-edge demo`: one command, one link, a real sign-in in a real browser.

use serde_json::json;
use url::Url;

use crate::rig::browser::Chromium;
use crate::rig::edge::program;
use crate::rig::process::Process;

#[tokio::test]
async fn the_demo_prints_one_link_that_leads_to_a_live_app() {
    let demo = Process::start(program().args(["demo", "--json", "--port", "0"]));
    let told = demo.document().await;
    let link = |name: &str| Url::parse(told[name].as_str().expect("a link")).expect("a link");
    let (home, enrol) = (link("url"), link("enrol_url"));
    for url in [&home, &enrol] {
        assert_eq!(url.scheme(), "http");
        assert!(url.host_str().is_some_and(|host| host.ends_with("patapim.localhost")), "{url}");
    }

    let chromium = Chromium::start(&[]).await;
    let tab = chromium.tab().await;
    tab.go(&enrol).await;
    tab.make_passkey().await;
    tab.call("Network.clearBrowserCookies", json!({})).await;
    tab.go(&home).await;
    tab.click("Sign in with a passkey").await;
    tab.until("location.hostname.includes('.tunnel.')").await;
    tab.until("/^[0-9]{2}:[0-9]{2}:[0-9]{2}/.test(document.getElementById('clock').innerText)").await;
    tab.click("A line to send").await;
    tab.type_text("is anybody there").await;
    tab.press_enter().await;
    tab.until("document.getElementById('lines').innerText.includes('is anybody there')").await;
    tab.screenshots("demo").await;
    tab.click("Sign out of this tunnel").await;
    tab.until("!document.body.innerText.includes('You are through')").await;

    demo.signal("INT");
    assert!(demo.end().await.success(), "{}", demo.all_printed());
}
