//! What an edge says, as the agent reads it: whatever it asks, nobody is let in or trusted unless the person says so, and
//! what cannot be read leaves nothing.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use patapim_edge::agent::fuzzing::{Standing, admits, ask, standing};
use patapim_edge::agent::proof::{Judge, SignInSite};
use patapim_edge::agent::{Desk, Home, Trust, Unproven};
use patapim_edge::clock::{ManualClock, Timestamp};
use patapim_edge::names::TunnelId;
use patapim_edge::wire::approval::{Answer, Ask, Credential};
use patapim_edge::wire::{EdgeHello, Notice, NoticeBody, one_line, read_hello};
use patapim_fuzz::{Folder, NoChance, ORIGIN};

/// More devices than are ever asked about at a time.
const CROWD: usize = 16;

fuzz_target!(|said: &[u8]| {
    let folder = Folder::default();
    let desk = open(&folder);
    let nobody = standing(&desk);

    for message in said.split(|&byte| byte == b'\n') {
        hello(message);
        if let Ok(text) = std::str::from_utf8(message) {
            assert!(Notice::at(text).is_none_or(|notice| notice.path() == text));
        }
        let Ok(question) = serde_json::from_slice::<Ask>(message) else { continue };
        let written = serde_json::to_vec(&question).expect("written");
        assert_eq!(serde_json::from_slice::<Ask>(&written).expect("read again"), question);

        let before = standing(&desk);
        let Some(answer) = ask(&desk, &question) else { continue };
        assert!(!admits(&desk, &question.session));
        let after = standing(&desk);
        assert_eq!(after.trusted, nobody.trusted);
        match answer {
            Answer::Pending { number, until } => {
                assert!(number < 100 && until > NOW && after.waiting > 0);
                assert!(!matches!(question.device, Credential::Passkey(_)), "without a proof");
            }
            Answer::Denied | Answer::Crowded { .. } => {
                assert_eq!(after.waiting, before.waiting, "what is refused waits for nobody");
            }
            Answer::Approved | Answer::Unknown => panic!("let in by itself: {question:?}"),
        }
        assert!(after.waiting <= CROWD);
    }
    let Standing { trusted, .. } = standing(&open(&folder));
    assert_eq!(trusted, nobody.trusted, "after a restart");
});

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn open(folder: &Folder) -> Arc<Desk> {
    let site = SignInSite::of(ORIGIN);
    let judge = Judge::new(&TunnelId::parse("ada").expect("a label"), &site);
    let rules = (Trust::Ask, Unproven::Asked);
    let home = Home::at(folder.path());
    Desk::open(home, rules, "ada", judge, ManualClock::at(NOW), Arc::<NoChance>::default()).expect("a desk")
}

fn hello(message: &[u8]) {
    if let Ok(hello) = read_hello::<EdgeHello>(message) {
        let written = serde_json::to_vec(&hello).expect("written");
        let again: EdgeHello = read_hello(&written).expect("read again");
        assert_eq!((again.tunnel, again.url, again.software), (hello.tunnel, hello.url, hello.software));
    }
    if let Ok(NoticeBody { sentence }) = serde_json::from_slice(message) {
        let line = one_line(&sentence);
        assert!(!line.chars().any(char::is_control), "{line:?} goes to a terminal");
        assert_eq!(one_line(&line), line);
    }
}
