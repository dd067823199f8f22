//! Approving a desktop with a touch, and what the desktop can make of it by itself.

use std::time::Duration;

use super::*;
use crate::agent::proof::{Introduction, ProofFault, SignInSite};
use crate::proof::{Place, Proof};
use crate::secret::base64url;
use crate::wire::SpkiPin;
use crate::wire::approval::PasskeyFacts;

/// A desktop that asks to be linked, and wants to see for itself who approves it.
struct Desk {
    pin: SpkiPin,
    introduction: Introduction,
    begun: Value,
}

impl Desk {
    async fn asking(house: &House) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let introduction = Introduction::new(&*house.entropy);
        let asked = json!({
            "name": "Work laptop", "public_key": base64url(&spki), "nonce": introduction.nonce(),
        });
        let begun = house.browser().post("/link", &asked).await.must_be(StatusCode::OK).json();
        Self { pin: SpkiPin::of_spki(&spki), introduction, begun }
    }

    fn code(&self) -> &str {
        self.begun["user_code"].as_str().expect("a code")
    }

    /// Who is said to have approved it, and the proof.
    async fn approver(&self, house: &House) -> (PasskeyFacts, Option<Proof>) {
        let asked = json!({"device_code": self.begun["device_code"]});
        let heard = house.browser().post("/link/poll", &asked).await.must_be(StatusCode::OK).json();
        let approver = &heard["approved_by"];
        let proof =
            approver.get("proof").map(|proof| serde_json::from_value(proof.clone()).expect("a proof"));
        (serde_json::from_value(approver.clone()).expect("a passkey"), proof)
    }

    fn judges(&self, (passkey, proof): &(PasskeyFacts, Option<Proof>)) -> Result<(), ProofFault> {
        let place = Place::link(&self.pin.to_string(), self.code());
        let proof = proof.as_ref().ok_or(ProofFault::Missing)?;
        self.introduction.judge(&place, &SignInSite::of(ORIGIN_OF_OURS), passkey, proof)
    }
}

impl Person<'_> {
    /// Looks at the request and touches the passkey.
    async fn confirmation(&mut self, code: &str) -> Value {
        let begun = self.browser.post("/link/confirm", &json!({"user_code": code})).await;
        let begun = begun.must_be(StatusCode::OK).json();
        self.touched(&begun)
    }

    fn touched(&mut self, begun: &Value) -> Value {
        self.key.counter += 1;
        let credential = self.key.get(&begun["publicKey"], ORIGIN_OF_OURS, |_| ());
        json!({"ceremony": begun["ceremony"], "credential": credential})
    }

    async fn approves(&self, code: &str, confirmation: &Value) -> Answer {
        let approval = json!({"user_code": code, "confirmation": confirmation});
        self.browser.post("/link/approve", &approval).await
    }
}

#[tokio::test]
async fn who_approves_with_a_touch_proves_it_to_the_desktop_and_to_no_other() {
    let house = House::new().await;
    let mut ada = house.person("ada").await;
    let (desk, other) = (Desk::asking(&house).await, Desk::asking(&house).await);
    // The touch is a sign-in of its own: it needs no other that is fresh.
    house.clock.advance(Duration::from_secs(10 * 60 + 1));
    let confirmation = ada.confirmation(desk.code()).await;
    let approved = ada.approves(desk.code(), &confirmation).await.must_be(StatusCode::OK).json();
    assert_eq!(approved["approved_by"]["name"], "First key", "what the page shows beside the terminal");
    let heard = desk.approver(&house).await;
    assert_eq!(heard.0.fingerprint, approved["approved_by"]["fingerprint"]);
    assert_eq!(desk.judges(&heard), Ok(()));
    assert_eq!(other.judges(&heard), Err(ProofFault::Elsewhere));
    let of_another = Desk { begun: other.begun.clone(), ..desk };
    assert_eq!(of_another.judges(&heard), Err(ProofFault::Elsewhere), "the code is signed for as well");
}

#[tokio::test]
async fn who_approves_without_a_touch_proves_nothing_and_must_have_signed_in_just_now() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let desk = Desk::asking(&house).await;
    ada.approves(desk.code(), &Value::Null).await.must_be(StatusCode::OK);
    assert_eq!(desk.judges(&desk.approver(&house).await), Err(ProofFault::Missing));
    let later = Desk::asking(&house).await;
    house.clock.advance(Duration::from_secs(10 * 60 + 1));
    let stale = ada.approves(later.code(), &Value::Null).await;
    stale.must_be_problem(StatusCode::FORBIDDEN, "step-up-required");
}

#[tokio::test]
async fn a_touch_approves_the_desktop_it_was_for_once_and_in_the_name_of_its_own_person() {
    let house = House::new().await;
    let (mut ada, mut bob) = (house.person("ada").await, house.person("bob").await);
    let (desk, other) = (Desk::asking(&house).await, Desk::asking(&house).await);
    let refused = |answer: Answer| answer.must_be_problem(StatusCode::FORBIDDEN, "confirmation-refused");

    let confirmation = ada.confirmation(desk.code()).await;
    refused(ada.approves(other.code(), &confirmation).await);
    refused(bob.approves(desk.code(), &confirmation).await);
    let begun = ada.browser.post("/link/confirm", &json!({"user_code": desk.code()})).await.json();
    refused(ada.approves(desk.code(), &bob.touched(&begun)).await);
    let stranger = json!({"ceremony": begun["ceremony"], "credential": {
        "id": "AAAA", "rawId": "AAAA", "type": "public-key", "clientExtensionResults": {},
        "response": confirmation["credential"]["response"],
    }});
    refused(ada.approves(desk.code(), &stranger).await);
    let sign_in = ada.begin(&json!({})).await;
    let touched = ada.touched(&sign_in);
    refused(ada.approves(desk.code(), &touched).await);
    assert!(
        house.accounts.tunnels_of(&ada.user.id).await.expect("a list").is_empty(),
        "nothing is linked yet"
    );

    let entering = format!("/sign-in/passkey/{}", confirmation["ceremony"].as_str().expect("a ceremony"));
    let entered = ada.browser.post(&entering, &confirmation["credential"]).await;
    entered.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-refused");
    ada.approves(desk.code(), &confirmation).await.must_be(StatusCode::OK);
    refused(ada.approves(desk.code(), &confirmation).await);
}

#[tokio::test]
async fn nobody_begins_a_touch_for_a_code_they_made_up_or_without_a_passkey_of_their_own() {
    let house = House::new().await;
    let ada = house.person("ada").await;
    let wrong = ada.browser.post("/link/confirm", &json!({"user_code": "BCDF-2345"})).await;
    wrong.must_be_problem(StatusCode::FORBIDDEN, "link-code-refused");
    let desk = Desk::asking(&house).await;
    let nobody = house.browser().post("/link/confirm", &json!({"user_code": desk.code()})).await;
    nobody.must_be_problem(StatusCode::UNAUTHORIZED, "sign-in-required");
}
