//! Passkeys as browsers have them: every kind of authenticator, every way in which the dialog ends, and what the
//! browser's list of passkeys is told.

use crate::rig::stage::Stage;
use crate::rig::virtual_authenticator::Kind;

const SIGN_IN: &str = "Sign in with a passkey";
const CREATE: &str = "Create passkey";

/// Dialogs give up after a second and a half: the page sees a server that says so.
const SHORT_DIALOGS: &str = "const real = window.fetch; window.fetch = async (...asked) => {
    const answer = await real(...asked), json = await answer.clone().json().catch(() => null);
    if (!json || !json.publicKey) return answer;
    json.publicKey.timeout = 1500;
    return new Response(JSON.stringify(json), { status: answer.status, headers: answer.headers });
};";

/// The browser's dialog as a test wants it: what was asked for is noted, and stays open until it is aborted or
/// `settle` is called.
const OWN_DIALOGS: &str = "window.asked = []; window.late = [];
    navigator.credentials.get = (options) => new Promise((done, fail) => {
        const one = { mediation: options.mediation || 'modal', over: null, settle: fail };
        one.settle = (error) => { one.over = one.over || error.name; fail(error); };
        asked.push(one);
        if (options.signal) options.signal.addEventListener('abort', () => one.settle(new DOMException('', 'AbortError')));
    });
    const real = window.setTimeout;
    window.setTimeout = (act, after, ...rest) => after > 60000 ? late.push(act) : real(act, after, ...rest);";

/// Which of them are still open, and how the others ended.
const DIALOGS: &str = "asked.map(one => one.mediation + ' ' + (one.over || 'open')).join(', ')";

#[tokio::test]
async fn every_authenticator_that_knows_its_person_registers_and_signs_in() {
    for kind in [Kind::Platform, Kind::SecurityKey] {
        let stage = Stage::set().await;
        stage.tab.keep_passkeys_in(kind).await;
        stage.tab.make_passkey().await;
        stage.tab.go(&stage.page("/")).await;
        stage.tab.click(SIGN_IN).await;
        stage.in_the_app("/").await;
    }
}

#[tokio::test]
async fn an_authenticator_that_cannot_keep_a_passkey_is_told_from_a_person_who_closed_the_dialog() {
    let stage = Stage::set().await;
    for kind in [Kind::WithoutVerification, Kind::WithoutRoom] {
        stage.tab.keep_passkeys_in(kind).await;
        stage.tab.go(&stage.invitation).await;
        stage.tab.click(CREATE).await;
        stage.tab.reads("Nothing here can keep a passkey right now.").await;
    }
    stage.tab.keep_passkeys_in(Kind::Untouched).await;
    stage.tab.before_each_page(SHORT_DIALOGS).await;
    stage.tab.go(&stage.invitation).await;
    stage.tab.click(CREATE).await;
    stage.tab.reads("The dialog waited for you until its time ran out.").await;
    stage.tab.screenshots("enrol-too-late").await;
    let closed = "navigator.credentials.create = () => new Promise((_, fail) => \
        setTimeout(() => fail(new DOMException('', 'NotAllowedError')), 600)); true";
    stage.tab.eval(closed).await;
    stage.tab.click(CREATE).await;
    stage.tab.reads("The dialog was closed before the passkey was made.").await;
    // It is still good.
    stage.tab.keep_passkeys_in(Kind::Platform).await;
    stage.tab.go(&stage.invitation).await;
    stage.tab.make_passkey().await;
}

#[tokio::test]
async fn a_sign_in_that_comes_to_nothing_says_why() {
    let stage = Stage::enrolled().await;
    let keys = stage.tab.keep_passkeys_in(Kind::Platform).await;
    assert!(keys.passkeys().await.is_empty(), "it is another device");
    stage.tab.go(&stage.page("/")).await;
    stage.tab.click(SIGN_IN).await;
    stage.tab.reads("No passkey for this site was found here.").await;
    stage.tab.screenshots("auth-no-passkey").await;

    let closed = "navigator.credentials.get = () => new Promise((_, fail) => \
        setTimeout(() => fail(new DOMException('', 'NotAllowedError')), 600)); true";
    stage.tab.eval(closed).await;
    stage.tab.click(SIGN_IN).await;
    stage.tab.reads("The dialog was closed before a passkey was used.").await;

    stage.tab.keep_passkeys_in(Kind::Untouched).await;
    stage.tab.before_each_page(SHORT_DIALOGS).await;
    stage.tab.go(&stage.page("/")).await;
    stage.tab.click(SIGN_IN).await;
    stage.tab.reads("The dialog waited for your passkey until its time ran out.").await;
}

#[tokio::test]
async fn a_browser_that_cannot_use_passkeys_is_told_so_at_once() {
    let stage = Stage::set().await;
    let pages = ["/auth", "/settings/security", "/link"];
    for (missing, said) in [
        ("delete window.PublicKeyCredential", "This browser cannot use passkeys."),
        (
            "Object.defineProperty(window, 'isSecureContext', { value: false })",
            "Passkeys need a secure connection.",
        ),
    ] {
        let tab = stage.chromium.tab().await;
        tab.before_each_page(missing).await;
        tab.go(&stage.invitation).await;
        tab.reads(said).await;
        for page in pages {
            tab.go(&stage.edge.deployer(page)).await;
            tab.reads(said).await;
            assert_eq!(tab.eval("document.getElementById('passkey-button').disabled").await, true, "{page}");
        }
    }
}

#[tokio::test]
async fn nothing_moves_on_the_page_when_it_learns_whose_the_invitation_is() {
    let stage = Stage::set().await;
    let watch = "window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach(one => moved += one.value))
        .observe({ type: 'layout-shift', buffered: true });";
    stage.tab.before_each_page(watch).await;
    stage.tab.go(&stage.invitation).await;
    stage.tab.reads("for ada").await;
    assert_eq!(stage.tab.eval("new Promise(requestAnimationFrame).then(() => moved)").await, 0);
}

#[tokio::test]
async fn an_older_browser_that_reads_no_json_signs_in_all_the_same() {
    let stage = Stage::set().await;
    stage
        .tab
        .before_each_page(
            "for (const name of ['parseCreationOptionsFromJSON', 'parseRequestOptionsFromJSON', 'getClientCapabilities', \
             'signalUnknownCredential', 'signalAllAcceptedCredentials', 'signalCurrentUserDetails', \
             'isConditionalMediationAvailable']) delete PublicKeyCredential[name]; \
             delete PublicKeyCredential.prototype.toJSON;",
        )
        .await;
    stage.tab.go(&stage.invitation).await;
    stage.tab.make_passkey().await;
    stage.tab.go(&stage.page("/")).await;
    stage.tab.click(SIGN_IN).await;
    stage.in_the_app("/").await;
}

#[tokio::test]
async fn the_list_under_the_field_signs_in_without_a_press() {
    let stage = Stage::enrolled().await;
    stage.tab.go(&stage.page("/list")).await;
    stage
        .tab
        .until("document.getElementById('autofill') && !document.getElementById('autofill').hidden")
        .await;
    // The first sign of somebody there; this browser's authenticator then chooses by itself.
    stage.tab.eval("dispatchEvent(new Event('pointermove'))").await;
    stage.in_the_app("/list").await;
}

#[tokio::test]
async fn a_press_takes_the_offer_in_the_list_back_and_a_closed_dialog_brings_it_again() {
    let stage = Stage::enrolled().await;
    stage.tab.before_each_page(OWN_DIALOGS).await;
    stage.tab.go(&stage.page("/")).await;
    stage.tab.eval("dispatchEvent(new Event('pointermove'))").await;
    stage.tab.until(&format!("{DIALOGS} === 'conditional open'")).await;
    // Its ceremony is about to be too old: another is fetched, and the offer is made anew.
    stage.tab.eval("late.pop()()").await;
    stage.tab.until(&format!("{DIALOGS} === 'conditional AbortError, conditional open'")).await;
    stage.tab.click(SIGN_IN).await;
    stage
        .tab
        .until(&format!("{DIALOGS} === 'conditional AbortError, conditional AbortError, modal open'"))
        .await;
    stage.tab.eval("asked[2].settle(new DOMException('', 'NotAllowedError'))").await;
    stage.tab.until(&format!("{DIALOGS}.endsWith('modal NotAllowedError, conditional open')")).await;
    let heard = "new Promise(done => import(document.querySelector('script[src]').src.replace('auth.js', \
        'passkey_trouble.js')).then(trouble => trouble.whenPasskeysFail(done)))";
    assert_eq!(stage.tab.eval(heard).await, "failed", "whoever has another way to offer hears of it");
}

#[tokio::test]
async fn a_revoked_passkey_is_forgotten_by_the_browser_and_a_refused_one_is_not() {
    let stage = Stage::enrolled().await;
    let keys = stage.tab.keep_passkeys_in(Kind::Platform).await;
    let again = stage.edge.admin(&["user", "invite", "ada"]).await;
    stage.tab.go(&again["enrol_url"].as_str().and_then(|link| link.parse().ok()).expect("a link")).await;
    stage.tab.make_passkey().await;
    assert_eq!(keys.passkeys().await.len(), 1);

    // The list would offer it too, and tell the browser before the press does.
    stage.tab.before_each_page("delete PublicKeyCredential.getClientCapabilities; delete PublicKeyCredential.isConditionalMediationAvailable").await;
    stage.edge.admin(&["user", "disable", "ada"]).await;
    stage.tab.go(&stage.page("/")).await;
    stage.tab.click(SIGN_IN).await;
    stage.tab.reads("Please try again.").await;
    assert_eq!(keys.passkeys().await.len(), 1, "an account holds it still");

    stage.edge.admin(&["user", "remove", "ada"]).await;
    stage.tab.go(&stage.edge.deployer("/auth")).await;
    stage.tab.click(SIGN_IN).await;
    stage.tab.reads("This passkey is not registered here.").await;
    assert!(keys.passkeys().await.is_empty(), "no account holds it any more");
}
