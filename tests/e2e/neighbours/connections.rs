//! One certificate for all tunnels: the browser would take one connection for two of them.

use serde_json::{Value, json};

use super::Neighbourhood;

/// Asks for much at once, and gives whose app each answer is from.
const ASK: &str = "Promise.all([...Array(24).keys()].map((number) => \
    fetch(`/tag/${number}`, number % 2 ? { method: 'POST', body: 'b' } : {}) \
        .then((answer) => answer.text()).then((text) => text.split(':')[0])))";

/// Both tunnels are asked at once, each by a page of its own.
pub(super) async fn are_not_taken_for_each_other(hood: &Neighbourhood) {
    hood.go_evil().await;
    let other = hood.stage.chromium.tab().await;
    other.go(&hood.stage.page("/")).await;
    let (mine, evils) = tokio::join!(other.eval(ASK), hood.stage.tab.eval(ASK));
    assert_eq!(mine, Value::from(vec!["Ada's notes"; 24]));
    assert_eq!(evils, json!(vec!["evil"; 24]));
}
