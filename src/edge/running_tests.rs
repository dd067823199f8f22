//! By sockets: the whole edge over a real store, with an app behind a fixed upstream.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::super::test_certificate::{self, Written};
use super::super::test_listener::{dial, whole};
use super::*;
use crate::access::cookies::BindCookie;
use crate::access::sessions::SessionSettings;
use crate::access::{Cause, Method, SignIn, Target};
use crate::clock::Timestamp;
use crate::deployer::WebauthnSettings;
use crate::edge::{CapSettings, CertificateFiles, FixedUpstream, Limits, ListenSettings, ProxySettings};
use crate::names::{BaseDomain, DeviceId, TunnelId, UserName};
use crate::tunnel::TunnelSettings;

#[path = "running_connection_tests.rs"]
mod connections;
#[path = "running_upstream_tests.rs"]
mod upstreams;

const TUNNEL: &str = "ada-abc234.tunnel.patapim.test";

struct Test {
    running: Running,
    certificate: Written,
    ada: SignIn,
    tunnel: TunnelId,
    _folder: tempfile::TempDir,
}

/// An app that sends back what it was sent, as text; `/wait` never ends.
async fn app() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = service_fn(|mut request: Request<Incoming>| async move {
                if request.headers().contains_key("upgrade") || request.uri().path() == "/unasked" {
                    tokio::spawn(async move {
                        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
                        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    });
                    return Response::builder()
                        .status(101)
                        .header("upgrade", "websocket")
                        .header("connection", "upgrade")
                        // The answer to the key that every handshake here has (RFC 6455 §1.3).
                        .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                        .body(Empty::new().boxed());
                }
                let waits = request.uri().path() == "/wait";
                let text = format!("{} {}\n{:#?}", request.method(), request.uri(), request.headers());
                let body = if waits {
                    let begun = futures_util::stream::iter([Ok(Frame::data(Bytes::from("begun")))]);
                    StreamBody::new(futures_util::StreamExt::chain(begun, futures_util::stream::pending()))
                        .boxed()
                } else {
                    Full::new(Bytes::from(text)).boxed()
                };
                Response::builder()
                    .header("set-cookie", "app=1")
                    .header("set-cookie", "evil=1; Domain=patapim.test")
                    .header("alt-svc", "h3=\":443\"")
                    .body(body)
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer)
                    .with_upgrades(),
            );
        }
    });
    port
}

impl Test {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificate = test_certificate::write(&["deployer.patapim.test", "*.tunnel.patapim.test"]);
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let tunnel = TunnelId::parse("ada-abc234").expect("a label");
        let user = UserName::parse("ada").expect("a name");
        let fixed = FixedUpstream {
            tunnel: tunnel.clone(),
            user: user.clone(),
            host: "127.0.0.1".into(),
            port: app().await,
        };
        let settings = Settings {
            base: BaseDomain::parse("patapim.test").expect("a domain"),
            deployer_label: "deployer".into(),
            public_port: 443,
            data_dir: folder.path().to_owned(),
            browsers: Browsers::Tls,
            listen: ListenSettings { https: vec![any], http: vec![any], admin: any, admin_hosts: Vec::new() },
            tls: CertificateFiles { cert: certificate.cert.clone(), key: certificate.key.clone() },
            webauthn: WebauthnSettings { rp_id: "deployer.patapim.test".into() },
            session: SessionSettings::default(),
            caps: CapSettings::default(),
            proxies: ProxySettings::default(),
            tunnel: TunnelSettings::default(),
            limits: Limits::default(),
            grace: Duration::from_secs(30),
            mail: None,
            upstreams: vec![fixed],
        };
        let arrival = Arrival::by(Start::Alone, &settings).await.expect("all there");
        let running = Running::start(&settings, 2, arrival).await.expect("a running edge");
        let added = running.house.accounts.add_user(user, None).await.expect("added");
        let ada = SignIn {
            user: added.id,
            user_name: added.name,
            device: DeviceId::of_credential(b"key"),
            device_name: "key".into(),
            method: Method::Password,
            at: Timestamp::default(),
            evidence: None,
        };
        Self { running, certificate, ada, tunnel, _folder: folder }
    }

    async fn token(&self, bind: &BindCookie) -> String {
        let edge = &self.running.house.edge;
        let who = SignIn { at: edge.clock.now(), ..self.ada.clone() };
        let token = edge.sessions.issue(&who, &self.tunnel, &bind.hash(), Vec::new()).await.expect("issued");
        token.reveal().to_owned()
    }

    fn bind(&self) -> BindCookie {
        BindCookie::random(&*self.running.house.edge.entropy)
    }

    async fn h1(&self, name: &str) -> http1::SendRequest<Empty<Bytes>> {
        let stream = dial(self.running.ready.https[0], &self.certificate.der, name, b"http/1.1").await;
        let (visitor, connection) = http1::handshake(TokioIo::new(stream)).await.expect("h1");
        tokio::spawn(connection);
        visitor
    }

    /// An answer to `session` that has begun and does not end, and the connection it comes on.
    async fn waiting(&self, session: &str) -> (Incoming, http1::SendRequest<Empty<Bytes>>) {
        let mut visitor = self.h1(TUNNEL).await;
        let request = Request::builder().uri("/wait").header("host", TUNNEL).header("cookie", session);
        let request = request.body(Empty::new()).expect("a request");
        let mut body = visitor.send_request(request).await.expect("answered").into_body();
        body.frame().await.expect("a frame").expect("well");
        (body, visitor)
    }

    async fn h2(&self, name: &str) -> http2::SendRequest<Empty<Bytes>> {
        let stream = dial(self.running.ready.https[0], &self.certificate.der, name, b"h2").await;
        let (visitor, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("h2");
        tokio::spawn(connection);
        visitor
    }

    async fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut visitor = self.h1(TUNNEL).await;
        let mut request = Request::builder().method(method).uri(target).header("host", TUNNEL);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response =
            visitor.send_request(request.body(Empty::new()).expect("a request")).await.expect("answered");
        let (head, body) = response.into_parts();
        let body = String::from_utf8(whole(body).await.expect("whole").to_vec()).expect("text");
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Signs in, and gives the session's cookie.
    async fn signed_in(&self) -> String {
        let bind = self.bind();
        let target = format!("/?token={}", self.token(&bind).await);
        let cookie = format!("__Host-patapim-bind={}", bind.value().reveal());
        let answer = self.ask("GET", &target, &[NAVIGATION, ("cookie", &cookie)]).await;
        answer.cookie("__Host-patapim-session").expect("a session")
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn cookie(&self, name: &str) -> Option<String> {
        let mut cookies =
            self.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("text"));
        let cookie = cookies.find(|cookie| cookie.split('=').next() == Some(name))?;
        Some(cookie.split(';').next()?.to_owned())
    }
}

const NAVIGATION: (&str, &str) = ("sec-fetch-mode", "navigate");

#[tokio::test]
async fn without_a_session_each_kind_of_request_is_told_in_its_own_way() {
    let test = Test::start().await;
    let page = test.ask("GET", "/a?b=1%20&c", &[NAVIGATION]).await;
    assert_eq!((page.status.as_u16(), page.field("cache-control")), (303, "no-store"));
    let bind = page.cookie("__Host-patapim-bind").expect("a bind cookie");
    let parsed = BindCookie::parse(bind.split_once('=').expect("a value").1).expect("well-formed");
    assert_eq!(
        page.field("location"),
        format!(
            "https://deployer.patapim.test/auth?tunnel=ada-abc234&bind={}&return_to=%2Fa%3Fb%3D1%2520%26c",
            parsed.hash().as_str()
        )
    );
    let again = test.ask("GET", "/a?b=1%20&c", &[NAVIGATION, ("cookie", &bind)]).await;
    assert_eq!((again.field("location"), again.field("set-cookie")), (page.field("location"), ""));

    let script = test.ask("GET", "/", &[("accept", "*/*")]).await;
    assert_eq!((script.status.as_u16(), script.field("www-authenticate")), (401, "Bearer"));
    assert_eq!(script.field("content-type"), "application/problem+json");
    let form = test.ask("POST", "/", &[NAVIGATION]).await;
    assert_eq!((form.status.as_u16(), form.field("content-type")), (401, "text/html; charset=utf-8"));
    let worker = test.ask("GET", "/sw.js", &[("service-worker", "script")]).await;
    assert_eq!(
        (worker.status.as_u16(), worker.field("content-type")),
        (200, "text/javascript; charset=utf-8")
    );
    for answer in [&script, &form, &worker] {
        assert_eq!((answer.field("location"), answer.field("set-cookie")), ("", ""));
    }
}

#[tokio::test]
async fn a_token_is_redeemed_once_and_the_app_sees_the_visitor_and_nothing_of_the_edge() {
    let test = Test::start().await;
    let bind = test.bind();
    let token = test.token(&bind).await;
    let (with_token, cookie) =
        (format!("/p?a=%2f&token={token}"), format!("__Host-patapim-bind={}", bind.value().reveal()));
    let first = test.ask("GET", &with_token, &[NAVIGATION, ("cookie", &cookie)]).await;
    assert_eq!(first.status, 303);
    assert_eq!(first.field("location"), format!("https://{TUNNEL}/p?a=%2f"));
    assert_eq!((first.field("cache-control"), first.field("referrer-policy")), ("no-store", "no-referrer"));
    let session = first.cookie("__Host-patapim-session").expect("a session");
    for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(first.field("set-cookie").contains(part), "{part}");
    }

    let again = test.ask("GET", &with_token, &[NAVIGATION, ("cookie", &cookie)]).await;
    assert_eq!(again.cookie("__Host-patapim-session"), Some(session.clone()));
    let foreign =
        "/p?a=%2f&token=eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL290aGVyLnRlc3QifQ.AAAA".to_owned();
    let mut refusals = Vec::new();
    for (target, cookie) in [
        (with_token.clone(), String::new()),
        (with_token.clone(), format!("__Host-patapim-bind={}", test.bind().value().reveal())),
        (format!("{with_token}A"), cookie.clone()),
        (foreign, cookie.clone()),
    ] {
        refusals.push(test.ask("GET", &target, &[NAVIGATION, ("cookie", &cookie)]).await);
    }
    for refusal in &mut refusals {
        refusal.headers.remove("date");
        assert_eq!((refusal.status.as_u16(), refusal.field("set-cookie")), (401, ""));
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "alike for every reason");

    let cookies = format!("mine=1; {session}; {cookie}");
    let seen = test
        .ask(
            "GET",
            "/seen?token=app",
            &[("cookie", &cookies), ("x-forwarded-for", "evil"), ("x-patapim-user", "evil")],
        )
        .await;
    assert_eq!(seen.status, 200);
    for part in [
        "GET /seen?token=app",
        "\"x-patapim-user\": \"ada\"",
        "\"x-forwarded-for\": \"127.0.0.1\"",
        "\"x-forwarded-proto\": \"https\"",
        "\"cookie\": \"mine=1\"",
        "\"x-patapim-assertion\": ",
        &format!("\"host\": \"{TUNNEL}\""),
    ] {
        assert!(seen.body.contains(part), "{part} in {}", seen.body);
    }
    assert!(!seen.body.contains("evil") && !seen.body.contains("__Host"), "{}", seen.body);
    let cookies: Vec<_> = seen.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!((cookies, seen.field("alt-svc")), (vec![&b"app=1"[..]], ""));
}

#[tokio::test]
async fn another_sites_page_cannot_use_the_visitors_session() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    for fields in [
        &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")][..],
        &[("origin", "https://eve.tunnel.patapim.test")],
        &[("sec-fetch-site", "cross-site"), NAVIGATION, ("sec-fetch-dest", "iframe")],
    ] {
        let fields = [fields, &[("cookie", session.as_str())]].concat();
        for method in ["GET", "POST"] {
            assert_eq!(test.ask(method, "/", &fields).await.status, 403, "{method} {fields:?}");
        }
    }
    let link = [("sec-fetch-site", "cross-site"), NAVIGATION, ("cookie", session.as_str())];
    assert_eq!(test.ask("GET", "/", &link).await.status, 200);
    assert_eq!(test.ask("POST", "/", &link).await.status, 403);
}

#[tokio::test]
async fn a_revoked_session_is_refused_and_what_it_had_open_is_cut() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let (mut body, _visitor) = test.waiting(&session).await;

    let target = Target::User(test.ada.user.clone());
    test.running.house.edge.sessions.revoke(&target, Cause::Operator).await.expect("revoked");
    assert!(body.frame().await.expect("an end that is seen").is_err());
    assert_eq!(test.ask("GET", "/", &[("cookie", &session)]).await.status, 401);
    let metrics = String::from_utf8(crate::metrics::metrics().render()).expect("text");
    assert!(!metrics.contains("revocation_cut_seconds_count 0"), "it was measured");
}

#[tokio::test]
async fn the_edges_own_paths_begin_tell_and_end_a_session() {
    let test = Test::start().await;
    let begin = test.ask("GET", "/.patapim/begin?state=s%31&return_to=%2Fx", &[NAVIGATION]).await;
    assert_eq!(begin.status, 303);
    assert!(begin.field("location").ends_with("&state=s%31&return_to=%2Fx"), "{}", begin.field("location"));
    assert!(begin.cookie("__Host-patapim-bind").is_some());
    assert_eq!(test.ask("GET", "/.patapim/session", &[]).await.status, 401);
    assert_eq!(test.ask("GET", "/.patapim/unheard-of", &[]).await.status, 404);

    let session = test.signed_in().await;
    let told = test.ask("GET", "/.patapim/session", &[("cookie", &session)]).await;
    let told: serde_json::Value = serde_json::from_str(&told.body).expect("JSON");
    assert_eq!((&told["user"], &told["tunnel"]), (&"ada".into(), &"ada-abc234".into()));

    let foreign = [("cookie", session.as_str()), ("sec-fetch-site", "same-site")];
    assert_eq!(test.ask("POST", "/.patapim/logout", &foreign).await.status, 403);
    assert_eq!(test.ask("GET", "/.patapim/logout", &[("cookie", &session)]).await.status, 405);
    let out = test.ask("POST", "/.patapim/logout", &[("cookie", &session), NAVIGATION]).await;
    assert_eq!((out.status.as_u16(), out.field("clear-site-data")), (200, "\"cache\", \"storage\""));
    assert_eq!(out.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(test.ask("GET", "/", &[("cookie", &session)]).await.status, 401);
}
