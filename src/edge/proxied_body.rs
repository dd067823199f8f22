//! A request's body on its way through Pingora's own loop, over HTTP/2.
//!
//! Nothing tells there when the loop waits for the visitor and when for the app; only each piece is seen as it passes. But
//! whatever is behind takes in a good deal before an app that does not read can hold anything up. Until so much has passed, it
//! is the visitor that everybody waits for. After that nobody can tell, and both are given much longer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Limits;
use super::life::Life;
use crate::metrics::{Limit, metrics};

/// Less than this fits into the buffers on the way to an app.
const FITS_BEHIND: usize = 128 * 1024;
/// So many times a stall may last where nobody can tell whose it is.
const DOUBT: u32 = 10;

/// What has passed of one body.
#[derive(Debug)]
pub(super) struct ProxiedBody {
    limits: Limits,
    left: Duration,
    since: Instant,
    passed: usize,
    due: watch::Sender<Option<Instant>>,
}

impl ProxiedBody {
    /// Begins with the wait for the first piece. The request ends when one is too long in coming.
    pub(super) fn begin(life: &Arc<Life>) -> Self {
        let limits = life.connection.limits;
        let since = Instant::now();
        let due = watch::Sender::new(Some(since + limits.stall));
        life.ends_unless(due.subscribe());
        Self { limits, left: limits.stall, since, passed: 0, due }
    }

    /// So many bytes have come.
    pub(super) fn passed(&mut self, bytes: usize) {
        let now = Instant::now();
        let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.limits.least_rate.max(1)));
        let waited = now.duration_since(self.since);
        self.passed += bytes;
        self.since = now;
        let patience = if self.passed < FITS_BEHIND {
            self.left = (self.left.saturating_sub(waited) + earned).min(self.limits.stall);
            self.left
        } else {
            self.limits.stall * DOUBT
        };
        self.due.send_replace(Some(now + patience));
    }

    /// The visitor owes nothing more.
    pub(super) fn settled(&self) {
        self.due.send_replace(None);
    }
}

/// Comes back when what was due did not come. Whoever says when it is due may be gone: then nothing is.
pub(super) async fn overdue(mut due: watch::Receiver<Option<Instant>>) {
    loop {
        let at = *due.borrow_and_update();
        let changed = async {
            if due.changed().await.is_err() {
                std::future::pending().await
            }
        };
        match at {
            None => changed.await,
            Some(at) => tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(at) => {
                    metrics().limited(Limit::SendingRate);
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> (ProxiedBody, watch::Receiver<Option<Instant>>) {
        let limits = Limits { stall: Duration::from_secs(10), least_rate: 100, ..Limits::default() };
        let (due, seen) = watch::channel(Some(Instant::now() + limits.stall));
        (ProxiedBody { limits, left: limits.stall, since: Instant::now(), passed: 0, due }, seen)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_byte_by_byte_is_overdue_as_soon_as_one_that_does_not_come() {
        for moves in [false, true] {
            let (mut body, due) = body();
            let began = Instant::now();
            let drip = async {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if moves {
                        body.passed(1);
                    }
                }
            };
            tokio::select! { () = overdue(due) => {}, () = drip => {} }
            assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_may_be_the_slow_one_is_given_longer_and_a_settled_body_all_time() {
        let (mut body, due) = body();
        body.passed(FITS_BEHIND);
        let began = Instant::now();
        overdue(due.clone()).await;
        assert_eq!(began.elapsed(), Duration::from_secs(100));
        body.settled();
        let never = tokio::time::timeout(Duration::from_secs(10_000), overdue(due));
        assert!(never.await.is_err());
    }
}
