//! `audit`: what was done at this edge, and whether anybody touched the record of it.

use clap::Args;
use serde_json::{Map, Value};

use super::admin::Options;
use super::ask::{ask, ask_for_lines};
use super::{Failure, print};
use crate::edge::admin_socket::Command;
use crate::names::UserName;
use crate::trail::Verified;

#[derive(Args)]
pub(super) struct Audit {
    /// Go on with what happens from now on
    #[arg(long)]
    follow: bool,
    /// Only what concerns this person
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Hold every line against the chain instead, and name the first that is not as it was written
    #[arg(long, conflicts_with_all = ["follow", "user"])]
    verify: bool,
    #[command(flatten)]
    options: Options,
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { follow, user, verify, options } = self;
        if verify {
            return verified(&options);
        }
        let command = Command::Audit { user, follow };
        // One document: a list. Of what does not end, a document a line.
        let list = options.json() && !follow;
        let mut before = if list { "[" } else { "" };
        ask_for_lines(options.config_arg(), &command, |line| {
            let shown = if options.json() { line.to_owned() } else { sentence(line) };
            let end = if list { "" } else { "\n" };
            print::part(&format!("{before}{shown}{end}"))?;
            before = if list { ",\n" } else { "" };
            Ok(())
        })?;
        if list { print::text(if before == "[" { "[]" } else { "]" }) } else { Ok(()) }
    }
}

fn verified(options: &Options) -> Result<(), Failure> {
    let document = ask(options.config_arg(), &Command::AuditVerify {})?;
    if options.json() {
        print::json(&document)?;
    }
    let verified: Verified = super::admin::understood(document)?;
    match verified.first_flaw {
        Some(flaw) => Err(Failure::because(format!("the audit trail is not as it was written: {flaw}"))),
        None if options.json() => Ok(()),
        None => print::text(&format!("The audit trail is whole: {} entries.", verified.entries)),
    }
}

/// What of an entry is told first, in this order; the rest is for `--json`.
const TOLD: &[&str] =
    &["user", "by", "tunnel", "device_name", "name", "method", "reason", "count", "since", "address"];

/// An entry as a line of text. Names in it are other people's: they are quoted, with whatever could move the cursor or
/// turn the text spelled out.
fn sentence(line: &str) -> String {
    let Ok(entry) = serde_json::from_str::<Map<String, Value>>(line) else {
        return format!("(a line that cannot be read: {line:?})");
    };
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("?");
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    let quoted = |text: &str| if plain(text) { text.to_owned() } else { format!("{text:?}") };
    let mut told = format!("{}  {}", quoted(text("at")), quoted(text("event")));
    for name in TOLD {
        match entry.get(*name) {
            Some(Value::String(text)) => told += &format!("  {name}={}", quoted(text)),
            Some(value @ Value::Number(_)) => told += &format!("  {name}={value}"),
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_as_a_line_and_a_hostile_name_cannot_move_the_cursor() {
        let line = r#"{"seq":7,"at":"2030-01-02T03:04:05Z","event":"passkey-renamed","user":"ada","device_name":"a\u001b[2J \u202eb","hash":"x"}"#;
        let told = sentence(line);
        assert!(
            told.starts_with("2030-01-02T03:04:05Z  passkey-renamed  user=ada  device_name=\""),
            "{told}"
        );
        assert!(
            !told.contains('\u{1b}') && !told.contains('\u{202e}') && told.lines().count() == 1,
            "{told}"
        );
        assert!(sentence("no JSON\u{7}").starts_with("(a line that cannot be read"));
    }
}
