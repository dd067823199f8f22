//! The frames in a tab, those that the browser runs apart from their page included.

use serde_json::json;

use super::browser::Tab;

impl Tab {
    /// What each frame in the tab really shows, by its own word: its address, and what there is to read. Of frames that
    /// share their page's process, the address alone.
    pub(crate) async fn frames(&self) -> Vec<[String; 2]> {
        let tree = self.call("Page.getFrameTree", json!({})).await;
        let near = tree["frameTree"]["childFrames"].as_array().cloned().unwrap_or_default();
        let mut shown: Vec<_> =
            near.iter().map(|child| [text(&child["frame"]["url"]), String::new()]).collect();
        let targets = self.call("Target.getTargets", json!({})).await;
        let targets = targets["targetInfos"].as_array().cloned().unwrap_or_default();
        for apart in targets.iter().filter(|target| target["type"] == "iframe") {
            let how = json!({"targetId": apart["targetId"], "flatten": true});
            let attached = self.tools.call(None, "Target.attachToTarget", how).await;
            let look = "[location.href, document.body.innerText]";
            let asked = json!({"expression": look, "returnByValue": true});
            let told = self.tools.call(attached["sessionId"].as_str(), "Runtime.evaluate", asked).await;
            let told = &told["result"]["value"];
            shown.push([text(&told[0]), text(&told[1])]);
        }
        shown
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("text").to_owned()
}
