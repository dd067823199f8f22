//! The two journeys, as a browser's sockets see them (contract, section 4).

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;

use crate::rig::app::App;
use crate::rig::client::origin;
use crate::rig::edge::Setup;
use crate::rig::journey::{BIND, DEPLOYER, Person, SESSION, bind_hash, jwt_parts, query, sign_in_request};
use crate::rig::scene::{Scene, TUNNEL};

#[tokio::test]
async fn whoever_opens_a_tunnel_is_sent_to_sign_in_with_the_hash_of_a_cookie_planted_on_the_way() {
    let scene = Scene::start().await;
    let page = scene.page("/echo?x=1&y=%2Fa%20b&&z");
    let sent = scene.ada.browser.navigate(&page).await.must_be(303);

    let auth = sent.location();
    assert_eq!(origin(&auth), origin(&scene.edge.deployer("/")));
    assert_eq!(auth.path(), "/auth");
    assert_eq!(query(&auth, "tunnel").as_deref(), Some(TUNNEL));
    assert_eq!(query(&auth, "return_to").as_deref(), Some("/echo?x=1&y=%2Fa%20b&&z"));
    assert_eq!(sent.header("cache-control"), "no-store");

    let cookie = sent.sets(BIND).expect("a bind cookie");
    assert_eq!(query(&auth, "bind"), Some(bind_hash(&cookie.value)));
    must_be_ours_alone(&cookie.attributes, "samesite=lax");
    assert!(cookie.attributes.contains(&"max-age=3600".to_owned()), "{:?}", cookie.attributes);
    assert_eq!(sent.set_cookies().len(), 1);
    assert_eq!(scene.app.count(), 0, "nothing reaches the app");
}

#[tokio::test]
async fn signing_in_leads_back_to_the_very_page_with_a_token_of_exactly_the_claims_agreed() {
    let mut scene = Scene::start().await;
    let page = scene.page("/echo?x=1&y=%2Fa%20b&&z");
    let link = scene.ada.token_for(&page).await;
    let before = time::OffsetDateTime::now_utc().unix_timestamp();

    let (rest, token) = link.as_str().split_once("&token=").expect("a token at the end");
    assert_eq!(rest, page.as_str());
    let (header, claims, signature) = jwt_parts(token);
    assert_eq!((header["alg"].as_str(), signature.len()), (Some("HS256"), 32));
    assert!(header["kid"].is_string(), "{header}");
    let names: BTreeSet<_> = claims.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["aud", "bind", "exp", "iat", "iss", "jti", "sub"]));
    assert_eq!(claims["iss"], origin(&scene.edge.deployer("/")));
    assert_eq!(claims["aud"], TUNNEL);
    assert_ne!(claims["sub"], "ada", "the subject is opaque");
    let bind = scene.ada.browser.cookies.get(&page, BIND).expect("a bind cookie");
    assert_eq!(claims["bind"], bind_hash(&bind));
    let (iat, exp) = (claims["iat"].as_i64().expect("a number"), claims["exp"].as_i64().expect("a number"));
    assert_eq!(exp - iat, 24 * 3600);
    assert!((before - iat).abs() < 30, "issued now");
}

#[tokio::test]
async fn redeeming_a_token_sets_one_cookie_and_takes_the_token_out_of_the_address() {
    let mut scene = Scene::start().await;
    let page = scene.page("/echo?a=%41&token_=x&&b");
    let link = scene.ada.token_for(&page).await;
    let redeemed = scene.ada.browser.navigate(&link).await.must_be(303);

    assert_eq!(redeemed.header("location"), page.as_str(), "absolute, the rest byte for byte");
    assert_eq!(redeemed.header("cache-control"), "no-store");
    assert_eq!(redeemed.header("referrer-policy"), "no-referrer");
    let cookie = redeemed.sets(SESSION).expect("a session cookie");
    must_be_ours_alone(&cookie.attributes, "samesite=lax");
    assert_eq!(scene.app.count(), 0, "the redirect is the edge's own");

    let told = scene.ada.browser.navigate(&page).await.must_be(200).json();
    assert_eq!(told["target"], "/echo?a=%41&token_=x&&b");
    assert!(told["headers"]["cookie"].is_null(), "the edge's cookies stay at the edge: {told}");
    assert_eq!(told["headers"]["x-patapim-user"], "ada");
}

#[tokio::test]
async fn whoever_starts_at_the_deployer_reaches_their_one_tunnel_with_one_tap() {
    let mut scene = Scene::start().await;
    scene.ada.browser.navigate(&scene.edge.deployer("/auth")).await.must_be(200);
    let next = scene.ada.tap(&json!({})).await;
    assert_eq!((origin(&next), next.path()), (origin(&scene.page("/")), "/.patapim/begin"));

    let chain = scene.ada.browser.follow(&next).await;
    let hops: Vec<_> =
        chain.iter().map(|hop| (hop.url.host_str().expect("a host"), hop.url.path())).collect();
    let (deployer, tunnel) = (scene.edge.deployer("/"), scene.page("/"));
    let (deployer, tunnel) = (deployer.host_str().expect("a host"), tunnel.host_str().expect("a host"));
    assert_eq!(hops, [(tunnel, "/.patapim/begin"), (deployer, "/auth"), (tunnel, "/"), (tunnel, "/"),]);
    assert!(chain[0].sets(BIND).is_some(), "the bounce plants the bind cookie");
    assert_eq!(chain.last().expect("an end").status, 200);
    assert_eq!(chain.last().expect("an end").header("x-app"), "ada's app");
}

#[tokio::test]
async fn the_bounce_is_good_for_one_token_only_and_only_in_its_own_browser() {
    let mut scene = Scene::start().await;
    scene.ada.browser.navigate(&scene.edge.deployer("/auth")).await.must_be(200);
    let next = scene.ada.tap(&json!({})).await;
    let back = scene.ada.browser.navigate(&next).await.must_be(303).location();

    let thief = scene.ada.browser.stranger();
    let stolen = thief.navigate(&back).await;
    assert!(!stolen.header("location").contains("token="), "another browser gets no token: {stolen:?}");

    let first = scene.ada.browser.navigate(&back).await.must_be(303);
    assert!(first.header("location").contains("token="), "{first:?}");
    let second = scene.ada.browser.navigate(&back).await;
    assert!(!second.header("location").contains("token="), "the state is used up: {second:?}");
}

#[tokio::test]
async fn whoever_has_several_tunnels_finds_them_listed() {
    let (one, two) = (App::start("one").await, App::start("two").await);
    let setup = Setup::default().upstream("ada-one222", "ada", &one.url());
    let edge = setup.upstream("ada-two222", "ada", &two.url()).start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let next = ada.tap(&json!({})).await;
    assert_eq!(next, edge.deployer("/"));
    ada.browser.navigate(&next).await.must_be(200);
    let list = ada.api_get("/tunnels").await.must_be(200).json();
    let ids: Vec<_> = list.as_array().expect("a list").iter().map(|tunnel| tunnel["id"].clone()).collect();
    assert_eq!(ids, ["ada-one222", "ada-two222"]);
}

#[tokio::test]
async fn the_deployers_own_cookie_mints_no_token() {
    let mut scene = Scene::signed_in().await;
    let deployer = scene.edge.deployer("/");
    assert!(scene.ada.browser.cookies.get(&deployer, DEPLOYER).is_some(), "signed in at the deployer");
    scene.ada.browser.cookies.forget(&scene.page("/"), SESSION);
    let auth = scene.ada.browser.navigate(&scene.page("/")).await.must_be(303).location();
    let page = scene.ada.browser.navigate(&auth).await.must_be(200);
    assert!(!page.text().contains("token="), "a tap is asked for");
    let link = scene.ada.tap(&sign_in_request(&auth)).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
}

#[tokio::test]
async fn the_deployers_cookie_is_strict_and_its_pages_are_never_framed() {
    let mut scene = Scene::start().await;
    let begun = scene.ada.begin_sign_in(&json!({})).await;
    let asserted = scene.ada.key.assert(&begun["publicKey"]);
    let answer = scene.ada.finish_sign_in(&begun, &asserted).await.must_be(200);
    must_be_ours_alone(&answer.sets(DEPLOYER).expect("signed in").attributes, "samesite=strict");

    for path in ["/", "/auth", "/enrol?ticket=x", "/nowhere"] {
        let page = scene.ada.browser.navigate(&scene.edge.deployer(path)).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-"), "{path}: {policy}");
        assert!(page.headers.get("access-control-allow-origin").is_none(), "{path}");
    }
}

#[tokio::test]
async fn two_tabs_share_the_bind_cookie_so_that_both_links_are_good() {
    let mut scene = Scene::start().await;
    let (first, second) = (scene.page("/first"), scene.page("/second"));
    let one = scene.ada.browser.navigate(&first).await.must_be(303);
    let two = scene.ada.browser.navigate(&second).await.must_be(303);
    assert!(two.sets(BIND).is_none_or(|again| Some(again) == one.sets(BIND)), "never overwritten");
    assert_eq!(query(&one.location(), "bind"), query(&two.location(), "bind"));

    let one = scene.ada.tap(&sign_in_request(&one.location())).await;
    let two = scene.ada.tap(&sign_in_request(&two.location())).await;
    assert_eq!(scene.ada.browser.navigate(&one).await.must_be(303).location(), first);
    assert_eq!(scene.ada.browser.navigate(&two).await.must_be(303).location(), second);
}

#[tokio::test]
async fn a_return_address_that_is_no_path_on_the_tunnel_counts_as_its_front_page() {
    let mut scene = Scene::start().await;
    let auth = scene.ada.browser.navigate(&scene.page("/")).await.must_be(303).location();
    let long = format!("/{}", "a".repeat(2100));
    let bad = [
        "//evil.test",
        "/\\evil.test",
        "https://evil.test/",
        "\\\\evil.test",
        "/a\r\nSet-Cookie: x=1",
        "",
        "evil",
        "/\t/evil.test",
        "javascript:alert(1)",
        &long,
        "@evil.test/",
    ];
    for return_to in bad {
        let mut request = sign_in_request(&auth);
        request["return_to"] = return_to.into();
        let link = scene.ada.tap(&request).await;
        let (page, _) =
            link.as_str().split_once("?token=").unwrap_or_else(|| panic!("{return_to:?}: {link}"));
        assert_eq!(page, scene.page("/").as_str(), "{return_to:?}");
    }
}

#[tokio::test]
async fn somebody_elses_passkey_gets_no_token_for_a_tunnel_and_learns_nothing_of_it() {
    let scene = Scene::start().await;
    let mut eve = Person::enrolled(&scene.edge, "eve").await;
    let mut refusals = Vec::new();
    for tunnel in [TUNNEL, "nobody-zzz222"] {
        let auth = eve.browser.navigate(&scene.edge.tunnel(tunnel, "/")).await.must_be(303).location();
        eve.browser.navigate(&auth).await.must_be(200);
        let begun = eve.begin_sign_in(&sign_in_request(&auth)).await;
        let asserted = eve.key.assert(&begun["publicKey"]);
        // She is who she is, so she is signed in, and led to her own list.
        let led = eve.finish_sign_in(&begun, &asserted).await.must_be(200).text().replace(tunnel, "T");
        assert!(!led.contains("token="), "{led}");
        let list = eve.deployer.join(led.split('"').nth(3).expect("a redirect")).expect("a link");
        assert_eq!(origin(&list), origin(&scene.edge.deployer("/")));
        refusals.push(led);
    }
    assert_eq!(refusals[0], refusals[1], "a tunnel that is not there looks like one that is");
}

#[tokio::test]
async fn the_session_tells_about_itself_and_ends_by_logout() {
    let scene = Scene::signed_in().await;
    let about = scene.page("/.patapim/session");
    let told = scene.ada.browser.fetch(Method::GET, &about).await.must_be(200).json();
    assert_eq!((told["user"].as_str(), told["tunnel"].as_str()), (Some("ada"), Some(TUNNEL)), "{told}");

    let logout = scene.page("/.patapim/logout");
    let left = scene.ada.browser.fetch(Method::POST, &logout).await;
    assert!(left.status.is_success() || left.is_redirect(), "{left:?}");
    assert_eq!(left.header("clear-site-data"), "\"cache\", \"storage\"");
    assert!(left.sets(SESSION).expect("expired by name").deletes());
    scene.ada.browser.navigate(&scene.page("/")).await.must_be(303);
    assert_eq!(scene.sessions().await.len(), 0);
}

#[tokio::test]
async fn signing_in_again_joins_the_session_of_the_same_passkey() {
    let mut scene = Scene::signed_in().await;
    let before = scene.sessions().await;
    let bind = scene.ada.browser.cookies.get(&scene.page("/"), BIND).expect("a bind cookie");
    let request = json!({"tunnel": TUNNEL, "bind": bind_hash(&bind), "return_to": "/"});
    let link = scene.ada.tap(&request).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
    assert_eq!(scene.sessions().await, before);
    scene.echo().await;
}

fn must_be_ours_alone(attributes: &[String], same_site: &str) {
    for wanted in ["secure", "httponly", "path=/", same_site] {
        assert!(attributes.iter().any(|one| one == wanted), "{wanted} in {attributes:?}");
    }
    assert!(!attributes.iter().any(|one| one.starts_with("domain")), "{attributes:?}");
}
