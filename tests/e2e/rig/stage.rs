//! What a test in a real browser begins with: an edge, an app behind it, a tab, and somebody with an invitation.

use serde_json::json;
use url::Url;

use super::app::App;
use super::browser::{Chromium, Tab};
use super::edge::{Edge, Setup};
use super::scene::TUNNEL;

/// The usual domain: no public suffix is right above a tunnel, so that browsers take all of it for one site.
pub(crate) const ONE_SITE: &str = "patapim.test";

/// An edge under a domain that is not this machine's own, an app behind it, and somebody with an invitation.
pub(crate) struct Stage {
    pub(crate) edge: Edge,
    pub(crate) app: App,
    pub(crate) chromium: Chromium,
    pub(crate) tab: Tab,
    /// The page that the invitation leads to.
    pub(crate) invitation: Url,
}

impl Stage {
    /// The invitation is open in the tab.
    pub(crate) async fn set() -> Self {
        Self::set_with(Setup::default()).await
    }

    /// As [`Self::set`], with an edge of this kind; Ada's address is known.
    pub(crate) async fn set_with(setup: Setup) -> Self {
        Self::set_under(ONE_SITE, setup).await
    }

    /// As [`Self::set_with`], under another domain than the usual one.
    pub(crate) async fn set_under(base: &'static str, setup: Setup) -> Self {
        let app = App::start("Ada's notes").await;
        let setup = setup.base(base).upstream(TUNNEL, "ada", &app.url());
        let edge = setup.start().await;
        let chromium = Chromium::for_edge(&edge).await;
        let tab = chromium.tab().await;
        let invitation = edge.invite_at("ada", "ada@mail.test").await;
        tab.go(&invitation).await;
        Self { edge, app, chromium, tab, invitation }
    }

    /// As [`Self::set`], with the passkey made.
    pub(crate) async fn enrolled() -> Self {
        let stage = Self::set().await;
        stage.tab.make_passkey().await;
        stage
    }

    /// A tab of another browser.
    pub(crate) async fn stranger(&self) -> Tab {
        self.chromium.stranger().await
    }

    /// A page of the app.
    pub(crate) fn page(&self, path: &str) -> Url {
        self.edge.tunnel(TUNNEL, path)
    }

    /// Waits until the app's own page is there.
    pub(crate) async fn in_the_app(&self, path: &str) {
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
