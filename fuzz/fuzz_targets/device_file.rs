//! `trusted-passkeys.json`, as anybody may have left it: a list that holds together, or nobody trusted and the file kept.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::Home;
use patapim_edge::agent::fuzzing::DeviceFile;
use patapim_edge::wire::approval::PublicKey;
use patapim_fuzz::Folder;

const FILE: &str = "trusted-passkeys.json";

fuzz_target!(|data: &[u8]| {
    let folder = Folder::default();
    let (home, path) = (Home::at(folder.path()), folder.path().join(FILE));
    fs::write(&path, data).expect("written");
    let (mut devices, report) = DeviceFile::load(&home).expect("read");

    if report.is_some() {
        assert!(devices.list().is_empty() && !path.exists());
        let aside = folder.path().join("trusted-passkeys.damaged-1.json");
        assert_eq!(fs::read(aside).expect("set aside"), data);
        return;
    }
    devices.save(&home).expect("saved");
    assert_eq!(DeviceFile::load(&home).expect("read"), (devices, None), "another list than was written");

    devices = DeviceFile::load(&home).expect("read").0;
    let text: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    for (device, written) in devices.list().iter().zip(text["devices"].as_array().expect("a list")) {
        let key = PublicKey::parse(written["public_key"].as_str().expect("text")).expect("a key");
        assert_eq!(device.fingerprint, key.fingerprint(), "a person would compare the wrong thing");
    }
    for device in devices.list() {
        devices.remove(&device.id);
        assert!(devices.list().iter().all(|left| left.id != device.id));
    }
    assert!(devices.list().is_empty());
});
