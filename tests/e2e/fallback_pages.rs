//! Fallbacks in a real browser: set up in the settings, used on the sign-in page.

use serde_json::json;
use url::Url;

use crate::rig::browser::Tab;
use crate::rig::edge::Setup;
use crate::rig::post::{Post, Secrecy};
use crate::rig::stage::Stage;

const PASSWORD: &str = "four words and a bird";

/// A browser whose person has just made their first passkey, at an edge that sends mail.
async fn set(post: &Post) -> Stage {
    let stage = Stage::set_with(Setup::default().with(&post.section())).await;
    stage.tab.make_passkey().await;
    stage
}

impl Stage {
    /// Opens the settings and waits for the person's own.
    async fn open_settings(&self) {
        self.tab.go(&self.edge.deployer("/settings/security")).await;
        self.tab.until("document.getElementById('codes-state').innerText && !document.getElementById('settings').hidden").await;
    }

    /// Forgets every cookie, and the passkey too: from a list of passkeys a virtual authenticator chooses by itself.
    async fn sign_out(&self) {
        self.tab.lose_passkeys().await;
        self.tab.call("Network.clearBrowserCookies", json!({})).await;
    }
}

async fn fill(tab: &Tab, id: &str, text: &str) {
    tab.until(&format!("document.getElementById('{id}').offsetWidth")).await;
    tab.eval(&format!("document.getElementById('{id}').focus()")).await;
    tab.type_text(text).await;
}

/// Clicks the element with this id as a person does.
async fn press(tab: &Tab, id: &str) {
    tab.until(&format!("document.getElementById('{id}').offsetWidth")).await;
    tab.eval(&format!("document.getElementById('{id}').click()")).await;
}

#[tokio::test]
async fn a_person_sets_their_fallbacks_up_and_signs_in_with_each() {
    let post = Post::start(Secrecy::AtOnce).await;
    let stage = set(&post).await;
    let tab = &stage.tab;
    stage.open_settings().await;
    tab.eval("document.getElementById('fallbacks').scrollIntoView()").await;
    tab.screenshots("fallbacks-off").await;

    press(tab, "codes-make").await;
    tab.until("document.querySelectorAll('#codes-list li').length === 10").await;
    let code = tab.eval("document.querySelector('#codes-list code').textContent").await;
    let code = code.as_str().expect("a code").to_owned();
    press(tab, "link-switch").await;
    tab.until("!document.getElementById('link-tag').hidden").await;
    press(tab, "password-open").await;
    fill(tab, "password-new", "too short").await;
    press(tab, "password-confirm").await;
    tab.reads("at least 15 characters").await;
    tab.screenshots("fallbacks-setting-up").await;
    tab.eval("document.getElementById('password-new').value = ''").await;
    fill(tab, "password-new", PASSWORD).await;
    press(tab, "password-confirm").await;
    tab.until(
        "!document.getElementById('password-tag').hidden && document.getElementById('password-form').hidden",
    )
    .await;
    press(tab, "codes-done").await;
    tab.until("!document.body.innerText.includes('Your new backup codes')").await;
    tab.screenshots("fallbacks-on").await;

    stage.sign_out().await;
    tab.go(&stage.page("/notes?page=2")).await;
    tab.until("location.pathname === '/auth'").await;
    tab.click("Other ways to sign in").await;
    tab.click("Backup code").await;
    fill(tab, "code-user", "ada").await;
    fill(tab, "code", &code).await;
    tab.screenshots("auth-backup-code").await;
    press(tab, "code-button").await;
    stage.in_the_app("/notes?page=2").await;

    stage.sign_out().await;
    tab.go(&stage.page("/")).await;
    tab.until("location.pathname === '/auth'").await;
    tab.click("Other ways to sign in").await;
    tab.click("Password").await;
    fill(tab, "password-user", "ada").await;
    fill(tab, "password", "not the right password").await;
    press(tab, "password-button").await;
    tab.reads("do not go together").await;
    tab.screenshots("auth-password").await;
    tab.eval("document.getElementById('password').value = ''").await;
    fill(tab, "password", PASSWORD).await;
    press(tab, "password-button").await;
    stage.in_the_app("/").await;
}

#[tokio::test]
async fn a_mailed_link_signs_in_by_a_press_in_the_browser_that_asked() {
    let post = Post::start(Secrecy::WhenAsked).await;
    let stage = set(&post).await;
    let tab = &stage.tab;
    stage.open_settings().await;
    press(tab, "link-switch").await;
    tab.until("!document.getElementById('link-tag').hidden").await;

    stage.sign_out().await;
    tab.go(&stage.page("/notes")).await;
    tab.until("location.pathname === '/auth'").await;
    tab.click("Other ways to sign in").await;
    tab.click("E-mail link").await;
    fill(tab, "email", "ada@mail.test").await;
    press(tab, "link-button").await;
    tab.reads("Look at your mail").await;
    tab.screenshots("auth-link-asked").await;
    let mail = post.about("Your sign-in link", 1).await.remove(0);
    let link = Url::parse(&mail.link()).expect("a link");

    let elsewhere = stage.stranger().await;
    elsewhere.go(&link).await;
    elsewhere.click("Sign in").await;
    elsewhere.reads("This link does not work here").await;
    elsewhere.screenshots("email-refused").await;

    tab.go(&link).await;
    tab.reads("One press, and you are in").await;
    let shown = tab.url().await;
    assert_eq!(shown.fragment(), None, "the secret leaves the address: {shown}");
    tab.screenshots("email").await;
    tab.click("Sign in").await;
    stage.in_the_app("/notes").await;

    // What the mail looks like.
    let html = mail.part("text/html");
    tab.go(&Url::parse("about:blank").expect("an address")).await;
    let frame = tab.call("Page.getFrameTree", json!({})).await["frameTree"]["frame"]["id"].clone();
    tab.call("Page.setDocumentContent", json!({"frameId": frame, "html": html})).await;
    tab.screenshots("mail").await;
}

#[tokio::test]
async fn where_passkeys_do_not_work_the_other_ways_show_by_themselves() {
    let post = Post::start(Secrecy::AtOnce).await;
    let stage = Stage::set_with(Setup::default().with(&post.section())).await;
    stage.tab.before_each_page("delete window.PublicKeyCredential").await;
    stage.tab.go(&stage.edge.deployer("/auth")).await;
    stage
        .tab
        .until("document.getElementById('others').open && document.getElementById('link-choice').offsetWidth")
        .await;
    stage.tab.screenshots("auth-without-passkeys").await;
}

#[tokio::test]
async fn new_codes_are_asked_about_before_the_old_ones_end() {
    let post = Post::start(Secrecy::AtOnce).await;
    let stage = set(&post).await;
    let tab = &stage.tab;
    stage.open_settings().await;
    press(tab, "codes-make").await;
    tab.until("document.querySelectorAll('#codes-list li').length === 10").await;
    let first = tab.eval("document.querySelector('#codes-list code').textContent").await;
    press(tab, "codes-make").await;
    tab.reads("The old ones no longer work").await;
    tab.screenshots("fallbacks-new-codes").await;
    tab.click("Make new codes").await;
    let first = json!(first);
    tab.until(&format!("document.querySelector('#codes-list code').textContent !== {first}")).await;
}
