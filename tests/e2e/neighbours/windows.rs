//! Windows and frames: what the evil page can open, hold on to, and show as its own.

use serde_json::json;

use super::Neighbourhood;

/// Frames an address in the page, and waits until the browser has shown it or refused to.
const FRAME: &str = "({ url }) => new Promise((done) => { const frame = document.createElement('iframe'); \
    frame.onload = () => done(true); frame.src = url; document.body.append(frame); })";

/// Opens a window, and keeps what a page gets of it.
const OPEN: &str = "({ url }) => { window.opened = window.open(url); return window.opened !== null; }";

/// Nothing of the others is shown inside the evil page; and of the sign-in site's window it is left nothing to hold.
pub(super) async fn and_frames_give_nothing(hood: &Neighbourhood) {
    hood.go_evil().await;
    let (tab, edge) = (&hood.stage.tab, &hood.stage.edge);
    let framed = [
        edge.deployer("/"),
        edge.deployer("/auth"),
        edge.deployer("/settings/security"),
        edge.deployer("/link?code=ABCD-EFGH"),
        edge.deployer("/enrol?ticket=x"),
        edge.deployer("/nowhere"),
        edge.deployer("/api/v1/passkeys"),
        edge.deployer("/.well-known/jwks.json"),
        edge.deployer("/assets/x/auth.js"),
        hood.stage.page("/.patapim/waiting"),
        hood.stage.page("/.patapim/nothing"),
        hood.stage.page("/.patapim/begin"),
        hood.stage.page("/"),
    ];
    for url in &framed {
        hood.attack(FRAME, json!({"url": url.as_str()})).await;
    }
    let shown = tab.frames().await;
    assert_eq!(shown.len(), framed.len(), "{shown:?}");
    for [address, words] in shown {
        let invites =
            words.contains("Open this in a tab") && !address.starts_with(edge.deployer("/").as_str());
        assert!(address == "chrome-error://chromewebdata/" || invites, "{address}: {words}");
    }
    assert_eq!(hood.stage.app.count(), 0, "nothing reaches the app: {:?}", hood.stage.app.seen());

    assert_eq!(hood.attack(OPEN, json!({"url": edge.deployer("/auth").as_str()})).await, true);
    tab.until("window.opened.closed").await;
    // The window stands before the tab, and what is behind draws nothing.
    tab.call("Page.bringToFront", json!({})).await;
}
