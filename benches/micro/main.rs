//! Single steps of a request's path, each with what it allocates: `cargo bench --bench micro`
//!
//! The bounds are 200 ns for a look at a million revocations and 64 MiB for keeping them, and for an admitted request no
//! allocation beyond what is sent on.

mod crowd;

/// The edge's own files: its layer shows nothing of them.
#[path = "../../src/edge"]
#[allow(dead_code, reason = "parts of the edge, of which some is measured")]
mod edge {
    mod access_token;
    mod cookies;
    mod cross_site;
    mod request_headers;
    mod request_kind;
    mod response_headers;
    mod token_query;
    mod visit;

    #[path = "../../benches/micro/steps.rs"]
    mod steps;
}

/// The revoked set by itself.
#[path = "../../src/access"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "parts of the layer, of which some is measured")]
mod revocations {
    mod revocation;
    mod revoked;
    mod table {
        pub(super) const PREFIX: &str = "live/";
    }

    #[path = "../../benches/micro/look_ups.rs"]
    mod look_ups;
}

use std::sync::LazyLock;

use divan::{AllocProfiler, Bencher, black_box};
use patapim_edge::{access, clock, names, secret, store, wire};

use access::assertion::Assertor;
use access::gate::{Asking, Facts, Provenance, Verdict};
use access::{Permit, token};
use crowd::{Crowd, NOW, TUNNEL};
use names::PublicHosts;
use store::{Key, Store as _, Tx};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// A million revocations, a hundred thousand sessions.
static CROWD: LazyLock<Crowd> = LazyLock::new(|| Crowd::of(1_000_000, 100_000));

fn main() {
    let crowd = &*CROWD;
    #[expect(clippy::print_stdout, reason = "it belongs to the figures")]
    {
        println!(
            "a million revocations: {} MiB; 100,000 sessions: {} MiB",
            crowd.revocations_mib, crowd.sessions_mib
        );
    }
    divan::main();
}

fn permit() -> Permit {
    let facts = Facts {
        tunnel: &CROWD.tunnel,
        asking: Asking::Script,
        provenance: Provenance::Own,
        session: Some(&CROWD.cookie),
        access_token: None,
        tokens: &[],
    };
    match CROWD.gate.admit(&facts, NOW) {
        Verdict::Admit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

#[divan::bench]
fn host_routing(bencher: Bencher<'_, '_>) {
    let hosts: &PublicHosts = &CROWD.hosts;
    bencher.bench_local(|| hosts.site(black_box("ada-abc234.tunnel.patapim.test")));
}

/// The gate over a crowd, by the session's cookie: what every request costs, and none with an HMAC.
#[divan::bench]
fn admit_by_cookie(bencher: Bencher<'_, '_>) {
    bencher.bench_local(permit);
}

/// A token at its first use: signature, claims, time.
#[divan::bench]
fn token_check(bencher: Bencher<'_, '_>) {
    let token = &CROWD.token;
    bencher.bench_local(|| {
        token::verify(&CROWD.keys, crowd::ISSUER, &CROWD.tunnel, black_box(token.reveal()), NOW).is_ok()
    });
}

#[divan::bench]
fn assertion_signed(bencher: Bencher<'_, '_>) {
    let assertor: &Assertor = &CROWD.assertor;
    let permit = permit();
    // Two hours on each time: none is kept so long.
    let mut now = NOW;
    bencher.bench_local(|| {
        now = now + std::time::Duration::from_secs(7200);
        assertor.assertion_for(&permit, now)
    });
}

#[divan::bench]
fn assertion_kept(bencher: Bencher<'_, '_>) {
    let permit = permit();
    bencher.bench_local(|| CROWD.assertor.assertion_for(&permit, NOW));
}

/// One commit, durable; and as many as there are at once, which share the disk's time.
#[divan::bench(args = [1, 64], sample_count = 20)]
fn store_commits(bencher: Bencher<'_, '_>, at_once: usize) {
    let store = CROWD.disk.clone();
    let mut number = 0_u64;
    bencher.counter(at_once).bench_local(|| {
        CROWD.runtime.block_on(async {
            let all = (0..at_once).map(|_| {
                number += 1;
                store.commit(Tx::new().put(Key::new(format!("bench/{TUNNEL}/{number}")), vec![b'x'; 200]))
            });
            for done in futures_util::future::join_all(all).await {
                done.expect("committed");
            }
        });
    });
}
