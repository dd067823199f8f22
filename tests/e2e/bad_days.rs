//! The server's bad days: each ends in a sentence that names what is wrong and how to mend it, and in the exit status
//! that goes with it. The desktop's are in `tunnel::bad_days`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use http::Method;

use crate::rig::ca::Dates;
use crate::rig::edge::{Edge, Plan, Setup};
use crate::rig::journey::SESSION;
use crate::rig::machine::{DAY, Machine};
use crate::rig::process::{Finished, finish, within};
use crate::rig::scene::Scene;

const FAILED: i32 = 1;
/// sysexits.h: bad configuration.
const BAD_CONFIGURATION: i32 = 78;

/// Asserts the exit status, and that all of `words` are in what was said.
fn said(told: &Finished, status: i32, words: &[&str]) {
    assert_eq!(told.code, status, "{}", told.err);
    for word in words {
        assert!(told.err.contains(word), "{word:?} in {}", told.err);
    }
}

#[tokio::test]
async fn a_taken_port_is_named_and_what_to_do_about_it() {
    let first = Edge::start().await;
    let second = Setup::default().plan();
    let address = format!("127.0.0.1:{}", first.port());
    second.rewrite("https = [", &format!("https = [\"{address}\", "));
    said(&second.must_fail().await, FAILED, &[&address, "has it already", "[listen]"]);
    first.visitor().navigate(&first.deployer("/auth")).await.must_be(200);
}

#[tokio::test]
async fn a_certificate_for_other_names_is_refused_with_those_it_has_and_those_it_lacks() {
    let plan = Setup::default().plan();
    plan.ca.certify("other.localhost", Dates::Always);
    let names = [
        "tls.cert",
        "does not cover deployer.patapim.localhost and *.tunnel.patapim.localhost",
        "it names deployer.other.localhost and *.tunnel.other.localhost",
    ];
    said(&plan.must_fail().await, BAD_CONFIGURATION, &names);
}

#[tokio::test]
async fn an_expired_certificate_is_told_loudly_until_the_next_one_is_read() {
    let edge = Setup::default().certified(Dates::Hours(-48, -24)).start().await;
    edge.process.says("that it expired", |line| line.contains("certificate expired").then_some(())).await;
    let operator = edge.visitor();
    let ready = edge.operator("/readyz");
    let told = operator.curl(&ready).await.must_be(503).text();
    assert!(told.contains("certificate expired at") && told.contains("renew it"), "{told}");
    operator.curl(&edge.operator("/healthz")).await.must_be(200);

    edge.ca.certify(edge.base(), Dates::Hours(-1, 24));
    edge.process.signal("HUP");
    within("readyz to take the new certificate", async {
        while operator.curl(&ready).await.status != 200 {}
    })
    .await;
    edge.visitor().navigate(&edge.deployer("/auth")).await.must_be(200);
}

#[tokio::test]
async fn a_certificate_of_tomorrow_points_at_the_clock() {
    let machine = Machine::new();
    let plan = Setup::default().certified(Dates::Hours(-1, 48)).plan();
    let mut command = plan.serve();
    machine.clock_ahead(&mut command, -DAY);
    let edge = plan.start_as(command).await;
    edge.process
        .says("what may be wrong", |line| line.contains("check this machine's clock").then_some(()))
        .await;
    let told = edge.visitor().curl(&edge.operator("/readyz")).await.must_be(503).text();
    assert!(told.contains("not valid before") && told.contains("check this machine's clock"), "{told}");
}

#[tokio::test]
async fn a_data_folder_that_is_not_ours_is_refused_with_the_reason() {
    let file = Setup::default().plan();
    std::fs::write(file.data(), "a file").expect("our own folder");
    said(&file.must_fail().await, BAD_CONFIGURATION, &["data_dir", "is not a folder"]);

    let nowhere = Setup::default().plan();
    nowhere.rewrite("/data\"", "/edge.toml/data\"");
    said(
        &nowhere.must_fail().await,
        BAD_CONFIGURATION,
        &["data_dir", "cannot be used", "may make and write to"],
    );

    let open = Setup::default().plan();
    std::fs::create_dir(open.data()).expect("our own folder");
    std::fs::set_permissions(open.data(), std::fs::Permissions::from_mode(0o770)).expect("our own folder");
    said(&open.must_fail().await, BAD_CONFIGURATION, &["data_dir", "mode 770", "chmod 700"]);

    let theirs = Setup::default().plan();
    std::fs::create_dir(theirs.data()).expect("our own folder");
    // Only root can give a folder away; everybody else has none in `/`.
    let given_away = std::os::unix::fs::chown(theirs.data(), Some(65_534), None).is_ok();
    let words = if given_away {
        ["data_dir", "belongs to the user with id 65534", "start it as its owner"]
    } else {
        theirs.rewrite(&theirs.data().display().to_string(), "/");
        ["data_dir", "cannot be used", "may make and write to"]
    };
    said(&theirs.must_fail().await, BAD_CONFIGURATION, &words);
}

#[tokio::test]
async fn somebody_elses_database_is_left_as_it_is() {
    let plan = Setup::default().plan();
    std::fs::create_dir(plan.data()).expect("our own folder");
    let file = plan.data().join("edge.db");
    let text = "A letter that somebody keeps here. ".repeat(200);
    std::fs::write(&file, &text).expect("our own folder");
    std::fs::set_permissions(plan.data(), std::fs::Permissions::from_mode(0o700)).expect("our own folder");
    said(&plan.must_fail().await, FAILED, &["edge.db", "is not a store of patapim-edge", "set data_dir"]);
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), text);
}

#[tokio::test]
async fn a_full_disk_at_start_is_told_and_starts_well_once_there_is_room() {
    // In blocks of 512 bytes, from no room at all: each stops it somewhere else.
    for blocks in [0, 1, 16, 60] {
        let plan = Setup::default().plan();
        let told = finish(&mut with_room_for(blocks, &plan)).await;
        said(&told, FAILED, &["data/", "has space"]);
        assert_eq!(told.out, "", "{blocks}");
        let edge = plan.start().await;
        edge.admin(&["user", "add", "ada"]).await;
    }
}

/// The server, where no file may be larger. To a program that asks for more it is what a full disk is.
fn with_room_for(blocks: u32, plan: &Plan) -> Command {
    let serve = plan.serve();
    let mut command = Command::new("sh");
    // Without the trap the system would end the program before it could say anything.
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    command.arg(serve.get_program()).args(serve.get_args());
    command
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_folder() {
    let first = Edge::start().await;
    let second = Setup::default().plan();
    let data = |home: &Path| home.join("data").display().to_string();
    second.rewrite(&second.data().display().to_string(), &data(first.home()));
    said(
        &second.must_fail().await,
        FAILED,
        &["edge.db is in use by another patapim-edge", "data_dir of its own"],
    );
    first.admin(&["user", "add", "ada"]).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_by_a_day_is_told_and_revives_nothing() {
    let machine = Machine::new();
    let mut scene = Scene::signed_in().await;
    let page = scene.page("/");
    let ended = scene.session_cookie();
    scene.ada.browser.fetch(Method::POST, &scene.page("/.patapim/logout")).await.must_be(204);
    let spent = scene.ada.token_for(&page).await;
    scene.ada.browser.navigate(&spent).await.must_be(303);
    scene.edge.kill().await;

    scene.edge.start_again_on(|command| machine.clock_ahead(command, -DAY)).await;
    let told =
        |line: &str| (line.contains("clock is behind") && line.contains("check the clock")).then_some(());
    scene.edge.process.says("that the clock is behind", told).await;
    scene.ada.browser.fetch(Method::GET, &page).await.must_be(200);
    scene.ada.browser.with(&page, SESSION, &ended).fetch(Method::GET, &page).await.must_be(401);
    scene.ada.browser.stranger().navigate(&spent).await.must_be(401);
    scene.ada.browser.cookies.forget(&page, SESSION);
    scene.ada.open(&page).await.must_be(200);
}

#[tokio::test]
async fn a_clock_that_was_a_day_ahead_is_told_once_it_is_right_and_what_had_ended_stays_ended() {
    let machine = Machine::new();
    let mut scene = Scene::signed_in().await;
    let page = scene.page("/");
    let before = scene.session_cookie();
    scene.edge.kill().await;
    scene.edge.start_again_on(|command| machine.clock_ahead(command, DAY)).await;
    scene.ada.browser.fetch(Method::GET, &page).await.must_be(401);
    scene.ada.open(&page).await.must_be(200);
    scene.edge.kill().await;

    scene.edge.start_again().await;
    let told =
        |line: &str| (line.contains("clock is behind") && line.contains("check the clock")).then_some(());
    scene.edge.process.says("that the clock is behind", told).await;
    scene.ada.browser.fetch(Method::GET, &page).await.must_be(200);
    scene.ada.browser.with(&page, SESSION, &before).fetch(Method::GET, &page).await.must_be(401);
}
