//! The desktop decides whom to let in: a new device waits until somebody there has approved it.

mod decisions;
mod lasting;
mod panel;
mod proven;
mod waiting;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::rig::agent::Desktop;
use crate::rig::answer::{Answer, Live};
use crate::rig::app::App;
use crate::rig::authenticator::Authenticator;
use crate::rig::client::{Visitor, origin};
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::Person;
use crate::rig::process::Process;

/// An edge, and Ada's app behind her desktop, which asks about every new device and trusts none yet.
struct Asking {
    edge: Edge,
    app: App,
    ada: Person,
    desktop: Desktop,
    agent: Process,
}

impl Asking {
    async fn start() -> Self {
        let edge = Setup::default().start().await;
        let app = App::start("ada's app").await;
        let ada = Person::enrolled(&edge, "ada").await;
        let desktop = Desktop::linked(&edge, "ada").await;
        let agent = desktop.run_asking(&app.url()).await;
        Self { edge, app, ada, desktop, agent }
    }

    /// Ada has signed in and waits; gives what the desktop is shown.
    async fn waiting() -> (Self, Value) {
        let mut asking = Self::start().await;
        let pending = asking.signs_in_and_waits().await;
        (asking, pending)
    }

    /// Ada's device is trusted, and she is in.
    async fn approved() -> Self {
        let (asking, pending) = Self::waiting().await;
        asking.decide("approve", &pending).await;
        asking.ada.browser.navigate(&asking.page("/")).await.must_be(200);
        asking
    }

    /// In a browser that knows nothing of earlier sign-ins, so that their end is nothing to wait for.
    async fn signs_in_and_waits(&mut self) -> Value {
        self.ada.browser = self.edge.visitor();
        let page = self.page("/");
        let answer = self.ada.open(&page).await.must_be(200);
        assert!(answer.url.path() == "/.patapim/waiting", "{}", answer.url);
        self.pending().await.pop().expect("a device that waits")
    }

    fn page(&self, path: &str) -> Url {
        self.edge.tunnel(&self.desktop.tunnel, path)
    }

    /// What the page that waits is told, as it happens.
    async fn events(&self) -> Live {
        let page = self.page("/.patapim/waiting?return_to=%2F");
        let asked = self.ada.browser.send(Method::GET, &page).header("accept", "text/event-stream");
        let asked = asked.header("sec-fetch-mode", "cors").header("sec-fetch-site", "same-origin");
        asked.open().await.expect("a stream")
    }

    async fn pending(&self) -> Vec<Value> {
        list(&self.desktop, "pending").await
    }

    async fn trusted(&self) -> Vec<Value> {
        list(&self.desktop, "list").await
    }

    /// Has the desktop decide about the device that `pending` tells of.
    async fn decide(&self, decision: &str, pending: &Value) {
        let id = pending["id"].as_str().expect("an id");
        let before = self.edge.approvals();
        let done = self.desktop.command(&["devices", decision, &id[..8], "--json"]).await;
        assert_eq!((done.code, &done.json()["id"]), (0, &pending["id"]), "{}{}", done.out, done.err);
        if decision == "approve" {
            self.edge.hears_of_approval(before).await;
        }
    }

    /// Another passkey of Ada's, in a browser of its own.
    async fn another_device(&self, name: &str) -> Person {
        let begun = self.ada.begin_registration(&json!({"name": name})).await;
        let mut other = Person::with_nothing(&self.edge, "ada");
        other.key = Authenticator::at(&origin(&self.edge.deployer("/")));
        let made = other.key.register(&begun["publicKey"]);
        let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
        self.ada.api_post(&path, &made).await.must_be(201);
        other
    }

    /// The file of trusted devices.
    fn file(&self) -> Value {
        let text = std::fs::read(self.desktop.home().join("trusted-passkeys.json")).expect("the file");
        serde_json::from_slice(&text).expect("whole JSON")
    }
}

async fn list(desktop: &Desktop, which: &str) -> Vec<Value> {
    match desktop.command(&["devices", which, "--json"]).await.json() {
        Value::Array(devices) => devices,
        other => panic!("not a list: {other}"),
    }
}

/// A script asks for `page`.
async fn script(browser: &Visitor, page: &Url) -> Answer {
    browser.fetch(Method::GET, page).await
}

/// Reads events until one says `state`.
async fn told(events: &mut Live, state: &str) {
    let mut heard = String::new();
    while !heard.contains(&format!("data: {state}")) {
        heard += &crate::rig::process::within("an event", events.text()).await;
    }
}
