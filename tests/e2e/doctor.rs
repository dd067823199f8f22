//! `doctor`, as an operator calls it: with a server running, before one runs, and on a day on which something is wrong.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rig::ca::Dates;
use crate::rig::edge::{Edge, Setup, program};
use crate::rig::machine::{DAY, Machine};
use crate::rig::process::{Finished, finish};
use crate::rig::scene::Scene;

fn doctor(config: &Path) -> Command {
    let mut command = program();
    command.args(["doctor", "--json", "--config"]).arg(config);
    command
}

/// How the findings of one check ended, in their order; and the first sentence among them.
fn of<'a>(told: &'a [Value], check: &str) -> (Vec<&'a str>, &'a str) {
    let text = |value: &'a Value| value.as_str().expect("text");
    let found: Vec<_> = told.iter().filter(|finding| finding["check"] == check).collect();
    let results = found.iter().map(|finding| text(&finding["result"])).collect();
    (results, text(&found.first().unwrap_or_else(|| panic!("{check} in {told:?}"))["finding"]))
}

fn findings(told: &Finished) -> Vec<Value> {
    let document: Value =
        serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}{}", told.out, told.err));
    let findings = document.as_array().expect("an array").clone();
    let failed = findings.iter().any(|finding| finding["result"] == "failed");
    assert_eq!(told.code, i32::from(failed), "{document}");
    for finding in &findings {
        assert_eq!(
            finding["mend"].is_null(),
            finding["result"] == "ok",
            "whatever is wrong has a mend: {finding}"
        );
    }
    findings
}

#[tokio::test]
async fn a_running_server_is_asked_and_nothing_is_found_wrong() {
    let scene = Scene::signed_in().await;
    let told = findings(&finish(&mut doctor(scene.edge.config())).await);
    let checks: BTreeSet<_> = told.iter().filter_map(|finding| finding["check"].as_str()).collect();
    let all = [
        "server",
        "dns",
        "certificate",
        "clock",
        "public-suffix",
        "rp-id",
        "files",
        "store",
        "ports",
        "limits",
    ];
    assert_eq!(checks, BTreeSet::from(all));
    assert!(told.iter().all(|finding| finding["result"] != "failed"), "{told:?}");
    assert!(of(&told, "server").1.contains("runs as process"));
    assert!(of(&told, "rp-id").1.contains("1 are registered"), "{told:?}");

    let text = finish(program().args(["doctor", "--config"]).arg(scene.edge.config())).await;
    assert_eq!(text.code, 0, "{}", text.err);
    assert!(text.out.lines().any(|line| line.starts_with("ok       clock ")), "{}", text.out);
    scene.echo().await;
}

#[tokio::test]
async fn before_the_first_start_it_says_what_is_there_and_makes_nothing() {
    let plan = Setup::default().plan();
    let told = findings(&finish(&mut doctor(plan.config())).await);
    assert!(of(&told, "server").1.contains("no server runs"));
    assert!(of(&told, "store").1.contains("the first start makes it"), "{told:?}");
    assert!(!plan.data().exists());
    plan.rewrite("base_domain", "base_domian");
    let bad = finish(&mut doctor(plan.config())).await;
    assert_eq!((bad.code, bad.out.as_str()), (78, ""), "{}", bad.err);
}

#[tokio::test]
async fn names_that_lead_nowhere_or_elsewhere_are_told() {
    let machine = Machine::new();
    let plan = Setup::default().base("patapim.test").plan();
    let ask = async || {
        let mut command = doctor(plan.config());
        machine.with_names(&mut command);
        findings(&finish(&mut command).await)
    };
    assert_eq!(of(&ask().await, "dns").0, ["failed", "failed"]);
    machine.names_lead_to("192.0.2.7");
    let told = ask().await;
    let (results, sentence) = of(&told, "dns");
    assert_eq!(results, ["warning", "warning"]);
    assert!(sentence.starts_with("deployer.patapim.test leads to 192.0.2.7"), "{sentence}");
    machine.names_lead_to("127.0.0.1");
    assert!(of(&ask().await, "dns").1.contains("nobody else does"));
}

#[tokio::test]
async fn a_clock_behind_the_store_is_told_with_and_without_a_server() {
    let machine = Machine::new();
    let mut edge = Edge::start().await;
    let behind = async |edge: &Edge| {
        let mut command = doctor(edge.config());
        machine.clock_ahead(&mut command, -DAY);
        let told = findings(&finish(&mut command).await);
        assert_eq!(of(&told, "clock").0, ["failed"], "{told:?}");
        assert!(of(&told, "clock").1.contains("time stands still"));
    };
    edge.admin(&["user", "add", "ada"]).await;
    behind(&edge).await;
    edge.kill().await;
    behind(&edge).await;
    edge.start_again_on(|serve| machine.clock_ahead(serve, DAY)).await;
    let told = findings(&finish(&mut doctor(edge.config())).await);
    assert_eq!(of(&told, "clock").0, ["failed"], "the server was started while the clock was ahead");
}

#[tokio::test]
async fn a_certificate_that_is_about_to_end_has_ended_or_is_of_other_names_is_told() {
    let plan = Setup::default().plan();
    let ask = async || findings(&finish(&mut doctor(plan.config())).await);
    let is = |told: &[Value], wanted: &str| {
        let (results, sentence) = of(told, "certificate");
        assert_eq!(results, [wanted], "{sentence}");
        sentence.to_owned()
    };
    is(&ask().await, "ok");
    plan.ca.certify("patapim.localhost", Dates::Hours(-24, 48));
    assert!(is(&ask().await, "warning").contains("ends in 1 days"));
    plan.ca.certify("patapim.localhost", Dates::Hours(-48, -24));
    assert!(is(&ask().await, "failed").contains("expired at"));
    plan.ca.certify("other.localhost", Dates::Always);
    assert!(is(&ask().await, "failed").contains("does not cover"));
    plan.ca.certify("patapim.localhost", Dates::Always);
    std::fs::set_permissions(&plan.ca.key_file, std::fs::Permissions::from_mode(0o644))
        .expect("our own file");
    assert!(is(&ask().await, "failed").contains("may be read by others"));
}

#[tokio::test]
async fn ports_that_others_have_and_a_damaged_store_are_told() {
    let edge = Edge::start().await;
    edge.kill().await;
    let database = edge.home().join("data/edge.db");
    std::fs::write(&database, "nonsense").expect("our own file");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = doctor(edge.config());
    command.env("PATAPIM_EDGE__LISTEN__ADMIN", taken.local_addr().expect("bound").to_string());
    let told = findings(&finish(&mut command).await);
    assert_eq!(of(&told, "ports").0, ["ok", "ok", "failed"]);
    assert_eq!(of(&told, "store").0[0], "failed");
    assert!(of(&told, "store").1.contains("not a store of patapim-edge"), "{told:?}");
    assert_eq!(std::fs::read_to_string(&database).expect("still there"), "nonsense");
}
