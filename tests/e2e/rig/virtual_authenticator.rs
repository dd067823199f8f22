//! The authenticators that Chromium can pretend to have.

use serde_json::{Value, json};

use super::browser::Tab;

/// Who keeps passkeys for a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The computer itself, as Touch ID or Windows Hello; it always sees its person's finger.
    Platform,
    /// A key in a USB socket, with a PIN.
    SecurityKey,
    /// One that cannot tell who touches it.
    WithoutVerification,
    /// One that has no room for passkeys.
    WithoutRoom,
    /// One that nobody ever touches.
    Untouched,
}

/// One of a tab's authenticators.
pub(crate) struct VirtualAuthenticator<'t> {
    tab: &'t Tab,
    id: String,
}

impl Tab {
    /// Takes what keeps passkeys away, and puts a fresh one of this kind in its place.
    pub(crate) async fn keep_passkeys_in(&self, kind: Kind) -> VirtualAuthenticator<'_> {
        self.call("WebAuthn.disable", json!({})).await;
        self.call("WebAuthn.enable", json!({"enableUI": false})).await;
        self.add_authenticator(kind).await
    }

    /// Takes what keeps passkeys away, and leaves the tab without: the browser's list offers none, and nobody chooses.
    pub(crate) async fn lose_passkeys(&self) {
        self.call("WebAuthn.disable", json!({})).await;
        self.call("WebAuthn.enable", json!({"enableUI": false})).await;
    }

    /// Plugs in one more.
    pub(crate) async fn add_authenticator(&self, kind: Kind) -> VirtualAuthenticator<'_> {
        let verifies = kind != Kind::WithoutVerification;
        let options = json!({
            "protocol": "ctap2", "ctap2Version": "ctap2_1",
            "transport": if kind == Kind::SecurityKey { "usb" } else { "internal" },
            "hasResidentKey": kind != Kind::WithoutRoom,
            "hasUserVerification": verifies, "isUserVerified": verifies,
            "automaticPresenceSimulation": kind != Kind::Untouched,
        });
        let added = self.call("WebAuthn.addVirtualAuthenticator", json!({"options": options})).await;
        let id = added["authenticatorId"].as_str().expect("an id").to_owned();
        VirtualAuthenticator { tab: self, id }
    }
}

impl VirtualAuthenticator<'_> {
    /// The passkeys that it holds.
    pub(crate) async fn passkeys(&self) -> Vec<Value> {
        let held = self.tab.call("WebAuthn.getCredentials", json!({"authenticatorId": self.id})).await;
        held["credentials"].as_array().expect("a list").clone()
    }
}
