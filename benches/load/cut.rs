//! From a revocation to the end of what was open: a thousand WebSockets of one session.

use std::time::Instant;

use http::Method;
use tokio::task::JoinSet;

use super::contestant::Ours;
use super::figures::Fact;
use super::h2load::quantile;
use super::progress;
use crate::rig::app::App;

const SOCKETS: usize = 1000;

/// With agents in between and without.
pub(crate) async fn measure() -> Vec<Fact> {
    let app = App::start("ada's app").await;
    let alone = Ours::alone(&app.url()).await;
    let before = cut(&alone).await;
    let tunnel = Ours::with_tunnel(&app.url()).await;
    let behind = cut(&tunnel).await;
    const AIM: &str = "p50 < 10 ms, p99 < 50 ms";
    vec![
        Fact { what: "revoke → stream closed, 1,000 WebSockets, fixed upstream", found: before, aim: AIM },
        Fact {
            what: "revoke → stream closed, 1,000 WebSockets, through an agent", found: behind, aim: AIM
        },
    ]
}

async fn cut(ours: &Ours) -> String {
    let page = ours.edge.tunnel(&ours.tunnel, "/ws");
    let mut closing = JoinSet::new();
    for _ in 0..SOCKETS {
        let mut socket = ours.ada.browser.websocket(&page).await.expect("a WebSocket");
        closing.spawn(async move {
            socket.cut().await;
            // Given back later: what it takes to let go of a browser's end is not the edge's affair.
            (Instant::now(), socket)
        });
    }
    let listed = ours.edge.admin(&["session", "list"]).await;
    let session = listed.as_array().into_iter().flatten().find(|one| one["tunnel"] == ours.tunnel.as_str());
    let id = session.and_then(|session| session["id"].as_str()).expect("Ada's session").to_owned();
    let browser = ours.ada.browser.h2();
    let mut deployer = browser.connect(&ours.ada.deployer, None).await.expect("a connection");

    let asked = Instant::now();
    let revoke = browser.fetch(Method::DELETE, &ours.ada.api(&format!("/sessions/{id}")));
    let answer = deployer.send(revoke).await.expect("an answer");
    assert_eq!(answer.status(), 204, "the revocation");
    let answered = asked.elapsed().as_secs_f64() * 1e3;
    let ended = closing.join_all().await;
    let mut took: Vec<f64> = ended.iter().map(|(at, _)| (*at - asked).as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    let edge = own_figures(ours).await;
    let found = format!(
        "p50 {:.1}, p99 {:.1}, last {:.1} ms from the request on ({answered:.1} ms of it until the revocation is durable and answered){edge}",
        quantile(&took, 0.5),
        quantile(&took, 0.99),
        quantile(&took, 1.0),
    );
    progress(&format!("cut: {found}"));
    found
}

/// What the edge itself counts: from the revocation to each stream's end.
async fn own_figures(ours: &Ours) -> String {
    let text = ours.ada.browser.curl(&ours.edge.operator("/metrics")).await.text();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("patapim_edge_{name} ")))?;
        line.parse::<f64>().ok()
    };
    match (value("revocation_cut_seconds_sum"), value("revocation_cut_seconds_count")) {
        (Some(sum), Some(count)) if count > 0.0 => {
            format!("; {:.1} ms on average of {count:.0} by the edge's own metric", sum / count * 1e3)
        }
        _ => String::new(),
    }
}
