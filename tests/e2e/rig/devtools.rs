//! The Chrome DevTools protocol, as little of it as the tests need: commands, their answers, and events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream::SplitStream;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::process::within;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, Value>>>>>;

/// The connection to one browser.
#[derive(Clone)]
pub(crate) struct DevTools {
    next: Arc<AtomicU64>,
    outgoing: mpsc::UnboundedSender<String>,
    waiting: Waiting,
    events: broadcast::Sender<Arc<Value>>,
}

impl DevTools {
    /// Connects to the address that Chromium prints when it listens.
    pub(crate) async fn connect(address: &str) -> Self {
        let host = address.trim_start_matches("ws://").split('/').next().expect("a host");
        let stream = TcpStream::connect(host).await.expect("the browser listens");
        // A screenshot comes as one message.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let opened = tokio_tungstenite::client_async_with_config(address, stream, Some(config)).await;
        let (mut sink, source) = opened.expect("the browser speaks WebSocket").0.split();
        let (outgoing, mut to_send) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(text) = to_send.recv().await {
                if sink.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
        });
        let (waiting, events) = (Waiting::default(), broadcast::channel(4096).0);
        tokio::spawn(deliver(source, waiting.clone(), events.clone()));
        Self { next: Arc::default(), outgoing, waiting, events }
    }

    /// Sends a command, to a page's session or to the browser itself, and returns its result.
    pub(crate) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let answer = self.try_call(session, method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// As [`Self::call`], for what may fail.
    pub(crate) async fn try_call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().expect("whole").insert(id, sender);
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let _ = self.outgoing.send(command.to_string());
        within(method, receiver).await.unwrap_or_else(|_| Err("the browser is gone".into()))
    }

    /// Everything that happens from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Arc<Value>> {
        self.events.subscribe()
    }
}

async fn deliver(
    mut source: SplitStream<WebSocketStream<TcpStream>>,
    waiting: Waiting,
    events: broadcast::Sender<Arc<Value>>,
) {
    while let Some(Ok(message)) = source.next().await {
        let Message::Text(text) = message else { continue };
        let Ok(mut message) = serde_json::from_str::<Value>(&text) else { continue };
        match message["id"].as_u64() {
            Some(id) => {
                let answer = match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].take()),
                };
                if let Some(sender) = waiting.lock().expect("whole").remove(&id) {
                    let _ = sender.send(answer);
                }
            }
            // Nobody may be listening.
            None => drop(events.send(Arc::new(message))),
        }
    }
    waiting.lock().expect("whole").clear();
}
