//! Sign-in links by mail, from the request to the press of the button.

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use url::Url;

use super::{House, LINK, OTHER, put, switch_links_on, with_address};
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::{query, sign_in_request};
use crate::rig::post::{Post, Secrecy};
use crate::rig::scene::TUNNEL;

#[tokio::test]
async fn a_link_comes_by_mail_and_is_good_once_in_the_browser_that_asked() {
    let house = House::start().await;
    switch_links_on(&house.ada).await;
    let phone = house.browser();
    house.ask_for_link(&phone, "ADA@mail.test").await;
    let mail = house.post.about(LINK, 1).await.remove(0);
    assert_eq!(mail.recipients, ["ada@mail.test"]);
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.part("text/html").contains(&mail.link()), "{}", mail.raw);
    let link = Url::parse(&mail.link()).expect("a link");
    assert_eq!((link.host_str(), link.query()), (house.edge.deployer("/").host_str(), None));

    // A scanner opens it, however it likes.
    let scanner = house.browser();
    scanner.curl(&link).await.must_be(200);
    scanner.navigate(&link).await.must_be(200);
    scanner.send(Method::HEAD, &link).await.must_be(200);
    assert!(!house.is_signed_in(&scanner));
    let redeem = house.ada.api("/sign-in/magic-link/redeem");
    assert!(scanner.fetch(Method::GET, &redeem).await.status.is_client_error());

    for stranger in [scanner, house.browser()] {
        let answer = house.redeem(&stranger, &mail.token()).await.must_be(401);
        assert_eq!(answer.problem(), "/problems/sign-in-refused");
    }
    let asked_too = house.browser();
    house.ask_for_link(&asked_too, "nobody@mail.test").await;
    house.redeem(&asked_too, &mail.token()).await.must_be(401);

    house.redeem(&phone, &mail.token()).await.must_be(200);
    assert!(house.is_signed_in(&phone));
    house.redeem(&phone, &mail.token()).await.must_be(401);
    let told = house.post.about(OTHER, 1).await;
    assert!(told[0].part("text/plain").contains("with a link"), "{}", told[0].raw);
    let printed = house.edge.process.all_printed();
    assert!(!printed.contains(&mail.token()), "{printed}");
}

#[tokio::test]
async fn fifty_presses_at_once_on_one_link_are_one_sign_in() {
    let house = House::start().await;
    switch_links_on(&house.ada).await;
    let phone = house.browser();
    house.ask_for_link(&phone, "ada@mail.test").await;
    let token = house.post.about(LINK, 1).await[0].token();
    let all = join_all((0..50).map(|_| house.redeem(&phone, &token))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn only_the_newest_of_three_links_is_good_and_a_fourth_is_not_sent() {
    let house = House::with(Secrecy::WhenAsked).await;
    switch_links_on(&house.ada).await;
    let phone = house.browser();
    for count in 1..=3 {
        house.ask_for_link(&phone, "ada@mail.test").await;
        house.post.about(LINK, count).await;
    }
    house.ask_for_link(&phone, "ada@mail.test").await;
    let tokens: Vec<_> = house.post.about(LINK, 3).await.iter().map(|mail| mail.token()).collect();
    house.redeem(&phone, &tokens[0]).await.must_be(401);
    house.redeem(&phone, &tokens[1]).await.must_be(401);
    house.redeem(&phone, &tokens[2]).await.must_be(200);
    // Mails go one after the other: what was asked for before this one would be here before it.
    house.post.about(OTHER, 1).await;
    assert_eq!(house.post.about(LINK, 3).await.len(), 3);
}

#[tokio::test]
async fn whoever_asks_hears_the_same_and_only_the_stored_address_gets_a_mail() {
    let house = House::start().await;
    switch_links_on(&house.ada).await;
    with_address(&house.edge, "bob", "bob@mail.test").await;
    let mut seen = Vec::new();
    for email in [
        "bob@mail.test",
        "nobody@mail.test",
        "no address",
        "ada@mail.test\r\nBcc: eve@mail.test",
        "ada@mail.test",
    ] {
        let url = house.ada.api("/sign-in/magic-link");
        let answer = house.browser().post(&url, &json!({"email": email})).await.must_be(202);
        let cookies: Vec<_> =
            answer.set_cookies().into_iter().map(|cookie| (cookie.name, cookie.attributes)).collect();
        seen.push((cookies, answer.text()));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    house.post.about(LINK, 1).await;
    let links = house.post.about(LINK, 1).await;
    assert!(links.iter().all(|mail| mail.recipients == ["ada@mail.test"]), "{links:?}");
}

#[tokio::test]
async fn a_foreign_host_header_changes_nothing_about_the_link() {
    let house = House::start().await;
    switch_links_on(&house.ada).await;
    let url = house.ada.api("/sign-in/magic-link");
    let body = json!({"email": "ada@mail.test"});
    for (name, value) in
        [("x-forwarded-host", "evil.test"), ("forwarded", "host=evil.test"), ("x-original-host", "evil.test")]
    {
        let browser = house.browser();
        browser.post(&url, &body).header(name, value).await.must_be(202);
    }
    let poisoned = house.browser().post(&url, &body).header("host", "evil.test").await;
    assert_eq!(poisoned.status, 421);
    for mail in house.post.about(LINK, 3).await {
        assert!(!mail.raw.contains("evil.test"), "{}", mail.raw);
        assert!(mail.link().starts_with(house.edge.deployer("/auth/email#").as_str()), "{}", mail.link());
    }
}

#[tokio::test]
async fn a_mail_server_with_another_certificate_gets_no_mail() {
    let post = Post::start(Secrecy::WhenAsked).await;
    let other = Post::start(Secrecy::AtOnce).await;
    let ca = other.section().lines().find_map(|line| line.strip_prefix("ca = ")).expect("a file").to_owned();
    let section = post.section_trusting(std::path::Path::new(ca.trim_matches('"')));
    let edge = Setup::default().with(&section).start().await;
    let ada = with_address(&edge, "ada", "ada@mail.test").await;
    switch_links_on(&ada).await;
    edge.visitor()
        .post(&ada.api("/sign-in/magic-link"), &json!({"email": "ada@mail.test"}))
        .await
        .must_be(202);
    edge.process
        .says("that a mail was not sent", |line| line.contains("a mail was not sent").then_some(()))
        .await;
    assert!(post.so_far().is_empty());
}

#[tokio::test]
async fn a_link_leads_to_the_page_that_was_asked_for() {
    let house = House::start().await;
    switch_links_on(&house.ada).await;
    let browser = house.browser();
    let auth = browser.navigate(&house.edge.tunnel(TUNNEL, "/notes?x=1")).await.must_be(303).location();
    let mut body = sign_in_request(&auth);
    body["email"] = json!("ada@mail.test");
    house.post(&browser, "/sign-in/magic-link", &body).await.must_be(202);
    let token = house.post.about(LINK, 1).await[0].token();
    let entered = house.redeem(&browser, &token).await.must_be(200).json();
    let page = Url::parse(entered["redirect"].as_str().expect("a link")).expect("a link");
    assert_eq!((page.host_str(), page.path()), (house.edge.tunnel(TUNNEL, "/").host_str(), "/notes"));
    assert!(query(&page, "token").is_some() && query(&page, "x").as_deref() == Some("1"));
}

#[tokio::test]
async fn without_a_mail_section_links_cannot_be_switched_on_and_asking_says_nothing() {
    let edge = Edge::start().await;
    let ada = with_address(&edge, "ada", "ada@mail.test").await;
    let refused = put(&ada, "/fallbacks/magic-link", &json!({"enabled": true})).await.must_be(409);
    assert_eq!(refused.problem(), "/problems/no-mail");
    edge.visitor()
        .post(&ada.api("/sign-in/magic-link"), &json!({"email": "ada@mail.test"}))
        .await
        .must_be(202);
    let ways = edge.visitor().fetch(Method::GET, &ada.api("/sign-in")).await.must_be(200).json();
    assert_eq!(ways, json!({"magic_link": false}));
}
