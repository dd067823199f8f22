//! The walls of the house: which layer may know of which (`ARCHITECTURE.md`), and which crate belongs to which layer.
//!
//! Files of tests are exempt: to try one end of a wire, they may hold the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const GROUND: &[&str] = &["names", "clock", "secret", "proof", "metrics", "manual"];

/// Each layer, and the layers it may name besides the ground and itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("store", &[]),
    ("trail", &["store"]),
    ("accounts", &["store"]),
    ("access", &["accounts", "store"]),
    ("tunnel", &["access", "accounts", "store", "wire"]),
    ("deployer", &["access", "accounts", "trail", "store"]),
    ("edge", &["deployer", "tunnel", "access", "accounts", "trail", "store", "wire"]),
    ("agent", &["wire"]),
    ("config", &["edge", "deployer", "tunnel", "access", "accounts", "store", "wire", "agent"]),
    ("demo", &["config", "edge", "deployer", "tunnel", "access", "accounts", "store", "wire", "agent"]),
    (
        "cli",
        &[
            "config", "demo", "edge", "deployer", "tunnel", "access", "accounts", "trail", "store", "wire",
            "agent",
        ],
    ),
];

/// Crates that only these layers may use. Each stands for a decision that the other layers need not know of.
const BELONGS_TO: &[(&str, &[&str])] = &[
    ("pingora", &["edge"]),
    ("rusqlite", &["store"]),
    ("axum", &["deployer", "edge", "demo"]),
    ("askama", &["deployer"]),
    ("woothee", &["deployer"]),
    ("argon2", &["accounts"]),
    ("icu_normalizer", &["accounts"]),
    ("lettre", &["deployer"]),
    ("webauthn_rs_core", &["deployer", "accounts", "access"]),
    ("http", &["deployer", "edge", "tunnel", "agent", "wire", "demo"]),
    ("hyper", &["deployer", "edge", "tunnel", "agent", "wire", "demo", "cli"]),
    ("h2", &["edge", "tunnel", "agent", "wire"]),
    ("toml", &["config"]),
    ("anyhow", &["bin"]),
    ("clap", &["agent", "cli", "bin", "manual"]),
    ("clap_complete", &["manual"]),
    ("clap_mangen", &["manual"]),
    ("psl", &["cli"]),
    ("qrcode", &["agent", "deployer"]),
];

#[test]
fn every_module_names_only_what_lies_below_it() {
    let faults: Vec<_> = sources().iter().flat_map(faults_of_layer).collect();
    assert!(faults.is_empty(), "imports that go up or aside:\n{}", faults.join("\n"));
}

#[test]
fn every_crate_stays_in_the_layers_it_belongs_to() {
    let faults: Vec<_> = sources().iter().flat_map(faults_of_crates).collect();
    assert!(faults.is_empty(), "crates out of their layer:\n{}", faults.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_through_groups_comments_and_strings() {
    let text = "use crate::{edge::{a, b}, store as s};\n// crate::cli\nlet x = \"crate::demo\"; let q = '\"';\n\
                fn f<'a>(x: &'a crate::wire::Hello) {} use super::super::access; use self::own; r#\"crate::cli\"#;";
    let file = Source { layer: "tunnel".into(), depth: 1, path: "made up".into(), code: code_only(text) };
    let named = named_modules(&file);
    assert_eq!(named, BTreeSet::from(["edge", "store", "wire", "access"].map(String::from)));
}

/// One file of `src`, without its comments and strings.
struct Source {
    path: PathBuf,
    layer: String,
    /// How many `super` lead to the root of the crate, less one.
    depth: usize,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let inner = path.strip_prefix(&root).expect("under src").with_extension("");
                let mut parts: Vec<_> =
                    inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                if parts.iter().any(|part| part.split('_').any(|word| matches!(word, "test" | "tests"))) {
                    continue;
                }
                if parts.last().is_some_and(|last| last == "mod") {
                    parts.pop();
                }
                let code = code_only(&std::fs::read_to_string(&path).expect("a source file"));
                found.push(Source { layer: parts[0].clone(), depth: parts.len() - 1, path, code });
            }
        }
    }
    assert!(found.len() > 3, "the sources must be there");
    found
}

fn faults_of_layer(file: &Source) -> Vec<String> {
    if matches!(file.layer.as_str(), "bin" | "lib") {
        return Vec::new();
    }
    let allowed = match MAY_NAME.iter().find(|(layer, _)| *layer == file.layer) {
        Some((_, allowed)) => *allowed,
        None if GROUND.contains(&file.layer.as_str()) => &[],
        None => return vec![format!("{}: {} is in no layer", file.path.display(), file.layer)],
    };
    let known = |name: &str| MAY_NAME.iter().any(|(layer, _)| *layer == name);
    let ours = |name: &str| *name == *file.layer || GROUND.contains(&name) || allowed.contains(&name);
    let named = named_modules(file);
    let faults = named.iter().filter(|name| known(name) && !ours(name));
    faults.map(|name| format!("{}: {} must not know {name}", file.path.display(), file.layer)).collect()
}

fn faults_of_crates(file: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, layers) in BELONGS_TO {
        if layers.contains(&file.layer.as_str()) {
            continue;
        }
        for (at, _) in file.code.match_indices(&format!("{name}::")) {
            let before = file.code[..at].chars().next_back();
            // `crate::http::…` and `my_http::…` are not the crate; `::http::…` is.
            let joined = file.code[..at].strip_suffix("::").is_some_and(|path| path.ends_with(is_word));
            if !before.is_some_and(is_word) && !joined {
                faults.push(format!("{}: {} must not use {name}", file.path.display(), file.layer));
                break;
            }
        }
    }
    faults
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The modules at the root of the crate that a file names.
fn named_modules(file: &Source) -> BTreeSet<String> {
    let up = "super::".repeat(file.depth + 1);
    let mut named = BTreeSet::new();
    for root in ["crate::", "patapim_edge::", &up] {
        for (at, _) in file.code.match_indices(root) {
            let before = &file.code[..at];
            if !before.ends_with(is_word) && !before.ends_with("super::") {
                collect_heads(&file.code[at + root.len()..], &mut named);
            }
        }
    }
    named
}

/// The first names of the import tree that `text` begins with: `a::b` or `{a::b, c}`.
fn collect_heads(text: &str, named: &mut BTreeSet<String>) {
    let head = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let Some(group) = text.strip_prefix('{') else {
        named.insert(head(text));
        return;
    };
    let mut deep = 0;
    named.insert(head(group));
    for (at, c) in group.char_indices() {
        match c {
            '{' => deep += 1,
            '}' if deep == 0 => return,
            '}' => deep -= 1,
            ',' if deep == 0 => drop(named.insert(head(&group[at + 1..]))),
            _ => {}
        }
    }
}

/// `text` without comments, strings and quoted characters.
fn code_only(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            'r' if rest.starts_with("r#\"") => rest[3..].find("\"#").map_or(rest.len(), |at| at + 5),
            '"' => end_of_string(rest),
            '\'' if rest[1..].starts_with('\\') => rest[3..].find('\'').map_or(rest.len(), |at| at + 4),
            '\'' if rest[1..].chars().nth(1) == Some('\'') => {
                2 + rest[1..].chars().next().map_or(0, char::len_utf8)
            }
            _ => {
                code.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        rest = &rest[skip..];
    }
    code
}

fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
