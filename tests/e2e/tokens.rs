//! Tokens that must not work, and the one use of those that do (contract, section 4; threats, "Token" and "Binding").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::rig::app::App;
use crate::rig::edge::Setup;
use crate::rig::journey::{BIND, Person, SESSION, jwt_parts};
use crate::rig::machine::Machine;
use crate::rig::process::let_pass;
use crate::rig::scene::{NOT_OURS, Scene, TUNNEL, looks, with_parameter};

#[tokio::test]
async fn a_forged_token_is_refused_whatever_was_forged_and_spends_nothing() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let link = scene.ada.token_for(&page).await;
    let token = token_of(&link);
    let first = scene.ada.browser.navigate(&with_parameter(&page, "token", NOT_OURS)).await.must_be(401);
    assert!(first.text().contains("Sign in again"), "{}", first.text());

    for (how, forged) in forgeries(&token) {
        let refused = scene.ada.browser.navigate(&with_parameter(&page, "token", &forged)).await;
        assert_eq!(looks(&refused), looks(&first), "{how}");
        assert!(refused.set_cookies().is_empty(), "{how}");
    }
    assert_eq!(scene.app.count(), 0, "nothing reaches the app");
    scene.ada.browser.navigate(&link).await.must_be(303);
}

#[tokio::test]
async fn what_is_no_longer_shaped_like_a_token_opens_nothing_either() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let token = token_of(&scene.ada.token_for(&page).await);
    let (body, signature) = token.rsplit_once('.').expect("three parts");
    let misshapen = [
        body.to_owned(),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!("{token}%20"),
        format!("%20{token}"),
        format!("{token}%00"),
        format!("{body}.{}", signature.replace('-', "+").replace('_', "/")) + "%0A",
        "AAAA.AAAA.AAAA".into(),
        "A".repeat(20_000),
    ];
    for value in misshapen {
        let answer = scene.ada.browser.navigate(&with_parameter(&page, "token", &value)).await;
        assert!(answer.sets(SESSION).is_none(), "{value}: {answer:?}");
        assert!(matches!(answer.status.as_u16(), 303 | 401 | 414 | 431), "{value}: {answer:?}");
    }
    assert_eq!(scene.app.count(), 0, "nothing reaches the app");
}

#[tokio::test]
async fn a_refused_script_is_told_so_in_a_machines_words() {
    let scene = Scene::start().await;
    let url = with_parameter(&scene.page("/"), "token", NOT_OURS);
    let refused = scene.ada.browser.curl(&url).await.must_be(401);
    assert!(refused.problem().ends_with("/problems/refused"), "{}", refused.text());
    assert!(refused.set_cookies().is_empty());
}

#[tokio::test]
async fn a_token_is_good_in_the_browser_that_asked_for_it_and_in_no_other() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let link = scene.ada.token_for(&page).await;

    let without = scene.ada.browser.stranger();
    let other = scene.ada.browser.stranger();
    other.navigate(&page).await.must_be(303);
    let early = without.navigate(&link).await.must_be(401);
    assert_eq!(looks(&other.navigate(&link).await), looks(&early), "with another bind cookie");

    scene.ada.browser.navigate(&link).await.must_be(303);
    assert_eq!(looks(&without.navigate(&link).await), looks(&early), "after it was spent");
    assert_eq!(looks(&other.navigate(&link).await), looks(&early), "after it was spent");
    assert_eq!(scene.sessions().await.len(), 1);
}

#[tokio::test]
async fn a_token_for_one_tunnel_is_refused_at_another_and_not_spent_there() {
    let (app, other) = (App::start("app").await, App::start("other").await);
    let setup = Setup::default().upstream(TUNNEL, "ada", &app.url());
    let edge = setup.upstream("ada-xyz777", "ada", &other.url()).start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let link = ada.token_for(&edge.tunnel(TUNNEL, "/")).await;

    // The same bind cookie on both, so that nothing but the audience is wrong.
    let (here, there) = (edge.tunnel(TUNNEL, "/"), edge.tunnel("ada-xyz777", "/"));
    let bind = ada.browser.cookies.get(&here, BIND).expect("a bind cookie");
    ada.browser.cookies.set(&there, BIND, &bind);
    let wrong = with_parameter(&there, "token", &token_of(&link));
    ada.browser.navigate(&wrong).await.must_be(401);
    ada.browser.navigate(&link).await.must_be(303);
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn a_token_that_nobody_redeemed_in_time_is_dead() {
    let mut scene = Scene::with(Setup::default().with("[session]\nredeem_within = \"1s\"")).await;
    let page = scene.page("/");
    let link = scene.ada.token_for(&page).await;
    let forged = scene.ada.browser.navigate(&with_parameter(&page, "token", NOT_OURS)).await;
    let_pass(std::time::Duration::from_millis(2100)).await;
    let late = scene.ada.browser.navigate(&link).await.must_be(401);
    assert_eq!(looks(&late), looks(&forged));
}

#[tokio::test]
async fn the_same_browser_repeating_the_link_gets_the_same_session_again() {
    let mut scene = Scene::start().await;
    let link = scene.ada.token_for(&scene.page("/")).await;
    let first = scene.ada.browser.navigate(&link).await.must_be(303);
    let again = scene.ada.browser.navigate(&link).await.must_be(303);
    assert_eq!(first.location(), again.location());
    let cookie = first.sets(SESSION).expect("a session").value;
    assert!(again.sets(SESSION).is_none_or(|same| same.value == cookie));

    // The answer was lost: the cookie never arrived.
    scene.ada.browser.cookies.forget(&scene.page("/"), SESSION);
    let lost = scene.ada.browser.navigate(&link).await.must_be(303);
    assert_eq!(lost.sets(SESSION).expect("a session").value, cookie);
    assert_eq!(scene.sessions().await.len(), 1);
}

#[tokio::test]
async fn fifty_at_once_from_its_own_browser_make_one_session() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let link = scene.ada.token_for(&page).await;
    let bind = scene.ada.browser.cookies.get(&page, BIND).expect("a bind cookie");
    let tabs: Vec<_> = (0..50).map(|_| scene.ada.browser.with(&page, BIND, &bind)).collect();
    let answers = join_all(tabs.iter().map(|tab| tab.navigate(&link).into_future())).await;
    let cookies: std::collections::BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.must_be(303).sets(SESSION).expect("a session").value)
        .collect();
    assert_eq!(cookies.len(), 1, "equal cookies");
    assert_eq!(scene.sessions().await.len(), 1);
}

#[tokio::test]
async fn a_kill_right_after_redeeming_leaves_the_token_spent_and_the_session_alive() {
    let mut scene = Scene::start().await;
    let page = scene.page("/");
    let link = scene.ada.token_for(&page).await;
    let redeemed = scene.ada.browser.navigate(&link).await.must_be(303);
    scene.edge.kill().await;
    scene.edge.start_again().await;

    let thief = scene.ada.browser.stranger();
    thief.navigate(&link).await.must_be(401);
    scene.ada.browser.navigate(&page).await.must_be(200);
    scene.ada.browser.cookies.forget(&page, SESSION);
    let again = scene.ada.browser.navigate(&link).await.must_be(303);
    assert_eq!(again.sets(SESSION), redeemed.sets(SESSION), "the same session");
    assert_eq!(scene.sessions().await.len(), 1);
}

#[tokio::test]
async fn after_logout_the_link_is_dead_even_at_home() {
    let mut scene = Scene::start().await;
    let link = scene.ada.token_for(&scene.page("/")).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
    scene.ada.browser.fetch(Method::POST, &scene.page("/.patapim/logout")).await;
    scene.ada.browser.navigate(&link).await.must_be(401);
}

#[tokio::test]
async fn after_five_minutes_the_link_is_dead_even_at_home() {
    let machine = Machine::new();
    let mut scene = Scene::start().await;
    let link = scene.ada.token_for(&scene.page("/")).await;
    scene.ada.browser.navigate(&link).await.must_be(303);
    for (seconds, status) in [(240, 303), (301, 401)] {
        scene.edge.kill().await;
        scene.edge.start_again_on(|command| machine.clock_ahead(command, seconds)).await;
        scene.ada.browser.navigate(&link).await.must_be(status);
        scene.echo().await;
    }
}

#[tokio::test]
async fn a_refusal_beside_a_live_session_leaves_it_alone() {
    let scene = Scene::signed_in().await;
    let claims = json!({"iss": scene.edge.deployer("/").origin().ascii_serialization(), "aud": TUNNEL});
    let forged = signed(&json!({"alg": "HS256", "kid": "x"}), &claims);
    let refused = scene.ada.browser.navigate(&with_parameter(&scene.page("/"), "token", &forged)).await;
    assert_eq!(refused.status, 401);
    assert!(refused.set_cookies().is_empty());
    scene.echo().await;
}

#[tokio::test]
async fn a_token_parameter_of_the_apps_own_goes_through() {
    let scene = Scene::signed_in().await;
    let foreign = signed(&json!({"alg": "HS256"}), &json!({"iss": "https://elsewhere.test", "sub": "x"}));
    for own in ["abc", "", "a.b.c", &foreign] {
        let page = scene.page(&format!("/echo?a=1&token={own}&b=%2f"));
        let told = scene.ada.browser.navigate(&page).await.must_be(200).json();
        assert_eq!(told["target"], format!("/echo?a=1&token={own}&b=%2f"));
    }
    let stranger = scene.ada.browser.stranger();
    stranger.navigate(&scene.page("/echo?token=abc")).await.must_be(303);
    stranger.navigate(&scene.page(&format!("/echo?token={foreign}"))).await.must_be(401);
}

/// The token at the end of a link.
fn token_of(link: &Url) -> String {
    link.as_str().rsplit_once("token=").expect("a token").1.to_owned()
}

fn encode(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A JWT signed with a key that is not the edge's.
fn signed(header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", encode(header), encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a key of the attacker's own choosing");
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Everything an attacker who holds a good token can make of it, short of knowing the key.
fn forgeries(token: &str) -> Vec<(String, String)> {
    let (header, claims, _) = jwt_parts(token);
    let parts: Vec<&str> = token.split('.').collect();
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    let mut all = vec![
        ("signature dropped".into(), format!("{head}.{body}.")),
        ("signature cut".into(), format!("{head}.{body}.{}", &signature[..40])),
        ("signature re-encoded".into(), respell(token)),
        ("another key".into(), signed(&header, &claims)),
        ("an empty key".into(), {
            let text = format!("{head}.{body}");
            let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b""), text.as_bytes());
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
        }),
    ];
    for alg in
        ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", ""]
    {
        let mut changed = header.clone();
        changed["alg"] = alg.into();
        all.push((format!("alg {alg}, signature kept"), format!("{}.{body}.{signature}", encode(&changed))));
        all.push((format!("alg {alg}, no signature"), format!("{}.{body}.", encode(&changed))));
        all.push((format!("alg {alg}, another key"), signed(&changed, &claims)));
    }
    let tricks = [
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!(0)),
        ("kid", json!(null)),
        ("kid", json!(["a"])),
        ("jku", json!("http://127.0.0.1:9/keys.json")),
        ("x5u", json!("http://127.0.0.1:9/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("typ", json!("at+jwt")),
        ("zip", json!("DEF")),
    ];
    for (name, value) in tricks {
        let mut changed = header.clone();
        changed[name] = value.clone();
        all.push((format!("header {name} {value}"), format!("{}.{body}.{signature}", encode(&changed))));
        all.push((format!("header {name} {value}, another key"), signed(&changed, &claims)));
    }
    let far = json!(99_999_999_999_i64);
    let changes = [
        ("aud", json!("ada-xyz777")),
        ("aud", json!([TUNNEL])),
        ("sub", json!("someone")),
        ("iss", json!("https://evil.test")),
        ("exp", far.clone()),
        ("exp", json!("tomorrow")),
        ("exp", json!(1e300)),
        ("exp", json!(-1)),
        ("iat", far),
        ("iat", json!(null)),
        ("jti", json!("another")),
        ("bind", json!("AAAA")),
        ("admin", json!(true)),
    ];
    for (name, value) in changes {
        let mut changed = claims.clone();
        changed[name] = value.clone();
        all.push((format!("claim {name} {value}"), format!("{head}.{}.{signature}", encode(&changed))));
        all.push((format!("claim {name} {value}, another key"), signed(&header, &changed)));
    }
    all
}

/// The same bytes in another spelling: the last character of 32 bytes in base64 has two bits to spare.
fn respell(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let at = ALPHABET.find(last).expect("base64url");
    format!("{rest}{}", &ALPHABET[at + 1..at + 2])
}
