//! Headless Chromium with a virtual authenticator, driven as a person would: by looking and clicking.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::devtools::DevTools;
use super::edge::Edge;
use super::process::{Process, within};
use super::virtual_authenticator::Kind;

/// A running browser with a profile of its own.
pub(crate) struct Chromium {
    tools: DevTools,
    _process: Process,
    _profile: TempDir,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    Light,
    Dark,
    Phone,
}

impl Chromium {
    /// Starts one that trusts the certificate of `edge`, and finds its names on this machine.
    pub(crate) async fn for_edge(edge: &Edge) -> Self {
        Self::start(&[
            format!("--ignore-certificate-errors-spki-list={}", edge.ca.spki()),
            format!("--host-resolver-rules=MAP *.{} 127.0.0.1", edge.base()),
        ])
        .await
    }

    /// Starts one with these arguments besides the usual.
    pub(crate) async fn start(arguments: &[String]) -> Self {
        let profile = TempDir::with_prefix("patapim-chromium-").expect("a temporary folder");
        let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage"])
            .args(["--hide-scrollbars", "--mute-audio", "--password-store=basic", "--lang=en-US"])
            .args(["--remote-debugging-port=0", "--window-size=1280,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("TMPDIR", profile.path())
            .args(arguments)
            .arg("about:blank");
        let process = Process::start(&mut command);
        let address = process
            .says("Chromium's debugging address", |line| {
                line.split_once("DevTools listening on ").map(|(_, address)| address.trim().to_owned())
            })
            .await;
        Self { tools: DevTools::connect(&address).await, _process: process, _profile: profile }
    }

    /// Opens a tab. Its authenticator holds no passkey yet, and always sees its person's finger.
    pub(crate) async fn tab(&self) -> Tab {
        self.open_tab(json!({"url": "about:blank"})).await
    }

    /// Opens a tab that knows nothing of the others' cookies, as another browser's.
    pub(crate) async fn stranger(&self) -> Tab {
        let context = self.tools.call(None, "Target.createBrowserContext", json!({})).await;
        self.open_tab(json!({"url": "about:blank", "browserContextId": context["browserContextId"]})).await
    }

    async fn open_tab(&self, how: Value) -> Tab {
        let target = self.tools.call(None, "Target.createTarget", how).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.tools.call(None, "Target.attachToTarget", attach).await;
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let tab = Tab { tools: self.tools.clone(), session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab.keep_passkeys_in(Kind::Platform).await;
        tab
    }
}

/// A tab of the browser.
pub(crate) struct Tab {
    pub(super) tools: DevTools,
    pub(super) session: String,
}

impl Tab {
    /// Sends this tab a DevTools command.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.tools.call(Some(&self.session), method, params).await
    }

    /// Types an address and waits until a page is loaded, after any redirects.
    pub(crate) async fn go(&self, url: &Url) {
        let mut events = self.tools.events();
        let told = self.call("Page.navigate", json!({"url": url.as_str()})).await;
        assert!(told["errorText"].is_null(), "{url}: {told}");
        let loaded = async {
            while let Ok(event) = events.recv().await {
                if event["method"] == "Page.loadEventFired" && event["sessionId"] == self.session.as_str() {
                    return;
                }
            }
        };
        within(&format!("{url} to load"), loaded).await;
    }

    /// Has every page of this tab run a script before its own.
    pub(crate) async fn before_each_page(&self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await;
    }

    /// Waits until these words can be read on the page.
    pub(crate) async fn reads(&self, words: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(words))).await;
    }

    /// Evaluates an expression in the page; promises are awaited.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_eval(&self, expression: &str) -> Result<Value, Value> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let told = self.tools.try_call(Some(&self.session), "Runtime.evaluate", params).await?;
        match told.get("exceptionDetails") {
            Some(details) => Err(details.clone()),
            None => Ok(told["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true, looking again at every frame the page draws and across navigations.
    pub(crate) async fn until(&self, expression: &str) {
        let watch = format!(
            "new Promise(done => {{ const look = () => {{ let seen = false; try {{ seen = !!({expression}) }} \
             catch {{}} if (seen) done(true); else setTimeout(look, 20) }}; look() }})"
        );
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        // A navigation ends the watch with an error, and the next page is watched instead.
        loop {
            match tokio::time::timeout_at(deadline, self.try_eval(&watch)).await {
                Ok(Ok(_)) => return,
                Ok(Err(_)) => tokio::task::yield_now().await,
                Err(_) => panic!("never {expression}, at {}:\n{}", self.url().await, self.text().await),
            }
        }
    }

    /// Waits for a link, button or field with that text or label, and clicks it where a finger would.
    pub(crate) async fn click(&self, label: &str) {
        let find = by_label(label);
        self.until(&format!("(() => {{ const e = {find}; return e && !e.disabled }})()")).await;
        let point = self.eval(&format!("({AIM})(() => {find})")).await;
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let params = json!({
                "type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", params).await;
        }
    }

    /// Makes the passkey that the page at `/enrol` offers, once it has thought of a name for it.
    pub(crate) async fn make_passkey(&self) {
        self.until("document.getElementById('name').value").await;
        self.click("Create passkey").await;
        self.until("document.body.innerText.includes('Go to my tunnels')").await;
    }

    /// Types into the field that has the focus.
    pub(crate) async fn type_text(&self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses Enter.
    pub(crate) async fn press_enter(&self) {
        self.press("Enter").await;
    }

    /// Presses a key by its name.
    pub(crate) async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, Some("\r")),
            "Tab" => (9, None),
            "Escape" => (27, None),
            other => panic!("which key is {other}?"),
        };
        let kinds = if text.is_some() { ["keyDown", "keyUp"] } else { ["rawKeyDown", "keyUp"] };
        for kind in kinds {
            let mut params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            params["text"] = text.into();
            if text.is_none() {
                params.as_object_mut().expect("an object").remove("text");
            }
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Where it is now.
    pub(crate) async fn url(&self) -> Url {
        let href = self.eval("location.href").await;
        Url::parse(href.as_str().expect("an address")).expect("an address")
    }

    /// What a person can read on it.
    pub(crate) async fn text(&self) -> String {
        self.eval("document.body ? document.body.innerText : ''")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Takes a picture of the whole page into `target/screenshots`.
    pub(crate) async fn screenshot(&self, name: &str, look: Look) {
        self.look(look).await;
        let shot = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await;
        let bytes = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).expect("the target folder");
        let file = format!("{name}-{look:?}.png").to_lowercase();
        std::fs::write(folder.join(file), bytes).expect("the target folder");
        self.unlook().await;
    }

    /// Shows the page in this look from now on.
    pub(super) async fn look(&self, look: Look) {
        let (width, phone, scheme) = match look {
            Look::Light => (1280, false, "light"),
            Look::Dark => (1280, false, "dark"),
            Look::Phone => (390, true, "light"),
        };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
        let metrics = json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Shows it as usual again.
    pub(super) async fn unlook(&self) {
        self.call("Emulation.setEmulatedMedia", json!({"features": []})).await;
        self.call("Emulation.clearDeviceMetricsOverride", json!({})).await;
    }

    /// Takes a picture in every look.
    pub(crate) async fn screenshots(&self, name: &str) {
        for look in [Look::Light, Look::Dark, Look::Phone] {
            self.screenshot(name, look).await;
        }
    }
}

/// JavaScript that finds the middle of an element once it has stood still for some frames: a page that is still
/// arranging itself would have the click land elsewhere.
const AIM: &str = "find => new Promise(done => {
    let aimed = null, last = '', calm = 0;
    const look = () => {
        const e = find();
        if (e !== aimed && e) e.scrollIntoView({block: 'center'});
        aimed = e;
        if (!e) { calm = 0; requestAnimationFrame(look); return; }
        const r = e.getBoundingClientRect(), at = [r.x + r.width / 2, r.y + r.height / 2];
        calm = at.join() === last && e.contains(document.elementFromPoint(...at)) ? calm + 1 : 0;
        last = at.join();
        calm === 10 ? done(at) : requestAnimationFrame(look);
    };
    look();
})";

/// JavaScript that finds what can be clicked by the words a person reads on it; behind an open question, nothing can.
fn by_label(label: &str) -> String {
    let label = json!(label);
    format!(
        "[...(document.querySelector('[aria-modal=true]') || document).querySelectorAll('a, button, input, summary, label, [role=button]')].find(e => \
         (e.offsetWidth || e.offsetHeight) && ((e.innerText || '').trim() === {label} \
         || e.value === {label} || e.placeholder === {label} || e.getAttribute('aria-label') === {label}))"
    )
}
