//! Ways to sign in without a passkey, and what must not work about them.

mod links;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::rig::answer::Answer;
use crate::rig::client::Visitor;
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::{DEPLOYER, Person, sign_in_request};
use crate::rig::post::{Post, Secrecy};
use crate::rig::scene::{Scene, TUNNEL, looks};

const PASSWORD: &str = "four words and a bird";
const LINK: &str = "Your sign-in link";
const OTHER: &str = "Somebody signed in to your account";

/// An edge that sends mail, Ada's tunnel, and Ada, who is signed in with her passkey.
struct House {
    post: Post,
    edge: Edge,
    ada: Person,
}

impl House {
    async fn start() -> Self {
        Self::with(Secrecy::AtOnce).await
    }

    async fn with(secrecy: Secrecy) -> Self {
        let post = Post::start(secrecy).await;
        let setup = Setup::default().with(&post.section()).upstream(TUNNEL, "ada", "http://127.0.0.1:9");
        let edge = setup.start().await;
        let ada = with_address(&edge, "ada", "ada@mail.test").await;
        Self { post, edge, ada }
    }

    /// What a page of the sign-in site posts, from a browser.
    async fn post(&self, browser: &Visitor, path: &str, body: &Value) -> Answer {
        browser.post(&self.ada.api(path), body).await
    }

    async fn ask_for_link(&self, browser: &Visitor, email: &str) {
        self.post(browser, "/sign-in/magic-link", &json!({"email": email})).await.must_be(202);
    }

    async fn redeem(&self, browser: &Visitor, token: &str) -> Answer {
        self.post(browser, "/sign-in/magic-link/redeem", &json!({"token": token})).await
    }

    fn browser(&self) -> Visitor {
        self.edge.visitor()
    }

    fn is_signed_in(&self, browser: &Visitor) -> bool {
        browser.cookies.get(&self.edge.deployer("/"), DEPLOYER).is_some()
    }
}

/// Somebody whose address the operator has noted.
async fn with_address(edge: &Edge, name: &str, email: &str) -> Person {
    let link = edge.invite_at(name, email).await;
    let mut person = Person::with_nothing(edge, name);
    person.enrol(&link).await.must_be(201);
    person
}

async fn put(person: &Person, path: &str, body: &Value) -> Answer {
    person.browser.fetch(Method::PUT, &person.api(path)).json(body).await
}

async fn backup_codes(person: &Person) -> Vec<String> {
    let made = person.api_post("/fallbacks/backup-codes", &json!({})).await.must_be(201).json();
    serde_json::from_value(made["codes"].clone()).expect("codes")
}

async fn switch_links_on(person: &Person) {
    put(person, "/fallbacks/magic-link", &json!({"enabled": true})).await.must_be(200);
}

#[tokio::test]
async fn an_address_is_noted_by_the_operator_and_is_one_persons() {
    let edge = Edge::start().await;
    edge.admin(&["user", "add", "ada", "--email", "Ada@mail.test"]).await;
    let listed = edge.admin(&["user", "list"]).await;
    assert_eq!(listed[0]["email"], "Ada@mail.test", "{listed}");
    let taken = edge.try_admin(&["user", "add", "eve", "--email", "ada@mail.test"]).await;
    assert_eq!(taken.code, 1, "{}", taken.err);
    let not_one = edge.try_admin(&["user", "add", "eve", "--email", "no address"]).await;
    assert_eq!(not_one.code, 2, "{}", not_one.err);
}

#[tokio::test]
async fn a_backup_code_opens_a_tunnel_once_and_is_told_to_its_person() {
    let scene = Scene::start().await;
    let codes = backup_codes(&scene.ada).await;
    assert_eq!(codes.len(), 10);
    assert!(
        codes.iter().all(|code| code.chars().filter(char::is_ascii_alphanumeric).count() * 5 >= 64),
        "{codes:?}"
    );

    let browser = scene.edge.visitor();
    let auth = browser.navigate(&scene.page("/notes")).await.must_be(303).location();
    let mut body = sign_in_request(&auth);
    body["user"] = json!("ada");
    body["code"] = json!(codes[0]);
    let entered = browser.post(&scene.ada.api("/sign-in/backup-code"), &body).await.must_be(200).json();
    let link = Url::parse(entered["redirect"].as_str().expect("a link")).expect("a link");
    assert_eq!(browser.follow(&link).await.pop().expect("an answer").status, 200);

    let again = scene.edge.visitor().post(&scene.ada.api("/sign-in/backup-code"), &body).await;
    assert_eq!((again.status.as_u16(), again.problem()), (401, "/problems/sign-in-refused".into()));
    let listed = scene.ada.api_get("/sessions").await.must_be(200).json();
    let theirs = listed.as_array().expect("an array").iter().find(|one| one["tunnel"] == TUNNEL);
    assert_eq!(theirs.expect("a session")["device_name"], "Backup code", "{listed}");

    let new = backup_codes(&scene.ada).await;
    browser.fetch(Method::GET, &scene.page("/")).await.must_be(401);
    assert!(codes.iter().all(|code| !new.contains(code)));
}

#[tokio::test]
async fn fifty_tries_of_one_code_at_once_are_one_sign_in() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    let body = json!({"user": "ada", "code": backup_codes(&ada).await[0]});
    let browsers: Vec<_> = (0..50).map(|_| edge.visitor()).collect();
    let url = ada.api("/sign-in/backup-code");
    let all = join_all(browsers.iter().map(|browser| async { browser.post(&url, &body).await })).await;
    let good = all.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1, "{:?}", all.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert!(all.iter().filter(|answer| answer.status != 200).all(|answer| answer.sets(DEPLOYER).is_none()));
}

#[tokio::test]
async fn fifty_passwords_at_once_are_judged_two_by_two_and_the_server_stays_small() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    put(&ada, "/fallbacks/password", &json!({"new": PASSWORD})).await.must_be(200);
    let before = edge.process.peak_kib();
    let url = ada.api("/sign-in/password");
    let names: Vec<_> = (0..50).map(|n| json!({"user": format!("nobody-{n}"), "password": "x"})).collect();
    let visitor = edge.visitor();
    let all = join_all(names.iter().map(|body| async { visitor.stranger().post(&url, body).await })).await;
    assert!(all.iter().all(|answer| matches!(answer.status.as_u16(), 401 | 503)), "{all:?}");
    let busy = all.iter().filter(|answer| answer.status == 503);
    assert!(busy.into_iter().all(|answer| !answer.header("retry-after").is_empty()), "{all:?}");
    // Fifty hashes at once would take nearly a gigabyte.
    let grown = edge.process.peak_kib() - before;
    assert!(grown < 200 * 1024, "grown by {grown} KiB");
    ada.api_get("/fallbacks").await.must_be(200);
}

#[tokio::test]
async fn nobody_learns_from_a_refusal_who_there_is_or_what_they_have_set_up() {
    for (path, member) in [("/sign-in/backup-code", "code"), ("/sign-in/password", "password")] {
        let edge = Edge::start().await;
        let ada = Person::enrolled(&edge, "ada").await;
        Person::enrolled(&edge, "off").await;
        backup_codes(&ada).await;
        put(&ada, "/fallbacks/password", &json!({"new": PASSWORD})).await.must_be(200);
        let mut seen = Vec::new();
        for name in ["ada", "off", "nobody", "not a name"] {
            let browser = edge.visitor();
            let mut told = Vec::new();
            for _ in 0..11 {
                let body = json!({"user": name, member: "aaaa-aaaa-aaaa-aaaa"});
                told.push(looks(&browser.post(&ada.api(path), &body).await));
            }
            assert_eq!(told.iter().filter(|(status, ..)| *status == 401).count(), 10, "{name}: {told:?}");
            assert_eq!(told[10].0, 429, "{name}");
            seen.push(told);
        }
        assert!(seen.iter().all(|told| *told == seen[0]), "{path}: {seen:?}");
    }
}

/// How often the edge has read its store.
async fn readings(edge: &Edge) -> u64 {
    let metrics = edge.visitor().curl(&edge.operator("/metrics")).await.must_be(200).text();
    let count =
        metrics.lines().find_map(|line| line.strip_prefix("patapim_edge_store_seconds_count{op=\"get\"} "));
    count.expect("the metric").parse().expect("a count")
}

#[tokio::test]
async fn a_name_that_nobody_has_is_as_much_work_as_one_that_somebody_has() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    Person::enrolled(&edge, "off").await;
    backup_codes(&ada).await;
    put(&ada, "/fallbacks/password", &json!({"new": PASSWORD})).await.must_be(200);
    for (path, member) in [("/sign-in/backup-code", "code"), ("/sign-in/password", "password")] {
        let mut work = Vec::new();
        for name in ["ada", "off", "nobody"] {
            let before = readings(&edge).await;
            let body = json!({"user": name, member: "aaaa-aaaa-aaaa-aaaa"});
            edge.visitor().post(&ada.api(path), &body).await.must_be(401);
            work.push(readings(&edge).await - before);
        }
        assert!(work[0] > 0 && work.iter().all(|one| *one == work[0]), "{path}: {work:?}");
    }
}

#[tokio::test]
async fn guessing_at_a_password_locks_nobody_out_of_their_passkey() {
    let edge = Edge::start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    put(&ada, "/fallbacks/password", &json!({"new": PASSWORD})).await.must_be(200);
    let url = ada.api("/sign-in/password");
    for _ in 0..12 {
        edge.visitor().post(&url, &json!({"user": "ada", "password": "wrong"})).await;
    }
    let right = edge.visitor().post(&url, &json!({"user": "ada", "password": PASSWORD})).await;
    assert_eq!((right.status.as_u16(), right.problem()), (429, "/problems/try-later".into()));
    assert!(!right.header("retry-after").is_empty(), "{right:?}");
    ada.tap(&json!({})).await;
}

#[tokio::test]
async fn a_password_is_long_uncommon_whole_and_in_no_log() {
    let edge = Edge::start().await;
    let ada = Person::enrolled(&edge, "ada").await;
    for weak in ["short", "fourteen chars", "passwordpassword", "123456789012345", &"long ".repeat(205)] {
        let answer = put(&ada, "/fallbacks/password", &json!({"new": weak})).await.must_be(422);
        assert_eq!(answer.problem(), "/problems/weak-password", "{weak}");
    }
    let long = format!("{}end", "every byte counts ".repeat(40));
    put(&ada, "/fallbacks/password", &json!({"new": long})).await.must_be(200);
    let url = ada.api("/sign-in/password");
    let cut = &long[..long.len() - 1];
    edge.visitor().post(&url, &json!({"user": "ada", "password": cut})).await.must_be(401);
    edge.visitor().post(&url, &json!({"user": "ada", "password": long})).await.must_be(200);
    let printed = edge.process.all_printed();
    assert!(!printed.contains("every byte counts"), "{printed}");
    for entry in std::fs::read_dir(edge.home().join("data")).expect("the data folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("a file");
            let found = bytes.windows(17).any(|some| some == b"every byte counts");
            assert!(!found, "the password itself is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn a_method_that_is_off_is_refused_to_who_posts_directly_and_its_sessions_are_cut() {
    let house = House::start().await;
    let codes = backup_codes(&house.ada).await;
    put(&house.ada, "/fallbacks/password", &json!({"new": PASSWORD})).await.must_be(200);
    switch_links_on(&house.ada).await;
    let phone = house.browser();
    house.ask_for_link(&phone, "ada@mail.test").await;
    let token = house.post.about(LINK, 1).await[0].token();
    let desk = house.browser();
    let right = json!({"user": "ada", "password": PASSWORD});
    house.post(&desk, "/sign-in/password", &right).await.must_be(200);
    for kind in ["backup-codes", "magic-link", "password"] {
        put(&house.ada, &format!("/fallbacks/{kind}"), &json!({"enabled": false})).await.must_be(200);
    }
    desk.fetch(Method::GET, &house.ada.api("/sessions")).await.must_be(401);
    let refused = [
        house.post(&house.browser(), "/sign-in/password", &right).await,
        house.post(&house.browser(), "/sign-in/backup-code", &json!({"user": "ada", "code": codes[0]})).await,
        house.redeem(&phone, &token).await,
    ];
    for answer in refused {
        assert_eq!((answer.status.as_u16(), answer.problem()), (401, "/problems/sign-in-refused".into()));
        assert!(answer.sets(DEPLOYER).is_none());
    }
}

#[tokio::test]
async fn a_fallback_changes_no_factor_and_is_told_of_by_mail() {
    let house = House::start().await;
    let codes = backup_codes(&house.ada).await;
    house.post.about("New backup codes were made for your account", 1).await;
    let passkeys = house.ada.api_get("/passkeys").await.json();
    let passkey = format!("/passkeys/{}", passkeys[0]["id"].as_str().expect("an id"));
    let phone = Person::with_nothing(&house.edge, "ada");
    phone.api_post("/sign-in/backup-code", &json!({"user": "ada", "code": codes[0]})).await.must_be(200);
    let told = house.post.about(OTHER, 1).await;
    assert!(told[0].part("text/plain").contains("with a backup code"), "{}", told[0].raw);

    let refused = [
        phone.api_delete(&passkey).await,
        phone.api_post("/fallbacks/backup-codes", &json!({})).await,
        put(&phone, "/fallbacks/password", &json!({"new": PASSWORD})).await,
        put(&phone, "/fallbacks/magic-link", &json!({"enabled": true})).await,
        phone.api_post("/link/approve", &json!({"user_code": "BCDF-GHJK"})).await,
        phone
            .api_post(
                "/access-tokens",
                &json!({"name": "x", "tunnel": TUNNEL, "expires_at": "2027-01-01T00:00:00Z"}),
            )
            .await,
    ];
    for answer in refused {
        assert_eq!((answer.status.as_u16(), answer.problem()), (403, "/problems/passkey-required".into()));
    }
    let early = phone.api_post("/passkeys/registration", &json!({"name": "Phone"})).await.must_be(403);
    assert_eq!(early.problem(), "/problems/approval-required");
}
