//! What an operator watches: the dashboard and the alert rules under `conf/` ask for what `/metrics` tells, and the units
//! and the image start what there is (contract, sections 2 and 7).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::rig::edge::program;
use crate::rig::process::finish;
use crate::rig::scene::Scene;

const RULES: &str = include_str!("../../conf/alerts.yml");
const RULES_TESTS: &str = include_str!("../../conf/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../conf/grafana-dashboard.json");
const UNIT: &str = include_str!("../../conf/patapim-edge.service");
const AGENT_UNIT: &str = include_str!("../../conf/patapim-agent.service");
const IMAGE: &str = include_str!("../../conf/Containerfile");

/// The names that are told, each with its labels and their values.
type Told = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Every `patapim_edge_…` in `text`, with the `{…}` that follows it, if one does.
fn asked(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("patapim_edge_") {
        let rest = &text[at..];
        let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
        let selector = rest[end..]
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .map_or("", |(inner, _)| inner);
        found.push((rest[..end].to_owned(), selector.to_owned()));
    }
    found
}

/// `a="b", c=~"d|e"` as label, operator and value.
fn matchers(selector: &str) -> Vec<(String, String, String)> {
    let parts = selector.split(',').map(str::trim).filter(|part| !part.is_empty());
    let split = |part: &str| {
        let (label, rest) = part.split_at(part.find(|c| !is_of_name(c)).unwrap_or_else(|| panic!("{part}")));
        let (operator, value) = rest.split_once('"').unwrap_or_else(|| panic!("{part}"));
        (label.to_owned(), operator.to_owned(), value.trim_end_matches('"').to_owned())
    };
    parts.map(split).collect()
}

fn told(metrics: &str) -> Told {
    let mut told = Told::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, selector) = asked(line).into_iter().next().unwrap_or_else(|| panic!("{line}"));
        let labels = told.entry(name).or_default();
        for (label, _, value) in matchers(&selector) {
            labels.entry(label).or_default().insert(value);
        }
    }
    told
}

/// What the scraper adds, and Grafana fills in.
fn is_the_scrapers(label: &str) -> bool {
    matches!(label, "instance" | "job")
}

fn must_be_told(text: &str, told: &Told, whence: &str) {
    let asked = asked(text);
    assert!(asked.len() > 5, "{whence} asks for hardly anything");
    for (name, selector) in asked {
        let labels = told
            .get(&name)
            .unwrap_or_else(|| panic!("{whence} asks for {name}, which /metrics does not tell"));
        for (label, operator, value) in matchers(&selector) {
            if is_the_scrapers(&label) {
                continue;
            }
            let known = labels.get(&label).unwrap_or_else(|| panic!("{whence}: {name} has no label {label}"));
            let alternatives =
                if operator == "=~" { value.split('|').collect() } else { vec![value.as_str()] };
            for value in alternatives {
                assert!(known.contains(value), "{whence}: {name} never has {label}={value:?}, but {known:?}");
            }
        }
    }
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_is_told() {
    let scene = Scene::signed_in().await;
    let metrics = scene.edge.visitor().curl(&scene.edge.operator("/metrics")).await.must_be(200).text();
    let told = told(&metrics);
    must_be_told(RULES, &told, "alerts.yml");
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    for panel in panels {
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
    }
    let queries: Vec<_> =
        panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")).collect();
    let queries: Vec<_> = queries.iter().map(|target| target["expr"].as_str().expect("a query")).collect();
    must_be_told(&queries.join("\n"), &told, "grafana-dashboard.json");

    let shown: BTreeSet<_> = asked(&queries.join("\n")).into_iter().map(|(name, _)| family(&name)).collect();
    let all: BTreeSet<_> = told.keys().map(|name| family(name)).collect();
    assert_eq!(shown, all, "what is counted is shown");
}

/// A histogram's name, whichever of its series it was.
fn family(name: &str) -> String {
    let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| name.ends_with(suffix));
    suffix.map_or(name, |suffix| name.trim_end_matches(suffix)).to_owned()
}

#[test]
fn every_alert_has_a_test() {
    let named = |line: &str, key: &str| line.trim().strip_prefix(key).map(|name| name.trim().to_owned());
    let alerts: Vec<_> = RULES.lines().filter_map(|line| named(line, "- alert:")).collect();
    assert!(alerts.len() > 5);
    // One of those in which it is raised, which name it on a line of its own.
    let tested: BTreeSet<_> = RULES_TESTS.lines().filter_map(|line| named(line, "alertname:")).collect();
    for alert in alerts {
        assert!(tested.contains(&alert), "{alert} is never raised in alerts_test.yml");
    }
}

/// The value of `key` in a unit.
fn setting<'a>(unit: &'a str, key: &str) -> &'a str {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}"))
}

#[tokio::test]
async fn the_units_and_the_image_start_what_there_is_and_leave_it_time_to_end() {
    let grace = toml_text(include_str!("../../conf/edge.toml"), "grace");
    let grace: u32 = grace.trim_end_matches('s').parse().expect("seconds");
    assert!(setting(UNIT, "TimeoutStopSec").parse::<u32>().expect("seconds") > grace);
    assert!(setting(UNIT, "LimitNOFILE").parse::<u32>().expect("a number") >= 65_536);
    let data_dir = toml_text(include_str!("../../conf/edge.toml"), "data_dir");
    assert_eq!(data_dir, format!("/var/lib/{}", setting(UNIT, "StateDirectory")));
    for unit in [UNIT, AGENT_UNIT] {
        assert_eq!(setting(unit, "RestartPreventExitStatus"), "2 78", "what does not mend itself");
    }
    let words: Vec<_> = setting(UNIT, "ExecStart").split(' ').skip(1).collect();
    assert_eq!(words[..2], ["serve", "--config"]);
    let agent = setting(AGENT_UNIT, "ExecStart");
    assert!(agent.contains("patapim-agent run --to "), "{agent}");

    let command = IMAGE.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    let words: Vec<String> = serde_json::from_str(command).expect("an array");
    assert_eq!(words, ["serve", "--config", "/etc/patapim-edge/edge.toml"]);
    assert!(IMAGE.contains("--no-default-features --features edge --bin patapim-edge"));
    let user = IMAGE.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert_ne!(user.split(':').next(), Some("0"));
    let variables =
        IMAGE.split_whitespace().filter(|word| word.starts_with("PATAPIM_EDGE__") && word.contains('='));
    let mut check = program();
    for (name, value) in variables.filter_map(|word| word.split_once('=')) {
        check.env(name, value);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("edge.toml");
    std::fs::write(&config, "base_domain = \"patapim.test\"\n").expect("our own folder");
    let told = finish(check.arg("check").arg("--config").arg(config)).await;
    assert!(
        told.err.contains("tls.cert") && !told.err.contains("PATAPIM_EDGE__"),
        "the image's settings: {}",
        told.err
    );
}

/// The text of a key in a configuration that is written plainly.
fn toml_text(file: &str, key: &str) -> String {
    let line = file.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}")).trim().trim_matches('"').to_owned()
}
