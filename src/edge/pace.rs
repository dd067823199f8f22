//! Patience with a visitor who is the one that everybody waits for.
//!
//! A deadline for each read or write would let somebody go on for ever who moves a byte just before it. So patience is an
//! account: waiting spends it, bytes earn it back at the least rate, and it never holds more than one stall. An app that
//! pauses spends nothing of it, because then nobody waits for the visitor.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;

/// What is left of the patience with one visitor, in one direction.
#[derive(Debug)]
pub(super) struct Pace {
    stall: Duration,
    least_rate: u32,
    left: Duration,
    waiting_since: Option<Instant>,
    alarm: Alarm,
}

/// A timer that costs nothing until it is first set, and little when it is set again.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Sets it to `at`, in place of any time it was set to.
    pub(super) fn set(&mut self, at: Instant) {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.0 = Some(Box::pin(sleep_until(at))),
        }
    }

    /// Ready once its time has come; else it wakes the task then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}

impl Pace {
    /// With all patience there is.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            stall: limits.stall,
            least_rate: limits.least_rate.max(1),
            left: limits.stall,
            waiting_since: None,
            alarm: Alarm::default(),
        }
    }

    /// A new request, with a new account.
    pub(super) fn renew(&mut self) {
        self.left = self.stall;
        self.waiting_since = None;
    }

    /// The visitor is waited for; ready when that has been too long.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            self.alarm.set(now + self.left);
        }
        self.alarm.poll(cx)
    }

    /// The visitor has moved so many bytes.
    pub(super) fn moved(&mut self, bytes: usize) {
        let Some(since) = self.waiting_since.take() else { return };
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.least_rate));
        self.left = (self.left.saturating_sub(since.elapsed()) + earned).min(self.stall);
    }

    /// Waits for `piece`, whose size `len` tells. None when the visitor was too slow. May be dropped and called again.
    pub(super) async fn watch<T>(
        &mut self,
        piece: impl Future<Output = T>,
        len: impl FnOnce(&T) -> usize,
    ) -> Option<T> {
        let mut piece = std::pin::pin!(piece);
        let came = std::future::poll_fn(|cx| match piece.as_mut().poll(cx) {
            Poll::Ready(came) => Poll::Ready(Some(came)),
            Poll::Pending => self.poll_lost(cx).map(|()| None),
        })
        .await?;
        self.moved(len(&came));
        Some(came)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn pace() -> Pace {
        Pace::new(&Limits { stall: Duration::from_secs(10), least_rate: 100, ..Limits::default() })
    }

    /// Waits `wait` for `bytes`; whether the visitor is still there.
    async fn receives(pace: &mut Pace, wait: Duration, bytes: usize) -> bool {
        let piece = tokio::time::sleep(wait);
        pace.watch(piece, |()| bytes).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_for_a_stall_is_lost() {
        let began = Instant::now();
        let mut pace = pace();
        poll_fn(|cx| pace.poll_lost(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn who_moves_a_byte_now_and_then_is_lost_as_soon_as_who_moves_none() {
        let began = Instant::now();
        let mut pace = pace();
        while receives(&mut pace, Duration::from_secs(1), 1).await {}
        assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_to_the_least_rate_is_waited_for_without_end() {
        let mut pace = pace();
        for _ in 0..1000 {
            assert!(receives(&mut pace, Duration::from_secs(9), 900).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_moved_in_a_hurry_buys_no_more_than_one_stall() {
        let mut pace = pace();
        assert!(receives(&mut pace, Duration::from_secs(1), 1 << 30).await);
        assert!(!receives(&mut pace, Duration::from_secs(11), 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_costs_nothing() {
        let mut pace = pace();
        for _ in 0..1000 {
            assert!(receives(&mut pace, Duration::from_secs(5), 500).await);
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}
