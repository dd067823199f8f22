//! Scripts with an access token, apps that check who visits, and new keys (contract, sections 2 and 4).

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::rig::app::App;
use crate::rig::browser::Chromium;
use crate::rig::client::origin;
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::Person;

const TUNNEL: &str = "ada-abc234";
/// What an app would copy.
const EXAMPLE: &str = include_str!("../../examples/verify_assertion.mjs");

/// An edge with an app, and Ada.
struct Place {
    edge: Edge,
    app: App,
    ada: Person,
}

impl Place {
    async fn start() -> Self {
        let app = App::start("files").await;
        let edge = Setup::default().upstream(TUNNEL, "ada", &app.url()).start().await;
        let ada = Person::enrolled(&edge, "ada").await;
        Self { edge, app, ada }
    }

    fn page(&self, path: &str) -> Url {
        self.edge.tunnel(TUNNEL, path)
    }

    /// Makes an access token in the settings; gives its id and text.
    async fn token(&self) -> (String, String) {
        let sessions = self.ada.api_get("/sessions").await.must_be(200).json();
        let year: u32 = sessions[0]["since"].as_str().expect("a time")[..4].parse().expect("a year");
        let end = format!("{}-01-01T00:00:00Z", year + 1);
        let body = json!({"name": "Backup", "tunnel": TUNNEL, "expires_at": end});
        let made = self.ada.api_post("/access-tokens", &body).await.must_be(201).json();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        (text("id"), text("token"))
    }

    /// What the app was told about the visitor of a page just now.
    async fn assertion(&self) -> String {
        let told = self.ada.browser.fetch(Method::GET, &self.page("/echo")).await.must_be(200).json();
        told["headers"]["x-patapim-assertion"].as_str().expect("an assertion").to_owned()
    }
}

#[tokio::test]
async fn a_script_passes_with_its_token_which_the_app_never_sees() {
    let mut place = Place::start().await;
    let (id, token) = place.token().await;
    let script = place.edge.visitor();
    let bearer = format!("Bearer {token}");
    let page = place.page("/echo");
    let told = script.curl(&page).header("authorization", &bearer).await.must_be(200);
    assert!(!told.text().contains(&token), "{}", told.text());
    assert_eq!(told.json()["headers"]["x-patapim-user"], "ada");
    let own = script.curl(&page).header("x-patapim-token", &token).header("authorization", "Basic YTpi");
    let told = own.await.must_be(200);
    assert_eq!(told.json()["headers"]["authorization"], "Basic YTpi", "the app's own");
    assert!(!told.text().contains(&token), "{}", told.text());

    let socket = script.websocket_from(&place.page("/ws"), &[("x-patapim-token", &token)]).await;
    let mut socket = socket.unwrap_or_else(|refused| panic!("{}", refused.status));
    assert_eq!(socket.ask("hello").await, "hello");

    let before = place.app.count();
    for wrong in ["patapim_", &token[..token.len() - 1], &format!("{token}a")] {
        script.curl(&page).header("x-patapim-token", wrong).await.must_be(401);
    }
    let elsewhere = place.edge.tunnel("ada-xyz777", "/echo");
    script.curl(&elsewhere).header("x-patapim-token", &token).await.must_be(401);
    assert_eq!(place.app.count(), before, "nothing reaches the app");

    place.edge.kill().await;
    place.edge.start_again().await;
    script.curl(&page).header("authorization", &bearer).await.must_be(200);
    let events = script.fetch(Method::GET, &place.page("/events/one")).header("x-patapim-token", &token);
    let mut events = events.open().await.expect("a stream");
    place.app.streaming("one").await;
    place.ada.api_delete(&format!("/access-tokens/{id}")).await.must_be(204);
    events.cut().await;
    script.curl(&page).header("authorization", &bearer).await.must_be(401);
    place.edge.kill().await;
    place.edge.start_again().await;
    script.curl(&page).header("authorization", &bearer).await.must_be(401);
    assert_eq!(place.ada.api_get("/access-tokens").await.must_be(200).json(), json!([]));
}

#[tokio::test]
async fn forgetting_the_keys_ends_every_visit_and_leaves_what_rests_on_no_key() {
    let mut place = Place::start().await;
    let page = place.page("/");
    let unused = place.ada.token_for(&place.page("/other")).await;
    place.ada.open(&page).await.must_be(200);
    let (_, token) = place.token().await;
    let mut events =
        place.ada.browser.fetch(Method::GET, &place.page("/events/one")).open().await.expect("a stream");
    place.app.streaming("one").await;

    let rotated = place.edge.admin(&["key", "rotate", "--now"]).await;
    assert_eq!(rotated["revoked"], 1);
    events.cut().await;
    place.ada.browser.navigate(&unused).await.must_be(401);
    place.ada.browser.curl(&page).await.must_be(401);
    place.ada.api_get("/passkeys").await.must_be(200);
    let script = place.edge.visitor();
    script.curl(&page).header("x-patapim-token", &token).await.must_be(200);
    let set = script.curl(&place.edge.deployer("/.well-known/jwks.json")).await.must_be(200).json();
    assert_eq!(set["keys"].as_array().map(Vec::len), Some(1));

    place.edge.kill().await;
    place.edge.start_again().await;
    place.ada.browser.curl(&page).await.must_be(401);
    place.ada.open(&page).await.must_be(200);
}

/// One at a time, as all that need a browser.
mod in_a_browser {
    use super::*;

    /// In JavaScript, because a browser is there wherever these tests run; Node, Deno and Bun run the same file.
    #[tokio::test]
    async fn an_app_in_another_language_checks_who_visits_before_and_after_a_rotation() {
        let mut place = Place::start().await;
        let page = place.page("/");
        place.ada.open(&page).await.must_be(200);
        let (deployer, tunnel) = (origin(&place.edge.deployer("/")), origin(&page));

        let chromium = Chromium::for_edge(&place.edge).await;
        let tab = chromium.tab().await;
        tab.go(&place.edge.deployer("/")).await;
        // A page has no modules of its own here: the example's function is made one of the page's.
        let example = EXAMPLE.replace("export function", "function");
        let make = format!(
            "(async () => {{ {example}\n globalThis.clock = 0; const now = () => Date.now() + clock; \
             globalThis.visitor = verifier({{ deployer: {deployer:?}, origin: {tunnel:?}, now }}); \
             globalThis.other = verifier({{ deployer: {deployer:?}, origin: {deployer:?}, now }}); }})()"
        );
        tab.eval(&make).await;
        let ask = async |who: &str, assertion: &str| -> Value {
            let call = format!("{who}({assertion:?}).then(claims => claims.name, error => error.message)");
            tab.eval(&call).await
        };
        let first = place.assertion().await;
        assert_eq!(ask("visitor", &first).await, "ada");
        assert_eq!(ask("other", &first).await, "for somebody else");
        let (signed, signature) = first.rsplit_once('.').expect("a JWT");
        let (header, _) = signed.split_once('.').expect("a JWT");
        assert_eq!(ask("visitor", &format!("{header}.e30.{signature}")).await, "not signed by the edge");
        assert_eq!(ask("visitor", "undefined").await, "no assertion");

        let rotated = place.edge.admin(&["key", "rotate"]).await;
        let second = place.assertion().await;
        tab.eval("clock = 11_000").await;
        assert_eq!(ask("visitor", &second).await, "ada", "a key that it did not know");
        assert_eq!(ask("visitor", &first).await, "ada", "the former key is published for a while");
        let keys = place.edge.admin(&["key", "list"]).await;
        let keys = keys.as_array().expect("a list");
        assert_eq!(keys.iter().filter(|key| key["state"] == "retired").count(), 2);
        assert!(keys.iter().any(|key| key["kid"] == rotated["assertion"] && key["kind"] == "assertion"));
        tab.eval("clock = 400_000").await;
        assert_eq!(ask("visitor", &first).await, "out of its time");
    }

    #[tokio::test]
    async fn a_person_makes_a_token_in_the_settings_sees_it_once_and_revokes_it() {
        let app = App::start("files").await;
        let edge = Setup::default().base("patapim.test").upstream(TUNNEL, "ada", &app.url()).start().await;
        let chromium = Chromium::for_edge(&edge).await;
        let tab = chromium.tab().await;
        tab.go(&edge.invite("ada").await).await;
        tab.click("Create passkey").await;
        tab.until("document.body.innerText.includes('Go to my tunnels')").await;

        let settings = edge.deployer("/settings/security");
        tab.go(&settings).await;
        tab.click("New access token").await;
        tab.until("document.activeElement.id === 'token-name'").await;
        tab.type_text("Backup").await;
        tab.click("Make the token").await;
        let text = "document.getElementById('token-text').textContent";
        tab.until(&format!("{text}.startsWith('patapim_') && document.querySelector('.access-token')")).await;
        let token = tab.eval(text).await.as_str().expect("text").to_owned();
        tab.screenshots("access-token").await;
        let page = edge.tunnel(TUNNEL, "/");
        let script = async || edge.visitor().curl(&page).header("x-patapim-token", &token).await;
        script().await.must_be(200);

        tab.click("Done").await;
        tab.until(&format!("{text} === ''")).await;
        tab.go(&settings).await;
        tab.click("Revoke Backup").await;
        tab.until("document.querySelector('.dialog')").await;
        let shown = tab.text().await;
        assert!(shown.contains(TUNNEL) && !shown.contains(&token[..12]), "{shown}");
        tab.click("Revoke").await;
        tab.until("document.body.innerText.includes('Revoked.') && !document.querySelector('.access-token')")
            .await;
        script().await.must_be(401);
    }
}
