//! The bytes of one agent's connection, moved by a task of its own, so that a request is written without waking anything
//! else; and how much of what an agent sends may lie here unread.
//!
//! Each stream has a window: what its visitor has not taken yet is held at the edge. While few streams are open it is as
//! wide as it can be; the more there are, the narrower it is, so that all of them together stay near the tunnel's
//! memory. A window is narrowed by SETTINGS, which bind an agent once it has agreed, so it has to.
//!
//! What was taken is given back in larger pieces, and looked at only when something is taken. A stream with a piece not given
//! back yet may so have nothing left once its window is narrowed, and then nothing would come that could be taken: each stream
//! is told of every agreement, and looks again.

use std::time::Duration;

use bytes::Bytes;
use h2::client::Connection;
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Ending;
use crate::metrics::{Limit, metrics};
use crate::wire::http2::{self, STREAM_WINDOW};

/// The narrowest window: less, and a visitor far away would feel it.
const NARROWEST: u32 = 64 * 1024;

/// How long an agent may take to agree to a window.
const AGREEMENT: Duration = Duration::from_secs(10);

/// How soon it is looked at whether a window was agreed to, and asked for once more where another was not.
const ASKED_AGAIN: Duration = Duration::from_millis(10);

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

/// Tells that the agent has agreed to another window.
#[derive(Clone, Debug)]
pub(super) struct Agreements(watch::Receiver<()>);

impl Agreements {
    /// Of a connection whose windows stay as they are.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(watch::channel(()).1)
    }

    /// The next piece of what the agent sends on `stream`; `None` at its end. May be dropped and called again.
    pub(super) async fn receive(&mut self, stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
        loop {
            tokio::select! {
                biased;
                piece = http2::receive(stream) => return piece,
                Ok(()) = self.0.changed() => {}
            }
            // It gives nothing back, and has HTTP/2 look at what was. Nothing cannot be too much.
            let _ = stream.flow_control().release_capacity(0);
        }
    }
}

/// Moves the connection's bytes. Dropped, it ends the connection.
pub(super) struct Driver(JoinHandle<Result<(), h2::Error>>);

impl Driver {
    /// Whose streams get the window that `window` says.
    pub(super) fn start<IO>(
        connection: Connection<IO, Bytes>,
        window: watch::Receiver<u32>,
    ) -> (Self, Agreements)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (agreed, agreements) = watch::channel(());
        (Self(tokio::spawn(drive(Box::new(connection), window, agreed))), Agreements(agreements))
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
    agreed: watch::Sender<()>,
) -> Result<(), h2::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut asked = STREAM_WINDOW;
    // Since when the agent owes its agreement.
    let mut since: Option<Instant> = None;
    let mut adapts = true;
    loop {
        let again = since.map(|since| (since + AGREEMENT).min(Instant::now() + ASKED_AGAIN));
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            changed = window.changed(), if adapts => adapts = changed.is_ok(),
            () = at(again) => {}
        }
        let wanted = *window.borrow_and_update();
        let due = since.is_some_and(|since| since.elapsed() >= AGREEMENT);
        if wanted == asked && since.is_none() {
            continue;
        }
        match connection.set_initial_window_size(wanted) {
            // Which means that all before was agreed to.
            Ok(()) => {
                if since.is_some() {
                    agreed.send_replace(());
                }
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
    use http::{Request, Response};
    use tokio::io::duplex;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    /// What is taken, and too little yet to be given back.
    const TAKEN: usize = STREAM_WINDOW as usize * 3 / 10;

    #[tokio::test]
    async fn what_was_taken_before_a_window_was_narrowed_is_given_back() {
        let (near, far) = duplex(1 << 20);
        let (narrowed, goes_on) = oneshot::channel();
        tokio::spawn(async move {
            let mut agent = http2::server().handshake::<_, Bytes>(far).await.expect("HTTP/2");
            let (_, mut respond) = agent.accept().await.expect("a request").expect("sound");
            tokio::spawn(async move { while agent.accept().await.is_some() {} });
            let mut body = respond.send_response(Response::new(()), false).expect("open");
            http2::send(&mut body, &mut Bytes::from(vec![0; TAKEN]), false).await.expect("room");
            goes_on.await.expect("the edge is there");
            http2::send(&mut body, &mut Bytes::from_static(b"more"), true).await.expect("room");
        });
        let (mut requests, connection) = http2::client().handshake(near).await.expect("HTTP/2");
        let (window, windows) = watch::channel(STREAM_WINDOW);
        let (_driver, mut agreements) = Driver::start(connection, windows);
        let request = Request::get("https://a.test/").body(()).expect("a request");
        let (response, _) = requests.send_request(request, true).expect("open");
        let mut body = response.await.expect("an answer").into_body();
        let mut taken = 0;
        while taken < TAKEN {
            taken += agreements.receive(&mut body).await.expect("more").expect("sound").len();
        }

        let mut told = agreements.clone();
        window.send_replace(NARROWEST);
        told.0.changed().await.expect("the agent agrees");
        narrowed.send(()).expect("it waits");
        let more = timeout(Duration::from_secs(20), agreements.receive(&mut body)).await;
        assert_eq!(more.expect("the stream goes on").expect("more").expect("sound"), "more");
    }

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
