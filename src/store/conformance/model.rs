//! Random transactions, compared with the simplest store there is: a map.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Subject, soon};
use crate::clock::{Clock as _, Timestamp};
use crate::store::{Commit, Cond, Entry, Key, Op, Revision, Tx};

/// What happens next.
#[derive(Clone, Debug)]
pub enum Step {
    /// A transaction. A condition's revision is that of the key's present value, plus what is given.
    Commit(Vec<CondOn>, Vec<OpOn>),
    /// So many seconds pass.
    Pass(u8),
}

/// A condition on the key of this number.
#[derive(Clone, Debug)]
pub enum CondOn {
    /// See [`Cond::Absent`].
    Absent(u8),
    /// See [`Cond::Present`].
    Present(u8),
    /// See [`Cond::AtRevision`].
    AtRevision(u8, u8),
}

/// A change of the key of this number.
#[derive(Clone, Debug)]
pub enum OpOn {
    /// A value, and in how many seconds it ends.
    Put(u8, u8, Option<u8>),
    /// No value.
    Delete(u8),
}

/// Up to forty steps on a handful of keys.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6u8;
    let cond = prop_oneof![
        key.clone().prop_map(CondOn::Absent),
        key.clone().prop_map(CondOn::Present),
        (key.clone(), prop_oneof![4 => Just(0u8), 1 => 1..3u8])
            .prop_map(|(key, off)| CondOn::AtRevision(key, off)),
    ];
    let op = prop_oneof![
        3 => (key.clone(), any::<u8>(), proptest::option::of(0..20u8)).prop_map(|(key, value, ends)| OpOn::Put(key, value, ends)),
        1 => key.prop_map(OpOn::Delete),
    ];
    let step = prop_oneof![
        5 => (vec(cond, 0..3), vec(op, 0..5)).prop_map(|(conds, ops)| Step::Commit(conds, ops)),
        1 => (0..8u8).prop_map(Step::Pass),
    ];
    vec(step, 1..40)
}

/// Panics where the store and the map differ.
pub(crate) async fn compare(subject: impl Subject, steps: Vec<Step>) {
    let (store, clock) = (subject.store(), subject.clock());
    let mut map: BTreeMap<Key, Entry> = BTreeMap::new();
    let mut revision = Revision(0);
    let key = |n: u8| Key::new(format!("{}/{n}", if n < 3 { "low" } else { "high" }));
    for step in steps {
        match step {
            Step::Pass(secs) => clock.advance(Duration::from_secs(secs.into())),
            Step::Commit(conds, ops) => {
                let at = |n| map.get(&key(n)).map(|entry| entry.revision);
                let cond = |cond: &CondOn| match *cond {
                    CondOn::Absent(n) => Cond::Absent(key(n)),
                    CondOn::Present(n) => Cond::Present(key(n)),
                    CondOn::AtRevision(n, off) => {
                        Cond::AtRevision(key(n), Revision(at(n).unwrap_or_default().0 + u64::from(off)))
                    }
                };
                let holds = conds.iter().all(|cond| match *cond {
                    CondOn::Absent(n) => at(n).is_none(),
                    CondOn::Present(n) => at(n).is_some(),
                    CondOn::AtRevision(n, off) => off == 0 && at(n).is_some(),
                });
                let op = |op: &OpOn| match *op {
                    OpOn::Put(n, value, ends) => Op::Put {
                        key: key(n),
                        value: vec![value].into(),
                        expires_at: ends.map(|secs| clock.now() + Duration::from_secs(secs.into())),
                    },
                    OpOn::Delete(n) => Op::Delete(key(n)),
                };
                let tx = Tx { conds: conds.iter().map(cond).collect(), ops: ops.iter().map(op).collect() };
                match soon(store.commit(tx.clone())).await.unwrap() {
                    Commit::Conflict => assert!(!holds, "refused: {tx:?}"),
                    Commit::Applied(now) => {
                        assert!(holds, "applied: {tx:?}");
                        assert!(now >= revision, "went back");
                        revision = now;
                        apply(&mut map, tx.ops, now);
                    }
                }
            }
        }
        forget_expired(&mut map, clock.now());
        for prefix in ["", "low/", "high/", "high/5"] {
            let expected: Vec<_> =
                map.values().filter(|entry| entry.key.starts_with(prefix)).cloned().collect();
            assert_eq!(store.range(prefix).await.unwrap().entries, expected);
        }
        for n in 0..6 {
            assert_eq!(store.get(&key(n)).await.unwrap().as_ref(), map.get(&key(n)));
        }
    }
}

fn apply(map: &mut BTreeMap<Key, Entry>, ops: Vec<Op>, revision: Revision) {
    for op in ops {
        match op {
            Op::Put { key, value, expires_at } => {
                map.insert(key.clone(), Entry { key, value, revision, expires_at });
            }
            Op::Delete(key) => {
                map.remove(&key);
            }
        }
    }
}

fn forget_expired(map: &mut BTreeMap<Key, Entry>, now: Timestamp) {
    map.retain(|_, entry| entry.expires_at.is_none_or(|at| at > now));
}
