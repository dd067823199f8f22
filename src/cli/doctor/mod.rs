//! `patapim-edge doctor`: would it work, and does it?
//!
//! Everything around the server that it cannot mend itself: names, certificate, clock, files, store, ports. With a server
//! running, what it alone knows is asked of it over its admin socket; nothing here changes anything.

mod certificate;
mod dns;
mod finding;
mod machine;
mod store;
mod suffix;

use std::io::ErrorKind;
use std::path::Path;

use clap::Args;

use self::finding::{Check, Finding, Outcome};
use self::store::Known;
use super::admin::{Options, understood};
use super::{Failure, environment, print};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Fault, Loaded};
use crate::edge::Settings;
use crate::edge::admin_documents::Examined;
use crate::edge::admin_socket::{self, Answer, Command};
use crate::names::{PublicHosts, Scheme, TunnelId, UserName};
use crate::secret::SystemEntropy;

#[derive(Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    options: Options,
}

/// Whom to ask.
enum Server {
    Running(Box<Examined>),
    Stopped,
    /// Somebody has the socket, and does not answer this.
    Silent(String),
}

pub(super) fn doctor(DoctorArgs { options }: DoctorArgs) -> Result<(), Failure> {
    let file = options.config();
    let edge = crate::config::load_values(file, environment())?.config.edge;
    let hosts = PublicHosts::new(Scheme::Https, edge.base.clone(), &edge.deployer_label, edge.public_port);
    let hosts = hosts.map_err(Failure::because)?;
    let findings = examined(file, &edge, &hosts, &server(&edge.data_dir));
    if options.json() {
        print::json(&serde_json::to_value(&findings).map_err(Failure::because)?)?;
    } else {
        print::text(&told(&findings))?;
    }
    match findings.iter().filter(|finding| finding.result == Outcome::Failed).count() {
        0 => Ok(()),
        failed => Err(Failure::because(format!("{failed} of {} findings are failures", findings.len()))),
    }
}

fn server(data_dir: &Path) -> Server {
    match admin_socket::ask(data_dir, &Command::Examine {}) {
        Ok(Answer::Done(document)) => match understood(document) {
            Ok(examined) => Server::Running(Box::new(examined)),
            Err(Failure::Failed(why)) => Server::Silent(why),
            Err(Failure::BadConfig(bad)) => Server::Silent(bad.to_string()),
        },
        Ok(Answer::Failed(why)) => Server::Silent(why),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Server::Stopped
        }
        Err(error) => Server::Silent(error.to_string()),
    }
}

fn examined(file: &Path, edge: &Settings, hosts: &PublicHosts, server: &Server) -> Vec<Finding> {
    let running = match server {
        Server::Running(examined) => Some(&**examined),
        Server::Stopped | Server::Silent(_) => None,
    };
    let now = SystemClock::default().now();
    let mut findings = vec![met(server)];
    findings.extend(dns::dns(hosts, &nobodys(), &dns::System));
    let faults = config_findings(file);
    let certificate_faults =
        faults.iter().any(|finding| finding.check == Check::Certificate && finding.result == Outcome::Failed);
    findings.extend(faults);
    if !certificate_faults {
        let served = running.map(|examined| examined.certificate_until.as_str());
        findings.extend(certificate::certificate(&edge.tls.cert, now, served));
    }
    let known = running.map_or_else(|| Known::read(&edge.store_file()), Known::told);
    findings.push(known.clock(now));
    findings.push(suffix::public_suffix(hosts));
    findings.push(suffix::rp_id(&edge.webauthn.rp_id, &known.passkeys));
    findings.extend(machine::files(&edge.data_dir));
    findings.extend(known.findings);
    findings.extend(store::space(&edge.data_dir));
    findings.extend(machine::ports(&edge.listen, running.map(|examined| &*examined.listening)));
    findings.push(machine::limits(running.map(|examined| examined.open_files)));
    findings
}

fn met(server: &Server) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    match server {
        Server::Running(examined) if examined.version == own => {
            Finding::ok(Check::Server, format!("patapim-edge {own} runs as process {}", examined.process))
        }
        Server::Running(examined) => Finding::warning(
            Check::Server,
            format!(
                "patapim-edge {} runs as process {}, and this program is {own}",
                examined.version, examined.process
            ),
            "restart the server to run what is installed",
        ),
        Server::Stopped => Finding::ok(Check::Server, "no server runs on this data directory"),
        Server::Silent(why) => Finding::warning(
            Check::Server,
            format!("the admin socket cannot be asked: {why}"),
            "run doctor as the server's user, with the program of the same version; see the server's log",
        ),
    }
}

/// What a start would say of the files that the configuration names.
fn config_findings(file: &Path) -> Vec<Finding> {
    let of = |key: &str| match key.split('.').next() {
        Some("tls") => Check::Certificate,
        Some("webauthn") => Check::RpId,
        _ => Check::Files,
    };
    let (faults, warnings) = match crate::config::load(file, environment()) {
        Ok(Loaded { warnings, .. }) => (Vec::new(), warnings),
        Err(bad) => (bad.faults, Vec::new()),
    };
    let found = |Fault { key, wrong, .. }: &Fault| format!("{key}: {wrong}");
    let failed = faults.iter().map(|fault| Finding::failed(of(&fault.key), found(fault), &fault.mend));
    let warned = warnings.iter().map(|fault| Finding::warning(of(&fault.key), found(fault), &fault.mend));
    failed.chain(warned).collect()
}

/// A label that nobody has.
fn nobodys() -> TunnelId {
    #[expect(clippy::expect_used, reason = "a constant")]
    let name = UserName::parse("doctor").expect("a name");
    TunnelId::made_up(&name, &*SystemEntropy::shared())
}

fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, result, finding, mend } in findings {
        text += &format!("{:<8} {:<14} {finding}\n", result.as_str(), check.as_str());
        if let Some(mend) = mend {
            text += &format!("{:<24}mend: {mend}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_mend_another() {
        let findings =
            [Finding::ok(Check::Dns, "fine"), Finding::failed(Check::PublicSuffix, "bad", "do this")];
        let lines: Vec<_> = told(&findings).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "ok       dns            fine");
        assert_eq!(lines[1], "failed   public-suffix  bad");
        assert_eq!(lines[2].trim_start(), "mend: do this");
    }
}
