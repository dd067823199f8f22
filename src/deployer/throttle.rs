//! How often somebody may try: in memory, because what it guards lives for minutes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// So many are remembered at most, whoever tries: some three megabytes.
const MOST: usize = 32 * 1024;

/// So many tries in so long a time, for each of whoever tries.
pub(super) struct Throttle {
    most: u32,
    window: Duration,
    tried: Mutex<Tried>,
}

#[derive(Default)]
struct Tried {
    by: HashMap<String, Tries>,
    /// When those that are over were last forgotten.
    swept: Timestamp,
}

struct Tries {
    since: Timestamp,
    count: u32,
}

impl Throttle {
    pub(super) fn new(most: u32, window: Duration) -> Self {
        Self { most, window, tried: Mutex::default() }
    }

    /// Counts one more try of `who`; false if it is one too many. Counted before it is made, so that of many at once no
    /// more pass than may.
    pub(super) fn take(&self, who: &str, now: Timestamp) -> bool {
        let mut tried = self.lock();
        // Once a window: what this costs is spread over the tries that made it necessary.
        if now.since(tried.swept) >= self.window {
            tried.swept = now;
            tried.by.retain(|_, one| now.since(one.since) < self.window);
        }
        if tried.by.len() >= MOST && !tried.by.contains_key(who) {
            forget_some(&mut tried.by);
        }
        let one = tried.by.entry(who.to_owned()).or_insert(Tries { since: now, count: 0 });
        if now.since(one.since) >= self.window {
            *one = Tries { since: now, count: 0 };
        }
        let may = one.count < self.most;
        one.count += u32::from(may);
        may
    }

    /// A try that does not count after all.
    pub(super) fn give_back(&self, who: &str) {
        if let Some(one) = self.lock().by.get_mut(who) {
            one.count = one.count.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that tried least, of all that are remembered: a crowd of new ones must not wash away who tries again and again.
fn forget_some(by: &mut HashMap<String, Tries>) {
    let mut counts: Vec<u32> = by.values().map(|one| one.count).collect();
    let half = counts.len() / 2;
    let (_, &mut median, _) = counts.select_nth_unstable(half);
    let mut left = half;
    by.retain(|_, one| {
        let forgotten = one.count <= median && left > 0;
        left -= usize::from(forgotten);
        !forgotten
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_has_so_many_tries_in_so_long_a_time() {
        let throttle = Throttle::new(2, MINUTE);
        let now = Timestamp::from_secs(1000);
        assert!(throttle.take("a", now) && throttle.take("a", now) && !throttle.take("a", now));
        assert!(throttle.take("b", now), "another");
        throttle.give_back("a");
        assert!(throttle.take("a", now) && !throttle.take("a", now + Duration::from_secs(59)));
        assert!(throttle.take("a", now + MINUTE));
    }

    #[test]
    fn a_crowd_is_not_remembered_whole_and_washes_nobody_away() {
        let throttle = Throttle::new(3, MINUTE);
        let now = Timestamp::from_secs(1000);
        assert!((0..3).all(|_| throttle.take("persistent", now)));
        for n in 0..4 * MOST {
            assert!(throttle.take(&n.to_string(), now));
        }
        assert!(throttle.lock().by.len() <= MOST);
        assert!(!throttle.take("persistent", now));
    }

    #[test]
    fn days_of_tries_leave_no_more_than_those_of_the_last_two_windows() {
        let throttle = Throttle::new(1, MINUTE);
        for minute in 0..2 * 24 * 60 {
            for n in 0..5 {
                assert!(throttle.take(&format!("{minute}-{n}"), Timestamp::from_secs(60 * (minute + 1))));
            }
            assert!(throttle.lock().by.len() <= 10, "minute {minute}");
        }
    }
}
