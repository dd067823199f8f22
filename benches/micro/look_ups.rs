//! Whether something was revoked, of a million that were; and what it takes to keep them.

use std::sync::LazyLock;

use divan::{Bencher, black_box};

use super::revocation::{Cause, Lineage, OpenedBy, Target};
use super::revoked::RevokedSet;
use crate::NOW;
use crate::names::{DeviceId, SessionId, TunnelId, UserId};
use crate::secret::{base32, sha256};

const MILLION: usize = 1_000_000;

static SET: LazyLock<RevokedSet> = LazyLock::new(|| filled(MILLION));

fn id(number: usize) -> SessionId {
    SessionId::parse(&base32(&sha256(number.to_be_bytes())[..16])).expect("an id")
}

fn filled(count: usize) -> RevokedSet {
    let set = RevokedSet::default();
    for number in 0..count {
        set.told(&Target::Session(id(number)), NOW, Cause::Person);
    }
    set
}

/// Its columns of allocations say what the set takes: what is allocated less what is given back.
#[divan::bench(args = [125_000, 250_000, 500_000, MILLION], sample_count = 1, sample_size = 1)]
fn set_filled(count: usize) -> RevokedSet {
    filled(count)
}

/// Another one each time, so that it is in no cache of the processor's.
#[divan::bench]
fn found_by_id(bencher: Bencher<'_, '_>) {
    let ids: Vec<SessionId> = (0..100_000).map(|number| id(number * 10)).collect();
    let set = &*SET;
    let mut next = ids.iter().cycle();
    bencher.bench_local(|| set.cause_of(black_box(next.next().expect("there is always one"))));
}

/// All that may have ended a sign-in: its session, device, person, their browsers, its tunnel, and everything.
#[divan::bench]
fn sign_in_covered_by_nothing(bencher: Bencher<'_, '_>) {
    let unknown = |number: usize| base32(&sha256((MILLION + number).to_be_bytes())[..16]);
    let text = unknown(0);
    let session = SessionId::parse(&text).expect("an id");
    let device = DeviceId::parse(&unknown(1)).expect("an id");
    let user = UserId::parse(&unknown(2)).expect("an id");
    let tunnel = TunnelId::parse(crate::TUNNEL).expect("a label");
    let set = &*SET;
    bencher.bench_local(|| {
        set.covers(black_box(&Lineage {
            session: Some(&session),
            device: &device,
            user: &user,
            tunnel: Some(&tunnel),
            opened_by: OpenedBy::SignedToken,
            signed_in_at: NOW,
        }))
    });
}
