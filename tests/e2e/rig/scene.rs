//! What most tests begin with: an edge, an app behind it, and its owner with a passkey.

use http::Method;
use url::Url;

use super::answer::Answer;
use super::app::App;
use super::edge::{Edge, Setup};
use super::journey::{Person, SESSION};

/// The tunnel that most tests go through.
pub(crate) const TUNNEL: &str = "ada-abc234";

/// Shaped like a token, and nobody's.
pub(crate) const NOT_OURS: &str = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";

/// An edge with Ada's app behind a fixed upstream.
pub(crate) struct Scene {
    pub(crate) edge: Edge,
    pub(crate) app: App,
    pub(crate) ada: Person,
}

impl Scene {
    /// With nothing special about it.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// With an edge of this kind.
    pub(crate) async fn with(setup: Setup) -> Self {
        let app = App::start("ada's app").await;
        let edge = setup.upstream(TUNNEL, "ada", &app.url()).start().await;
        let ada = Person::enrolled(&edge, "ada").await;
        Self { edge, app, ada }
    }

    /// As [`Self::start`], and Ada is signed in to her tunnel already.
    pub(crate) async fn signed_in() -> Self {
        let mut scene = Self::start().await;
        let page = scene.page("/");
        scene.ada.open(&page).await.must_be(200);
        scene
    }

    /// A page of Ada's app.
    pub(crate) fn page(&self, path: &str) -> Url {
        self.edge.tunnel(TUNNEL, path)
    }

    /// Ada's session cookie on her tunnel.
    pub(crate) fn session_cookie(&self) -> String {
        self.ada.browser.cookies.get(&self.page("/"), SESSION).expect("a session")
    }

    /// What the app was told when Ada's browser asks it to echo.
    pub(crate) async fn echo(&self) -> serde_json::Value {
        self.ada.browser.fetch(Method::GET, &self.page("/echo")).await.must_be(200).json()
    }

    /// The ids of the live sessions on Ada's tunnel.
    pub(crate) async fn sessions(&self) -> Vec<String> {
        let listed = self.edge.admin(&["session", "list"]).await;
        let sessions = listed.as_array().expect("an array").iter();
        let here = sessions.filter(|session| session["tunnel"] == TUNNEL);
        here.map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
    }
}

/// `url` with one more query parameter, the others untouched.
pub(crate) fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let joint = if url.query().is_some() { '&' } else { '?' };
    Url::parse(&format!("{url}{joint}{name}={value}")).expect("a URL")
}

/// Everything an outsider can compare about an answer: status, headers less the date, body.
pub(crate) fn looks(answer: &Answer) -> (u16, Vec<String>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    (answer.status.as_u16(), headers, answer.text())
}
