//! `patapim-edge serve`.

use std::path::Path;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{ConfigArg, Failure, environment, log, print};
use crate::config::{BadConfig, Loaded};
use crate::edge::{EdgeError, Ready};

#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// What to log: a level, or levels by module such as "warn,patapim_edge=debug"
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info")]
    log: String,
}

pub(super) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let file = &args.config.config;
    let Loaded { config, warnings } = crate::config::load(file, environment())?;
    log::start(&args.log).map_err(Failure::because)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let stop = CancellationToken::new();
    crate::edge::serve(config.edge, stop, |ready| accepting(&ready)).map_err(|error| failure(file, &error))
}

/// The one line on stdout. Where nobody reads it, the server serves all the same.
fn accepting(ready: &Ready) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "accepting");
    let told = serde_json::to_string(ready).map_err(Failure::because).and_then(|line| print::text(&line));
    if let Err(Failure::Failed(why)) = told {
        tracing::warn!(why, "the ready line is not written");
    }
}

/// What only shows once the store is open, or the certificate is looked into, is the configuration's fault too.
fn failure(file: &Path, error: &EdgeError) -> Failure {
    let key = match error {
        EdgeError::RpId(_) => "webauthn.rp_id",
        EdgeError::Certificate(_) => "tls",
        EdgeError::Upstream { .. } => "upstream",
        _ => return Failure::because(error),
    };
    BadConfig::one(file, key, error.to_string()).into()
}
