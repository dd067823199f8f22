//! Standard output and standard error, each written in one place.

use std::io::{ErrorKind, Write as _};

use serde_json::Value;

use super::Failure;

/// Prints `text`, with an end of line if it has none.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    match part(&format!("{text}{end}")) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::because(error)),
        _ => Ok(()),
    }
}

/// Prints a part of something longer.
pub(super) fn part(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints one JSON document.
pub(super) fn json(document: &Value) -> Result<(), Failure> {
    text(&document.to_string())
}

/// Says on standard error what is wrong. Where that cannot be written to, there is nobody left to tell.
pub(super) fn complain(what: &str) {
    let _ = writeln!(std::io::stderr().lock(), "patapim-edge: {what}");
}
