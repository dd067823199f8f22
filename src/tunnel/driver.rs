//! The bytes of one agent's connection, moved by a task of its own, so that a request is written without waking anything
//! else; and how much of what an agent sends may lie here unread.
//!
//! Each stream has a window: what its visitor has not taken yet is held at the edge. While few streams are open it is as
//! wide as it can be; the more there are, the narrower it is, so that all of them together stay near the tunnel's
//! memory. A window is narrowed by SETTINGS, which bind an agent once it has agreed, so it has to.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Ending;
use crate::metrics::{Limit, metrics};
use crate::wire::http2::STREAM_WINDOW;

/// The narrowest window: less, and a visitor far away would feel it.
const NARROWEST: u32 = 64 * 1024;

/// How long an agent may take to agree to a window.
const AGREEMENT: Duration = Duration::from_secs(10);

/// How soon a window is asked for once more while another is not agreed to.
const ASKED_AGAIN: Duration = Duration::from_millis(50);

/// The window that so many open streams have of `memory` bytes.
pub(super) fn window(memory: usize, streams: usize) -> u32 {
    let mut window = STREAM_WINDOW;
    while window > NARROWEST && streams.saturating_mul(window as usize) > memory {
        window /= 2;
    }
    window
}

/// As [`window`], while `now` is the one there is: it is not made wider before that will last a while.
pub(super) fn next_window(now: u32, memory: usize, streams: usize) -> u32 {
    let wanted = window(memory, streams);
    if wanted > now { window(memory, streams * 2).max(now) } else { wanted }
}

/// Moves the connection's bytes. Dropped, it ends the connection.
pub(super) struct Driver(JoinHandle<Result<(), h2::Error>>);

impl Driver {
    /// Whose streams get the window that `window` says.
    pub(super) fn start<IO>(connection: Connection<IO, Bytes>, window: watch::Receiver<u32>) -> Self
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self(tokio::spawn(drive(Box::new(connection), window)))
    }

    pub(super) async fn ended(&mut self) -> Ending {
        match (&mut self.0).await {
            Ok(Ok(())) => Ending::Closed,
            Ok(Err(error)) => Ending::Broken(error),
            Err(_) => Ending::Closed,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Boxed for what it moves: an `async fn` would have room for it twice.
async fn drive<IO>(
    mut connection: Box<Connection<IO, Bytes>>,
    mut window: watch::Receiver<u32>,
) -> Result<(), h2::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut asked = STREAM_WINDOW;
    // Since when the agent owes its agreement.
    let mut since: Option<Instant> = None;
    let mut adapts = true;
    loop {
        let wanted = *window.borrow_and_update();
        let again = since.map(|since| match wanted == asked {
            true => since + AGREEMENT,
            false => (since + AGREEMENT).min(Instant::now() + ASKED_AGAIN),
        });
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            changed = window.changed(), if adapts => adapts = changed.is_ok(),
            () = at(again) => {}
        }
        let wanted = *window.borrow_and_update();
        let due = since.is_some_and(|since| since.elapsed() >= AGREEMENT);
        if wanted == asked && !due {
            continue;
        }
        match connection.set_initial_window_size(wanted) {
            // Which means that all before was agreed to.
            Ok(()) => {
                since = (wanted != asked).then(Instant::now);
                asked = wanted;
            }
            Err(_) if due => {
                metrics().limited(Limit::AgentMemory);
                return Err(Reason::SETTINGS_TIMEOUT.into());
            }
            Err(_) => since = since.or_else(|| Some(Instant::now())),
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_narrow_with_the_streams_and_stay_near_the_memory() {
        const MEMORY: usize = 64 << 20;
        assert_eq!(window(MEMORY, 1), STREAM_WINDOW);
        assert_eq!(window(MEMORY, 64), STREAM_WINDOW);
        assert_eq!(window(MEMORY, 65), STREAM_WINDOW / 2);
        assert_eq!(window(MEMORY, 1024), NARROWEST);
        assert_eq!(window(0, 1), NARROWEST);
        // The worst: each fills its window before the next opens.
        let held: usize = (1..=1024).map(|streams| window(MEMORY, streams) as usize).sum();
        assert!(held <= 3 * MEMORY, "{held}");
    }

    #[test]
    fn a_window_widens_only_when_that_lasts() {
        const MEMORY: usize = 64 << 20;
        let narrow = next_window(STREAM_WINDOW, MEMORY, 65);
        assert_eq!(narrow, STREAM_WINDOW / 2);
        assert_eq!(next_window(narrow, MEMORY, 64), narrow);
        assert_eq!(next_window(narrow, MEMORY, 32), STREAM_WINDOW);
        assert_eq!(next_window(narrow, MEMORY, 300), STREAM_WINDOW / 8);
    }
}
