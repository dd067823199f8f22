//! `[limits]`: what strangers may take.

use super::section::Section;
use super::values;
use crate::edge::Limits;

pub(super) fn limits(section: &Section<'_>) -> Limits {
    let usual = Limits::default();
    let patience = |key, usual| section.text(key, values::patience).map_or(usual, |found| found.value);
    let least_rate = section.number("least_rate", 1..=1_000_000);
    Limits {
        handshake: patience("handshake", usual.handshake),
        header: patience("header", usual.header),
        idle: patience("idle", usual.idle),
        stall: patience("stall", usual.stall),
        least_rate: least_rate.and_then(|found| found.value.try_into().ok()).unwrap_or(usual.least_rate),
    }
}
