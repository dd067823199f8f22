//! The settings as a person uses them, in a real browser: one's passkeys, sessions, desktops and access tokens.

use serde_json::json;

use crate::rig::browser::Tab;
use crate::rig::scene::TUNNEL;
use crate::rig::stage::Stage;
use crate::rig::virtual_authenticator::Kind;

/// The settings, open in the tab of somebody who has just made their passkey.
async fn settings() -> Stage {
    let stage = Stage::enrolled().await;
    stage.tab.go(&stage.edge.deployer("/settings/security")).await;
    stage.tab.reads("Registered").await;
    stage
}

/// Registers a passkey of this name from the open settings.
async fn register(tab: &Tab, name: &str) {
    tab.click("Register PassKey").await;
    tab.until("document.querySelector('.dialog input')").await;
    tab.eval("document.querySelector('.dialog input').select()").await;
    tab.type_text(name).await;
    tab.click("Register").await;
}

/// Presses the button of a row.
async fn press(tab: &Tab, button: &str, name: &str) {
    tab.click(&format!("{button} {name}")).await;
    tab.until("document.querySelector('.dialog')").await;
}

/// Presses what confirms the open question.
async fn confirm(tab: &Tab) {
    let text = tab.eval("document.querySelector('.dialog .confirm').innerText").await;
    tab.click(text.as_str().expect("text")).await;
}

const QUESTION: &str = "document.querySelector('.dialog').innerText";

#[tokio::test]
async fn several_passkeys_are_registered_renamed_and_revoked_but_the_last() {
    let stage = settings().await;
    let tab = &stage.tab;
    tab.screenshots("settings").await;
    tab.must_be_accessible("the settings").await;

    // This device has one already.
    register(tab, "Another on this").await;
    tab.reads("A passkey of yours is on this device already.").await;
    tab.screenshots("settings-register").await;
    tab.must_be_accessible("the question for a new passkey").await;
    tab.press("Escape").await;
    tab.until("!document.querySelector('.dialog')").await;

    let key = tab.keep_passkeys_in(Kind::SecurityKey).await;
    register(tab, "Blue key").await;
    tab.reads("“Blue key” is registered.").await;
    assert_eq!(key.passkeys().await.len(), 1);
    press(tab, "Rename", "Blue key").await;
    tab.type_text("Green key").await;
    tab.press_enter().await;
    tab.reads("Renamed.").await;
    tab.reads("Green key").await;

    // The other one opened the session here.
    let first = "document.querySelector('.passkey h3').firstChild.data";
    let first = tab.eval(first).await.as_str().expect("a name").to_owned();
    press(tab, "Revoke", &first).await;
    let asked = tab.eval(QUESTION).await.to_string();
    assert!(asked.contains("These end with it") && asked.contains("Sign-in site"), "{asked}");
    tab.screenshots("settings-revoke").await;
    tab.must_be_accessible("the question before a passkey is revoked").await;
    confirm(tab).await;
    tab.reads("Please sign in to see and change your settings.").await;
    tab.click("Sign in with a passkey").await;
    tab.reads("Green key").await;

    press(tab, "Revoke", "Green key").await;
    confirm(tab).await;
    tab.reads("This is your last passkey.").await;
    tab.click("Cancel").await;
    assert_eq!(key.passkeys().await.len(), 1, "nothing told the browser to forget it");

    // What was revoked can be registered anew.
    tab.keep_passkeys_in(Kind::Platform).await;
    register(tab, &first).await;
    tab.reads(&format!("“{first}” is registered.")).await;
}

#[tokio::test]
async fn a_question_keeps_the_focus_and_gives_it_back() {
    let stage = settings().await;
    let tab = &stage.tab;
    let focus = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText";
    tab.eval("document.querySelector('.revoke').focus()").await;
    let opener = tab.eval(focus).await;
    tab.press_enter().await;
    tab.until("document.querySelector('.dialog')").await;
    for expected in ["Cancel", "Revoke", "Cancel", "Revoke"] {
        assert_eq!(tab.eval(focus).await, expected, "what cannot be undone is not the first");
        tab.press("Tab").await;
    }
    assert_eq!(tab.eval("document.querySelector('main').getAttribute('aria-hidden')").await, "true");
    tab.press("Escape").await;
    tab.until("!document.querySelector('.dialog')").await;
    assert_eq!(tab.eval(focus).await, opener);
    assert_eq!(tab.eval("document.querySelector('main').hasAttribute('aria-hidden')").await, false);

    // Renamed, the row is another, and the focus is in it.
    tab.eval("document.querySelector('.rename').focus()").await;
    tab.press_enter().await;
    tab.until("document.querySelector('.dialog input')").await;
    tab.type_text("Kitchen").await;
    tab.press_enter().await;
    tab.until(&format!("{focus} === 'Rename Kitchen'")).await;
}

#[tokio::test]
async fn what_changes_elsewhere_shows_without_a_reload() {
    let stage = settings().await;
    let tab = &stage.tab;
    tab.eval("window.same = true").await;
    let other = stage.chromium.tab().await;
    other.go(&stage.edge.deployer("/settings/security")).await;
    other.reads("Registered").await;
    let call = format!(
        "fetch('/api/v1/tunnels/{TUNNEL}', {{method: 'PATCH', headers: {{'content-type': 'application/json'}}, \
         body: JSON.stringify({{name: 'Study'}})}}).then(r => r.status)"
    );
    assert_eq!(other.eval(&call).await, 200);
    tab.reads("Study").await;
    tab.eval("document.querySelector('#desktops .rename').focus()").await;

    stage.edge.admin(&["session", "revoke", "--user", "ada"]).await;
    tab.reads("Please sign in to see and change your settings.").await;
    other.reads("Please sign in to see and change your settings.").await;
    assert_eq!(tab.eval("window.same").await, true);
    other.screenshots("settings-signed-out").await;
}

#[tokio::test]
async fn a_desktop_is_named_opened_to_other_origins_and_removed() {
    let stage = settings().await;
    let tab = &stage.tab;
    press(tab, "Rename", TUNNEL).await;
    tab.type_text("Ada's notes").await;
    tab.press_enter().await;
    tab.reads("Renamed.").await;
    press(tab, "Origins", "that may call Ada's notes").await;
    tab.type_text("https://app.example.com/").await;
    confirm(tab).await;
    tab.reads("is not an origin as browsers write it").await;
    tab.screenshots("settings-origins").await;
    tab.must_be_accessible("the question for origins").await;
    tab.eval("document.querySelector('.dialog textarea').select()").await;
    tab.type_text("https://app.example.com").await;
    confirm(tab).await;
    tab.reads("Open to https://app.example.com").await;
    press(tab, "Remove", "Ada's notes").await;
    confirm(tab).await;
    tab.reads("Ada's notes is removed.").await;
    tab.reads("No desktop is linked yet.").await;
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_or_all_at_once() {
    let stage = settings().await;
    stage.tab.go(&stage.page("/")).await;
    stage.tab.click("Sign in with a passkey").await;
    stage.in_the_app("/").await;
    let tab = &stage.tab;
    tab.go(&stage.edge.deployer("/settings/security")).await;
    tab.until("document.querySelectorAll('.session').length === 2").await;
    assert!(
        tab.eval("document.querySelector('.session').innerText").await.to_string().contains("This browser")
    );
    tab.eval("document.querySelectorAll('.session .end')[1].click()").await;
    tab.until("document.querySelectorAll('.session').length === 1").await;
    tab.reads("Ended.").await;
    assert_eq!(stage.edge.admin(&["session", "list"]).await.as_array().map(Vec::len), Some(1));
    tab.go(&stage.page("/")).await;
    tab.click("Sign in with a passkey").await;
    stage.in_the_app("/").await;
    tab.go(&stage.edge.deployer("/settings/security")).await;
    tab.click("End all sessions").await;
    tab.until("document.querySelector('.dialog')").await;
    confirm(tab).await;
    tab.reads("All sessions are ended.").await;
    assert_eq!(stage.edge.admin(&["session", "list"]).await, json!([]));
}

#[tokio::test]
async fn an_access_token_is_made_shown_once_and_revoked() {
    let stage = settings().await;
    let tab = &stage.tab;
    tab.click("New access token").await;
    tab.until("document.activeElement.id === 'token-name'").await;
    tab.type_text("Nightly backup").await;
    tab.click("Make the token").await;
    tab.reads("patapim_").await;
    tab.screenshots("settings-token").await;
    tab.must_be_accessible("the settings with a new token").await;
    tab.click("Done").await;
    press(tab, "Revoke", "Nightly backup").await;
    confirm(tab).await;
    tab.reads("No script has one yet.").await;
}

#[tokio::test]
async fn every_page_can_be_read_aloud_reached_by_keyboard_and_made_out() {
    let stage = Stage::set().await;
    let tab = &stage.tab;
    tab.reads("for ada").await;
    tab.must_be_accessible("/enrol").await;
    tab.make_passkey().await;
    tab.must_be_accessible("/enrol, done").await;
    // The Tab key is a sign of somebody, and this browser's authenticator would sign them in by itself.
    tab.keep_passkeys_in(Kind::Untouched).await;
    for (path, word) in [("/", "Link another desktop"), ("/link", "Code"), ("/auth", "Use your fingerprint")]
    {
        tab.go(&stage.edge.deployer(path)).await;
        tab.reads(word).await;
        tab.must_be_accessible(path).await;
    }
    tab.call("Network.clearBrowserCookies", json!({})).await;
    for (path, word) in
        [("/", "New here?"), ("/settings/security", "Please sign in"), ("/nowhere", "There is no such page")]
    {
        tab.go(&stage.edge.deployer(path)).await;
        tab.reads(word).await;
        tab.must_be_accessible(path).await;
    }
    for path in ["/?token=eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "/.patapim/nothing"] {
        tab.go(&stage.page(path)).await;
        tab.until("document.body.innerText.length > 40").await;
        tab.must_be_accessible(path).await;
    }
}
