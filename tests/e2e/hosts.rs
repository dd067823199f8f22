//! Whose site a request is for, and what a request may say about the way it comes: names, methods, targets, and fields that
//! belong to the connection.

use http::Method;

use crate::limits::{say, status};
use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::client::{Visitor, origin};
use crate::rig::edge::Edge;
use crate::rig::journey::{Person, SESSION};
use crate::rig::raw_http2::authority;
use crate::rig::scene::Scene;

#[tokio::test]
async fn a_host_is_ours_to_the_letter_or_nobodys() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let before = scene.app.count();
    let browser = &scene.ada.browser;
    let own = browser.cookies.header(&page).expect("cookies");
    let (host, port) = (page.host_str().expect("a host"), page.port().expect("a port"));
    let sibling = format!("eve-abc234{}", &host[host.find('.').expect("a domain")..]);
    let fields = format!("Cookie: {own}\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n");
    for (host, wanted) in [
        (format!("{host}:{port}"), 200),
        (format!("{}:{port}", host.to_ascii_uppercase()), 200),
        (host.to_owned(), 200),
        (format!("{host}.:{port}"), 421),
        (format!("{host}:{port}."), 400),
        (format!("{host}:"), 421),
        (format!("{host}:0{port}"), 200),
        (format!("{host}:+{port}"), 400),
        (format!("{host}:1"), 421),
        (format!("{host}:99999999"), 421),
        (format!("{host}:{port}:{port}"), 400),
        (format!("u@{host}:{port}"), 400),
        (format!("{host}:{port}@evil.test"), 400),
        (format!("{host},evil.test"), 400),
        (format!("{host} evil.test"), 400),
        (format!("{host}/"), 400),
        (format!("{host}#"), 400),
        (format!("https://{host}"), 400),
        (format!("{host}%00"), 400),
        (format!(".{host}"), 421),
        (sibling.clone(), 421),
        ("evil.test".into(), 421),
        ("127.0.0.1".into(), 421),
        (format!("127.0.0.1:{port}"), 421),
        (format!("[::1]:{port}"), 421),
        ("localhost".into(), 421),
        (String::new(), 400),
    ] {
        let answer =
            say(browser, &page, format!("GET /echo HTTP/1.1\r\nHost: {host}\r\n{fields}").as_bytes()).await;
        let got = status(&answer);
        // Whether nobody's or not even a name: both are no.
        assert!(got == wanted || wanted != 200 && matches!(got, 400 | 421), "{host:?}: {answer}");
    }
    for twice in
        [format!("Host: {host}\r\nHost: {host}"), format!("Host: {host}\r\nhost: {sibling}"), "X-A: b".into()]
    {
        let answer =
            say(browser, &page, format!("GET /echo HTTP/1.1\r\n{twice}\r\n{fields}").as_bytes()).await;
        assert_eq!(status(&answer), 400, "{twice}: {answer}");
    }
    let reached = scene.app.count() - before;
    assert_eq!(reached, 4, "only what was served: {:?}", scene.app.seen());
}

#[tokio::test]
async fn a_target_is_a_path_or_the_sites_own_address() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let browser = &scene.ada.browser;
    let own = browser.cookies.header(&page).expect("cookies");
    let host = authority(&page);
    let before = scene.app.count();
    let fields =
        format!("Host: {host}\r\nCookie: {own}\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n");
    let mut served = 0;
    for (line, wanted) in [
        ("GET /echo".to_owned(), 200),
        (format!("GET https://{host}/echo"), 200),
        (format!("GET HTTPS://{host}/echo"), 200),
        ("GET https://evil.test/echo".into(), 400),
        (format!("GET https://u@{host}/echo"), 400),
        ("GET //evil.test/echo".into(), 200),
        ("GET echo".into(), 400),
        ("GET *".into(), 400),
        ("GET ftp://evil.test/".into(), 400),
        ("GET javascript:1".into(), 400),
        ("TRACE /".into(), 405),
        ("CONNECT evil.test:443".into(), 405),
        (format!("CONNECT {host}"), 405),
        ("PRI *".into(), 400),
    ] {
        let answer = say(browser, &page, format!("{line} HTTP/1.1\r\n{fields}").as_bytes()).await;
        let got = status(&answer);
        assert!(got == wanted || wanted != 200 && matches!(got, 400 | 405 | 421), "{line}: {answer}");
        served += usize::from(wanted == 200);
    }
    assert_eq!(scene.app.count() - before, served, "{:?}", scene.app.seen());
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/1", "http/1.1", ""] {
        let answer = say(browser, &page, format!("GET /echo {version}\r\n{fields}").as_bytes()).await;
        assert!(answer.is_empty() || (400..=505).contains(&status(&answer)), "{version}: {answer}");
    }
    assert_eq!(scene.app.count() - before, served);
}

/// Whatever a visitor says belongs to the connection, the app is told who is visiting, and nothing of ours.
async fn nobody_takes_our_word_away(app: &App, browser: &Visitor, page: &url::Url) {
    let own = browser.cookies.header(page).expect("cookies");
    let session = browser.cookies.get(page, SESSION).expect("a session");
    let host = authority(page);
    for named in [
        "X-Patapim-User, X-Patapim-Session, X-Patapim-Assertion",
        "x-forwarded-for, X-FORWARDED-PROTO, X-Forwarded-Host",
        "close, X_Patapim_User, X_Forwarded_For",
        "Host, Cookie, Authorization, Content-Length, Transfer-Encoding",
        "\"X-Patapim-User\", =X-Patapim-User, X-Patapim-User;q=1",
        "X-Patapim-User\r\nConnection: X-Forwarded-For\r\nConnection: keep-alive",
        "te, trailer, upgrade, http2-settings, keep-alive, X-Patapim-User",
    ] {
        let asked = format!(
            "POST /echo HTTP/1.1\r\nHost: {host}\r\nCookie: {own}; a=1\r\nOrigin: {}\r\nConnection: {named}\r\n\
             X-Patapim-User: eve\r\nX_Patapim_User: eve\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.test\r\n\
             X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nContent-Length: 5\r\n\r\nhello",
            origin(page)
        );
        let before = app.count();
        let mut stream = browser.dial(page, None).await.expect("a connection");
        let answer = crate::limits::answer(&mut stream, asked.as_bytes()).await;
        if status(&answer) != 200 {
            // Refused is as good, as long as nobody was asked.
            assert!((400..500).contains(&status(&answer)), "{named}: {answer}");
            assert_eq!(app.count(), before, "{named}");
            continue;
        }
        let told: serde_json::Value =
            serde_json::from_str(&answer[answer.find('{').expect("JSON")..=answer.rfind('}').expect("JSON")])
                .expect("JSON");
        let headers = &told["headers"];
        assert_eq!(told["body"], "hello", "{named}");
        assert_eq!(headers["x-patapim-user"], "ada", "{named}: {told}");
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1", "{named}: {told}");
        assert_eq!(headers["x-forwarded-host"], host, "{named}: {told}");
        assert_eq!(headers["host"], host, "{named}: {told}");
        for there in ["x-patapim-session", "x-patapim-assertion", "x-forwarded-proto"] {
            assert!(headers[there].is_string(), "{named}: {there} in {told}");
        }
        let all = told.to_string();
        assert!(
            !all.contains(&session) && !all.contains("6.6.6.6") && !all.contains("evil.test"),
            "{named}: {told}"
        );
        assert!(!all.contains("\"eve\""), "{named}: {told}");
    }
}

#[tokio::test]
async fn fields_named_in_connection_take_nothing_away_from_a_fixed_upstream() {
    let scene = Scene::signed_in().await;
    nobody_takes_our_word_away(&scene.app, &scene.ada.browser, &scene.page("/")).await;
}

#[tokio::test]
async fn fields_named_in_connection_take_nothing_away_from_an_agent() {
    let app = App::start("ada's app").await;
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let desktop = Desktop::linked(&edge, "ada").await;
    let _agent = desktop.run(&app.url()).await;
    let page = edge.tunnel(&desktop.tunnel, "/");
    ada.open(&page).await.must_be(200);
    nobody_takes_our_word_away(&app, &ada.browser, &page).await;
    ada.browser.fetch(Method::GET, &edge.tunnel(&desktop.tunnel, "/echo")).await.must_be(200);
}
