//! Asking the running server, over its admin socket.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::{ConfigArg, Failure, environment};
use crate::edge::admin_socket::{self, Answer, Command, path_in};
use crate::names::{PublicHosts, Scheme};

/// Has the server that uses this configuration do `command`, and gives its document.
pub(super) fn ask(config: &ConfigArg, command: &Command) -> Result<Value, Failure> {
    let loaded = crate::config::load_values(&config.config, environment())?;
    match admin_socket::ask(&loaded.config.edge.data_dir, command) {
        Ok(Answer::Done(document)) => Ok(document),
        Ok(Answer::Failed(sentence)) => Err(Failure::Failed(sentence)),
        Err(error) => {
            Err(Failure::Failed(why(&error, command, &loaded.config.edge.data_dir, &config.config)))
        }
    }
}

/// As [`ask`], for a command that answers with lines first; `each` gets them.
pub(super) fn ask_for_lines(
    config: &ConfigArg,
    command: &Command,
    each: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let loaded = crate::config::load_values(&config.config, environment())?;
    let data_dir = &loaded.config.edge.data_dir;
    match admin_socket::ask_for_lines(data_dir, command, each) {
        Ok(Answer::Failed(sentence)) => Err(Failure::Failed(sentence)),
        Ok(_) => Ok(()),
        // Whoever reads what we print has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Failed(why(&error, command, data_dir, &config.config))),
    }
}

/// The address of the sign-in site, as far as the configuration knows it.
pub(super) fn sign_in_site(config: &ConfigArg) -> Result<String, Failure> {
    let edge = crate::config::load_values(&config.config, environment())?.config.edge;
    let hosts = PublicHosts::new(Scheme::Https, edge.base, &edge.deployer_label, edge.public_port);
    let origin = hosts.map_err(Failure::because)?.deployer_origin();
    // The port that was bound is the running server's secret; whoever chose 0 knows where to look.
    Ok(origin.strip_suffix(":0").map_or(origin.clone(), |host| format!("{host}:PORT")))
}

fn why(error: &std::io::Error, command: &Command, data_dir: &Path, config: &Path) -> String {
    let socket = path_in(data_dir);
    let (socket, config) = (socket.display(), config.display());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!(
                "not running: nobody answers at {socket}; start it with: patapim-edge serve --config {config}"
            )
        }
        ErrorKind::PermissionDenied => {
            format!("you may not open {socket}; run this as the user that the server runs as, or as root")
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("the server at {socket} did not answer in {:?}; see its log", command.patience())
        }
        _ => format!("the server at {socket} ended before it answered ({error}); see its log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_no_server_the_answer_is_not_running_and_how_to_start_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |folder: &Path| {
            let command = Command::UserList {};
            let error = admin_socket::ask(folder, &command).expect_err("nobody there");
            why(&error, &command, folder, Path::new("conf/edge.toml"))
        };
        for sentence in [told(folder.path()), {
            // What a killed server leaves behind.
            drop(std::os::unix::net::UnixListener::bind(path_in(folder.path())).expect("a socket"));
            told(folder.path())
        }] {
            assert!(sentence.starts_with("not running: "), "{sentence}");
            assert!(sentence.ends_with("patapim-edge serve --config conf/edge.toml"), "{sentence}");
        }
    }
}
