//! Passkeys: what the evil page can have the browser sign, and what that is worth.

use serde_json::{Value, json};
use url::Url;

use super::Neighbourhood;
use crate::rig::edge::{SITES_APART, Setup};
use crate::rig::journey::Person;
use crate::rig::scene::TUNNEL;
use crate::rig::stage::ONE_SITE;

/// Asks for a signature; gives what a sign-in page would send on, or why there is none.
const GET: &str = "async ({ rpId, challenge }) => { \
    const bytes = Uint8Array.from(atob(challenge.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0)); \
    try { return (await navigator.credentials.get({ publicKey: { challenge: bytes, rpId, \
        userVerification: 'required' } })).toJSON(); } catch (error) { return { refused: error.name }; } }";

/// Asks for a new passkey in a name that is not the page's.
const CREATE: &str = "async ({ rpId }) => { const some = new Uint8Array(32); \
    try { await navigator.credentials.create({ publicKey: { challenge: some, rp: { id: rpId, name: 'Patapim' }, \
        user: { id: some, name: 'ada', displayName: 'Ada' }, pubKeyCredParams: [{ type: 'public-key', alg: -7 }], \
        authenticatorSelection: { residentKey: 'required', userVerification: 'required' } } }); \
        return 'made'; } catch (error) { return error.name; } }";

/// The browser gives no page a passkey of another's name; of a name above its own, only where that is no public suffix.
pub(super) async fn are_not_for_neighbours(hood: &Neighbourhood) {
    hood.go_evil().await;
    let base = hood.stage.edge.base();
    let host = |url: Url| url.host_str().expect("a host").to_owned();
    let mut names = vec![host(hood.stage.edge.deployer("/")), host(hood.stage.page("/"))];
    if base == SITES_APART {
        names.extend([base.to_owned(), format!("tunnel.{base}")]);
    }
    for name in names {
        let told = hood.attack(GET, json!({"rpId": name, "challenge": "AAAA"})).await;
        assert_eq!(told["refused"], "SecurityError", "{name}: {told}");
        assert_eq!(hood.attack(CREATE, json!({"rpId": name})).await, "SecurityError", "{name}");
    }
}

/// An installation whose passkeys are made for the base domain: there the browser lets every tunnel have them sign, and
/// the edge, which wants the sign-in site's own origin in what was signed, is all that is in the way.
#[tokio::test]
async fn what_a_neighbour_has_a_passkey_of_the_parent_sign_is_worth_nothing() {
    let setup = Setup::default().with(&format!("[webauthn]\nrp_id = \"{ONE_SITE}\""));
    let hood = Neighbourhood::with(ONE_SITE, setup).await;
    // The attacker begins a sign-in in a browser of its own, and has Ada's finish it.
    let eve = Person::with_nothing(&hood.stage.edge, "eve");
    eve.browser.navigate(&hood.stage.edge.deployer("/auth")).await.must_be(200);
    let begun = eve.begin_sign_in(&json!({"tunnel": TUNNEL})).await;
    assert_eq!(begun["publicKey"]["rpId"], ONE_SITE);
    let asked = json!({"rpId": ONE_SITE, "challenge": begun["publicKey"]["challenge"]});
    let signed = hood.attack(GET, asked).await;
    assert!(signed["response"]["signature"].is_string(), "the browser signs: {signed}");
    let refused = eve.finish_sign_in(&begun, &signed).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    assert!(refused.set_cookies().iter().all(|cookie| cookie.deletes()), "{refused:?}");
    let before: Value = hood.stage.edge.admin(&["session", "list"]).await;
    assert_eq!(before.as_array().expect("a list").len(), 3, "Ada's own alone: {before}");
}
