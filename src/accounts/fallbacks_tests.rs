use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::accounts::{BACKUP_CODES, BackupCode, Fallback, MAGIC_LINK_LIFETIME, NewPassword, PasswordTry};

async fn set_password(house: &House, user: &User, text: &str) {
    let password = NewPassword::parse(text, user).expect("good enough");
    house.accounts.set_password(&user.id, password).await.expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_tries_of_one_backup_code_at_once_one_finds_it() {
    let house = House::new();
    let ada = house.add("ada").await;
    let codes = house.accounts.make_backup_codes(&ada.id).await.expect("made");
    assert_eq!(codes.len(), BACKUP_CODES);
    let typed = BackupCode::parse(&codes[0].to_string().to_uppercase()).expect("a code");
    let tries = (0..50).map(|_| {
        let (accounts, user, code) = (house.accounts.clone(), ada.id.clone(), typed.clone());
        tokio::spawn(async move { accounts.use_backup_code(&user, &code).await })
    });
    let mut good = 0;
    for one in join_all(tries).await {
        match one.expect("a task") {
            Ok(_) => good += 1,
            Err(error) => assert!(matches!(error, AccountError::Gone(_)), "{error}"),
        }
    }
    assert_eq!(good, 1);
    assert_eq!(house.accounts.backup_codes_left(&ada.id).await.expect("counted"), BACKUP_CODES - 1);
}

#[tokio::test]
async fn a_backup_code_is_of_one_person_and_new_ones_end_the_old() {
    let house = House::new();
    let (ada, bob) = (house.add("ada").await, house.add("bob").await);
    let old = house.accounts.make_backup_codes(&ada.id).await.expect("made");
    house.accounts.make_backup_codes(&bob.id).await.expect("made");
    assert!(matches!(house.accounts.use_backup_code(&bob.id, &old[0]).await, Err(AccountError::Gone(_))));

    let device = house.accounts.use_backup_code(&ada.id, &old[0]).await.expect("used").id;
    assert!(house.accounts.standing(&ada.id, &device).await.is_ok());
    assert!(house.accounts.standing(&bob.id, &device).await.is_err(), "another's");
    let new = house.accounts.make_backup_codes(&ada.id).await.expect("made");
    assert!(matches!(house.accounts.use_backup_code(&ada.id, &old[1]).await, Err(AccountError::Gone(_))));
    assert!(house.accounts.standing(&ada.id, &device).await.is_err(), "what came from the old ones is over");
    house.accounts.use_backup_code(&ada.id, &new[0]).await.expect("used");
}

#[tokio::test]
async fn a_fallback_that_is_off_signs_nobody_in_and_what_it_had_signed_in_is_over() {
    let house = House::new();
    let ada = house.add("ada").await;
    let codes = house.accounts.make_backup_codes(&ada.id).await.expect("made");
    let device = house.accounts.use_backup_code(&ada.id, &codes[0]).await.expect("used").id;
    let switch = async |on| house.accounts.switch_fallback(&ada.id, Fallback::BackupCodes, on).await;
    switch(false).await.expect("off");
    assert!(house.accounts.use_backup_code(&ada.id, &codes[1]).await.is_err());
    switch(true).await.expect("on");
    assert!(house.accounts.standing(&ada.id, &device).await.is_err(), "it does not come back");
    house.accounts.use_backup_code(&ada.id, &codes[1]).await.expect("the codes were kept");
}

#[tokio::test]
async fn a_password_signs_in_until_it_is_changed() {
    let house = House::new();
    let ada = house.add("ada").await;
    let tried = async |text: &str| house.accounts.use_password(&ada.id, PasswordTry::new(text)).await;
    assert!(matches!(tried("correct horse battery").await, Err(AccountError::Gone(_))), "there is none");
    set_password(&house, &ada, "correct horse battery").await;
    let device = tried("correct horse battery").await.expect("right").id;
    assert!(matches!(tried("Correct horse battery").await, Err(AccountError::Gone(_))));
    assert!(house.accounts.standing(&ada.id, &device).await.is_ok());

    set_password(&house, &ada, "staple of another kind").await;
    assert!(tried("correct horse battery").await.is_err());
    assert!(house.accounts.standing(&ada.id, &device).await.is_err());
    house.accounts.switch_fallback(&ada.id, Fallback::Password, false).await.expect("off");
    assert!(matches!(tried("staple of another kind").await, Err(AccountError::Gone(_))));
}

#[tokio::test]
async fn a_long_password_counts_to_its_last_byte() {
    let house = House::new();
    let ada = house.add("ada").await;
    let long = "all of it counts ".repeat(60);
    set_password(&house, &ada, &long).await;
    let tried = async |text: &str| house.accounts.use_password(&ada.id, PasswordTry::new(text)).await;
    assert!(tried(&long[..long.len() - 1]).await.is_err());
    assert!(tried(&format!("{long}x")).await.is_err());
    tried(&long).await.expect("right");
}

#[tokio::test]
async fn only_the_newest_magic_link_is_good_once_in_its_browser_for_ten_minutes() {
    let house = House::new();
    let ada = house.add("ada").await;
    let make = async || house.accounts.make_magic_link(&ada.id, "browser", &json!({"a": 1})).await;
    assert!(matches!(make().await, Err(AccountError::Gone(_))), "not switched on");
    house.accounts.switch_fallback(&ada.id, Fallback::MagicLink, true).await.expect("on");
    let (old, new) = (make().await.expect("made"), make().await.expect("made"));
    let tried = async |token, browser: &str| house.accounts.use_magic_link(token, browser).await;
    assert!(tried(&old, "browser").await.is_err(), "not the newest");
    assert!(tried(&new, "another").await.is_err(), "another browser");
    let (device, wanted) = tried(&new, "browser").await.expect("good");
    assert_eq!((device.user, wanted), (ada.id.clone(), json!({"a": 1})));
    assert!(tried(&new, "browser").await.is_err(), "used");

    let late = make().await.expect("made");
    house.clock.advance(MAGIC_LINK_LIFETIME);
    assert!(tried(&late, "browser").await.is_err(), "late");
}

#[tokio::test]
async fn an_address_is_one_persons_in_whatever_case() {
    let house = House::new();
    let email = |text| Some(crate::names::EmailAddress::parse(text).expect("an address"));
    let name = |text| UserName::parse(text).expect("a name");
    let ada = house.accounts.add_user(name("ada"), email("ada@patapim.test")).await.expect("added");
    let taken = house.accounts.add_user(name("eve"), email("Ada@Patapim.test")).await;
    assert!(matches!(taken, Err(AccountError::Taken(what)) if what.contains("address")));
    let found = house.accounts.user_at(&email("ADA@patapim.test").expect("one")).await.expect("found");
    assert_eq!(found.id, ada.id);
    house.accounts.remove_user(&ada.id).await.expect("removed");
    house.accounts.add_user(name("eve"), email("ada@patapim.test")).await.expect("free again");
}

#[tokio::test]
async fn nothing_of_a_persons_fallbacks_outlives_them() {
    let house = House::new();
    let ada = house.add("ada").await;
    let codes = house.accounts.make_backup_codes(&ada.id).await.expect("made");
    set_password(&house, &ada, "correct horse battery").await;
    house.accounts.use_backup_code(&ada.id, &codes[0]).await.expect("used");
    house.accounts.remove_user(&ada.id).await.expect("removed");
    for prefix in ["fallbacks/", "backup-codes/", "fallback-devices/"] {
        assert!(house.accounts.store.range(prefix).await.expect("read").entries.is_empty(), "{prefix}");
    }
}
