//! "Open on your phone": two browsers, one with a passkey and one without.

use serde_json::json;
use url::Url;

use crate::rig::browser::{Chromium, Tab};
use crate::rig::journey::Person;
use crate::rig::scene::{Scene, TUNNEL};
use crate::rig::stage::Stage;

/// Has the computer show a code for Ada's tunnel, and gives what the picture on its screen says.
async fn scanned(computer: &Tab) -> Url {
    computer
        .eval(
            "(() => { const real = window.fetch; window.fetch = async (...args) => { const answer = await real(...args); \
             if (String(args[0]).endsWith('/phone-codes')) window.made = await answer.clone().json(); return answer; }; })()",
        )
        .await;
    computer.click(&format!("Open {TUNNEL} on your phone")).await;
    computer.reads("Scan this with your phone").await;
    computer.until(DRAWN).await;
    let link = computer.eval("window.made.url").await;
    Url::parse(link.as_str().expect("a link")).expect("a link")
}

/// Whether the picture is, module by module, what the server made.
const DRAWN: &str = "(() => {
    const dark = new Set();
    for (const [, x, y, run] of document.querySelector('svg.qr path').getAttribute('d').matchAll(/M(\\d+) (\\d+)h(\\d+)v1/g)) {
        for (let i = 0; i < Number(run); i++) dark.add(`${Number(x) + i - 4},${y - 4}`);
    }
    return window.made.rows.every((row, y) => [...row].every((bit, x) => (bit === '1') === dark.has(`${x},${y}`)));
})()";

#[tokio::test]
async fn a_phone_without_a_passkey_gets_one_after_the_computers_approval_and_opens_the_tunnel() {
    let stage = Stage::enrolled().await;
    let computer = &stage.tab;
    computer.go(&stage.edge.deployer("/")).await;
    let link = scanned(computer).await;
    computer.screenshots("phone-code").await;

    let other = Chromium::for_edge(&stage.edge).await;
    let phone = other.tab().await;
    phone.go(&link).await;
    assert!(!phone.url().await.as_str().contains("code"), "the code leaves the address bar");
    phone.screenshots("phone-start").await;
    phone.click("Go on").await;
    phone.reads(TUNNEL).await;
    computer.reads("Scanned.").await;
    phone.screenshots("phone-choice").await;
    phone.click("Make a passkey on this phone").await;
    phone.until("/^[1-9][0-9]$/.test(document.getElementById('number').textContent)").await;
    let number = phone.eval("document.getElementById('number').textContent").await;
    computer
        .until(&format!(
            "document.querySelector('.phone-code .number').textContent === '{}'",
            number.as_str().expect("a number")
        ))
        .await;
    phone.screenshots("phone-asking").await;
    computer.screenshots("phone-approve").await;
    computer.click("Approve").await;
    computer.reads("Approved.").await;
    phone.until("document.getElementById('name').value").await;
    phone.screenshots("phone-make").await;
    phone.click("Create passkey").await;
    phone.reads("Your passkey is ready").await;
    phone.screenshots("phone-done").await;
    phone.click("Open the tunnel").await;
    phone.click("Sign in with a passkey").await;
    phone
        .until(&format!(
            "location.hostname.startsWith('{TUNNEL}.') && document.body.innerText.includes('The app')"
        ))
        .await;

    let told = stage.edge.admin(&["audit", "--user", "ada"]).await;
    let events: Vec<_> =
        told.as_array().expect("a list").iter().map(|entry| entry["event"].as_str()).collect();
    for event in
        ["phone-code-made", "phone-code-used", "phone-approved", "passkey-registered", "session-opened"]
    {
        assert!(events.contains(&Some(event)), "{event} in {events:?}");
    }
}

#[tokio::test]
async fn what_the_computer_denies_gets_nothing() {
    let stage = Stage::enrolled().await;
    let computer = &stage.tab;
    computer.go(&stage.edge.deployer("/")).await;
    let link = scanned(computer).await;
    let other = Chromium::for_edge(&stage.edge).await;
    let phone = other.tab().await;
    phone.go(&link).await;
    phone.click("Go on").await;
    phone.click("Make a passkey on this phone").await;
    phone.until("document.getElementById('number').textContent").await;
    computer.click("Deny").await;
    phone.reads("Your computer said no.").await;
    computer.reads("Denied.").await;
    phone.go(&link).await;
    phone.click("Go on").await;
    phone.reads("This code is no longer good.").await;
    phone.screenshots("phone-no-code").await;
}

#[tokio::test]
async fn a_code_signs_nobody_in_and_is_scanned_once_of_fifty_at_once() {
    let scene = Scene::start().await;
    let made = scene.ada.api_post("/phone-codes", &json!({"tunnel": TUNNEL})).await.must_be(201).json();
    let code = made["url"].as_str().expect("a link").rsplit('=').next().expect("a code").to_owned();
    let tries = (0..50).map(|_| {
        let (stranger, code) = (Person::with_nothing(&scene.edge, "eve"), code.clone());
        tokio::spawn(async move {
            let answer = stranger.api_post("/phone-codes/scan", &json!({"code": code})).await;
            assert!(answer.set_cookies().is_empty(), "nobody is signed in");
            stranger.api_get("/tunnels").await.must_be(401);
            answer.status.as_u16()
        })
    });
    let mut statuses = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        statuses.push(one.await.expect("a try"));
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses[49]), (200, 403, 403));
}

#[tokio::test]
async fn without_the_computers_approval_there_is_nothing_to_register_with() {
    let scene = Scene::start().await;
    let made = scene.ada.api_post("/phone-codes", &json!({"tunnel": TUNNEL})).await.must_be(201).json();
    let code = made["url"].as_str().expect("a link").rsplit('=').next().expect("a code").to_owned();
    let eve = Person::with_nothing(&scene.edge, "eve");
    let found = eve.api_post("/phone-codes/scan", &json!({"code": code})).await.must_be(200).json();
    let phone = found["phone"].clone();
    let id = made["id"].as_str().expect("an id");
    for ticket in [&phone, &json!(code)] {
        let body = json!({"name": "Eve's", "ticket": ticket});
        eve.api_post("/passkeys/registration", &body).await.must_be(403);
    }
    scene.ada.api_post(&format!("/phone-codes/{id}/approve"), &json!({})).await.must_be(404);
    eve.api_post("/phone-codes/ask", &json!({"phone": phone})).await.must_be(200);
    eve.api_post("/phone-codes/ask", &json!({"phone": phone})).await.must_be(403);
    eve.api_post(&format!("/phone-codes/{id}/approve"), &json!({})).await.must_be(401);
    let bob = Person::enrolled(&scene.edge, "bob").await;
    bob.api_post(&format!("/phone-codes/{id}/approve"), &json!({})).await.must_be(404);
    bob.api_post("/phone-codes", &json!({"tunnel": TUNNEL})).await.must_be(404);
    scene.ada.api_post(&format!("/phone-codes/{id}/deny"), &json!({})).await.must_be(204);
    scene.ada.api_post(&format!("/phone-codes/{id}/approve"), &json!({})).await.must_be(404);
    let told = eve
        .api_post("/phone-codes/poll", &json!({"phone": phone, "state": "asking"}))
        .await
        .must_be(200)
        .json();
    assert_eq!(told, json!({"state": "denied"}));
}
