//! An agent that does what a test tells it to, on a connection in memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::task::JoinHandle;

use crate::clock::{ManualClock, Timestamp};
use crate::names::{TunnelId, UserId};
use crate::secret::SystemEntropy;
use crate::tunnel::{AgentHost, serve_agent};
use crate::tunnel::{AgentIdentity, Registry, TunnelSettings};
use crate::wire::approval::SESSION_PATH;
use crate::wire::{CONTROL_AUTHORITY, SpkiPin, VERSION, http2};

pub(super) type Answer =
    Arc<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> BoxFuture<'static, ()> + Send + Sync>;

/// An agent that is connected; dropped, it is gone as if it had been killed.
pub(super) struct TestAgent {
    tasks: Vec<JoinHandle<()>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TestAgent {
    /// The paths of all requests that came over the tunnel, the edge's own among them.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("whole").clone()
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Connects an agent for `tunnel` that approves every session, and has `answer` answer every request.
pub(super) async fn connect(registry: &Arc<Registry>, tunnel: &TunnelId, answer: Answer) -> TestAgent {
    let (edge_end, agent_end) = tokio::io::duplex(64 * 1024);
    let host = AgentHost {
        registry: Arc::clone(registry),
        nonces: Arc::default(),
        clock: ManualClock::at(Timestamp::from_secs(1_790_000_000)),
        settings: TunnelSettings::default(),
        still_linked: Box::new(|_| Box::pin(async { true })),
        verdicts: Arc::new(|_, _, _| Box::pin(async {})),
    };
    let identity = AgentIdentity {
        tunnel: tunnel.clone(),
        user: UserId::random(&*SystemEntropy::shared()),
        pin: SpkiPin::of_spki(b"key"),
        public_url: String::new(),
    };
    let edge = tokio::spawn(async move {
        serve_agent(edge_end, identity, &host).await;
    });
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let paths = Arc::clone(&asked);
    let agent = tokio::spawn(async move {
        let mut connection = http2::server().handshake::<_, Bytes>(agent_end).await.expect("a handshake");
        let mut events = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            paths.lock().expect("whole").push(request.uri().path().to_owned());
            if request.uri().authority().is_some_and(|authority| authority == CONTROL_AUTHORITY) {
                let mut said = respond.send_response(Response::new(()), false).expect("sent");
                if request.uri().path() == SESSION_PATH {
                    said.send_data("{\"answer\":\"approved\"}\n".into(), true).expect("sent");
                } else {
                    let hello = format!("{{\"version\":{VERSION},\"name\":\"test\"}}\n");
                    said.send_data(hello.into(), false).expect("sent");
                    events.push(said);
                }
            } else {
                tokio::spawn(answer(request, respond));
            }
        }
    });
    registry.wait_for(tunnel, Duration::from_secs(5)).await.expect("connected");
    TestAgent { tasks: vec![edge, agent], asked }
}
