//! Stopping: what is under way may end, for a while.
//!
//! Pingora's own server sleeps through the whole grace period whatever happens. Here everything under way holds a
//! guard, and the wait ends with the last of them.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// After the last request, its last bytes may still be on their way through HTTP/2 and TLS.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// What is under way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    requests: TaskTracker,
    connections: TaskTracker,
    /// Nobody waits any longer for those who do not ask.
    idle_over: CancellationToken,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct RequestGuard(#[expect(dead_code, reason = "counts while it lives")] TaskTrackerToken);

/// A visitor's connection.
#[derive(Debug)]
pub(super) struct ConnectionGuard(#[expect(dead_code, reason = "counts while it lives")] TaskTrackerToken);

impl InFlight {
    pub(super) fn new() -> Self {
        Self {
            requests: TaskTracker::new(),
            connections: TaskTracker::new(),
            idle_over: CancellationToken::new(),
        }
    }

    /// A request began.
    pub(super) fn request(&self) -> RequestGuard {
        RequestGuard(self.requests.token())
    }

    /// A visitor connected.
    pub(super) fn connection(&self) -> ConnectionGuard {
        ConnectionGuard(self.connections.token())
    }

    /// Waits until nothing is under way, at most `grace`. Gives how many requests were still under way then.
    pub(super) async fn drained(&self, grace: Duration) -> usize {
        let left = none_of(&self.requests, grace).await;
        self.idle_over.cancel();
        if left == 0 {
            none_of(&self.connections, LAST_BYTES).await;
        }
        left
    }

    /// As [`Self::drained`], and visitors who do not ask just now are waited for as well: nobody else needs the place.
    pub(super) async fn left(&self, grace: Duration) -> usize {
        none_of(&self.connections, grace).await;
        self.drained(Duration::ZERO).await
    }

    /// Resolves when connections without a request are to be closed. Not at once when the server is about to stop: a
    /// visitor may just be asking, and is answered once more.
    pub(super) fn idle_over(&self) -> WaitForCancellationFutureOwned {
        self.idle_over.clone().cancelled_owned()
    }
}

/// Waits until there is none of these, at most `patience`. Gives how many there are then.
async fn none_of(these: &TaskTracker, patience: Duration) -> usize {
    // Only one that is closed can be waited for; those that still come count all the same.
    these.close();
    let _ = timeout(patience, these.wait()).await;
    these.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_with_the_last_request() {
        let in_flight = InFlight::new();
        let (request, connection) = (in_flight.request(), in_flight.connection());
        let drained = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.drained(Duration::from_secs(30)).await }
        });
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        drop((request, connection));
        let began = tokio::time::Instant::now();
        assert_eq!(drained.await.expect("done"), 0);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_with_the_grace() {
        let in_flight = InFlight::new();
        let _request = in_flight.request();
        let began = tokio::time::Instant::now();
        assert_eq!(in_flight.drained(Duration::from_secs(30)).await, 1);
        assert_eq!(began.elapsed(), Duration::from_secs(30));
    }
}
