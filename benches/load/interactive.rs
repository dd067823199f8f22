//! A small request while a long download goes through the same tunnel.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;

use super::contestant::Ours;
use super::figures::Fact;
use super::h2load::quantile;
use super::progress;

const REQUESTS: usize = 300;

/// On this machine's own speed.
pub(crate) async fn measure(origin: String) -> Vec<Fact> {
    let ours = Ours::with_tunnel(&origin).await;
    let found = compared(&ours, REQUESTS).await;
    vec![Fact {
        what: "a small request during a download through the same tunnel", found, aim: "≤ 3 × idle"
    }]
}

/// Alone, and then beside a download that never ends.
pub(crate) async fn compared(ours: &Ours, requests: usize) -> String {
    let idle = small_requests(ours, requests).await;
    let browser = ours.ada.browser.clone();
    let long = ours.edge.tunnel(&ours.tunnel, "/65536m");
    let mut download = browser.fetch(Method::GET, &long).open().await.expect("a download");
    download.piece().await.expect("its beginning").expect("its beginning");
    let began = Instant::now();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let reading = tokio::spawn(async move {
        let mut bytes = 0;
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                piece = download.piece() => bytes += piece.expect("no end").expect("a piece").len(),
                _ = &mut stopped => return bytes,
            }
        }
    });
    let busy = small_requests(ours, requests).await;
    let _ = stop.send(());
    let bytes = reading.await.unwrap_or(0);
    let speed = bytes as f64 / (1 << 20) as f64 / began.elapsed().as_secs_f64();
    let found = format!(
        "p50 {:.2} → {:.2} ms ({:.1} ×), p99 {:.2} → {:.2} ms ({:.1} ×), beside {speed:.0} MiB/s",
        quantile(&idle, 0.5),
        quantile(&busy, 0.5),
        quantile(&busy, 0.5) / quantile(&idle, 0.5),
        quantile(&idle, 0.99),
        quantile(&busy, 0.99),
        quantile(&busy, 0.99) / quantile(&idle, 0.99),
    );
    progress(&format!("interactive: {found}"));
    found
}

/// One after the other on a connection of their own; in milliseconds, sorted.
async fn small_requests(ours: &Ours, count: usize) -> Vec<f64> {
    let browser = &ours.ada.browser;
    let page = ours.edge.tunnel(&ours.tunnel, "/small");
    let mut connection = browser.connect(&page, None).await.expect("a connection");
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let asked = Instant::now();
        let answer = connection.send(browser.fetch(Method::GET, &page)).await.expect("an answer");
        assert_eq!(answer.status(), 200, "a small answer");
        answer.into_body().collect().await.expect("a whole answer");
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort_by(f64::total_cmp);
    took
}
