//! One commented TOML file, checked whole: what comes out of [`load`] needs no second look.
//!
//! ```text
//!  file ──▶ document: values with their lines ──▶ sections: asked key by key ──▶ Config
//!  PATAPIM_EDGE__SECTION__KEY ──▶ put over it        │
//!                                                    └─▶ every fault and warning, with its place and its mend
//! ```
//!
//! Nobody imports this but the programs: each layer declares the settings it wants, and they are filled here.

use std::path::Path;
use std::sync::Arc;

use crate::edge::Settings;

mod document;
mod duration;
mod effective;
mod fault;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keys;
mod limits;
mod nearest;
mod section;
mod values;

#[cfg(test)]
mod tests;

pub use fault::{BadConfig, Fault, Place};

/// A configuration in which every value was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the edge runs with.
    pub edge: Settings,
}

/// A configuration and what may be wrong with it all the same.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the server runs with.
    pub config: Config,
    /// What an operator should look at.
    pub warnings: Vec<Fault>,
}

/// Reads the file at `path`, puts the overrides among `variables` over it, and checks every value and every file that
/// it names.
pub fn load(path: &Path, variables: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, BadConfig> {
    let read = read(path, variables)?;
    read.findings.files(&read.files);
    if let Some(config) = &read.config {
        read.findings.certificate(&config.edge, &read.files);
    }
    read.judged(path)
}

/// As [`load`], without a look at the files that it names: an admin command may be run by somebody who may not read
/// them.
pub fn load_values(
    path: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, BadConfig> {
    read(path, variables)?.judged(path)
}

/// What was read, and what was found on the way.
struct Read {
    config: Option<Config>,
    files: Vec<files::Named>,
    findings: section::Findings,
}

impl Read {
    fn judged(self, path: &Path) -> Result<Loaded, BadConfig> {
        let (faults, warnings) = self.findings.into_parts();
        match self.config {
            Some(config) if faults.is_empty() => Ok(Loaded { config, warnings }),
            _ => Err(BadConfig { path: path.to_owned(), faults }),
        }
    }
}

fn read(path: &Path, variables: impl IntoIterator<Item = (String, String)>) -> Result<Read, BadConfig> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse(path, &text, variables)),
        Err(error) => {
            let fault = Fault {
                place: Place::File(path.into(), 0),
                key: String::new(),
                wrong: format!("this file cannot be read: {error}"),
                mend: "name another with --config; conf/edge.toml in the sources is a commented example"
                    .to_owned(),
            };
            Err(BadConfig { path: path.to_owned(), faults: vec![fault] })
        }
    }
}

fn parse(path: &Path, text: &str, variables: impl IntoIterator<Item = (String, String)>) -> Read {
    let path: Arc<Path> = path.into();
    let (mut table, mut faults) = document::parse(&path, text);
    faults.extend(document::apply_overrides(&mut table, variables));
    let findings = section::Findings::new(Arc::clone(&path), faults);
    let (config, files) = keys::config(&findings.root(&table), &path);
    findings.unknown_keys(&table);
    Read { config, files, findings }
}
