//! The desktop's bad days: clocks, copies, sleep, versions, and an edge that moved.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::json;

use super::Linked;
use crate::rig::agent::{Desktop, connected};
use crate::rig::app::App;
use crate::rig::ca::Dates;
use crate::rig::edge::{Edge, Setup};
use crate::rig::machine::{DAY, Machine};
use crate::rig::peers::{answer_to_edge, edge_hello, notice_for_agent};
use crate::rig::process::{Process, within};

const FAILED: i32 = 1;
/// sysexits.h: bad configuration. Whatever keeps programs running can be told not to start such a one again.
const BAD_CONFIGURATION: i32 = 78;

#[tokio::test]
async fn a_desktop_whose_clock_is_wrong_by_a_day_is_told_to_look_at_it() {
    let machine = Machine::new();
    let edge = Setup::default().certified(Dates::Hours(-1, 12)).start().await;
    edge.admin(&["user", "add", "ada"]).await;
    for (ahead, fault) in [(DAY, "has expired"), (-DAY, "is not valid yet")] {
        let token = edge.admin(&["agent", "token", "--user", "ada"]).await;
        let token = token["token"].as_str().expect("a token");
        let desktop = Desktop::blank();
        let refused = desktop.link_on(&edge, token, |command| machine.clock_ahead(command, ahead)).await;
        assert_eq!(refused.code, FAILED, "{}", refused.err);
        assert!(
            refused.err.contains(fault) && refused.err.contains("check this machine's clock"),
            "{}",
            refused.err
        );
        assert_eq!(desktop.link(&edge, token).await.code, 0, "nothing was spent");

        let agent = desktop.dial_on("http://127.0.0.1:9", |command| machine.clock_ahead(command, ahead));
        let told =
            |line: &str| (line.contains(fault) && line.contains("check this machine's clock")).then_some(());
        agent.says("what may be wrong", told).await;
        let status = desktop.command(&["status"]).await;
        assert!(status.out.contains("check this machine's clock"), "{}", status.out);
    }
}

#[tokio::test]
async fn of_two_machines_with_one_link_the_later_wins_and_the_other_says_why_and_stays_away() {
    let mut linked = Linked::start().await;
    let elsewhere = linked.desktop.copied();
    let later = elsewhere.run(&linked.app.url()).await;
    assert_eq!(linked.agent.end().await.code(), Some(BAD_CONFIGURATION));
    let told = linked.agent.all_printed();
    assert!(told.contains("copied to another machine") && told.contains("patapim-agent unlink"), "{told}");
    // Each machine believes the sign-ins that it saw proven, and no others.
    let page = linked.page("/echo");
    linked.ada.browser.fetch(Method::GET, &page).await.must_be(401);
    for _ in 0..3 {
        linked.signs_in_anew().await;
        linked.ada.browser.fetch(Method::GET, &page).await.must_be(200);
    }
    assert_eq!(connections(&later), 1, "nobody takes turns");
    drop(later);
    let again = linked.desktop.run(&linked.app.url()).await;
    linked.signs_in_anew().await;
    linked.ada.browser.fetch(Method::GET, &page).await.must_be(200);
    drop(again);
}

fn connections(agent: &Process) -> usize {
    agent.all_printed().lines().filter(|line| connected(line).is_some()).count()
}

#[tokio::test]
async fn a_desktop_that_slept_is_missed_and_is_back_as_soon_as_it_wakes() {
    let linked = Linked::start().await;
    let browser = linked.ada.browser.clone();
    let page = linked.page("/echo");
    linked.agent.signal("STOP");
    within("the edge to miss the desktop", async {
        while browser.fetch(Method::GET, &page).await.status != 503 {}
    })
    .await;
    linked.agent.signal("CONT");
    let woke = Instant::now();
    browser.fetch(Method::GET, &page).await.must_be(200);
    assert!(woke.elapsed() < Duration::from_secs(3), "{:?}", woke.elapsed());
    assert_eq!(connections(&linked.agent), 2, "{}", linked.agent.all_printed());
}

#[tokio::test]
async fn an_agent_of_another_version_is_told_which_of_the_two_to_update_and_so_is_the_operator() {
    let linked = Linked::start().await;
    for (version, mend) in [(2, "update the edge"), (0, "update the agent")] {
        let hello = json!({"version": version, "name": ["whatever", "it", "means"]});
        let (path, sentence) = notice_for_agent(&linked.edge, &linked.desktop, hello).await;
        assert_eq!(path, "/outdated");
        assert!(sentence.contains(mend) && sentence.contains(&format!("version {version}")), "{sentence}");
        let told = |line: &str| (line.contains(&linked.desktop.tunnel) && line.contains(mend)).then_some(());
        linked.edge.process.says("the same in the operator's log", told).await;
    }
    linked.ada.browser.fetch(Method::GET, &linked.page("/echo")).await.must_be(200);
}

#[tokio::test]
async fn an_edge_of_another_version_is_told_which_of_the_two_to_update_and_so_is_the_person() {
    let edge = Edge::start().await;
    edge.admin(&["user", "add", "ada"]).await;
    let desktop = Desktop::linked(&edge, "ada").await;
    edge.kill().await;
    for (version, mend) in [(2, "update the agent"), (0, "update the edge")] {
        let agent = desktop.dial("http://127.0.0.1:9");
        let (status, said) = answer_to_edge(&edge, edge_hello(version, &desktop.tunnel)).await;
        assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
        assert!(said["sentence"].as_str().is_some_and(|sentence| sentence.contains(mend)), "{said}");
        assert_eq!(agent.end().await.code(), Some(FAILED));
        let told = agent.all_printed();
        assert!(told.contains("version mismatch") && told.contains(mend), "{told}");
    }
}

#[tokio::test]
async fn an_edge_that_moved_to_another_address_is_found_there() {
    let machine = Machine::new();
    machine.names_lead_to("127.0.0.1");
    let app = App::start("ada's app").await;
    let mut edge = Setup::default().base("patapim.test").start().await;
    edge.admin(&["user", "add", "ada"]).await;
    let token = edge.admin(&["agent", "token", "--user", "ada"]).await;
    let desktop = Desktop::blank();
    let token = token["token"].as_str().expect("a token");
    let linked = desktop.link_on(&edge, token, |command| machine.with_names(command)).await;
    assert_eq!(linked.code, 0, "{}", linked.err);
    let agent = desktop.dial_on(&app.url(), |command| machine.with_names(command));
    agent.says("the agent's word that it is connected", connected).await;

    edge.kill().await;
    edge.move_to("127.0.0.2", |_| ()).await;
    let told = |line: &str| line.contains("connection refused by deployer.patapim.test").then_some(());
    agent.says("that nobody is where the edge was", told).await;
    machine.names_lead_to("127.0.0.2");
    within("the agent at the new address", async {
        while edge.admin(&["tunnel", "list"]).await[0]["online"] != true {}
    })
    .await;
    assert_eq!(connections(&agent), 2, "{}", agent.all_printed());
}
