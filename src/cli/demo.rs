//! `patapim-edge demo`.

use clap::Args;

use super::{Failure, log, print};
use crate::demo::{Links, PortChoice};

/// Where the demo is unless told otherwise.
const PORT: u16 = 8080;

#[derive(Args)]
pub(super) struct DemoArgs {
    /// The port for the browser; without it 8080, or another that is free
    #[arg(long)]
    port: Option<u16>,
    /// Print one JSON document with the links instead of text
    #[arg(long)]
    json: bool,
    /// What to log
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "warn")]
    log: String,
}

pub(super) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let _log = log::start(&args.log).map_err(Failure::because)?;
    let port = args.port.map_or(PortChoice::Preferably(PORT), PortChoice::Exactly);
    let told = |links: &Links| {
        if !args.json {
            return print::text(&invitation(links));
        }
        print::text(&serde_json::to_string(links).map_err(Failure::because)?)
    };
    crate::demo::run(port, |links| {
        if let Err(Failure::Failed(why)) = told(links) {
            tracing::warn!(why, "the links are not written");
        }
    })
    .map_err(Failure::because)
}

fn invitation(Links { url, enrol_url }: &Links) -> String {
    format!(
        "\nThe demo runs: an edge, a desktop agent and a small app, all on this machine.\n\n\
         Open this link in Chrome, Edge or Chromium here, and register a passkey:\n\n  {enrol_url}\n\n\
         From then on the app is at\n\n  {url}\n\n\
         Ctrl-C ends it all and throws its data away.\n"
    )
}
