//! Who is let through, how the others are told, and what changes hands on the way (contract, sections 1 and 4).

use http::Method;
use serde_json::json;

use crate::rig::client::{Outgoing, origin};
use crate::rig::journey::{BIND, SESSION, query};
use crate::rig::scene::{Scene, TUNNEL, looks};

#[tokio::test]
async fn without_a_session_each_kind_of_request_is_told_in_its_own_way() {
    let scene = Scene::start().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/x"));

    let old = browser.navigate(&page).without_fetch_metadata();
    old.await.must_be(303);
    // Brave and Safari name the destination differently in places; the mode decides.
    browser.navigate(&page).header("sec-fetch-dest", "empty").await.must_be(303);

    let scripts: [Outgoing; 5] = [
        browser.curl(&page),
        browser.fetch(Method::GET, &page),
        browser.fetch(Method::POST, &page),
        browser.fetch(Method::GET, &page).header("accept", "text/html"),
        browser.send(Method::DELETE, &page),
    ];
    for script in scripts {
        let told = script.await.must_be(401);
        assert!(told.header("www-authenticate").starts_with("Bearer"), "{told:?}");
        told.problem();
        assert!(told.set_cookies().is_empty(), "{told:?}");
    }

    let posted =
        browser.navigate(&page).method(Method::POST).header("origin", &origin(&page)).await.must_be(401);
    assert!(posted.header("content-type").starts_with("text/html"), "{posted:?}");
    let link =
        posted.text().split_once("href=\"").expect("a link").1.split('"').next().expect("its end").to_owned();
    let begin =
        browser.navigate(&page.join(&link.replace("&#38;", "&").replace("&amp;", "&")).expect("a URL")).await;
    assert!(begin.url.path() == "/auth" || begin.must_be(303).location().path() == "/auth", "{link}");
    let framed = browser.navigate(&page).header("sec-fetch-dest", "iframe");
    let framed = framed.header("sec-fetch-site", "same-origin").await;
    // By its mode a frame navigates; it is the page that must open in a tab of its own.
    assert_eq!(framed.status, 401);
    assert!(framed.text().contains("_blank"), "{}", framed.text());

    let socket = browser.websocket(&scene.page("/ws")).await.err().expect("refused");
    assert_eq!(socket.status, 401);
    assert_eq!(scene.app.count(), 0, "nothing reaches the app");
}

#[tokio::test]
async fn an_apps_worker_is_replaced_by_one_that_lets_its_owner_back_in() {
    let scene = Scene::start().await;
    let script = scene.ada.browser.fetch(Method::GET, &scene.page("/sw.js"));
    let worker = script.header("service-worker", "script").header("sec-fetch-dest", "serviceworker").await;
    let worker = worker.must_be(200);
    assert!(worker.header("content-type").contains("javascript"), "{worker:?}");
    assert!(worker.text().contains("unregister"), "{}", worker.text());
    assert_eq!(scene.app.count(), 0);
}

#[tokio::test]
async fn a_session_cookie_that_is_no_good_counts_as_none() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/");
    let genuine = scene.session_cookie();
    let (id, secret) = genuine.split_once('.').expect("an id and a secret");
    let shortened = &genuine[..genuine.len() - 1];
    for bad in ["", "x", ".", id, shortened, &format!("{id}."), &format!(".{secret}"), &format!("{genuine}x")]
    {
        let other = scene.ada.browser.with(&page, SESSION, bad);
        let answer = other.navigate(&page).await;
        assert_eq!(answer.status, 303, "{bad}");
        assert_eq!(other.curl(&page).await.status, 401, "{bad}");
    }
    let stranger = scene.ada.browser.stranger();
    let lookalike = stranger.curl(&page).header("cookie", &format!("__host-patapim-session={genuine}"));
    assert_eq!(lookalike.await.status, 401, "the name is exact");
    let tossed = stranger.curl(&page).header("cookie", &format!("patapim-session={genuine}"));
    assert_eq!(tossed.await.status, 401, "no fallback name");
}

#[tokio::test]
async fn a_tossed_cookie_beside_the_genuine_one_never_opens_somebody_elses_session() {
    let scene = Scene::signed_in().await;
    let genuine = scene.session_cookie();
    let page = scene.page("/echo");
    for cookies in [
        format!("{SESSION}=evil.evil; {SESSION}={genuine}"),
        format!("{SESSION}={genuine}; {SESSION}=evil.evil"),
    ] {
        let answer = scene.ada.browser.curl(&page).header("cookie", &cookies).await;
        // The genuine one is found, or the doubt ends in a refusal; never an error, never another's session.
        assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
    }
    scene.echo().await;
}

#[tokio::test]
async fn the_session_of_one_tunnel_opens_no_other() {
    let scene = Scene::signed_in().await;
    let other = scene.edge.tunnel("ada-xyz777", "/");
    scene.ada.browser.cookies.set(&other, SESSION, &scene.session_cookie());
    scene.ada.browser.curl(&other).await.must_be(401);
}

#[tokio::test]
async fn a_request_from_another_site_is_stopped_before_the_app_unless_it_navigates() {
    let scene = Scene::signed_in().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/write"));
    let before = scene.app.count();
    let evil = origin(&scene.edge.tunnel("eve-evil22", "/"));
    for site in ["same-site", "cross-site"] {
        let from = |request: Outgoing| request.header("origin", &evil).header("sec-fetch-site", site);
        let stopped: Vec<(&str, Outgoing)> = vec![
            ("fetch", from(browser.fetch(Method::GET, &page))),
            ("post", from(browser.fetch(Method::POST, &page).body("x"))),
            ("put", from(browser.fetch(Method::PUT, &page))),
            ("form", from(browser.navigate(&page).method(Method::POST))),
            (
                "image",
                browser
                    .fetch(Method::GET, &page)
                    .header("sec-fetch-mode", "no-cors")
                    .header("sec-fetch-site", site),
            ),
            (
                "frame",
                browser.navigate(&page).header("sec-fetch-dest", "iframe").header("sec-fetch-site", site),
            ),
            (
                "object",
                browser.navigate(&page).header("sec-fetch-dest", "object").header("sec-fetch-site", site),
            ),
        ];
        for (what, request) in stopped {
            let answer = request.await;
            assert_eq!(answer.status, 403, "{what} from {site}: {answer:?}");
        }
        let socket =
            browser.websocket_from(&scene.page("/ws"), &[("origin", &evil), ("sec-fetch-site", site)]).await;
        assert_eq!(socket.err().expect("refused").status, 403, "{site}");
    }
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
    browser.navigate(&page).header("sec-fetch-site", "cross-site").await.must_be(200);
}

#[tokio::test]
async fn a_browser_without_fetch_metadata_is_judged_by_its_origin_alone() {
    let scene = Scene::signed_in().await;
    let (browser, page) = (&scene.ada.browser, scene.page("/write"));
    let post = |from: &str| browser.send(Method::POST, &page).header("origin", from).body("x");
    post(&origin(&page)).await.must_be(200);
    browser.send(Method::POST, &page).body("x").await.must_be(200);
    let port = scene.edge.port();
    let before = scene.app.count();
    for wrong in [
        origin(&scene.edge.deployer("/")),
        origin(&page).replace("https", "http"),
        format!("{}.", origin(&page)),
        origin(&page).replace(&port.to_string(), "1"),
        "null".into(),
        "https://evil.test".into(),
    ] {
        assert_eq!(post(&wrong).await.status, 403, "{wrong}");
        let socket = browser.websocket_from(&scene.page("/ws"), &[("origin", &wrong)]).await;
        assert_eq!(socket.err().expect("refused").status, 403, "{wrong}");
    }
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
}

#[tokio::test]
async fn the_app_sees_the_visitor_as_the_edge_does_and_none_of_the_edges_secrets() {
    let scene = Scene::signed_in().await;
    let page = scene.page("/echo");
    let request = scene.ada.browser.fetch(Method::GET, &page);
    let cookies = scene.ada.browser.cookies.header(&page).expect("cookies");
    let request = request
        .header("cookie", &format!("own=1; {cookies}; theme=dark"))
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-host", "evil.test")
        .header("x-forwarded-proto", "gopher")
        .header("x-forwarded-port", "1")
        .header("forwarded", "for=6.6.6.6")
        .header("x-real-ip", "6.6.6.6")
        .header("x-patapim-user", "root")
        .header("x-patapim-anything", "else")
        .header("x-patapim-session", "x")
        .header("x-own", "kept")
        .header("authorization", "Basic YTpi");
    let told = request.await.must_be(200).json();
    let headers = told["headers"].as_object().expect("headers");
    let get = |name: &str| headers.get(name).and_then(|value| value.as_str());

    assert_eq!(get("cookie"), Some("own=1; theme=dark"));
    let host = &page[url::Position::BeforeHost..url::Position::AfterPort];
    assert_eq!(get("host"), Some(host));
    assert_eq!(get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(get("x-forwarded-proto"), Some("https"));
    assert_eq!(get("x-forwarded-host"), Some(host));
    assert_eq!(get("x-patapim-user"), Some("ada"));
    assert_eq!(get("x-own"), Some("kept"));
    assert_eq!(get("authorization"), Some("Basic YTpi"));
    for gone in ["forwarded", "x-real-ip", "x-forwarded-port", "x-patapim-anything"] {
        assert_eq!(get(gone), None, "{gone}");
    }
    let session = get("x-patapim-session").expect("the session's id");
    assert_eq!(scene.sessions().await, [session]);
    let secret = scene.session_cookie();
    assert!(!told.to_string().contains(secret.split_once('.').map_or(&*secret, |(_, secret)| secret)));
}

#[tokio::test]
async fn the_app_can_neither_touch_the_edges_cookies_nor_speak_for_other_hosts() {
    let scene = Scene::signed_in().await;
    let base = scene.edge.base().to_owned();
    scene.app.answer(
        "/hostile",
        &[
            ("set-cookie", "own=1; Path=/; HttpOnly"),
            ("set-cookie", &format!("wide=1; Domain={base}")),
            ("set-cookie", &format!("wider=1; domain=.tunnel.{base}; Path=/")),
            ("set-cookie", &format!("{SESSION}=evil; Secure; Path=/")),
            ("set-cookie", "__Host-patapim-bind=evil; Secure; Path=/"),
            ("set-cookie", "__host-PATAPIM-session=evil; Secure; Path=/"),
            ("alt-svc", "h3=\":443\""),
            ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
            ("clear-site-data", "\"cookies\", \"storage\", \"clientHints\", \"cache\""),
        ],
    );
    let answer = scene.ada.browser.navigate(&scene.page("/hostile")).await.must_be(200);
    let set: Vec<_> = answer.set_cookies().into_iter().map(|cookie| cookie.name).collect();
    assert_eq!(set, ["own"]);
    assert!(answer.headers.get("alt-svc").is_none());
    let hsts = answer.header("strict-transport-security").to_ascii_lowercase();
    assert!(!hsts.contains("includesubdomains"), "{hsts}");
    let cleared = answer.header("clear-site-data");
    assert!(
        !cleared.contains("cookies") && !cleared.contains("clientHints") && !cleared.contains('*'),
        "{cleared}"
    );
    assert!(cleared.contains("\"storage\"") && cleared.contains("\"cache\""), "{cleared}");

    scene.app.answer("/hostile", &[("clear-site-data", "\"*\"")]);
    let answer = scene.ada.browser.navigate(&scene.page("/hostile")).await.must_be(200);
    assert!(!answer.header("clear-site-data").contains('*'), "{answer:?}");
    scene.echo().await;
}

#[tokio::test]
async fn a_host_that_is_nobodys_is_misdirected_on_both_kinds_of_http() {
    let scene = Scene::signed_in().await;
    let deployer = scene.edge.deployer("/");
    let (sni, port, base) =
        (deployer.host_str().expect("a host").to_owned(), scene.edge.port(), scene.edge.base());
    let mut seen = Vec::new();
    for host in [
        base.to_owned(),
        format!("www.{base}"),
        format!("a.b.tunnel.{base}"),
        format!("-x.tunnel.{base}"),
        format!("x_y.tunnel.{base}"),
        format!("tunnel.{base}"),
        format!("deployer.{base}.evil.test"),
        "evil.test".into(),
        "127.0.0.1".into(),
        format!("{TUNNEL}.tunnel.{base}"),
    ] {
        for browser in [scene.ada.browser.clone(), scene.ada.browser.h2()] {
            let url = url::Url::parse(&format!("https://{host}:{port}/")).expect("a URL");
            let answer = browser.navigate(&url).sni(&sni).await.must_be(421);
            assert_eq!(answer.header("cache-control"), "no-store", "{host}");
            assert!(answer.set_cookies().is_empty());
            seen.push(answer.text());
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "a fixed body: {seen:?}");
}

#[tokio::test]
async fn a_misdirected_stream_leaves_its_connection_open_for_the_others() {
    let scene = Scene::signed_in().await;
    let browser = scene.ada.browser.h2();
    let mut connection = browser.connect(&scene.page("/"), None).await.expect("a connection");
    let wrong = connection.send(browser.navigate(&scene.edge.deployer("/"))).await.expect("an answer");
    assert_eq!(wrong.status(), 421);
    let right = connection.send(browser.fetch(Method::GET, &scene.page("/echo"))).await.expect("an answer");
    assert_eq!(right.status(), 200);
    assert!(connection.is_open());
}

#[tokio::test]
async fn an_unknown_tunnel_looks_like_a_known_one_to_strangers() {
    let scene = Scene::start().await;
    let stranger = scene.ada.browser.stranger();
    let known = stranger.curl(&scene.page("/x")).await;
    let unknown = stranger.curl(&scene.edge.tunnel("nobody-zzz222", "/x")).await;
    assert_eq!(looks(&known), looks(&unknown));
    let away = stranger.navigate(&scene.edge.tunnel("nobody-zzz222", "/x")).await.must_be(303).location();
    assert_eq!(query(&away, "tunnel").as_deref(), Some("nobody-zzz222"));
}

#[tokio::test]
async fn a_well_formed_bind_cookie_is_kept_and_a_malformed_one_replaced() {
    let scene = Scene::start().await;
    let page = scene.page("/");
    for bad in ["", "x", "spaces in it", &"A".repeat(5000)] {
        let browser = scene.ada.browser.with(&page, BIND, bad);
        let sent = browser.navigate(&page).await;
        assert_eq!(sent.status, 303, "{bad}");
        assert!(sent.sets(BIND).is_some_and(|cookie| cookie.value != bad), "{bad}");
    }
}

#[tokio::test]
async fn the_same_answers_come_over_http_two() {
    let mut scene = Scene::start().await;
    scene.ada.browser = scene.ada.browser.h2();
    let page = scene.page("/echo?x=1");
    let told = scene.ada.open(&page).await.must_be(200).json();
    assert_eq!(told["target"], "/echo?x=1");
    let posted = scene.ada.browser.post(&scene.page("/echo"), &json!({"a": 1})).await.must_be(200).json();
    assert_eq!(posted["body"], "{\"a\":1}");
    scene.ada.browser.stranger().curl(&page).await.must_be(401);
}

#[tokio::test]
async fn the_edges_own_paths_never_reach_the_app() {
    let scene = Scene::signed_in().await;
    let before = scene.app.count();
    for path in ["/.patapim/", "/.patapim/nothing", "/.patapim/session"] {
        scene.ada.browser.fetch(Method::GET, &scene.page(path)).await;
    }
    let logout = scene.ada.browser.navigate(&scene.page("/.patapim/logout")).await;
    assert_eq!(scene.app.count(), before);
    assert_ne!(logout.status, 200, "GET changes nothing");
    scene.echo().await;
}

#[tokio::test]
async fn two_hundred_websockets_in_a_row_reach_a_fixed_upstream_too() {
    let scene = Scene::signed_in().await;
    for number in 0..200 {
        let mut socket = scene.ada.browser.websocket(&scene.page("/ws")).await.expect("a socket");
        let text = format!("number {number}");
        assert_eq!(socket.ask(&text).await, text);
        socket.close().await;
    }
}
