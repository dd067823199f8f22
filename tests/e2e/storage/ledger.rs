//! The ledger: what the edge has acknowledged to somebody, to be held against what is there later.
//!
//! An act that was asked for and not answered is in doubt: it was done or it was not, but never by half.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use url::Url;

use crate::rig::client::Visitor;

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) registrations: usize,
    pub(super) redemptions: usize,
    pub(super) revocations: usize,
    pub(super) backup_codes: usize,
    pub(super) magic_links: usize,
    pub(super) link_codes: usize,
}

impl Tally {
    pub(super) fn all(&self) -> usize {
        let Self { registrations, redemptions, revocations, backup_codes, magic_links, link_codes } = *self;
        registrations + redemptions + revocations + backup_codes + magic_links + link_codes
    }

    pub(super) fn add(&mut self, other: Self) {
        self.registrations += other.registrations;
        self.redemptions += other.redemptions;
        self.revocations += other.revocations;
        self.backup_codes += other.backup_codes;
        self.magic_links += other.magic_links;
        self.link_codes += other.link_codes;
    }
}

/// How a session on the tunnel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its token was issued; whether it was redeemed nobody knows.
    RedemptionInDoubt,
    Open,
    /// Its end was asked for; whether it came nobody knows.
    EndInDoubt,
    Ended,
}

/// A sign-in to the tunnel.
pub(super) struct Visit {
    pub(super) browser: Visitor,
    /// With the token.
    pub(super) link: Url,
    pub(super) cookie: String,
    pub(super) standing: Standing,
}

impl Visit {
    /// The session's id, which is no secret.
    pub(super) fn session(&self) -> &str {
        self.cookie.split('.').next().expect("an id")
    }
}

/// One person's.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) passkeys: Vec<String>,
    pub(super) visits: Vec<Visit>,
    pub(super) codes_left: Vec<String>,
    pub(super) codes_used: Vec<String>,
    /// Of the present set.
    pub(super) codes_used_of_set: usize,
    pub(super) codes_in_doubt_of_set: usize,
    pub(super) magic_links_used: Vec<(Visitor, String)>,
    /// User code and tunnel.
    pub(super) desktops: Vec<(String, String)>,
}

impl Ledger {
    pub(super) fn tally(&self) -> Tally {
        let of = |standing: &[Standing]| {
            self.visits.iter().filter(|visit| standing.contains(&visit.standing)).count()
        };
        Tally {
            registrations: self.passkeys.len(),
            redemptions: of(&[Standing::Open, Standing::EndInDoubt, Standing::Ended]),
            revocations: of(&[Standing::Ended]),
            backup_codes: self.codes_used.len(),
            magic_links: self.magic_links_used.len(),
            link_codes: self.desktops.len(),
        }
    }

    /// Every act that was acknowledged to `user` has its line in the trail.
    pub(super) fn is_in(&self, user: &str, trail: &Trail) {
        let has = |event: &str, field: &str, value: &str| {
            let found = trail.has(user, event, field, value);
            assert!(found, "{event} of {user} with {field} {value} was acknowledged and is not in the trail");
        };
        self.passkeys.iter().for_each(|name| has("passkey-registered", "device_name", name));
        for visit in &self.visits {
            if visit.standing != Standing::RedemptionInDoubt {
                has("session-opened", "session", visit.session());
            }
            if visit.standing == Standing::Ended {
                has("signed-out", "session", visit.session());
            }
        }
        self.desktops.iter().for_each(|(_, tunnel)| has("desktop-linked", "tunnel", tunnel));
        for (method, used) in
            [("backup_code", self.codes_used.len()), ("magic_link", self.magic_links_used.len())]
        {
            let there = trail.count(user, "sign-in", "method", method);
            assert!(there >= used, "{there} of {used} sign-ins of {user} by {method} are in the trail");
        }
    }
}

/// The audit trail as a stranger to the program reads it, from what is written about it.
pub(super) struct Trail {
    /// How often a user, an event, and a field with a value come together.
    seen: BTreeMap<(String, String, &'static str, String), usize>,
    pub(super) lines: usize,
}

const FIELDS: [&str; 4] = ["device_name", "session", "tunnel", "method"];

impl Trail {
    /// Reads all of it, and checks each line's number and hash.
    pub(super) fn read(data: &Path) -> Self {
        let text = std::fs::read_to_string(data.join("audit.jsonl")).expect("the trail");
        assert!(text.ends_with('\n'), "a line without an end");
        let (mut seen, mut before) = (BTreeMap::new(), vec![0; 32]);
        let mut lines = 0;
        for line in text.lines() {
            lines += 1;
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(entry["seq"], lines, "{line}");
            let (body, _) = line.rsplit_once(",\"hash\"").expect("a hash");
            let mut context = Context::new(&SHA256);
            context.update(&before);
            context.update(body.as_bytes());
            before = context.finish().as_ref().to_vec();
            assert_eq!(entry["hash"], URL_SAFE_NO_PAD.encode(&before), "{line}");
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            assert_ne!(entry["event"], "trail-damaged", "{line}");
            for field in FIELDS.into_iter().filter(|field| entry[*field].is_string()) {
                *seen.entry((text("user"), text("event"), field, text(field))).or_insert(0) += 1;
            }
        }
        Self { seen, lines: usize::try_from(lines).expect("a count") }
    }

    fn count(&self, user: &str, event: &str, field: &'static str, value: &str) -> usize {
        let key = (user.to_owned(), event.to_owned(), field, value.to_owned());
        self.seen.get(&key).copied().unwrap_or_default()
    }

    fn has(&self, user: &str, event: &str, field: &str, value: &str) -> bool {
        let field = FIELDS.into_iter().find(|one| *one == field).expect("a known field");
        self.count(user, event, field, value) > 0
    }
}
