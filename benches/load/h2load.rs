//! Bounded load by `h2load`: so many requests, and what became of them.

use std::fs;
use std::process::Command;

use tempfile::NamedTempFile;

use super::contestant::Contestant;

/// A load that takes longer than this is stuck.
const PATIENCE: &str = "60";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Protocol, connections, rate: as `h2load` spells them.
    pub(crate) options: &'static str,
    pub(crate) requests: u32,
    pub(crate) path: &'static str,
    /// With a session, or with a token that is no good.
    pub(crate) credentials: Credentials,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    Good,
    Forged,
}

/// What came of it.
pub(crate) struct Loaded {
    pub(crate) seconds: f64,
    /// From a request to the last byte of its answer, in milliseconds, sorted.
    pub(crate) latencies: Vec<f64>,
}

impl Load {
    /// Runs it; an error when any answer is not what it should be, for then it would be something else that is measured.
    pub(crate) fn run(&self, on: &Contestant) -> Result<Loaded, String> {
        let log = NamedTempFile::with_prefix("h2load-").map_err(|error| error.to_string())?;
        let mut command = Command::new("timeout");
        command.args([PATIENCE, "h2load", "-t1"]).args(self.options.split_whitespace());
        command.arg(format!("-n{}", self.requests)).arg(format!("--log-file={}", log.path().display()));
        command.arg(format!("--connect-to=127.0.0.1:{}", on.port));
        let (header, path) = match (self.credentials, &on.forged) {
            (Credentials::Good, _) => (&on.good, self.path.to_owned()),
            (Credentials::Forged, Some((header, end))) => (header, format!("{}{end}", self.path)),
            (Credentials::Forged, None) => return Err(format!("{} refuses nobody", on.name)),
        };
        if !header.is_empty() {
            command.arg("-H").arg(header);
        }
        let output =
            command.arg(format!("{}{path}", on.origin)).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let wanted = if self.credentials == Credentials::Good { 0 } else { 2 };
        let (seconds, answered) = understood(&text, wanted).ok_or_else(|| format!("{}: {text}", on.name))?;
        if answered != self.requests {
            return Err(format!("{}: {answered} of {} as they should be", on.name, self.requests));
        }
        let log = fs::read_to_string(log.path()).unwrap_or_default();
        let mut latencies: Vec<f64> = log
            .lines()
            .filter_map(|line| Some(line.split('\t').nth(2)?.parse::<f64>().ok()? / 1e3))
            .collect();
        latencies.sort_by(f64::total_cmp);
        Ok(Loaded { seconds, latencies })
    }
}

/// How long it took, and how many answers were of the class: 0 for 2xx, 2 for 4xx.
fn understood(text: &str, class: usize) -> Option<(f64, u32)> {
    let took = text.lines().find_map(|line| line.strip_prefix("finished in "))?.split(',').next()?;
    let unit = took.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let scale = [("s", 1.0), ("ms", 1e-3), ("us", 1e-6)].iter().find(|(name, _)| *name == unit)?.1;
    let seconds = took.strip_suffix(unit)?.parse::<f64>().ok()? * scale;
    let codes = text.lines().find_map(|line| line.strip_prefix("status codes: "))?;
    let answered = codes.split(", ").nth(class)?.split(' ').next()?.parse().ok()?;
    Some((seconds, answered))
}

/// The share `at` of sorted figures: the median at 0.5.
pub(crate) fn quantile(sorted: &[f64], at: f64) -> f64 {
    let place = (sorted.len() as f64 * at) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
