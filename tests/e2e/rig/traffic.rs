//! What a tab's network did: which addresses were answered, and how.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use url::Url;

use super::browser::Tab;
use super::process::within;

/// A tab's requests since [`Tab::traffic`].
pub(crate) struct Traffic {
    events: Receiver<Arc<Value>>,
    session: String,
    asked: HashMap<String, String>,
    /// The status of each answer; 0 where the browser sent nothing or heard nothing.
    answered: BTreeMap<String, u64>,
}

impl Tab {
    /// Listens to the tab's network from now on.
    pub(crate) fn traffic(&self) -> Traffic {
        let (events, session) = (self.tools.events(), self.session.clone());
        Traffic { events, session, asked: HashMap::new(), answered: BTreeMap::new() }
    }
}

impl Traffic {
    /// Waits until a request to each of these paths has come to an end, and gives the statuses of all by their address.
    pub(crate) async fn answers_to(&mut self, paths: &[&str]) -> &BTreeMap<String, u64> {
        let all_there = |answered: &BTreeMap<String, u64>| {
            let there = |path: &&&str| {
                answered.keys().any(|url| Url::parse(url).is_ok_and(|url| url.path() == **path))
            };
            paths.iter().filter(there).count() == paths.len()
        };
        let heard = async {
            while !all_there(&self.answered) {
                let event = self.events.recv().await.expect("no more than can be kept");
                self.note(&event);
            }
        };
        within(&format!("answers to {paths:?}"), heard).await;
        &self.answered
    }

    fn note(&mut self, event: &Value) {
        if event["sessionId"] != self.session.as_str() {
            return;
        }
        let params = &event["params"];
        let Some(id) = params["requestId"].as_str() else { return };
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.asked.insert(id.to_owned(), url.to_owned());
            }
            Some("Network.responseReceived") => {
                let (url, status) = (&params["response"]["url"], &params["response"]["status"]);
                if let (Some(url), Some(status)) = (url.as_str(), status.as_u64()) {
                    self.answered.insert(url.to_owned(), status);
                }
            }
            Some("Network.loadingFailed") => {
                if let Some(url) = self.asked.get(id) {
                    self.answered.entry(url.clone()).or_insert(0);
                }
            }
            _ => {}
        }
    }
}
