//! What a program has cost: processor time from `/proc`, its children's included.
//!
//! On a machine that does other things as well, requests per second mostly measure the others; the time that a program
//! itself was on a processor hardly changes.

use std::collections::HashMap;
use std::fs;

/// Every Linux on every machine of today counts so many a second (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// The fields of `/proc/<pid>/stat` after the name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    // The first is a letter.
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

/// `roots` and all that they started.
fn tree(roots: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let numbered = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    for pid in fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(numbered) {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1).copied()) {
            children.entry(u32::try_from(parent).unwrap_or(0)).or_default().push(pid);
        }
    }
    let mut all = roots.to_vec();
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        all.extend(children.get(pid).cloned().unwrap_or_default());
        at += 1;
    }
    all
}

/// Seconds of processor time that `roots` and their children have used.
pub(crate) fn seconds(roots: &[u32]) -> f64 {
    // utime, stime and the two of children that were waited for: fields 14 to 17 of proc(5), of which two are cut off.
    let of = |pid: &u32| stat(*pid).map_or(0, |fields| fields.iter().skip(11).take(4).sum::<u64>());
    tree(roots).iter().map(of).sum::<u64>() as f64 / TICKS
}
