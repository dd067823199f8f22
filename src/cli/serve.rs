//! `patapim-edge serve`.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{ConfigArg, Failure, environment, log, print};
use crate::config::{BadConfig, Loaded};
use crate::edge::{EdgeError, Ready, Settings, Source, Start};

#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Take the place of the server that runs on the same data, without dropping a request; start as usual if none does
    #[arg(long)]
    upgrade: bool,
    /// What to log: a level, or levels by module such as "warn,patapim_edge=debug"
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
}

pub(super) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let file = &args.config.config;
    let Loaded { config, warnings } = crate::config::load(file, environment())?;
    let _log = log::start(&args.log).map_err(Failure::because)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let stop = CancellationToken::new();
    let source = source(file.clone());
    let start = if args.upgrade { Start::InPlaceOfTheRunning } else { Start::Alone };
    crate::edge::serve(config.edge, Some(source), start, stop, |ready| accepting(&ready))
        .map_err(|error| failure(file, &error))
}

/// The same file again, under the same environment.
fn source(file: PathBuf) -> Source {
    let variables: Vec<_> = environment().collect();
    let read = {
        let file = file.clone();
        move || reread(&file, variables.clone())
    };
    Source { file, read: Box::new(read) }
}

fn reread(file: &Path, variables: Vec<(String, String)>) -> Result<Settings, String> {
    let Loaded { config, warnings } = crate::config::load(file, variables).map_err(|bad| bad.to_string())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config.edge)
}

/// The one line on stdout. Where nobody reads it, the server serves all the same.
fn accepting(ready: &Ready) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "accepting");
    let told = ready_line(ready).and_then(|line| print::text(&line));
    if let Err(Failure::Failed(why)) = told {
        tracing::warn!(why, "the ready line is not written");
    }
}

fn ready_line(ready: &Ready) -> Result<String, Failure> {
    serde_json::to_string(ready).map_err(Failure::because)
}

/// What only shows once the store is open, or the certificate is looked into, is the configuration's fault too.
fn failure(file: &Path, error: &EdgeError) -> Failure {
    let key = match error {
        EdgeError::DataDir(_) => "data_dir",
        EdgeError::RpId(_) => "webauthn.rp_id",
        EdgeError::Certificate(_) => "tls",
        EdgeError::Upstream { .. } => "upstream",
        _ => return Failure::because(error),
    };
    BadConfig::one(file, key, error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployer::RpIdError;

    #[test]
    fn the_ready_line_is_the_contracts() {
        let address = |text: &str| text.parse().expect("an address");
        let ready = Ready {
            ready: true,
            https: vec![address("127.0.0.1:8443"), address("[::1]:8443")],
            http: Vec::new(),
            admin: address("127.0.0.1:9090"),
        };
        let line = ready_line(&ready).expect("a line");
        let expected =
            r#"{"ready":true,"https":["127.0.0.1:8443","[::1]:8443"],"http":[],"admin":"127.0.0.1:9090"}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn an_rp_id_that_orphans_passkeys_is_bad_configuration_and_a_lost_disk_is_not() {
        let orphans = RpIdError::Orphans {
            configured: "a.test".to_owned(),
            former: "b.test".to_owned(),
            count: 1,
            total: 1,
        };
        let told = failure(Path::new("edge.toml"), &EdgeError::RpId(orphans));
        assert!(matches!(told, Failure::BadConfig(bad) if bad.faults[0].key == "webauthn.rp_id"));
        let told = failure(Path::new("edge.toml"), &EdgeError::System(std::io::Error::other("gone")));
        assert!(matches!(told, Failure::Failed(_)));
    }
}
