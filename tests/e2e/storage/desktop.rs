//! The desktop's files on a bad disk: whoever is not surely written down as trusted is not trusted, and whoever is no longer
//! trusted is out, written down or not.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::rig::agent::{Desktop, connected};
use crate::rig::app::App;
use crate::rig::disk::{BROKEN, Disk, FULL, Fault, Operation};
use crate::rig::edge::Edge;
use crate::rig::journey::Person;
use crate::rig::process::Process;

const TRUSTED: &str = "trusted-passkeys.json";
const SESSIONS: &str = "sessions.json";

/// Ada's desktop, which asks about every new device, on a disk that can fail.
struct Desk {
    edge: Edge,
    app: App,
    ada: Person,
    desktop: Desktop,
    disk: Disk,
    agent: Process,
}

impl Desk {
    async fn open() -> Self {
        let (edge, app, disk) = (Edge::start().await, App::start("desk").await, Disk::new());
        let ada = Person::enrolled(&edge, "ada").await;
        let desktop = Desktop::linked(&edge, "ada").await;
        let agent = start(&desktop, &app, &disk).await;
        Self { edge, app, ada, desktop, disk, agent }
    }

    /// Ada waits in a browser of her own; gives the device's id.
    async fn waiting() -> (Self, String) {
        let mut desk = Self::open().await;
        let id = desk.signs_in_and_waits().await;
        (desk, id)
    }

    async fn signs_in_and_waits(&mut self) -> String {
        self.ada.browser = self.edge.visitor();
        let page = self.page();
        self.ada.open(&page).await.must_be(200);
        let pending = self.listed("pending").await;
        pending[0]["id"].as_str().expect("an id").to_owned()
    }

    /// The agent dies and comes again.
    async fn again(&mut self) {
        self.agent.kill().await;
        self.agent = start(&self.desktop, &self.app, &self.disk).await;
    }

    fn page(&self) -> Url {
        self.edge.tunnel(&self.desktop.tunnel, "/echo")
    }

    async fn is_in(&self) -> bool {
        self.ada.browser.fetch(Method::GET, &self.page()).await.status == 200
    }

    async fn decide(&self, what: &str, id: &str) -> i32 {
        let before = self.edge.approvals();
        let done = self.desktop.command(&["devices", what, id]).await;
        if what == "approve" && done.code == 0 {
            self.edge.hears_of_approval(before).await;
        }
        assert!(done.code == 0 || !done.err.is_empty(), "a reason");
        done.code
    }

    async fn listed(&self, which: &str) -> Vec<Value> {
        let listed = self.desktop.command(&["devices", which, "--json"]).await.json();
        listed.as_array().expect("a list").clone()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.desktop.home().join(name)
    }
}

async fn start(desktop: &Desktop, app: &App, disk: &Disk) -> Process {
    let agent = run(desktop, app, disk);
    agent.says("that it is connected", connected).await;
    agent
}

fn run(desktop: &Desktop, app: &App, disk: &Disk) -> Process {
    let mut command = desktop.agent();
    disk.under(desktop.home(), &mut command);
    Process::start(command.args(["run", "--to", &app.url()]))
}

#[tokio::test]
async fn a_device_that_cannot_be_written_down_is_not_trusted_now_nor_after_a_start() {
    for fault in [
        Fault(Operation::Write, "/trusted-passkeys.", FULL),
        Fault(Operation::Write, "/sessions.", FULL),
        Fault(Operation::Sync, "/trusted-passkeys.", BROKEN),
        Fault(Operation::Sync, "/sessions.", BROKEN),
        Fault(Operation::SyncFolder, "/patapim-agent-", BROKEN),
    ] {
        let (mut desk, id) = Desk::waiting().await;
        desk.disk.fails(&[fault]);
        assert_eq!(desk.decide("approve", &id).await, 1, "{fault:?}");
        assert!(!desk.is_in().await && desk.listed("list").await.is_empty(), "{fault:?}");
        desk.disk.is_mended();
        let left: Value =
            serde_json::from_slice(&std::fs::read(desk.file(TRUSTED)).unwrap_or(b"{}".to_vec()))
                .expect("the former file, whole");
        assert!(left["devices"].as_array().is_none_or(Vec::is_empty), "{fault:?}: {left}");

        desk.again().await;
        assert!(desk.listed("list").await.is_empty() && !desk.is_in().await, "{fault:?}");
        let id = desk.signs_in_and_waits().await;
        assert_eq!(desk.decide("approve", &id).await, 0, "{fault:?}");
        assert!(desk.is_in().await, "{fault:?}");
    }
}

#[tokio::test]
async fn a_device_that_is_removed_is_out_even_where_that_cannot_be_written_down() {
    let (desk, id) = Desk::waiting().await;
    assert_eq!(desk.decide("approve", &id).await, 0);
    assert!(desk.is_in().await);
    desk.disk.fails(&[Fault(Operation::Write, "/", FULL)]);
    assert_eq!(desk.decide("remove", &id).await, 1, "it is told that it will not last");
    assert!(!desk.is_in().await && desk.listed("list").await.is_empty());
}

#[tokio::test]
async fn files_that_cannot_be_read_are_no_reason_to_begin_anew() {
    let (mut desk, id) = Desk::waiting().await;
    assert_eq!(desk.decide("approve", &id).await, 0);
    desk.agent.kill().await;
    for name in [TRUSTED, SESSIONS, "link.json"] {
        desk.disk.fails(&[Fault(Operation::Read, name, BROKEN)]);
        let agent = run(&desk.desktop, &desk.app, &desk.disk);
        assert_eq!(agent.end().await.code(), Some(1), "{name}");
        assert!(agent.all_printed().contains(name), "{}", agent.all_printed());
    }
    desk.disk.is_mended();
    desk.again().await;
    assert!(desk.is_in().await, "all is there");
}

#[tokio::test]
async fn what_is_not_what_was_written_trusts_nobody() {
    type Spoil = fn(&std::path::Path);
    let spoil: [(&str, Spoil); 4] = [
        ("empty", |file| std::fs::write(file, "").expect("ours")),
        ("cut off", |file| {
            let text = std::fs::read(file).expect("ours");
            std::fs::write(file, &text[..text.len() - 9]).expect("ours");
        }),
        ("of another kind", |file| std::fs::write(file, "{\"version\":1}").expect("ours")),
        ("newer", |file| {
            std::fs::write(file, "{\"version\":9,\"devices\":[],\"sessions\":[]}").expect("ours")
        }),
    ];
    let (mut desk, mut id) = Desk::waiting().await;
    for (how, spoil) in spoil {
        assert_eq!(desk.decide("approve", &id).await, 0, "{how}");
        assert!(desk.is_in().await);
        desk.agent.kill().await;
        spoil(&desk.file(TRUSTED));
        spoil(&desk.file(SESSIONS));
        desk.again().await;
        desk.agent.says("what was set aside", |line| line.contains("set aside").then_some(())).await;
        assert!(!desk.is_in().await && desk.listed("list").await.is_empty(), "{how}");
        id = desk.signs_in_and_waits().await;
    }
}

#[tokio::test]
async fn files_that_others_may_write_to_are_refused_with_what_to_do() {
    let (desk, id) = Desk::waiting().await;
    assert_eq!(desk.decide("approve", &id).await, 0);
    desk.agent.kill().await;
    let home = desk.desktop.home().to_owned();
    for (path, mode) in [(desk.file(TRUSTED), 0o666), (desk.file(SESSIONS), 0o620), (home, 0o770)] {
        let before = std::fs::metadata(&path).expect("there").permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        let agent = run(&desk.desktop, &desk.app, &desk.disk);
        assert_eq!(agent.end().await.code(), Some(78), "{}", path.display());
        let said = agent.all_printed();
        assert!(said.contains("others may write to") && said.contains("chmod go-w"), "{said}");
        std::fs::set_permissions(&path, before).expect("ours");
    }
    for name in [TRUSTED, SESSIONS] {
        let (file, aside) = (desk.file(name), desk.file("aside"));
        std::fs::rename(&file, &aside).expect("ours");
        std::fs::create_dir(&file).expect("ours");
        let agent = run(&desk.desktop, &desk.app, &desk.disk);
        assert_eq!(agent.end().await.code(), Some(1), "a folder in the place of {name}");
        std::fs::remove_dir(&file).expect("ours");
        symlink("/dev/null", &file).expect("ours");
        let agent = run(&desk.desktop, &desk.app, &desk.disk);
        assert_eq!(
            agent.end().await.code(),
            Some(78),
            "a way to what everybody may write to in the place of {name}"
        );
        std::fs::rename(aside, file).expect("ours");
    }
    assert_eq!(desk.desktop.command(&["status", "--json"]).await.json()["linked"], json!(true));
}
