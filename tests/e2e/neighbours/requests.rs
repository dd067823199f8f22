//! What the evil page sends to the other tunnel and to the sign-in site, by every means that a page has.

use serde_json::json;

use super::Neighbourhood;
use crate::rig::client::origin;
use crate::rig::edge::SITES_APART;
use crate::rig::journey::SESSION;

const REQUESTS: &str = include_str!("requests.js");

/// A service worker that sends what it is told to.
const RELAY: &str = "addEventListener('message', ({ data, ports }) => fetch(data, \
    { method: 'POST', mode: 'no-cors', credentials: 'include' }).then(() => 'unread', () => 'failed') \
    .then(told => ports[0].postMessage(told)))";

/// By script, element, form, frame, worker and guess, and at last by a form that takes the tab along.
pub(super) async fn are_stopped(hood: &Neighbourhood) {
    let (tab, app) = (&hood.stage.tab, &hood.stage.app);
    hood.evil.answer_with("/relay.js", &[("content-type", "text/javascript")], RELAY);
    for name in ["fetch-redirected", "form-redirected"] {
        let onward = hood.stage.page(&format!("/write/{name}"));
        hood.evil.answer(&format!("/bounce/{name}"), &[("location", onward.as_str())]);
    }

    let reporting = format!("img-src 'none'; report-uri {}", hood.stage.page("/write/report"));
    hood.evil.answer_with("/reporter", &[("content-security-policy", &reporting)], "<img src=/x>");

    let mut traffic = tab.traffic();
    let told = hood.attack(REQUESTS, hood.targets()).await;
    // Of these nobody hears again but the network.
    let seen = traffic.answers_to(&["/write/beacon", "/write/ping", "/write/keepalive"]).await;

    for (name, outcome) in told.as_object().expect("outcomes") {
        let outcome = outcome.as_str().expect("text");
        assert!(!outcome.starts_with("read") && outcome != "opened", "{name}: {outcome}");
    }
    let to_victim = seen.iter().filter(|(url, _)| url.contains("/write/"));
    for (url, answered) in to_victim {
        // Nothing was answered, or no.
        assert!(matches!(answered, 0 | 401 | 403), "{url}: {answered}");
    }
    assert_eq!(app.count(), 0, "nothing reaches the app: {:?}", app.seen());

    // The one that replaces the page, last: a form, as a person who was lured would send it.
    let send = "({ url }) => { const form = document.createElement('form'); form.method = 'POST'; form.action = url; \
        document.body.append(form); form.submit(); }";
    hood.attack(send, json!({"url": hood.stage.page("/write/form").as_str()})).await;
    tab.until(&format!("location.origin === {}", json!(origin(&hood.stage.page("/"))))).await;
    let (words, name) = match hood.stage.edge.base() {
        SITES_APART => ("Please sign in first", "form-without-cookies"),
        _ => ("this came from another site", "form-of-a-neighbour"),
    };
    tab.reads(words).await;
    tab.screenshots(name).await;

    // It may carry no cookie; its answer could still take the cookies away, and all that the app keeps in the browser.
    tab.eval("localStorage.setItem('draft', 'kept')").await;
    hood.go_evil().await;
    hood.attack(send, json!({"url": hood.stage.page("/.patapim/logout").as_str()})).await;
    tab.until(&format!("location.origin === {}", json!(origin(&hood.stage.page("/"))))).await;
    tab.reads("this came from another site").await;
    assert_eq!(tab.eval("localStorage.getItem('draft')").await, "kept");
    assert!(hood.cookie(&hood.stage.page("/"), SESSION).await.is_some());
    assert_eq!(app.count(), 0, "nothing reaches the app: {:?}", app.seen());
}
