#[path = "fallbacks_tests.rs"]
mod fallbacks;
#[path = "link_requests_tests.rs"]
mod link_requests;

use std::time::Duration;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::names::{DeviceId, TunnelId, UserId, UserName};
use crate::secret::{SecretText, SystemEntropy};
use crate::store::sqlite::SqliteFile;

struct House {
    _folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    accounts: Accounts,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
        let store =
            SqliteFile::open(&folder.path().join("edge.db")).expect("a database").start(clock.clone());
        let accounts = Accounts::new(store, clock.clone(), SystemEntropy::shared());
        Self { _folder: folder, clock, accounts }
    }

    async fn add(&self, name: &str) -> User {
        self.accounts.add_user(UserName::parse(name).expect("a name"), None).await.expect("added")
    }

    fn passkey(&self, user: &UserId, credential: &[u8]) -> Passkey {
        Passkey {
            id: DeviceId::of_credential(credential),
            user: user.clone(),
            rp_id: "deployer.patapim.test".into(),
            name: "key".into(),
            public_key: String::new(),
            fingerprint: String::new(),
            credential: serde_json::Value::Null,
            aaguid: String::new(),
            device_type: "Linux".into(),
            synced: false,
            registered_at: self.clock.now(),
            last_used_at: None,
        }
    }
}

#[tokio::test]
async fn a_name_is_given_to_one_person() {
    let house = House::new();
    let ada = house.add("ada").await;
    assert!(matches!(house.accounts.add_user(ada.name.clone(), None).await, Err(AccountError::Taken(_))));
    assert_eq!(house.accounts.user_named(&ada.name).await.expect("found").id, ada.id);
}

#[tokio::test]
async fn an_invitation_works_once_and_for_a_day() {
    let house = House::new();
    let ada = house.add("ada").await;
    let ticket = TicketHash::from(&house.accounts.invite(&ada.id).await.expect("invited"));
    assert_eq!(house.accounts.invitation(&ticket).await.expect("good").user, ada.id);
    house.accounts.add_passkey(&house.passkey(&ada.id, b"one"), Some(&ticket)).await.expect("kept");
    let again = house.accounts.add_passkey(&house.passkey(&ada.id, b"two"), Some(&ticket)).await;
    assert!(matches!(again, Err(AccountError::Gone("invitation"))));

    let late = TicketHash::from(&house.accounts.invite(&ada.id).await.expect("invited"));
    house.clock.advance(Duration::from_secs(24 * 3600));
    assert!(matches!(house.accounts.invitation(&late).await, Err(AccountError::Gone(_))));
    let never = TicketHash::from(&SecretText::new("made up".into()));
    assert!(matches!(house.accounts.invitation(&never).await, Err(AccountError::Gone(_))));
}

#[tokio::test]
async fn a_credential_is_registered_to_one_person() {
    let house = House::new();
    let (ada, bob) = (house.add("ada").await, house.add("bob").await);
    house.accounts.add_passkey(&house.passkey(&ada.id, b"one"), None).await.expect("kept");
    let stolen = house.accounts.add_passkey(&house.passkey(&bob.id, b"one"), None).await;
    assert!(matches!(stolen, Err(AccountError::Taken(_))));
}

#[tokio::test]
async fn of_two_last_passkeys_removed_at_once_one_stays() {
    let house = House::new();
    let ada = house.add("ada").await;
    for credential in [b"one", b"two"] {
        house.accounts.add_passkey(&house.passkey(&ada.id, credential), None).await.expect("kept");
    }
    let remove = async |credential: &[u8]| {
        house.accounts.remove_passkey(&ada.id, &DeviceId::of_credential(credential)).await
    };
    let (one, two) = tokio::join!(remove(b"one"), remove(b"two"));
    assert_eq!(one.is_ok() as u8 + two.is_ok() as u8, 1);
    assert_eq!(house.accounts.passkeys_of(&ada.id).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn a_removed_passkey_can_be_registered_again() {
    let house = House::new();
    let ada = house.add("ada").await;
    for credential in [b"one", b"two"] {
        house.accounts.add_passkey(&house.passkey(&ada.id, credential), None).await.expect("kept");
    }
    house.accounts.remove_passkey(&ada.id, &DeviceId::of_credential(b"one")).await.expect("removed");
    house.accounts.add_passkey(&house.passkey(&ada.id, b"one"), None).await.expect("kept again");
}

#[tokio::test]
async fn a_link_token_links_one_desktop_to_a_new_tunnel_of_its_person() {
    let house = House::new();
    let ada = house.add("ada").await;
    let (token, label) = house.accounts.make_link_token(&ada.id, None).await.expect("made");
    let (agent, tunnel) = house.accounts.link_by_token(&token, "pin", "laptop").await.expect("linked");
    assert_eq!((agent.user, tunnel.user), (ada.id.clone(), ada.id.clone()));
    assert!(tunnel.id == label && label.as_str().starts_with("ada-"));
    let again = house.accounts.link_by_token(&token, "other", "laptop").await;
    assert!(matches!(again, Err(AccountError::Gone(_))));
    assert_eq!(house.accounts.tunnels_of(&ada.id).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn taking_over_a_tunnel_forgets_the_former_desktop() {
    let house = House::new();
    let (ada, bob) = (house.add("ada").await, house.add("bob").await);
    let (token, _) = house.accounts.make_link_token(&ada.id, None).await.expect("made");
    let (_, tunnel) = house.accounts.link_by_token(&token, "old", "laptop").await.expect("linked");
    assert!(house.accounts.make_link_token(&bob.id, Some(tunnel.id.clone())).await.is_err(), "not bob's");
    let (token, _) = house.accounts.make_link_token(&ada.id, Some(tunnel.id.clone())).await.expect("made");
    let (_, same) = house.accounts.link_by_token(&token, "new", "desktop").await.expect("linked");
    assert_eq!(same.id, tunnel.id);
    assert!(house.accounts.agent("old").await.is_err());
    assert_eq!(house.accounts.agent("new").await.expect("pinned").tunnel, tunnel.id);
}

#[tokio::test]
async fn a_label_is_never_given_to_another_even_after_its_person_is_gone() {
    let house = House::new();
    let (ada, bob) = (house.add("ada").await, house.add("bob").await);
    let label = TunnelId::parse("the-app").expect("a label");
    house.accounts.claim_fixed_tunnel(&label, &ada.id).await.expect("claimed");
    house.accounts.remove_user(&ada.id).await.expect("removed");
    assert!(house.accounts.tunnel(&label).await.is_err());
    assert!(matches!(house.accounts.claim_fixed_tunnel(&label, &bob.id).await, Err(AccountError::Taken(_))));
}

#[tokio::test]
async fn a_disabled_person_has_no_standing() {
    let house = House::new();
    let ada = house.add("ada").await;
    let passkey = house.passkey(&ada.id, b"one");
    house.accounts.add_passkey(&passkey, None).await.expect("kept");
    assert!(house.accounts.standing(&ada.id, &passkey.id).await.is_ok());
    house.accounts.set_user_state(&ada.id, UserState::Disabled).await.expect("disabled");
    assert!(matches!(house.accounts.standing(&ada.id, &passkey.id).await, Err(AccountError::Disabled)));
}
