//! Headers, methods, bodies: what holds for every answer.

use http::header::ALLOW;

use super::*;

const PAGES: [&str; 6] = ["/", "/auth", "/enrol", "/settings/security", "/no-such-page", "/.well-known/x"];

#[tokio::test]
async fn every_page_keeps_to_itself() {
    let house = House::new().await;
    for path in PAGES {
        let page = house.browser().open(path).await;
        assert_eq!(page.status == StatusCode::OK, !path.contains("no-such") && !path.contains("well-known"));
        assert_eq!(page.headers[CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
        assert_eq!(page.headers["cache-control"], "no-store", "{path}");
        assert_eq!(page.headers["x-frame-options"], "DENY", "{path}");
        let policy = page.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(page.headers.get(SET_COOKIE).is_none(), "{path}");
    }
}

#[tokio::test]
async fn a_head_is_the_page_without_its_body() {
    let house = House::new().await;
    for path in PAGES {
        let request = || Request::builder().uri(path);
        let get = house.browser().send(request().body(Body::empty()).expect("a request")).await;
        let head = request().method(Method::HEAD).body(Body::empty()).expect("a request");
        let head = house.browser().send(head).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.headers[CONTENT_TYPE], get.headers[CONTENT_TYPE]);
    }
}

#[tokio::test]
async fn assets_are_served_under_their_version() {
    let house = House::new().await;
    let style = house.browser().open(&format!("{}/style.css", crate::deployer::assets::prefix())).await;
    let style = style.must_be(StatusCode::OK);
    assert_eq!(style.headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(style.headers["x-content-type-options"], "nosniff");
    house.browser().open("/assets/x/../../etc/passwd").await.must_be(StatusCode::NOT_FOUND);
    house.browser().open("/assets/x/none.js").await.must_be(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_unknown_call_or_method_says_so() {
    let house = House::new().await;
    let browser = house.browser();
    browser.get("/nothing").await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    browser.post("/nothing", &json!({})).await.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    browser.delete("/sessions/%ff").await.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
    let odd = browser.post("/sign-in/passkey/%ff", &json!({})).await;
    odd.must_be_problem(StatusCode::NOT_FOUND, "not-found");
    let answer = browser.call(Method::PUT, "/passkeys", None).await;
    let answer = answer.must_be_problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
    assert_eq!(answer.headers[ALLOW], "GET,HEAD");
    let preflight = browser.call(Method::OPTIONS, "/passkeys", None).await;
    let preflight = preflight.must_be_problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
    assert!(preflight.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    let page = Request::post("/auth").body(Body::empty()).expect("a request");
    browser.send(page).await.must_be_problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
}

#[tokio::test]
async fn every_answer_of_the_api_keeps_to_itself() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    for answer in [
        ada.browser.get("/passkeys").await,
        ada.browser.get("/tunnels").await,
        ada.browser.get("/nothing").await,
        house.browser().get("/sessions").await,
        ada.browser.post("/sign-in/passkey", &json!({})).await,
        ada.browser.call(Method::PUT, "/passkeys", None).await,
    ] {
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    }
}

#[tokio::test]
async fn nothing_changes_for_another_origin() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let id = ada.browser.get("/passkeys").await.json()[0]["id"].as_str().expect("an id").to_owned();
    let calls = [
        (Method::POST, "/passkeys/registration".to_owned()),
        (Method::POST, "/passkeys/registration/x".to_owned()),
        (Method::POST, "/sign-in/passkey".to_owned()),
        (Method::POST, "/sign-in/passkey/x".to_owned()),
        (Method::POST, "/sign-out".to_owned()),
        (Method::POST, "/link".to_owned()),
        (Method::POST, "/access-tokens".to_owned()),
        (Method::DELETE, "/access-tokens/x".to_owned()),
        (Method::POST, "/link/poll".to_owned()),
        (Method::POST, "/link/withdraw".to_owned()),
        (Method::POST, "/link/lookup".to_owned()),
        (Method::POST, "/link/confirm".to_owned()),
        (Method::POST, "/link/approve".to_owned()),
        (Method::POST, "/link/deny".to_owned()),
        (Method::PATCH, format!("/passkeys/{id}")),
        (Method::DELETE, format!("/passkeys/{id}")),
        (Method::DELETE, "/sessions".to_owned()),
        (Method::DELETE, "/sessions/x".to_owned()),
        (Method::PATCH, "/tunnels/x".to_owned()),
        (Method::DELETE, "/tunnels/x".to_owned()),
    ];
    for (method, path) in calls {
        for fields in [
            &[][..],
            &[("origin", "https://ada.tunnel.patapim.test"), ("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
        ] {
            let mut request = Request::builder().method(&method).uri(format!("/api/v1{path}"));
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let request =
                request.header(CONTENT_TYPE, "application/json").body(Body::from("{}")).expect("a request");
            ada.browser.send(request).await.must_be_problem(StatusCode::FORBIDDEN, "foreign-origin");
        }
    }
    ada.browser.get("/passkeys").await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_by_its_field() {
    let house = House::new().await;
    let browser = house.browser();
    let send = async |kind: &str, body: String| {
        let request = Request::post("/api/v1/sign-in/passkey").header(ORIGIN, ORIGIN_OF_OURS);
        browser.send(request.header(CONTENT_TYPE, kind).body(Body::from(body)).expect("a request")).await
    };
    for (body, field) in [
        (r#"{"tunnel": 5}"#, "tunnel"),
        (r#"{"tunnel": "Not A Label"}"#, "tunnel"),
        (r#"{"bind": "short"}"#, "bind"),
        (r#"{"return_to": []}"#, "return_to"),
        (r#"{"tunnel": "#, "line 1"),
        ("", "line 1"),
    ] {
        let answer = send("application/json", body.to_owned()).await;
        let problem = answer.must_be_problem(StatusCode::BAD_REQUEST, "malformed").json();
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(field)), "{body}: {problem}");
    }
    send("text/plain", "{}".to_owned()).await.must_be_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json");
    let large = format!(r#"{{"return_to": "{}"}}"#, "a".repeat(64 * 1024));
    send("application/json", large).await.must_be_problem(StatusCode::PAYLOAD_TOO_LARGE, "too-large");
}

#[tokio::test]
async fn a_tossed_second_cookie_counts_as_none() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let cookie = ada.browser.cookie(DEPLOYER).expect("a session");
    let request = |cookies: String| {
        Request::get("/api/v1/passkeys").header(COOKIE, cookies).body(Body::empty()).expect("a request")
    };
    let bare = house.browser();
    bare.send(request(format!("{DEPLOYER}={cookie}"))).await.must_be(StatusCode::OK);
    for cookies in [
        format!("{DEPLOYER}={cookie}; {DEPLOYER}=x"),
        format!("{DEPLOYER}=x; {DEPLOYER}={cookie}"),
        format!("patapim-deployer={cookie}"),
        format!("__host-patapim-deployer={cookie}"),
    ] {
        bare.send(request(cookies)).await.must_be(StatusCode::UNAUTHORIZED);
    }
}
