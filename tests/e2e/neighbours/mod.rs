//! Two tunnels in one browser, and the app behind one of them is an attacker's.
//!
//! Where no public suffix is right above the tunnels, browsers take all of them, and the sign-in site, for one site:
//! `SameSite` parts nobody, and only the edge does. Where there is one, each is a site of its own. What must not work
//! must not work under either.

mod connections;
mod headers;
mod passkeys;
mod planted;
mod requests;
mod windows;
mod workers;

use serde_json::{Value, json};
use url::Url;

use headers::Parrot;

use crate::rig::app::App;
use crate::rig::client::origin;
use crate::rig::edge::{SITES_APART, Setup};
use crate::rig::stage::{ONE_SITE, Stage};

/// The browser sends the cookies along; only the edge is in the way.
#[tokio::test]
async fn an_evil_neighbour_of_the_same_site_gets_and_changes_nothing() {
    everything_is_tried(ONE_SITE).await;
}

/// The browser is in the way as well, and must not be all that is.
#[tokio::test]
async fn an_evil_neighbour_that_is_a_site_of_its_own_gets_and_changes_nothing() {
    everything_is_tried(SITES_APART).await;
}

async fn everything_is_tried(base: &'static str) {
    let hood = Neighbourhood::under(base).await;
    requests::are_stopped(&hood).await;
    windows::and_frames_give_nothing(&hood).await;
    passkeys::are_not_for_neighbours(&hood).await;
    headers::speak_for_nobody_else(&hood).await;
    connections::are_not_taken_for_each_other(&hood).await;
    hood.the_others_session_lives().await;
    hood.the_deployers_session_lives().await;
}

/// The tunnel whose app is an attacker's. It is Ada's too, or she would never be let in there.
const EVIL: &str = "ada-evil22";

/// Another of that kind, whose app says whatever a test wants, whether it is HTTP or not.
const HINTING: &str = "ada-hints2";

/// Ada's browser, with a session on her own tunnel and on the evil one.
struct Neighbourhood {
    stage: Stage,
    evil: App,
    parrot: Parrot,
}

impl Neighbourhood {
    /// Under `base`; the tab shows the evil app.
    async fn under(base: &'static str) -> Self {
        Self::with(base, Setup::default()).await
    }

    /// As [`Self::under`], with an edge of this kind.
    async fn with(base: &'static str, setup: Setup) -> Self {
        let evil = App::start("evil").await;
        let parrot = Parrot::start().await;
        let setup = setup.upstream(EVIL, "ada", &evil.url()).upstream(HINTING, "ada", &parrot.url());
        let stage = Stage::set_under(base, setup).await;
        stage.tab.make_passkey().await;
        let hood = Self { stage, evil, parrot };
        hood.sign_in(&hood.stage.page("/")).await;
        hood.sign_in(&hood.evil_page("/")).await;
        hood.stage.app.forget();
        hood
    }

    /// A page of the evil app.
    fn evil_page(&self, path: &str) -> Url {
        self.stage.edge.tunnel(EVIL, path)
    }

    /// Opens a page that asks for a sign-in first, and signs in.
    async fn sign_in(&self, page: &Url) {
        let tab = &self.stage.tab;
        tab.go(page).await;
        tab.click("Sign in with a passkey").await;
        self.is_in_app(page).await;
    }

    /// Waits until a tunnel's app is there.
    async fn is_in_app(&self, page: &Url) {
        let there = json!([origin(page), page.path()]).to_string();
        let here = "JSON.stringify([location.origin, location.pathname])";
        let tab = &self.stage.tab;
        tab.until(&format!("{here} === {} && document.body.innerText.includes('The app')", json!(there)))
            .await;
    }

    /// Opens the evil app's page.
    async fn go_evil(&self) {
        self.stage.tab.go(&self.evil_page("/")).await;
    }

    /// Has the page in the tab run an attacker's script: a function of these arguments.
    async fn attack(&self, script: &str, arguments: Value) -> Value {
        self.stage.tab.eval(&format!("({script})({arguments})")).await
    }

    /// What the attacker is told of the others.
    fn targets(&self) -> Value {
        let (victim, deployer) = (self.stage.page("/"), self.stage.edge.deployer("/"));
        json!({"victim": origin(&victim), "deployer": origin(&deployer), "base": self.stage.edge.base()})
    }

    /// The value of the cookie `name` that the browser would send to `url`.
    async fn cookie(&self, url: &Url, name: &str) -> Option<String> {
        let told = self.stage.tab.call("Network.getCookies", json!({"urls": [url.as_str()]})).await;
        let cookies = told["cookies"].as_array().expect("a list");
        let ours = cookies.iter().find(|cookie| cookie["name"] == name)?;
        Some(ours["value"].as_str().expect("a value").to_owned())
    }

    /// Opens Ada's own app and sees that her session there is what it was.
    async fn the_others_session_lives(&self) {
        let page = self.stage.page("/");
        self.stage.tab.go(&page).await;
        self.is_in_app(&page).await;
        let read =
            "fetch('/echo').then(answer => answer.json()).then(told => told.headers['x-patapim-user'])";
        assert_eq!(self.stage.tab.eval(read).await, "ada");
    }

    /// Opens the sign-in site and sees that Ada is signed in there.
    async fn the_deployers_session_lives(&self) {
        self.stage.tab.go(&self.stage.edge.deployer("/")).await;
        self.stage.tab.reads(EVIL).await;
    }
}
