//! From a sign-in to a tunnel: straight, or through `/.patapim/begin`.

use std::time::Duration;

use super::*;
use crate::deployer::cookies::STATE;

impl House {
    fn at(&self, tunnel: &Tunnel, path: &str) -> String {
        self.hosts.tunnel_origin(&tunnel.id) + path
    }
}

/// What `/.patapim/begin` answers: back to `/auth`, with the hash of the cookie it has planted.
fn back(begin: &str, tunnel: &Tunnel, bind: &BindCookie) -> String {
    let state = parameter(begin, "state").expect("a state");
    let return_to = parameter(begin, "return_to").expect("a path");
    let encoded: String = url::form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    format!("/auth?tunnel={}&bind={}&state={state}&return_to={encoded}", tunnel.id, bind.hash().as_str())
}

#[tokio::test]
async fn with_a_bind_the_token_comes_at_once_and_last() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let bind = house.bind();
    let wanted = json!({"tunnel": tunnel.id, "bind": bind.hash().as_str(), "return_to": "/a/b?c=%2F&d"});
    let answer = ada.sign_in(&wanted).await.must_be(StatusCode::OK);
    let to = answer.redirect();
    assert!(to.starts_with(&house.at(&tunnel, "/a/b?c=%2F&d&token=ey")), "{to}");
    assert!(answer.sets(STATE).is_none(), "one ceremony, one token");
    let redeemed = house.redeem(&tunnel.id, &to, &bind).await.expect("a session");
    assert_eq!(redeemed.session.user(), &ada.user.id);
    assert!(house.redeem(&tunnel.id, &to, &house.bind()).await.is_none(), "another browser");
}

#[tokio::test]
async fn a_return_path_that_leads_elsewhere_is_the_front_page() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let long = format!("/{}", "a".repeat(2048));
    for path in [
        "//evil.test",
        "/\\evil.test",
        "https://evil.test",
        "/a\r\nb: c",
        "@evil.test/",
        "/..//evil.test",
        &long,
    ] {
        let wanted = json!({"tunnel": tunnel.id, "bind": house.bind().hash().as_str(), "return_to": path});
        let to = ada.sign_in(&wanted).await.redirect();
        assert!(to.starts_with(&house.at(&tunnel, "/?token=ey")), "{path:?}: {to}");
    }
}

#[tokio::test]
async fn somebody_elses_tunnel_and_none_at_all_answer_alike() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let bob = house.person("bob").await;
    let bobs = house.tunnel(&bob.user).await;
    house.tunnel(&ada.user).await;
    let mut answers = Vec::new();
    for tunnel in [bobs.id.as_str(), "ada-zzzzzz"] {
        for wanted in
            [json!({"tunnel": tunnel, "bind": house.bind().hash().as_str()}), json!({"tunnel": tunnel})]
        {
            let answer = ada.sign_in(&wanted).await.must_be(StatusCode::OK);
            answers.push(answer.redirect());
            let straight_on = ada.browser.open(&format!("/auth?tunnel={tunnel}")).await;
            straight_on.must_be(StatusCode::OK);
        }
    }
    assert_eq!(answers, ["/?no-access"; 4]);
}

#[tokio::test]
async fn without_a_bind_one_tap_leads_through_the_tunnel_to_the_token() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    for wanted in [json!({}), json!({"tunnel": tunnel.id})] {
        let answer = ada.sign_in(&wanted).await.must_be(StatusCode::OK);
        let cookie = answer.sets(STATE).expect("a grant");
        for part in ["Path=/", "Max-Age=60", "Secure", "HttpOnly", "SameSite=Lax"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let begin = answer.redirect();
        assert!(begin.starts_with(&house.at(&tunnel, "/.patapim/begin?state=")), "{begin}");

        let bind = house.bind();
        let arrived = ada.browser.open(&back(&begin, &tunnel, &bind)).await.must_be(StatusCode::SEE_OTHER);
        assert_eq!(arrived.headers["cache-control"], "no-store");
        assert_eq!(arrived.headers["referrer-policy"], "no-referrer");
        assert!(arrived.sets(STATE).is_some_and(|set| set.contains("Max-Age=0")));
        assert!(house.redeem(&tunnel.id, arrived.location(), &bind).await.is_some());
    }
}

#[tokio::test]
async fn of_several_tunnels_the_one_chosen_from_the_list_opens_without_another_tap() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (one, _two) = (house.tunnel(&ada.user).await, house.tunnel(&ada.user).await);
    assert_eq!(ada.sign_in(&json!({})).await.redirect(), "/");
    let begin = ada.browser.open(&format!("/auth?tunnel={}&return_to=/x%3Fy", one.id)).await;
    let begin = begin.must_be(StatusCode::SEE_OTHER);
    let bind = house.bind();
    let arrived = ada.browser.open(&back(begin.location(), &one, &bind)).await.must_be(StatusCode::SEE_OTHER);
    assert!(arrived.location().starts_with(&house.at(&one, "/x?y&token=")), "{}", arrived.location());
    assert!(house.redeem(&one.id, arrived.location(), &bind).await.is_some());
}

#[tokio::test]
async fn a_grant_is_good_for_one_token() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let begin = ada.sign_in(&json!({})).await.redirect();
    let back = back(&begin, &tunnel, &house.bind());
    let replay = ada.browser.copy();
    ada.browser.open(&back).await.must_be(StatusCode::SEE_OTHER);
    replay.open(&back).await.must_be(StatusCode::OK);
    replay.open(&format!("/auth?tunnel={}", tunnel.id)).await.must_be(StatusCode::OK);
    ada.browser.open(&back).await.must_be(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_of_a_grant_at_once_one_passes() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let begin = ada.sign_in(&json!({})).await.redirect();
    let back = back(&begin, &tunnel, &house.bind());
    let browsers: Vec<_> = (0..20).map(|_| ada.browser.copy()).collect();
    let tries = futures_util::future::join_all(browsers.iter().map(|browser| browser.open(&back))).await;
    assert_eq!(tries.iter().filter(|answer| answer.status == StatusCode::SEE_OTHER).count(), 1);
}

#[tokio::test]
async fn a_grant_needs_its_cookie_its_state_its_tunnel_and_its_minute() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (one, two) = (house.tunnel(&ada.user).await, house.tunnel(&ada.user).await);
    let begin = ada.sign_in(&json!({"tunnel": one.id})).await.redirect();
    let bind = house.bind();
    let good = back(&begin, &one, &bind);
    let browser = &ada.browser;

    house.browser().open(&good).await.must_be(StatusCode::OK);
    let state = parameter(&begin, "state").expect("a state");
    browser.open(&good.replace(&state, house.bind().hash().as_str())).await.must_be(StatusCode::OK);
    browser.open(&good.replace("&state=", "&other=")).await.must_be(StatusCode::OK);
    // What an app on one tunnel reads in its addresses opens no other.
    browser.open(&back(&begin, &two, &bind)).await.must_be(StatusCode::OK);
    browser.open(&good.replace("&bind=", "&bind=x")).await.must_be(StatusCode::OK);
    // Nor does a picture or a frame on a sibling's page use it up, nor a browser that reads ahead.
    for headers in [
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")][..],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-purpose", "prefetch")],
    ] {
        browser.open_with(&good, headers).await.must_be(StatusCode::OK);
    }
    house.clock.advance(Duration::from_secs(59));
    browser.copy().open(&format!("/auth?tunnel={}", one.id)).await.must_be(StatusCode::SEE_OTHER);
    house.clock.advance(Duration::from_secs(1));
    browser.open(&good).await.must_be(StatusCode::OK);
}

#[tokio::test]
async fn the_deployers_cookie_alone_never_makes_a_token() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    assert!(ada.is_signed_in());
    for path in [
        format!("/auth?tunnel={}", tunnel.id),
        format!("/auth?tunnel={}&bind={}", tunnel.id, house.bind().hash().as_str()),
        format!("/auth?tunnel={}&bind={}&state=x", tunnel.id, house.bind().hash().as_str()),
    ] {
        let page = ada.browser.open(&path).await.must_be(StatusCode::OK);
        assert!(page.headers.get(SET_COOKIE).is_none());
    }
}

#[tokio::test]
async fn what_was_revoked_after_the_tap_gets_no_token() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let tunnel = house.tunnel(&ada.user).await;
    let bind = house.bind();
    let begin = ada.sign_in(&json!({})).await.redirect();
    let carried = ada.browser.copy();
    ada.browser.delete("/sessions").await.must_be(StatusCode::NO_CONTENT);
    assert!(ada.browser.cookie(STATE).is_none());
    let page = carried.open(&back(&begin, &tunnel, &bind)).await;
    if page.status == StatusCode::SEE_OTHER {
        assert!(house.redeem(&tunnel.id, page.location(), &bind).await.is_none(), "its sign-in is over");
    }

    let begin = ada.sign_in(&json!({})).await.redirect();
    house.accounts.remove_tunnel(&tunnel.id).await.expect("removed");
    ada.browser.open(&back(&begin, &tunnel, &bind)).await.must_be(StatusCode::OK);
}
