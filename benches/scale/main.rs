//! What the edge costs at scale: thousands that are there and do nothing, all of them back at once, and one tunnel that
//! takes all it can. `cargo bench --bench scale [-- [agents|websockets|storm|crowd|tags] …] [COUNT]`
//!
//! The edge is the built program, in a process of its own; everybody else is here. Memory and CPU are the kernel's word
//! (`/proc`). Each edge holds one descriptor for each of the COUNT (10,000), and so does this program.

#![allow(clippy::print_stdout, reason = "a measurement tells what it measured")]

#[allow(dead_code, reason = "the tests' own, of which some is used here")]
#[path = "../../tests/e2e/rig/mod.rs"]
mod rig;

mod crowd;
mod idle;
mod storm;

const COUNT: usize = 10_000;

fn main() {
    // Cargo adds a word of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let count = words.iter().find_map(|word| word.parse().ok()).unwrap_or(COUNT);
    let named = words.iter().any(|word| word.parse::<usize>().is_err());
    let wanted = |part: &str| !named || words.iter().any(|word| word == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        if wanted("agents") {
            idle::agents(count).await;
        }
        if wanted("websockets") {
            idle::websockets(count).await;
        }
        if wanted("storm") {
            storm::storm(count).await;
        }
        if wanted("crowd") {
            crowd::crowd().await;
        }
        if wanted("tags") {
            crowd::tags(10 * count).await;
        }
    });
}

/// The points of a curve up to `count`.
fn steps(count: usize) -> impl Iterator<Item = usize> {
    [10, 5, 2, 1].into_iter().map(move |part| count / part)
}

/// An edge that lets one machine play ten thousand.
fn roomy() -> rig::edge::Setup {
    rig::edge::Setup::default()
}

/// Of some times, in milliseconds: the median, the 99th of a hundred, the longest.
struct Times(Vec<f64>);

impl Times {
    fn of(times: impl IntoIterator<Item = std::time::Duration>) -> Self {
        let mut all: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect();
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    fn at(&self, of_hundred: usize) -> f64 {
        let place = (self.0.len() * of_hundred / 100).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (half, most, all) = (self.at(50), self.at(99), self.at(100));
        write!(out, "p50 {half:.1} ms, p99 {most:.1} ms, longest {all:.1} ms, of {}", self.0.len())
    }
}
