//! A desktop: the built agent with a folder of its own, linked to a test's edge.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::edge::Edge;
use super::process::{Finished, Process, finish};

/// A linked desktop. It dials in when told to run.
pub(crate) struct Desktop {
    home: TempDir,
    pub(crate) tunnel: String,
}

impl Desktop {
    /// Links a new desktop for `user`, as its owner would with a token from the operator.
    pub(crate) async fn linked(edge: &Edge, user: &str) -> Self {
        let told = edge.admin(&["agent", "token", "--user", user]).await;
        let token = told["token"].as_str().expect("a token");
        let tunnel = told["tunnel"].as_str().expect("a tunnel").to_owned();
        let desktop = Self { home: TempDir::with_prefix("patapim-agent-").expect("a folder"), tunnel };
        let linked = desktop.link(edge, token).await;
        assert_eq!(linked.code, 0, "link: {}{}", linked.out, linked.err);
        desktop
    }

    /// A desktop that holds no link yet.
    pub(crate) fn blank() -> Self {
        Self { home: TempDir::with_prefix("patapim-agent-").expect("a folder"), tunnel: String::new() }
    }

    /// Links it with `token`; an attempt may fail.
    pub(crate) async fn link(&self, edge: &Edge, token: &str) -> Finished {
        self.link_on(edge, token, |_| ()).await
    }

    /// As [`Self::link`], on a machine that is not as it should be.
    pub(crate) async fn link_on(
        &self,
        edge: &Edge,
        token: &str,
        machine: impl FnOnce(&mut Command),
    ) -> Finished {
        let deployer = edge.deployer("");
        let words =
            ["link", deployer.as_str().trim_end_matches('/'), "--token", token, "--name", "Test desk"];
        let mut command = self.agent();
        command.args(words).arg("--ca").arg(&edge.ca.root_file);
        machine(&mut command);
        finish(&mut command).await
    }

    /// Dials in, with the app at `to`, and waits until the edge has it.
    pub(crate) async fn run(&self, to: &str) -> Process {
        let process = self.dial(to);
        process.says("the agent's word that it is connected", connected).await;
        process
    }

    /// Dials in, without waiting for success. Any passkey of its owner will do.
    pub(crate) fn dial(&self, to: &str) -> Process {
        self.dial_on(to, |_| ())
    }

    /// As [`Self::dial`], on a machine that is not as it should be.
    pub(crate) fn dial_on(&self, to: &str, machine: impl FnOnce(&mut Command)) -> Process {
        let mut command = self.agent();
        command.args(["run", "--trust", "owner", "--to", to]);
        machine(&mut command);
        Process::start(&mut command)
    }

    /// Another machine with the same folder.
    pub(crate) fn copied(&self) -> Self {
        let copy = Self { tunnel: self.tunnel.clone(), ..Self::blank() };
        std::fs::copy(self.link_file(), copy.link_file()).expect("the folder's one file that matters");
        copy
    }

    /// Where the agent keeps its link and its key.
    pub(crate) fn link_file(&self) -> PathBuf {
        self.home.path().join("link.json")
    }

    /// Dials in as an agent does by itself: it asks here about every new device.
    pub(crate) async fn run_asking(&self, to: &str) -> Process {
        let process = Process::start(self.agent().args(["run", "--to", to]));
        process.says("the agent's word that it is connected", connected).await;
        process
    }

    /// The agent's folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Another command of the agent.
    pub(crate) async fn command(&self, words: &[&str]) -> Finished {
        finish(self.agent().args(words)).await
    }

    /// The agent, in this desktop's folder.
    pub(crate) fn agent(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patapim-agent"));
        command.env("PATAPIM_HOME", self.home.path());
        command
    }
}

/// The line that tells of a connection.
pub(crate) fn connected(line: &str) -> Option<()> {
    line.starts_with("Connected:").then_some(())
}
