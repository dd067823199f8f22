//! The site as a browser meets it: whole requests into the router, over a real database and a clock moved by hand.

mod access_tokens;
mod authenticator;
mod ceremonies;
mod detours;
mod fallbacks;
mod http_manners;
mod link_by_code;
mod link_confirmed;
mod linking;
mod proofs;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, COOKIE, HeaderName, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::authenticator::{Draft, Key};
use super::mail::{Carrier, Mail, MailError, Outbox};
use super::{Client, Deployer, DesktopError, Presence, TrustedDevice, WebauthnSettings, router};
use crate::access::cookies::{BindCookie, DEPLOYER};
use crate::access::gate::{Asking, Facts, Gate, Provenance, Verdict};
use crate::access::seal::Sealer;
use crate::access::sessions::SessionSettings;
use crate::access::{Assertor, KeyRing, Once, Redeemed, Sessions, Visitor};
use crate::accounts::{Accounts, Tunnel, User};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::names::{BaseDomain, DeviceId, EmailAddress, PublicHosts, Scheme, TunnelId, UserName};
use crate::secret::{Entropy, SystemEntropy};
use crate::store::Store;
use crate::store::sqlite::SqliteFile;
use crate::trail::Trail;

const ORIGIN_OF_OURS: &str = "https://deployer.patapim.test";

/// Desktops that are there because a test says so.
#[derive(Default)]
struct Desktops {
    online: Mutex<Vec<TunnelId>>,
    unlinked: Mutex<Vec<TunnelId>>,
}

impl Presence for Desktops {
    fn online(&self, tunnel: &TunnelId) -> bool {
        self.online.lock().expect("a lock").contains(tunnel)
    }

    fn desktop(&self, tunnel: &TunnelId) -> Option<String> {
        self.online(tunnel).then(|| "the desktop itself".to_owned())
    }

    fn devices(&self, _: &TunnelId) -> BoxFuture<'static, Result<Vec<TrustedDevice>, DesktopError>> {
        Box::pin(async { Err(DesktopError::Offline) })
    }

    fn remove_device(&self, _: &TunnelId, _: &DeviceId) -> BoxFuture<'static, Result<(), DesktopError>> {
        Box::pin(async { Err(DesktopError::Offline) })
    }

    fn unlinked(&self, tunnel: &TunnelId) {
        self.unlinked.lock().expect("a lock").push(tunnel.clone());
    }
}

/// What was mailed, in the order of its arrival.
#[derive(Default)]
struct Mails {
    all: Mutex<Vec<Mail>>,
    news: Notify,
}

#[async_trait::async_trait]
impl Carrier for Mails {
    async fn carry(&self, mail: Mail) -> Result<(), MailError> {
        self.all.lock().expect("a lock").push(mail);
        self.news.notify_waiters();
        Ok(())
    }
}

impl Mails {
    /// Those with this subject, once there are so many.
    async fn about(&self, subject: &str, count: usize) -> Vec<Mail> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let found: Vec<_> = self.so_far().into_iter().filter(|mail| mail.subject == subject).collect();
            if found.len() >= count {
                return found;
            }
            news.await;
        }
    }

    fn so_far(&self) -> Vec<Mail> {
        self.all.lock().expect("a lock").clone()
    }
}

/// One edge's sign-in site.
struct House {
    _folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    entropy: Arc<dyn Entropy>,
    accounts: Accounts,
    sessions: Arc<Sessions>,
    assertor: Arc<Assertor>,
    hosts: PublicHosts,
    desktops: Arc<Desktops>,
    mails: Arc<Mails>,
    site: Router,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
        let entropy = SystemEntropy::shared();
        let keys = Arc::new(KeyRing::open(folder.path(), &*clock, &*entropy).expect("keys"));
        let store: Arc<dyn Store> =
            SqliteFile::open(&folder.path().join("edge.db")).expect("a database").start(clock.clone());
        let base = BaseDomain::parse("patapim.test").expect("a domain");
        let hosts = PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("a label");
        let accounts = Accounts::new(Arc::clone(&store), clock.clone(), Arc::clone(&entropy));
        let sessions = Sessions::open(
            Arc::clone(&store),
            clock.clone(),
            Arc::clone(&entropy),
            Arc::clone(&keys),
            hosts.deployer_origin(),
            SessionSettings::default(),
        )
        .await
        .expect("sessions");
        let assertor = Assertor::open(folder.path(), hosts.clone(), &*clock, &*entropy).expect("keys");
        let assertor = Arc::new(assertor);
        let desktops = Arc::<Desktops>::default();
        let trail = Trail::open(folder.path(), Arc::clone(&store), clock.clone()).await.expect("a trail");
        let mails = Arc::<Mails>::default();
        let site = router(Deployer {
            accounts: accounts.clone(),
            sessions: Arc::clone(&sessions),
            sealer: Sealer::new(keys),
            once: Once::new(Arc::clone(&store)),
            assertor: Arc::clone(&assertor),
            hosts: hosts.clone(),
            clock: clock.clone(),
            entropy: Arc::clone(&entropy),
            webauthn: WebauthnSettings { rp_id: "deployer.patapim.test".to_owned() },
            presence: desktops.clone(),
            trail: Arc::clone(&trail),
            changes: Arc::default(),
            leaving: CancellationToken::new(),
            outbox: Some(Outbox::new(mails.clone())),
        });
        Self { _folder: folder, clock, entropy, accounts, sessions, assertor, hosts, desktops, mails, site }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { house: self, cookies: Mutex::default() }
    }

    /// Somebody new, invited and enrolled.
    async fn person(&self, name: &str) -> Person<'_> {
        let email = EmailAddress::parse(&format!("{name}@mail.test")).ok();
        let user =
            self.accounts.add_user(UserName::parse(name).expect("a name"), email).await.expect("added");
        let mut person = Person { user, browser: self.browser(), key: Key::new() };
        person.enrol().await.must_be(StatusCode::CREATED);
        person
    }

    async fn tunnel(&self, user: &User) -> Tunnel {
        let (token, _) = self.accounts.make_link_token(&user.id, None).await.expect("a token");
        let pin = crate::secret::random_id(&*self.entropy);
        self.accounts.link_by_token(&token, &pin, "Work laptop").await.expect("linked").1
    }

    /// What the gate of `tunnel` makes of the address a sign-in led to.
    async fn redeem(&self, tunnel: &TunnelId, address: &str, bind: &BindCookie) -> Option<Redeemed> {
        let token = parameter(address, "token")?;
        let facts = Facts {
            tunnel,
            asking: Asking::Navigation,
            provenance: Provenance::Own,
            session: None,
            access_token: None,
            tokens: &[token],
        };
        match Gate::new(Arc::clone(&self.sessions)).admit(&facts, self.clock.now()) {
            Verdict::Redeem(token, _) => {
                self.sessions.redeem(&token, Some(bind), None, &Visitor::default()).await.ok()
            }
            _ => None,
        }
    }

    fn bind(&self) -> BindCookie {
        BindCookie::random(&*self.entropy)
    }
}

/// A browser that shows pages of the site.
struct Browser<'h> {
    house: &'h House,
    cookies: Mutex<BTreeMap<String, String>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn must_be(self, status: StatusCode) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    #[track_caller]
    fn must_be_problem(self, status: StatusCode, slug: &str) -> Self {
        let answer = self.must_be(status);
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.json()["type"], format!("/problems/{slug}"));
        assert_eq!(answer.json()["status"], status.as_u16());
        answer
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn redirect(&self) -> String {
        self.json()["redirect"].as_str().expect("a redirect").to_owned()
    }

    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().expect("text")
    }

    fn sets(&self, cookie: &str) -> Option<&str> {
        let set = self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("text"));
        set.into_iter().find(|set| set.starts_with(&format!("{cookie}=")))
    }
}

impl Browser<'_> {
    /// The same cookies, in a browser of their own from now on.
    fn copy(&self) -> Self {
        Browser { house: self.house, cookies: Mutex::new(self.cookies.lock().expect("a lock").clone()) }
    }

    fn set(&self, cookie: &str, value: &str) {
        self.cookies.lock().expect("a lock").insert(cookie.to_owned(), value.to_owned());
    }

    fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().expect("a lock").get(name).cloned()
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .lock()
            .expect("a lock")
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.join("; ").parse().expect("a field"));
        }
        request.extensions_mut().insert(Client { address: "192.0.2.7".to_owned() });
        let response = self.house.site.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes().to_vec();
        for set in parts.headers.get_all(SET_COOKIE) {
            let set = set.to_str().expect("text");
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            if set.contains("Max-Age=0") {
                self.cookies.lock().expect("a lock").remove(name);
            } else {
                self.set(name, value);
            }
        }
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        request = request.header(ORIGIN, ORIGIN_OF_OURS).header("sec-fetch-site", "same-origin");
        let body = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).expect("a request")).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// The person opens a page.
    async fn open(&self, path: &str) -> Answer {
        self.open_with(path, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]).await
    }

    async fn open_with(&self, path: &str, headers: &[(&'static str, &'static str)]) -> Answer {
        let mut request = Request::builder().uri(path.strip_prefix(ORIGIN_OF_OURS).unwrap_or(path));
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), *value);
        }
        self.send(request.body(Body::empty()).expect("a request")).await
    }
}

/// Somebody with a browser and a passkey.
struct Person<'h> {
    user: User,
    browser: Browser<'h>,
    key: Key,
}

impl Person<'_> {
    async fn enrol(&mut self) -> Answer {
        let ticket = self.browser.house.accounts.invite(&self.user.id).await.expect("invited");
        let body = json!({ "name": "First key", "ticket": ticket.reveal() });
        let begun = self.browser.post("/passkeys/registration", &body).await.must_be(StatusCode::OK).json();
        let made = self.key.create(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
        self.finish_registration(&begun, &made).await
    }

    async fn finish_registration(&self, begun: &Value, made: &Value) -> Answer {
        let ceremony = begun["ceremony"].as_str().expect("a ceremony");
        self.browser.post(&format!("/passkeys/registration/{ceremony}"), made).await
    }

    async fn begin(&self, wanted: &Value) -> Value {
        self.browser.post("/sign-in/passkey", wanted).await.must_be(StatusCode::OK).json()
    }

    async fn finish(&self, begun: &Value, answer: &Value) -> Answer {
        let ceremony = begun["ceremony"].as_str().expect("a ceremony");
        self.browser.post(&format!("/sign-in/passkey/{ceremony}"), answer).await
    }

    async fn sign_in(&mut self, wanted: &Value) -> Answer {
        self.sign_in_bent(wanted, |_| ()).await
    }

    async fn sign_in_bent(&mut self, wanted: &Value, bend: impl FnOnce(&mut Draft)) -> Answer {
        let begun = self.begin(wanted).await;
        let answer = self.key.get(&begun["publicKey"], ORIGIN_OF_OURS, bend);
        self.finish(&begun, &answer).await
    }

    fn is_signed_in(&self) -> bool {
        self.browser.cookie(DEPLOYER).is_some()
    }
}

/// A query parameter, decoded.
fn parameter(address: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(ORIGIN_OF_OURS).and_then(|base| base.join(address)).expect("an address");
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
