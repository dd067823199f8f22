//! When to dial again.

use std::time::Duration;

use crate::secret::{Entropy, random};

/// Full jitter: any time between now and a bound that doubles with each failure. Ten thousand agents that lost the
/// same edge do not come back in step.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(Duration::from_millis(400), Duration::from_secs(10))
    }
}

impl Backoff {
    /// The bound begins at `first` and ends at `longest`.
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        jittered(doubled.min(self.longest), entropy)
    }

    /// It worked: the next failure is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Any time up to `bound`.
pub(super) fn jittered(bound: Duration, entropy: &dyn Entropy) -> Duration {
    let part = u32::from_be_bytes(random::<4>(entropy));
    bound.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Always the same byte.
    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn the_bound_doubles_up_to_its_limit() {
        let mut backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(5));
        let waits: Vec<_> = (0..40).map(|_| backoff.next(&Fixed(255)).as_secs()).collect();
        assert_eq!(waits[..5], [1, 2, 4, 5, 5]);
        assert_eq!(waits[39], 5, "forty failures do not overflow");
        backoff.reset();
        assert_eq!(backoff.next(&Fixed(255)).as_secs(), 1);
    }

    #[test]
    fn it_may_be_at_once() {
        assert_eq!(Backoff::default().next(&Fixed(0)), Duration::ZERO);
    }
}
