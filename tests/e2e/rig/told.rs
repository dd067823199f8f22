//! What an edge tells of itself: its counters, and its trail.

use super::edge::Edge;
use super::process::within;

impl Edge {
    /// What its metrics say of a series, the prefix left out.
    pub(crate) async fn counted(&self, series: &str) -> u64 {
        let text = self.visitor().curl(&self.operator("/metrics")).await.must_be(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("patapim_edge_{series} ")));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().expect("a whole number")
    }

    /// How many approvals desktops have told it of, by its trail.
    pub(crate) fn approvals(&self) -> usize {
        self.trail().matches("\"device-approved\"").count()
    }

    /// Its trail, as it is on the disk.
    pub(crate) fn trail(&self) -> String {
        std::fs::read_to_string(self.data().join("audit.jsonl")).unwrap_or_default()
    }

    /// Waits until it has been told of more than `before`: the desktop's command does not wait for that.
    pub(crate) async fn hears_of_approval(&self, before: usize) {
        within("the edge to hear of the approval", async {
            while self.approvals() <= before {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
