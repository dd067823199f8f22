//! What the machine gives the server: files that are its own, ports, and descriptors enough.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use std::io::ErrorKind;

use super::finding::{Check, Finding};
use crate::access::keys;
use crate::edge::ListenSettings;

/// Two descriptors for each visitor and one for each of the app's connections: below this, some hundreds use them up.
const FEW_FILES: u64 = 16 * 1024;

/// Whose the data directory is, and who may read what is secret in it.
pub(super) fn files(data_dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Ok(about) = std::fs::metadata(data_dir) else {
        let finding =
            format!("data_dir {} is not there, or you may not see it; a start makes it", data_dir.display());
        return vec![Finding::ok(Check::Files, finding)];
    };
    let user = rustix::process::geteuid();
    if !user.is_root() && about.uid() != user.as_raw() {
        findings.push(Finding::warning(
            Check::Files,
            format!(
                "data_dir {} belongs to the user with id {}, and you are {}",
                data_dir.display(),
                about.uid(),
                user.as_raw()
            ),
            "run doctor as the user that the server runs as: what it may do is what counts",
        ));
    }
    let secrets = std::fs::read_dir(keys::folder_in(data_dir)).into_iter().flatten().flatten();
    for secret in secrets.map(|entry| entry.path()).chain([data_dir.join("edge.db")]) {
        let Ok(mode) = std::fs::metadata(&secret).map(|about| about.mode() & 0o777) else { continue };
        if mode & 0o077 != 0 {
            let finding = format!("{} may be read by others (mode {mode:o})", secret.display());
            let mend = format!(
                "chmod 600 {}; if somebody may have read keys, also: patapim-edge key rotate --now",
                secret.display()
            );
            findings.push(Finding::failed(Check::Files, finding, mend));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            Check::Files,
            format!("{} and the keys in it are for their owner alone", data_dir.display()),
        ));
    }
    findings
}

/// Whether the configured addresses can be listened on. `held` are those that our own server listens on.
pub(super) fn ports(listen: &ListenSettings, held: Option<&[SocketAddr]>) -> Vec<Finding> {
    let all = listen.https.iter().chain(&listen.http).chain([&listen.admin]);
    all.filter(|address| address.port() != 0).map(|&address| port(address, held)).collect()
}

fn port(address: SocketAddr, held: Option<&[SocketAddr]>) -> Finding {
    if held.is_some_and(|held| held.contains(&address)) {
        return Finding::ok(Check::Ports, format!("the running server listens on {address}"));
    }
    match TcpListener::bind(address) {
        Ok(_) if held.is_some() => Finding::warning(
            Check::Ports,
            format!("the running server does not listen on {address}, which is free"),
            "it was started with another configuration: restart it",
        ),
        Ok(_) => Finding::ok(Check::Ports, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::warning(
            Check::Ports,
            format!("you may not listen on {address}"),
            "ports below 1024 need CAP_NET_BIND_SERVICE: the unit in conf/ gives it to the server; else use setcap",
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::failed(
            Check::Ports,
            format!("another program listens on {address}"),
            format!("find it with: ss -ltnp 'sport = :{}'; stop it, or choose another port", address.port()),
        ),
        Err(error) => {
            let finding = format!("nobody can listen on {address}: {error}");
            Finding::failed(Check::Ports, finding, "name an address of this machine, or 0.0.0.0 for all")
        }
    }
}

/// How many descriptors this process may have; none: as many as it likes.
pub(super) fn limits(servers: Option<Option<u64>>) -> Finding {
    let shown = |most: Option<u64>| most.map_or("any number of".to_owned(), |most| most.to_string());
    match servers {
        Some(Some(most)) if most < FEW_FILES => Finding::warning(
            Check::Limits,
            format!(
                "the running server may have {most} files and connections open: some hundreds of visitors use them up"
            ),
            "raise it: LimitNOFILE=524288 in its unit (conf/patapim-edge.service has it), or ulimit -n",
        ),
        Some(most) => Finding::ok(
            Check::Limits,
            format!("the running server may have {} files and connections open", shown(most)),
        ),
        None => {
            let mine = crate::edge::most_open_files();
            let finding =
                format!("no server runs; one started from here might have {} files open", shown(mine));
            Finding::ok(Check::Limits, finding)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::finding::Outcome;
    use super::*;

    #[test]
    fn a_port_is_free_ours_or_another_programs() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound");
        assert_eq!(port(address, None).result, Outcome::Failed);
        assert_eq!(port(address, Some(&[])).result, Outcome::Failed);
        assert_eq!(port(address, Some(&[address])).result, Outcome::Ok);
        drop(taken);
        assert_eq!(port(address, None).result, Outcome::Ok);
        assert_eq!(port(address, Some(&[])).result, Outcome::Warning);
        assert_eq!(port("192.0.2.1:7".parse().expect("an address"), None).result, Outcome::Failed);
    }

    #[test]
    fn keys_that_others_may_read_are_a_failure() {
        let data = tempfile::tempdir().expect("a folder");
        let judged = || files(data.path()).iter().map(|finding| finding.result).collect::<Vec<_>>();
        let key = keys::folder_in(data.path()).join("token-keys.json");
        std::fs::create_dir(keys::folder_in(data.path())).expect("made");
        std::fs::write(&key, "").expect("written");
        let mode =
            |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("chmod");
        mode(0o600);
        assert_eq!(judged(), [Outcome::Ok]);
        mode(0o640);
        assert_eq!(judged(), [Outcome::Failed]);
        assert_eq!(files(&data.path().join("none"))[0].result, Outcome::Ok, "made at start");
    }

    #[test]
    fn few_descriptors_are_told() {
        assert_eq!(limits(Some(Some(1024))).result, Outcome::Warning);
        assert_eq!(limits(Some(Some(524_288))).result, Outcome::Ok);
        assert_eq!(limits(Some(None)).result, Outcome::Ok);
        assert_eq!(limits(None).result, Outcome::Ok);
    }
}
