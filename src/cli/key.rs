//! `key list` and `key rotate`.

use clap::Subcommand;

use super::Failure;
use super::admin::Options;
use super::table::table;
use crate::edge::admin_documents::{KeyKind, KeyLine, KeyState, KeysRotated};
use crate::edge::admin_socket::Command;

#[derive(Subcommand)]
pub(super) enum Key {
    /// List the keys that sign tokens and assertions, and the retired ones that still verify
    List {
        #[command(flatten)]
        options: Options,
    },
    /// Sign with new keys from now on; what the old ones signed stays good until it expires
    ///
    /// Two keys are replaced: the one that signs tokens, and the one that signs the assertions that apps receive. Apps
    /// find the new one at /.well-known/jwks.json at once, the old one for ten more minutes.
    Rotate {
        /// Forget the old keys, and end every session that their tokens opened, at once
        ///
        /// For when somebody may have read them. People sign in again; access tokens, linked desktops and sessions at
        /// the sign-in site go on. An app that keeps the public keys may take an assertion of the old key for five more
        /// minutes.
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        options: Options,
    },
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { options } => options.ask(Command::KeyList {}, keys),
            Self::Rotate { now, options } => {
                let read = if now { forgotten } else { rotated };
                options.ask(Command::KeyRotate { now }, read)
            }
        }
    }
}

fn keys(all: Vec<KeyLine>) -> String {
    let line = |key: &KeyLine| {
        let kind = match key.kind {
            KeyKind::Token => "token",
            KeyKind::Assertion => "assertion",
        };
        let state = match key.state {
            KeyState::Signing => "signing",
            KeyState::Retired => "retired",
        };
        let until = key.until.clone().unwrap_or_default();
        [key.kid.clone(), kind.to_owned(), state.to_owned(), key.created.clone(), until]
    };
    let lines: Vec<_> = all.iter().map(line).collect();
    table(["KEY", "SIGNS", "STATE", "CREATED", "UNTIL"], &lines)
}

fn rotated(KeysRotated { token, assertion, .. }: KeysRotated) -> String {
    format!(
        "New keys sign from now on: {token} tokens, {assertion} assertions.\n\
         What the old ones signed is good until it expires.\n"
    )
}

fn forgotten(KeysRotated { token, assertion, revoked }: KeysRotated) -> String {
    let sessions = match revoked {
        0 => "No session rested on them.".to_owned(),
        1 => "One session is ended.".to_owned(),
        more => format!("{more} sessions are ended."),
    };
    format!(
        "New keys sign from now on: {token} tokens, {assertion} assertions.\n\
         The old ones are forgotten. {sessions}\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::admin::understood;
    use super::*;

    #[test]
    fn the_documents_of_the_contract_read_as_text() {
        let (then, until) = ("2030-01-02T03:04:05Z", "2030-02-02T03:04:05Z");
        let list = json!([
            {"kid": "new", "kind": "token", "created": until, "state": "signing", "until": null},
            {"kid": "old", "kind": "token", "created": then, "state": "retired", "until": until},
            {"kid": "es", "kind": "assertion", "created": then, "state": "signing", "until": null},
        ]);
        let text = keys(understood(list).expect("a list"));
        assert!(
            text.contains("\nold  token      retired  2030-01-02T03:04:05Z  2030-02-02T03:04:05Z\n"),
            "{text}"
        );
        assert!(text.contains("\nes   assertion  signing  2030-01-02T03:04:05Z  -\n"), "{text}");
        let document = |revoked| understood(json!({"token": "a", "assertion": "b", "revoked": revoked}));
        assert!(rotated(document(0).expect("read")).ends_with("is good until it expires.\n"));
        assert!(forgotten(document(2).expect("read")).ends_with("forgotten. 2 sessions are ended.\n"));
    }
}
