use std::fs;

use proptest::prelude::*;

use super::*;
use crate::secret::sha256;

fn passkey(number: u8) -> PasskeyFacts {
    let key = PublicKey::of_bytes(vec![0xa5, number]).expect("a key");
    PasskeyFacts::new(DeviceId::of_credential(&[number]), format!("Key {number}"), key)
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_790_000_000 + secs)
}

fn folder() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::at(folder.path());
    (folder, home)
}

#[test]
fn the_file_has_the_form_that_is_promised() {
    let (folder, home) = folder();
    let mut devices = TrustedDevices::default();
    devices.add(&passkey(1), at(0)).expect("room");
    devices.add(&passkey(2), at(1)).expect("room");
    devices.used(&passkey(2).id, at(5));
    devices.save(&home).expect("written");
    let path = folder.path().join("trusted-passkeys.json");
    let file: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    assert_eq!(file["version"], 1);
    let entry = &file["devices"][1];
    let members: Vec<_> = entry.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut promised = ["id", "name", "fingerprint", "public_key", "approved_at", "last_used_at"];
    promised.sort_unstable();
    assert_eq!(members, promised);
    assert_eq!(
        (&entry["approved_at"], &entry["last_used_at"]),
        (&at(1).rfc3339().into(), &at(5).rfc3339().into())
    );
    assert!(file["devices"][0]["last_used_at"].is_null());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn another_key_under_a_trusted_id_is_another_device() {
    let mut devices = TrustedDevices::default();
    devices.add(&passkey(1), at(0)).expect("room");
    let swapped = PasskeyFacts { public_key: passkey(2).public_key, ..passkey(1) };
    assert_eq!(devices.acquaintance(&passkey(1)), Acquaintance::Trusted);
    assert_eq!(devices.acquaintance(&swapped), Acquaintance::OtherKey);
    assert_eq!(devices.acquaintance(&passkey(2)), Acquaintance::Stranger);
    devices.add(&swapped, at(1)).expect("room");
    assert_eq!(devices.list().len(), 1);
    assert_eq!(devices.acquaintance(&passkey(1)), Acquaintance::OtherKey);
}

#[test]
fn a_damaged_file_is_set_aside_and_reported_and_never_written_over() {
    for damaged in [
        "",
        "{",
        "[]",
        r#"{"version":2,"devices":[]}"#,
        r#"{"version":1}"#,
        r#"{"version":1,"devices":[{"id":"x"}]}"#,
    ] {
        let (folder, home) = folder();
        fs::write(folder.path().join(FILE), damaged).expect("written");
        let (devices, report) = TrustedDevices::load(&home).expect("readable folder");
        assert_eq!(devices, TrustedDevices::default(), "{damaged}");
        let report = report.expect("a report");
        assert!(report.contains("set aside"), "{report}");
        devices.save(&home).expect("written");
        let kept = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.file_name().is_some_and(|name| name != FILE))
            .map(|path| fs::read_to_string(path).expect("text"));
        assert_eq!(kept.collect::<Vec<_>>(), [damaged]);
    }
}

#[test]
fn an_entry_whose_fingerprint_is_not_its_keys_is_damage() {
    let (folder, home) = folder();
    let mut devices = TrustedDevices::default();
    devices.add(&passkey(1), at(0)).expect("room");
    devices.save(&home).expect("written");
    let path = folder.path().join(FILE);
    let text = fs::read_to_string(&path).expect("text");
    let other = String::from(passkey(2).public_key);
    fs::write(&path, text.replace(&String::from(passkey(1).public_key), &other)).expect("written");
    let (devices, report) = TrustedDevices::load(&home).expect("readable folder");
    assert!(devices.list().is_empty() && report.is_some());
}

#[test]
fn two_damaged_files_are_both_kept() {
    let (folder, home) = folder();
    for damaged in ["one", "two"] {
        fs::write(folder.path().join(FILE), damaged).expect("written");
        TrustedDevices::load(&home).expect("readable folder").1.expect("a report");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn the_list_is_bounded() {
    let mut devices = TrustedDevices::default();
    let many = |number: usize| {
        let bytes = sha256(number.to_be_bytes());
        let key = PublicKey::of_bytes(bytes.to_vec()).expect("a key");
        PasskeyFacts::new(DeviceId::of_credential(&bytes), "Key".into(), key)
    };
    for number in 0..MOST_DEVICES {
        devices.add(&many(number), at(0)).expect("room");
    }
    assert_eq!(devices.add(&many(MOST_DEVICES), at(0)), Err(Full));
    devices.add(&many(0), at(1)).expect("one that is there already");
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Use(u8),
    Remove(u8),
    Restart,
    /// The process ends after so many bytes of the next list were written beside the file.
    TornWrite(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..6).prop_map(Step::Add),
        (0u8..6).prop_map(Step::Use),
        (0u8..6).prop_map(Step::Remove),
        Just(Step::Restart),
        (0usize..600).prop_map(Step::TornWrite),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_file_says_what_was_said_last(steps in proptest::collection::vec(step(), 0..24)) {
        let (folder, home) = folder();
        let mut devices = TrustedDevices::default();
        for (second, step) in steps.into_iter().enumerate() {
            let now = at(second as u64);
            match step {
                Step::Add(number) => devices.add(&passkey(number), now).expect("room"),
                Step::Use(number) => devices.used(&passkey(number).id, now),
                Step::Remove(number) => prop_assert_eq!(devices.has(&passkey(number).id), devices.remove(&passkey(number).id)),
                Step::Restart => {}
                Step::TornWrite(length) => {
                    let text = serde_json::to_vec(&Written { version: VERSION, devices: &devices.0 }).expect("JSON");
                    let torn = &text[..length.min(text.len())];
                    fs::write(folder.path().join("trusted-passkeys.77.new"), torn).expect("written");
                }
            }
            devices.save(&home).expect("written");
            let (read, report) = TrustedDevices::load(&home).expect("readable");
            prop_assert_eq!(report, None);
            prop_assert_eq!(&read, &devices);
            devices = read;
        }
    }
}

#[test]
fn a_bit_that_falls_over_makes_nobody_trusted_and_no_session_longer() {
    use crate::agent::decisions::{Decided, Decisions, Ground, Standing};
    use crate::names::SessionId;
    use crate::secret::{SystemEntropy, random};

    let (folder, home) = folder();
    let known = [passkey(1), passkey(2)];
    let mut devices = TrustedDevices::default();
    let mut decisions = Decisions::default();
    let entropy = SystemEntropy::shared();
    for passkey in &known {
        devices.add(passkey, at(0)).expect("room");
        decisions.note(Decided {
            session: SessionId::random(&*entropy),
            device: passkey.id.clone(),
            name: passkey.name.clone(),
            address: "192.0.2.7".into(),
            browser: String::new(),
            since: at(0),
            expires_at: at(3600),
            standing: Standing::Approved { ground: Ground::Trusted },
        });
    }
    let mut set_aside = [0, 0];
    for _ in 0..300 {
        devices.save(&home).expect("written");
        decisions.save(&home).expect("written");
        for name in ["trusted-passkeys.json", "sessions.json"] {
            let path = folder.path().join(name);
            let mut bytes = fs::read(&path).expect("there");
            let bit = u64::from_le_bytes(random(&*entropy)) % (bytes.len() as u64 * 8);
            bytes[usize::try_from(bit / 8).expect("a place")] ^= 1 << (bit % 8);
            fs::write(&path, bytes).expect("written");
        }
        let (found, report) = TrustedDevices::load(&home).expect("read");
        set_aside[0] += usize::from(report.is_some());
        let keys: Vec<_> = found.0.iter().map(|device| &device.public_key).collect();
        assert!(keys.iter().all(|key| known.iter().any(|passkey| passkey.public_key == **key)));
        let (found, report) = Decisions::load(&home).expect("read");
        set_aside[1] += usize::from(report.is_some());
        assert!(report.is_some() || found == decisions);
        for entry in fs::read_dir(folder.path()).expect("a folder") {
            fs::remove_file(entry.expect("an entry").path()).expect("ours");
        }
    }
    assert!(set_aside.iter().all(|count| *count > 100), "{set_aside:?}");
}
