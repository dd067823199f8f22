//! `backup` and `restore`.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::admin::Options;
use super::{Failure, environment, print};
use crate::access::keys;
use crate::accounts::{GIVEN_AWAY, LASTING};
use crate::clock::{Clock as _, SystemClock};
use crate::edge::admin_documents::BackedUp;
use crate::edge::admin_socket::Command;
use crate::store::sqlite::{Restore, Restored};
use crate::store::{Existing, Key};

#[derive(Args)]
pub(super) struct BackupArgs {
    /// The file to write; the server writes it, as the user that it runs as
    #[arg(value_name = "TO")]
    to: PathBuf,
    /// Take the place of a file that is there already, once the backup is whole
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FROM")]
    from: PathBuf,
    #[command(flatten)]
    options: Options,
}

pub(super) fn backup(BackupArgs { to, replace, options }: BackupArgs) -> Result<(), Failure> {
    let to = std::path::absolute(to).map_err(Failure::because)?;
    let existing = if replace { Existing::Replaced } else { Existing::Kept };
    options.ask(Command::Backup { to, existing }, backed_up)
}

fn backed_up(BackedUp { backup, bytes, as_of }: BackedUp) -> String {
    let (backup, size) = (backup.display(), bytes.div_ceil(1024));
    format!(
        "{backup} has all that was kept at {as_of} ({size} KiB). There are no keys in it; it is yours alone to read.\n"
    )
}

pub(super) fn restore(RestoreArgs { from, options }: RestoreArgs) -> Result<(), Failure> {
    let edge = crate::config::load_values(options.config(), environment())?.config.edge;
    let data_dir = &edge.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|error| {
        Failure::because(format!("data_dir {} cannot be made: {error}", data_dir.display()))
    })?;
    let order = Restore {
        from: &from,
        to: &edge.store_file(),
        lasting: LASTING,
        carried: GIVEN_AWAY,
        with_it: &[&keys::folder_in(data_dir)],
        at: SystemClock::default().now(),
    };
    let restored = order.run().map_err(Failure::because)?;
    if options.json() {
        return print::json(&document(&from, &restored));
    }
    print::text(&told(&from, &restored))
}

/// How many of each kind are back.
struct Back {
    people: usize,
    passkeys: usize,
    desktops: usize,
}

impl Back {
    fn of(keys: &[Key]) -> Self {
        let under = |prefix| keys.iter().filter(|key| key.after(prefix).is_some()).count();
        Self { people: under("users/"), passkeys: under("passkeys/"), desktops: under("agents/") }
    }
}

fn document(from: &Path, restored: &Restored) -> serde_json::Value {
    let back = restored.back.as_deref().map(Back::of);
    json!({
        "restored": from,
        "as_of": restored.as_of.rfc3339(),
        "kept": restored.kept,
        "ended": restored.ended,
        "aside": restored.aside,
        "back": back.map(|Back { people, passkeys, desktops }| {
            json!({"people": people, "passkeys": passkeys, "desktops": desktops})
        }),
    })
}

fn told(from: &Path, restored: &Restored) -> String {
    let mut text = format!(
        "{} is restored, as of {}. Every session, access token, invitation and code in it is ended, and the server makes \
         new keys when it starts. People sign in with their passkeys; whoever had none yet is invited again.\n",
        from.display(),
        restored.as_of.rfc3339(),
    );
    if let Some(aside) = &restored.aside {
        let aside = aside.display();
        text += &format!(
            "What was there before is in {aside}; it holds keys, so remove it once you need it no more.\n"
        );
    }
    match restored.back.as_deref().map(Back::of) {
        Some(Back { people: 0, passkeys: 0, desktops: 0 }) => {}
        Some(Back { people, passkeys, desktops }) => {
            text += &format!(
                "Removed since the backup, and there again: people {people}, passkeys {passkeys}, desktops {desktops}. \
                 Remove again what must stay out.\n"
            );
        }
        None => {
            text += "What was removed since the backup is there again, people, passkeys and desktops: the file that was \
                     replaced could not be asked. Remove again what must stay out.\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn what_a_restore_brings_back_is_told() {
        let keys = ["passkeys/ada/1", "passkeys/ada/2", "credentials/1", "agents/p", "tunnel-agents/t/p"];
        let restored = |back| Restored {
            as_of: Timestamp::from_secs(1_790_000_000),
            kept: 9,
            ended: 3,
            back,
            aside: Some("/var/lib/x/before-restore".into()),
        };
        let some = restored(Some(keys.map(Key::new).to_vec()));
        let from = Path::new("/backup");
        assert!(told(from, &some).contains("people 0, passkeys 2, desktops 1."));
        assert_eq!(document(from, &some)["back"]["desktops"], 1);
        assert!(!told(from, &restored(Some(Vec::new()))).contains("since the backup"));
        assert!(told(from, &restored(None)).contains("could not be asked"));
        assert!(document(from, &restored(None))["back"].is_null());
    }
}
