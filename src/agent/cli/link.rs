//! `patapim-agent link`: with a token at once, else by a code that a person approves.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::interruption::Interruptions;
use super::{Failure, describe, desktop_name, merged, print, print_json, warn};
use crate::agent::{
    Desk, EdgeAddress, FirstTrust, Home, Link, LinkCode, LinkRequest, LinkingError, ask_for_code,
    link_desktop, qr,
};
use crate::clock::{SystemClock, Timestamp};
use crate::secret::{SecretText, SystemEntropy};

#[derive(Args)]
pub(super) struct LinkArgs {
    /// The edge's sign-in site, for example https://deployer.patapim.ai
    url: String,
    /// The one-time token that `patapim-edge agent token` printed, for a desktop that nobody sits at
    // One token in 64 begins with a hyphen.
    #[arg(long, env = "PATAPIM_LINK_TOKEN", hide_env_values = true, allow_hyphen_values = true)]
    token: Option<String>,
    /// Trust the authorities in this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What to call this desktop
    #[arg(long)]
    name: Option<String>,
    /// Link only if the passkey that approves it proves so to this desktop
    #[arg(long, conflicts_with = "token")]
    require_proof: bool,
    /// One JSON document on stdout once it is linked; the code is shown on stderr
    #[arg(long)]
    json: bool,
}

pub(super) async fn link(args: LinkArgs) -> Result<(), Failure> {
    let edge = EdgeAddress::parse(&args.url).map_err(Failure::usage)?;
    let token = args.token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let ca = match args.ca {
        Some(path) => Some(std::fs::read_to_string(&path).map_err(|error| {
            Failure::failed(format!("{}: {error}; --ca wants a file of certificates in PEM", path.display()))
        })?),
        None => None,
    };
    let home = Home::from_environment()?;
    if let Some(link) = Link::load(&home)? {
        return Err(Failure::failed(format!(
            "this desktop is linked to {} already: run `patapim-agent unlink` first, or set PATAPIM_HOME to another folder for a second link",
            link.tunnel_url
        )));
    }
    // Better now than after somebody has approved it.
    home.prepare()?;
    let request = LinkRequest { edge, origin: None, ca, name: args.name.unwrap_or_else(desktop_name) };
    let linked = match token {
        Some(token) => {
            link_desktop(request, &SecretText::new(token)).await.map(|link| (link, FirstTrust::Nobody))
        }
        None => by_code(request, args.json).await,
    };
    let (link, first) = linked.map_err(Failure::failed)?;
    if args.require_proof && !matches!(first, FirstTrust::Proven(_)) {
        return Err(Failure::failed(
            "not linked: the edge showed no proof that a passkey approved this, and you want one (--require-proof); \
             remove the new tunnel at the site",
        ));
    }
    let clock = SystemClock::not_before(Timestamp::default());
    Desk::begin(&home, first.passkey(), &*clock)?;
    link.save(&home)?;
    if args.json {
        return print_json(&merged(describe(&link), &json!({ "trusted": trusted(&first) })));
    }
    print(format!("Linked as {:?} to {}, for {}.", link.name, link.tunnel_url, link.user));
    print(format!("This desktop's key: {}", link.key.pin().fingerprint()));
    introduce(&first);
    print("Next: patapim-agent run --to http://127.0.0.1:3000");
    Ok(())
}

/// Says whom this desktop trusts from now on, on what ground, and what only the person can see to.
fn introduce(first: &FirstTrust) {
    if let Some(passkey) = first.passkey() {
        print(format!("Trusted here: “{}”, {}", passkey.name, passkey.fingerprint));
    }
    print(match first {
        FirstTrust::Nobody => {
            "No device is trusted here yet: the first to sign in is asked about on this desktop."
        }
        FirstTrust::Proven(_) => {
            "Verified here: it was used to approve this very desktop. Whose it is, only you can tell: the page, and any \
             other desktop of yours, must show the same fingerprint."
        }
        FirstTrust::Unproven(_) => {
            "On the edge's word alone: it showed no proof that this passkey approved it. Compare the fingerprint with one \
             that another desktop of yours shows; if it is not yours: patapim-agent devices remove."
        }
    });
}

/// The same in JSON; null: nobody.
fn trusted(first: &FirstTrust) -> Option<Value> {
    let verified = matches!(first, FirstTrust::Proven(_));
    let passkey = first.passkey()?;
    let (id, name, fingerprint) = (&passkey.id, &passkey.name, &passkey.fingerprint);
    Some(json!({ "id": id, "name": name, "fingerprint": fingerprint, "verified": verified }))
}

async fn by_code(request: LinkRequest, json: bool) -> Result<(Link, FirstTrust), LinkingError> {
    let code = ask_for_code(request, &*SystemEntropy::shared()).await?;
    // Before the code is shown: whoever has seen it can give up. Without a way to hear of that, the program ends by it.
    let interruptions = Interruptions::listen();
    // With --json, stdout is for the document alone.
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    // Whoever closed the stream does not want to see it.
    let _ = match json {
        true => show(&code, stderr.is_terminal(), &mut stderr.lock()),
        false => show(&code, stdout.is_terminal(), &mut stdout.lock()),
    };
    let stop = async {
        match interruptions {
            Ok(mut interruptions) => interruptions.next().await,
            Err(_) => std::future::pending().await,
        }
    };
    code.decision(stop, |trouble| warn(format!("{trouble} (trying again)"))).await
}

/// What a person needs to approve it: an address, a picture of it for a phone, the code, and the key to compare.
fn show(code: &LinkCode, in_colour: bool, out: &mut impl Write) -> std::io::Result<()> {
    let LinkCode { user_code, url, .. } = code;
    writeln!(out, "To link this desktop, open this page in any browser, sign in, and approve it:\n")?;
    writeln!(out, "  {url}\n")?;
    for line in in_colour.then(|| qr::lines(url)).flatten().unwrap_or_default() {
        writeln!(out, "  {line}")?;
    }
    let key = code.fingerprint();
    let minutes = code.expires_in.as_secs().div_ceil(60);
    writeln!(out, "\nCode:               {user_code}")?;
    writeln!(out, "This desktop's key: {key}")?;
    writeln!(out, "\nThe page must show the same key. Waiting, {minutes} minutes at most; Ctrl-C gives up.")?;
    out.flush()
}
