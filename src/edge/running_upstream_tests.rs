//! What an admitted request meets: fixed upstreams, agents, limits.

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt as _};

use super::super::super::test_agent;
use super::*;

#[tokio::test]
async fn http_2_visitors_are_admitted_as_others_are() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let mut visitor = test.h2(TUNNEL).await;
    let request = Request::builder().uri(format!("https://{TUNNEL}/x")).version(Version::HTTP_2);
    // Cookies in crumbs, as browsers send them.
    let request = request.header("cookie", "a=1").header("cookie", &session).header("cookie", "b=2");
    let response =
        visitor.send_request(request.body(Empty::new()).expect("a request")).await.expect("answered");
    assert_eq!(response.status(), 200);
    let body = whole(response.into_body()).await.expect("whole");
    let body = String::from_utf8_lossy(&body);
    assert!(
        body.contains("\"cookie\": \"a=1; b=2\"") && body.contains(&format!("\"host\": \"{TUNNEL}\"")),
        "{body}"
    );
}

#[tokio::test]
async fn websockets_and_waiting_uploads_reach_a_fixed_upstream() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let mut socket = dial(test.running.ready.https[0], &test.certificate.der, TUNNEL, b"http/1.1").await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("written");
    assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 101 "));
    socket.write_all(b"ping").await.expect("written");
    let mut heard = [0; 4];
    socket.read_exact(&mut heard).await.expect("echoed");
    assert_eq!(&heard, b"ping");

    let mut socket = dial(test.running.ready.https[0], &test.certificate.der, TUNNEL, b"http/1.1").await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("written");
    assert_eq!(read_head(&mut socket).await, "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"ok").await.expect("written");
    assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_fixed_upstream_changes_protocol_for_a_whole_websocket_handshake_only() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (line, fields, status) in [
        ("GET /unasked", String::new(), "502"),
        ("GET /", "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(), "200"),
        ("GET /", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n".to_owned(), "200"),
        ("POST /", format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}Content-Length: 0\r\n"), "200"),
        ("GET /", format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}"), "101"),
    ] {
        let mut socket = dial(test.running.ready.https[0], &test.certificate.der, TUNNEL, b"http/1.1").await;
        let head = format!("{line} HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n{fields}\r\n");
        socket.write_all(head.as_bytes()).await.expect("written");
        let answer = read_head(&mut socket).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer}");
    }
}

async fn read_head(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn a_visitor_of_http_1_0_gets_no_chunks() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let mut socket = dial(test.running.ready.https[0], &test.certificate.der, TUNNEL, b"http/1.1").await;
    let head = format!("GET /wait HTTP/1.0\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("written");
    let answer = read_head(&mut socket).await.to_lowercase();
    assert!(!answer.contains("transfer-encoding") && answer.contains("connection: close"), "{answer}");
    let mut body = [0; 5];
    socket.read_exact(&mut body).await.expect("a body");
    assert_eq!(&body, b"begun");
}

#[tokio::test]
async fn what_is_lenient_in_http_1_is_refused() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    for (head, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n\r\n"), "200"),
        (format!("GET / HTTP/1.1\nHost: {TUNNEL}\nCookie: {session}\n\n"), "400"),
        (format!("GET / HTTP/1.1\r\nX: a\nHost: {TUNNEL}\r\nCookie: {session}\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n\n"), "400"),
        (format!("GET / HTTP/1.1\r\nCookie: {session}\r\n\r\n"), "400"),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (format!("GET * HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n\r\n"), "400"),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n\r\n"), "200"),
        (format!("GET https://{TUNNEL}/ HTTP/1.1\r\nHost: {TUNNEL}\r\nCookie: {session}\r\n\r\n"), "200"),
    ] {
        let mut socket = dial(test.running.ready.https[0], &test.certificate.der, TUNNEL, b"http/1.1").await;
        socket.write_all(head.as_bytes()).await.expect("written");
        let answer = read_head(&mut socket).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn what_no_site_takes_is_refused_before_anybody_is_asked() {
    let test = Test::start().await;
    assert_eq!(test.ask("TRACE", "/", &[]).await.status, 405);
    assert_eq!(test.ask("GET", &format!("/{}", "a".repeat(20_000)), &[]).await.status, 414);
    let much = "b".repeat(100_000);
    let large = test.ask("GET", "/", &[("x-large", &much), NAVIGATION]).await;
    assert_eq!((large.status.as_u16(), large.field("content-type")), (431, "text/html; charset=utf-8"));
    let crowded = test.ask("GET", "/", &[("cookie", &format!("a={much}")), NAVIGATION]).await;
    assert_eq!(crowded.status, 303, "cookies of others keep nobody from signing in");
}

#[tokio::test]
async fn a_tunnel_without_its_agent_is_offline_after_a_while_and_served_once_it_is_back() {
    let mut test = Test::start().await;
    let house = &test.running.house;
    let (token, label) = house.accounts.make_link_token(&test.ada.user, None).await.expect("a token");
    house.accounts.link_by_token(&token, "pin", "desktop").await.expect("linked");
    let name = format!("{label}.tunnel.patapim.test");
    test.tunnel = label.clone();

    let bind = test.bind();
    let ask = async |target: &str, cookie: &str| {
        let mut visitor = test.h1(&name).await;
        let request = Request::builder().uri(target).header("host", &name).header("cookie", cookie);
        let request = request.header("sec-fetch-mode", "navigate").body(Empty::new()).expect("a request");
        visitor.send_request(request).await.expect("answered")
    };
    let cookie = format!("__Host-patapim-bind={}", bind.value().reveal());
    let signed_in = ask(&format!("/?token={}", test.token(&bind).await), &cookie).await;
    let session = signed_in.headers()["set-cookie"].to_str().expect("text");
    let session = session.split(';').next().expect("a cookie");

    let offline = ask("/", session).await;
    assert_eq!(
        (offline.status().as_u16(), offline.headers()["content-type"].as_bytes()),
        (503, &b"text/html; charset=utf-8"[..])
    );
    let waiting = ask("/", session);
    let answer: test_agent::Answer = Arc::new(|_, mut respond| {
        Box::pin(async move {
            let response = Response::builder().header("alt-svc", "x").body(()).expect("a response");
            respond.send_response(response, true).expect("sent");
        })
    });
    let agent = test_agent::connect(&test.running.house.registry, &label, answer);
    let (served, agent) = tokio::join!(waiting, agent);
    assert_eq!((served.status().as_u16(), served.headers().get("alt-svc")), (200, None));

    // The desktop is asked about a session once; from then on a request is one stream, and nothing goes before it.
    for _ in 0..20 {
        assert_eq!(ask("/later", session).await.status(), 200);
    }
    let asked = agent.asked();
    assert_eq!(asked[..3], ["/hello", "/session", "/"], "{asked:?}");
    assert!(asked.len() == 23 && asked[3..].iter().all(|path| path == "/later"), "{asked:?}");
}

#[tokio::test]
async fn only_origins_that_the_owner_allowed_may_call_and_read() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let house = &test.running.house;
    let friend = "https://friend.test";
    let allowed = Some(vec![friend.to_owned()]);
    house.accounts.claim_fixed_tunnel(&test.tunnel, &test.ada.user).await.expect("claimed");
    house.accounts.change_tunnel(&test.ada.user, &test.tunnel, None, allowed).await.expect("changed");
    let known =
        || house.edge.tunnels.get(&test.tunnel).is_some_and(|tunnel| !tunnel.allowed_origins.is_empty());
    while !known() {
        tokio::task::yield_now().await;
    }
    let site = ("sec-fetch-site", "cross-site");
    for (origin, status, granted) in [(friend, 200, friend), ("https://eve.test", 403, "")] {
        let called = test.ask("GET", "/", &[("origin", origin), site, ("cookie", &session)]).await;
        assert_eq!((called.status.as_u16(), called.field("access-control-allow-origin")), (status, granted));
        let asked = [("origin", origin), site, ("access-control-request-method", "PUT")];
        let preflight = test.ask("OPTIONS", "/", &asked).await;
        let expected = if granted.is_empty() { 401 } else { 204 };
        assert_eq!(
            (preflight.status.as_u16(), preflight.field("access-control-allow-origin")),
            (expected, granted)
        );
    }
}
