//! What the edge costs beside what people would put there instead: `make bench`.
//!
//! Edge and agent run as the built programs, each with a session from the real journey: invited, enrolled with a passkey
//! in software, signed in, redeemed; the desktop wants the passkey's proof, and the app gets its assertion. Whoever is
//! compared has the same origin, the same load and its turn in every round. `BENCHMARKS.md` tells the method and keeps
//! the figures; words after `--` choose parts, and then nothing is written:
//!
//! ```sh
//! cargo bench --bench load -- edge tunnel
//! ```
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says where")]

mod bare;
mod contestant;
mod cpu;
mod cut;
mod edge;
mod figures;
mod h2load;
mod interactive;
mod origin;
mod peers;
mod report;
mod sign_ins;
mod start_up;
mod uplink;

#[path = "../../tests/e2e/rig/mod.rs"]
#[allow(dead_code, reason = "the tests' tools, of which a benchmark needs some")]
mod rig;

use std::io::Write as _;
use std::process::ExitCode;

use contestant::{Ours, Peer, direct, ourselves};
use figures::{Fact, Table};
use report::Report;

/// In the order in which they are measured.
const PARTS: [&str; 8] =
    ["edge", "tunnel", "bulk", "cut", "sign-ins", "interactive", "start-up", "revocations"];

fn main() -> ExitCode {
    // Cargo says `--bench` to every benchmark.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["origin", port] => serve_origin(port),
        ["bare", port, origin, cert, key] => serve_bare(port, origin, cert, key),
        _ if words.iter().any(|word| !PARTS.contains(word)) => {
            Err(format!("there are: {}", PARTS.join(", ")))
        }
        _ => bench(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&error);
            ExitCode::FAILURE
        }
    }
}

fn serve_origin(port: &str) -> Result<(), String> {
    origin::serve(number(port)?).map_err(|error| error.to_string())
}

fn serve_bare(port: &str, origin: &str, cert: &str, key: &str) -> Result<(), String> {
    bare::serve(number(port)?, number(origin)?, cert, key).map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<u16, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// What happens, for whoever waits.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn bench(words: &[&str]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = runtime.map_err(|error| error.to_string())?.block_on(measured(words));
    let report = report.map_err(|error| error.to_string())?;
    if words.is_empty() {
        report.write().map_err(|error| error.to_string())?;
    }
    writeln!(std::io::stdout(), "{}", report.markdown()).map_err(|error| error.to_string())
}

async fn measured(words: &[&str]) -> std::io::Result<Report> {
    let wanted = |part: &str| words.is_empty() || words.contains(&part);
    let port = contestant::free_port()?;
    let app = Peer::start(&mut ourselves(&["origin", &port.to_string()])?, port)?;
    let (origin, direct) = (format!("http://127.0.0.1:{port}"), direct(port));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(", ");
    let mut report = Report { load, ..Report::default() };

    if ["edge", "tunnel", "bulk"].iter().any(|part| wanted(part)) {
        let folder = tempfile::TempDir::with_prefix("patapim-peers-")?;
        let alone = Ours::alone(&origin).await;
        let ca = &alone.edge.ca;
        let mut edges = peers::edges(ca, folder.path(), port)?;
        edges.push(alone.contestant("the edge"));
        if wanted("edge") {
            let rows = edge::alone(&edges, ca);
            report.tables.push(Table { title: "Edge alone", unit: "CPU-s per 10,000 (**ratio**)", rows });
        }
        if wanted("tunnel") || wanted("bulk") {
            // Only the first is a measure here, and a bound.
            edges.truncate(1);
            edges.extend(peers::tunnel(ca, folder.path(), port));
            let ours = Ours::with_tunnel(&origin).await;
            edges.push(ours.contestant("edge + agent"));
            if wanted("tunnel") {
                edges.push(direct);
                let rows = edge::through_tunnel(&edges);
                edges.pop();
                report.tables.push(Table {
                    title: "Edge and tunnel",
                    unit: "CPU-s per 10,000 (**ratio**)",
                    rows,
                });
            }
            if wanted("bulk") {
                let rows = edge::bulk(&edges);
                report.tables.push(Table {
                    title: "Long transfers",
                    unit: "CPU-s per GiB (**ratio**)",
                    rows,
                });
            }
        }
    }
    if wanted("cut") {
        report.facts.extend(attempt(cut::measure()).await);
    }
    if wanted("sign-ins") {
        report.facts.extend(attempt(sign_ins::measure(origin.clone())).await);
    }
    if wanted("interactive") {
        report.facts.extend(attempt(interactive::measure(origin.clone())).await);
    }
    if wanted("start-up") {
        report.facts.extend(attempt(start_up::measure(origin.clone())).await);
    }
    if wanted("revocations") {
        report.facts.extend(attempt(start_up::measure_revocations(origin)).await);
    }
    drop(app);
    Ok(report)
}

/// What fails does so by itself: the others are measured all the same.
async fn attempt(measuring: impl Future<Output = Vec<Fact>> + Send + 'static) -> Vec<Fact> {
    tokio::spawn(measuring).await.unwrap_or_else(|error| {
        progress(&error.to_string());
        Vec::new()
    })
}
