use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::access::access_tokens::NewAccessToken;
use crate::access::sessions::SessionSettings;
use crate::access::{Assertor, KeyRing, Method, Session, Sessions, SignIn, Visitor};
use crate::accounts::Accounts;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::edge::admin_commands::FixedTunnel;
use crate::edge::{CertificateFiles, CertificateStore, Ready, test_certificate};
use crate::names::{BaseDomain, DeviceId, PublicHosts, Scheme, UserId};
use crate::secret::SystemEntropy;
use crate::store::Store as _;
use crate::store::sqlite::SqliteFile;
use crate::trail::Trail;
use crate::tunnel::Registry;

/// A server's admin side: everything but its listeners.
struct Office {
    folder: tempfile::TempDir,
    sessions: Arc<Sessions>,
    _stop: DropGuard,
}

impl Office {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = SystemClock::not_before(Timestamp::default());
        let entropy = SystemEntropy::shared();
        let store =
            SqliteFile::open(&folder.path().join("edge.db")).expect("a database").start(clock.clone());
        let base = BaseDomain::parse("patapim.test").expect("a domain");
        let hosts = PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("a label");
        let keys = Arc::new(KeyRing::open(folder.path(), &*clock, &*entropy).expect("keys"));
        let settings = SessionSettings::default();
        let sessions = Sessions::open(
            store.clone(),
            clock.clone(),
            entropy.clone(),
            keys,
            hosts.deployer_origin(),
            settings,
        )
        .await
        .expect("sessions");
        let assertor = Assertor::open(folder.path(), hosts.clone(), &*clock, &*entropy).expect("keys");
        let written = test_certificate::write(&["deployer.patapim.test", "*.tunnel.patapim.test"]);
        let files = CertificateFiles { cert: written.cert.clone(), key: written.key.clone() };
        let fixed = FixedTunnel { tunnel: label("files"), user: name("ada") };
        let commands = AdminCommands {
            accounts: Accounts::new(store.clone(), clock.clone(), entropy),
            sessions: sessions.clone(),
            agents: Registry::new(),
            assertor: Arc::new(assertor),
            certificates: CertificateStore::open(files, &hosts).expect("a certificate"),
            hosts,
            store: store.clone(),
            listening: Ready {
                ready: true,
                https: vec!["127.0.0.1:8443".parse().expect("an address")],
                http: Vec::new(),
                admin: "127.0.0.1:9090".parse().expect("an address"),
            },
            fixed: vec![fixed],
            clock: clock.clone(),
            trail: Trail::open(folder.path(), store, clock).await.expect("a trail"),
        };
        let stop = CancellationToken::new();
        let socket = AdminSocket::bind(folder.path()).expect("a socket");
        tokio::spawn(socket.serve(Arc::new(commands), stop.clone()));
        Self { folder, sessions, _stop: stop.drop_guard() }
    }

    async fn ask(&self, command: Value) -> Result<Value, String> {
        let path = path_in(self.folder.path());
        let asked = tokio::task::spawn_blocking(move || raw(&path, &command.to_string())).await;
        match serde_json::from_str(&asked.expect("asked")).expect("an answer") {
            Answer::Done(document) => Ok(document),
            Answer::Failed(sentence) => Err(sentence),
        }
    }

    async fn done(&self, command: Value) -> Value {
        self.ask(command).await.expect("done")
    }

    async fn sign_in(&self, user: &Value) -> Arc<Session> {
        let who = SignIn {
            user: UserId::parse(user["id"].as_str().expect("an id")).expect("an id"),
            user_name: name(user["user"].as_str().expect("a name")),
            device: DeviceId::random(&*SystemEntropy::shared()),
            device_name: "Phone".to_owned(),
            method: Method::Passkey,
            at: SystemClock::default().now(),
            evidence: None,
        };
        let visitor = Visitor { address: "192.0.2.7".to_owned(), user_agent: String::new() };
        self.sessions.open_deployer(&who, &visitor, Vec::new(), None).await.expect("opened").0
    }
}

fn raw(path: &Path, line: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(path).expect("a listening socket");
    stream.write_all(format!("{line}\n").as_bytes()).expect("written");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("answered");
    answer
}

fn name(text: &str) -> UserName {
    UserName::parse(text).expect("a name")
}

fn label(text: &str) -> TunnelId {
    TunnelId::parse(text).expect("a label")
}

#[tokio::test]
async fn a_person_is_added_with_an_invitation_and_listed() {
    let office = Office::open().await;
    let added = office.done(json!({"command": "user-add", "name": "ada", "email": "ada@patapim.test"})).await;
    let link = added["enrol_url"].as_str().expect("a link");
    assert!(link.starts_with("https://deployer.patapim.test/enrol?ticket="), "{link}");
    let list = office.done(json!({"command": "user-list"})).await;
    assert_eq!(list[0]["id"], added["id"]);
    assert_eq!((&list[0]["state"], &list[0]["passkeys"]), (&json!("active"), &json!(0)));
    let again = office.ask(json!({"command": "user-add", "name": "ada"})).await;
    assert_eq!(again, Err("the user name \"ada\" is taken".to_owned()));
}

#[tokio::test]
async fn somebody_disabled_is_out_at_once_and_not_invited() {
    let office = Office::open().await;
    let ada = office.done(json!({"command": "user-add", "name": "ada"})).await;
    let session = office.sign_in(&ada).await;
    let line = office.done(json!({"command": "user-disable", "name": "ada"})).await;
    assert_eq!(line["state"], "disabled");
    assert!(session.is_over());
    assert_eq!(office.done(json!({"command": "session-list"})).await, json!([]));
    assert!(office.ask(json!({"command": "user-invite", "name": "ada"})).await.is_err());
    office.done(json!({"command": "user-enable", "name": "ada"})).await;
    office.done(json!({"command": "user-invite", "name": "ada"})).await;
}

#[tokio::test]
async fn a_removed_person_is_gone_with_their_sessions() {
    let office = Office::open().await;
    let ada = office.done(json!({"command": "user-add", "name": "ada"})).await;
    let session = office.sign_in(&ada).await;
    office.done(json!({"command": "user-remove", "name": "ada"})).await;
    assert!(session.is_over());
    assert_eq!(office.done(json!({"command": "user-list"})).await, json!([]));
    assert_eq!(office.done(json!({"command": "tunnel-list"})).await, json!([]));
}

#[tokio::test]
async fn sessions_are_listed_and_revoked_one_by_one_or_all_of_a_person() {
    let office = Office::open().await;
    let ada = office.done(json!({"command": "user-add", "name": "ada"})).await;
    let ben = office.done(json!({"command": "user-add", "name": "ben"})).await;
    let first = office.sign_in(&ada).await;
    let (second, third) = (office.sign_in(&ada).await, office.sign_in(&ben).await);
    let list = office.done(json!({"command": "session-list", "user": "ada"})).await;
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!((&list[0]["device_name"], &list[0]["address"]), (&json!("Phone"), &json!("192.0.2.7")));

    let one = json!({"command": "session-revoke", "id": first.id()});
    assert_eq!(office.done(one.clone()).await, json!({"revoked": 1}));
    assert!(first.is_over() && !second.is_over());
    assert!(office.ask(one).await.expect_err("gone").contains("there is no live session"));

    let all = office.done(json!({"command": "session-revoke-all", "user": "ada"})).await;
    assert_eq!(all, json!({"revoked": 1}));
    assert!(second.is_over() && !third.is_over());
}

#[tokio::test]
async fn access_tokens_are_among_the_sessions_and_revoked_like_them() {
    let office = Office::open().await;
    let ada = office.done(json!({"command": "user-add", "name": "ada"})).await;
    let session = office.sign_in(&ada).await;
    let make = async || {
        let new = NewAccessToken {
            name: "Nightly backup".to_owned(),
            tunnel: label("files"),
            expires_at: SystemClock::default().now() + std::time::Duration::from_secs(3600),
            standing: Vec::new(),
        };
        let made = office.sessions.make_access_token(&session, new, &Visitor::default()).await;
        made.expect("made").0
    };
    let (first, _) = (make().await, make().await);
    let list = office.done(json!({"command": "session-list"})).await;
    let list = list.as_array().expect("a list");
    assert_eq!(list.iter().filter(|line| line["access_token"] == "Nightly backup").count(), 2);
    assert_eq!(list.iter().filter(|line| line["access_token"].is_null()).count(), 1);
    assert_eq!(office.done(json!({"command": "session-revoke", "id": first})).await, json!({"revoked": 1}));
    let all = json!({"command": "session-revoke-all", "user": "ada"});
    assert_eq!(office.done(all).await, json!({"revoked": 2}), "the session and the other token");
}

#[tokio::test]
async fn keys_are_listed_rotated_and_forgotten() {
    let office = Office::open().await;
    let keys = async || office.done(json!({"command": "key-list"})).await;
    let list = keys().await;
    let kinds: Vec<_> = list.as_array().expect("a list").iter().map(|key| &key["kind"]).collect();
    assert_eq!(kinds, ["token", "assertion"]);
    assert!((0..2).all(|i| list[i]["state"] == "signing" && list[i]["until"].is_null()), "{list}");

    let rotated = office.done(json!({"command": "key-rotate", "now": false})).await;
    let after = keys().await;
    let of = |state: &str| {
        let lines = after.as_array().expect("a list").iter().filter(|key| key["state"] == state);
        lines.map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("signing"), [rotated["token"].clone(), rotated["assertion"].clone()]);
    assert_eq!(of("retired"), [list[0]["kid"].clone(), list[1]["kid"].clone()]);
    assert!(after[1]["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{after}");

    let rotated = office.done(json!({"command": "key-rotate", "now": true})).await;
    assert_eq!(rotated["revoked"], 0);
    let after = keys().await;
    assert_eq!((&after[0]["kid"], &after[1]["kid"]), (&rotated["token"], &rotated["assertion"]));
    assert_eq!(after.as_array().map(Vec::len), Some(2), "the old ones are forgotten");
}

#[tokio::test]
async fn a_backup_is_written_once_and_over_another_only_when_told_to() {
    let office = Office::open().await;
    let to = office.folder.path().join("backup");
    let order = |existing: &str| json!({"command": "backup", "to": to, "existing": existing});
    let made = office.done(order("kept")).await;
    let about = std::fs::metadata(&to).expect("a file");
    assert_eq!(made["bytes"], about.len());
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let again = office.ask(order("kept")).await.expect_err("there already");
    assert!(again.contains("there is no backup") && again.contains("is there already"), "{again}");
    office.done(json!({"command": "user-add", "name": "ada"})).await;
    office.done(order("replaced")).await;
    let copy = SqliteFile::open(&to).expect("a store").start(SystemClock::not_before(Timestamp::default()));
    assert_eq!(copy.range("user-names/").await.expect("read").entries.len(), 1);
    let nowhere = json!({"command": "backup", "to": to.join("under-a-file"), "existing": "kept"});
    assert!(office.ask(nowhere).await.expect_err("no folder").contains("cannot be written"));
}

#[tokio::test]
async fn a_doctor_is_told_what_only_the_server_knows() {
    let office = Office::open().await;
    let told = office.done(json!({"command": "examine"})).await;
    assert_eq!(told["listening"], json!(["127.0.0.1:8443", "127.0.0.1:9090"]));
    assert_eq!((&told["store"]["damage"], &told["passkeys"]), (&json!(null), &json!({})));
    assert!(told["store"]["bytes"].as_u64() > Some(0), "{told}");
    assert!(told["certificate_until"].as_str().is_some_and(|until| until.ends_with('Z')), "{told}");
}

#[tokio::test]
async fn a_link_token_names_the_tunnel_it_is_for() {
    let office = Office::open().await;
    office.done(json!({"command": "user-add", "name": "ada"})).await;
    let link = office.done(json!({"command": "agent-token", "user": "ada"})).await;
    assert!(link["tunnel"].as_str().is_some_and(|id| id.starts_with("ada-")), "{link}");
    assert!(link["token"].as_str().is_some_and(|token| token.len() >= 43), "{link}");
    let foreign = json!({"command": "agent-token", "user": "ada", "tunnel": "ben-abc234"});
    assert!(office.ask(foreign).await.is_err());
}

#[tokio::test]
async fn a_fixed_tunnel_comes_to_its_user_when_added_and_is_removed_in_the_configuration() {
    let office = Office::open().await;
    office.done(json!({"command": "user-add", "name": "ada"})).await;
    let list = office.done(json!({"command": "tunnel-list"})).await;
    assert_eq!((&list[0]["id"], &list[0]["user"]), (&json!("files"), &json!("ada")));
    assert_eq!(list[0]["online"], true);
    let refused =
        office.ask(json!({"command": "tunnel-remove", "id": "files"})).await.expect_err("configured");
    assert!(refused.contains("[[upstream]]"), "{refused}");
}

#[tokio::test]
async fn what_is_not_a_command_is_answered_with_a_sentence() {
    let office = Office::open().await;
    for nonsense in
        [json!({"command": "make-tea"}), json!({"command": "user-add", "name": "../etc"}), json!(3)]
    {
        let refused = office.ask(nonsense).await.expect_err("nonsense");
        assert!(refused.contains("same version"), "{refused}");
    }
}

#[tokio::test]
async fn only_its_owner_may_open_the_socket_and_it_goes_with_the_server() {
    let office = Office::open().await;
    let path = path_in(office.folder.path());
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(AdminSocket::bind(office.folder.path()).expect("in the place of one that was left"));
    assert!(!path.exists());
}
