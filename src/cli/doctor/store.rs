//! The store and its clock: through the server that runs, or by a look at the file that changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;

use super::finding::{Check, Finding};
use crate::accounts::Passkey;
use crate::clock::Timestamp;
use crate::edge::admin_documents::Examined;
use crate::store::Examination;
use crate::store::sqlite::Inspection;

/// Clocks are set by less than this all the time.
const TOLERANCE: Duration = Duration::from_secs(60);
/// Below the first a server soon takes no sign-in; below the second somebody should look.
const LEAST_SPACE: u64 = 64 << 20;
const LITTLE_SPACE: u64 = 512 << 20;

/// What is known of the store, whoever told it.
#[derive(Default)]
pub(super) struct Known {
    pub(super) findings: Vec<Finding>,
    /// The time that the server goes by, or would not go back behind.
    latest: Option<Timestamp>,
    /// Passkeys, by their RP ID.
    pub(super) passkeys: BTreeMap<String, usize>,
}

impl Known {
    /// From the running server.
    pub(super) fn told(examined: &Examined) -> Self {
        Self {
            findings: vec![judged(&examined.store)],
            latest: Timestamp::parse_rfc3339(&examined.now),
            passkeys: examined.passkeys.clone(),
        }
    }

    /// From the file itself.
    pub(super) fn read(file: &Path) -> Self {
        if !file.exists() && !file.with_extension("db.restoring").exists() {
            let finding = format!("there is no store at {} yet; the first start makes it", file.display());
            return Self { findings: vec![Finding::ok(Check::Store, finding)], ..Self::default() };
        }
        let unreadable = |why: String| {
            let mend = "mend that before a start; a damaged store is replaced by: patapim-edge restore FROM";
            Self { findings: vec![Finding::failed(Check::Store, why, mend)], ..Self::default() }
        };
        let opened = match Inspection::open(file) {
            Ok(opened) => opened,
            Err(error) => return unreadable(error.to_string()),
        };
        match (opened.examine(), opened.values("passkeys/")) {
            (Ok(examination), Ok(passkeys)) => Self {
                findings: vec![judged(&examination)],
                latest: Some(examination.moment),
                passkeys: counted(&passkeys),
            },
            (Err(error), _) | (_, Err(error)) => {
                unreadable(format!("{} cannot be read through: {error}", file.display()))
            }
        }
    }

    /// The machine's clock against the latest moment.
    pub(super) fn clock(&self, machine: Timestamp) -> Finding {
        let now = machine.rfc3339();
        let Some(latest) = self.latest else {
            return Finding::ok(
                Check::Clock,
                format!("this machine's clock says {now}; there is nothing to hold it against"),
            );
        };
        let behind = latest.since(machine);
        if behind <= TOLERANCE {
            return Finding::ok(
                Check::Clock,
                format!("this machine's clock says {now}, and nothing later has been seen"),
            );
        }
        Finding::failed(
            Check::Clock,
            format!(
                "this machine's clock says {now}, {behind:?} behind a moment that the store has seen already ({}): until it has \
                 caught up, time stands still for the server, nothing comes back to life, and nothing expires",
                latest.rfc3339()
            ),
            "set the clock if it is wrong (chrony, systemd-timesyncd); if it is right, it was once far ahead: wait, or restore a \
             backup from before that",
        )
    }
}

fn counted(passkeys: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for passkey in passkeys.iter().filter_map(|record| serde_json::from_slice::<Passkey>(record).ok()) {
        *counted.entry(passkey.rp_id).or_default() += 1;
    }
    counted
}

fn judged(examination: &Examination) -> Finding {
    let Examination { layout, entries, revision, bytes, damage, .. } = examination;
    match damage {
        Some(damage) => Finding::failed(
            Check::Store,
            format!("the store is damaged: {damage}"),
            "stop the server, keep the data directory aside, and restore the last backup: patapim-edge restore FROM",
        ),
        None => {
            let size = bytes.div_ceil(1024);
            let finding = format!(
                "the store is whole: {entries} entries, {size} KiB, revision {revision}, layout {layout}"
            );
            Finding::ok(Check::Store, finding)
        }
    }
}

/// The room that is left where the store is, or will be.
pub(super) fn space(data_dir: &Path) -> Option<Finding> {
    let there = data_dir.ancestors().find(|folder| folder.exists())?;
    let about = statvfs(there).ok()?;
    Some(judged_space(about.f_bavail.saturating_mul(about.f_frsize), there))
}

fn judged_space(free: u64, folder: &Path) -> Finding {
    let finding = format!("{} MiB are free at {}", free >> 20, folder.display());
    let mend = "make room: on a full disk nobody signs in, and nothing can be revoked";
    match free {
        0..LEAST_SPACE => Finding::failed(Check::Store, finding, mend),
        LEAST_SPACE..LITTLE_SPACE => Finding::warning(Check::Store, finding, mend),
        _ => Finding::ok(Check::Store, finding),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Outcome;
    use super::*;

    #[test]
    fn a_clock_behind_what_was_seen_is_a_failure() {
        let seen = Timestamp::from_secs(1_790_000_000);
        let known = Known { latest: Some(seen), ..Known::default() };
        assert_eq!(known.clock(seen).result, Outcome::Ok);
        assert_eq!(known.clock(Timestamp::from_secs(1_790_000_000 - 30)).result, Outcome::Ok);
        assert_eq!(known.clock(Timestamp::from_secs(1_780_000_000)).result, Outcome::Failed);
        assert_eq!(Known::default().clock(seen).result, Outcome::Ok);
    }

    #[test]
    fn little_room_is_told_in_time() {
        let judged = |free| judged_space(free, Path::new("/")).result;
        assert_eq!(judged(1 << 20), Outcome::Failed);
        assert_eq!(judged(100 << 20), Outcome::Warning);
        assert_eq!(judged(10 << 30), Outcome::Ok);
        assert!(space(Path::new("/no/such/folder")).is_some(), "told of where it will be made");
    }

    #[test]
    fn what_is_no_store_is_told_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("edge.db");
        assert_eq!(Known::read(&file).findings[0].result, Outcome::Ok);
        std::fs::write(&file, "nonsense").expect("written");
        assert_eq!(Known::read(&file).findings[0].result, Outcome::Failed);
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            1,
            "nothing was made beside it"
        );
    }
}
