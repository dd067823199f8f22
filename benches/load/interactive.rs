//! A small request while a long download goes through the same tunnel.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;

use super::contestant::{Ours, Peer, free_port, ourselves};
use super::figures::Fact;
use super::h2load::quantile;
use super::progress;
use super::rig::edge::{SITES_APART, Setup};
use super::uplink::{self, Uplink};

/// On this machine's own speed, and over a slow line.
pub(crate) async fn measure(origin: String) -> Vec<Fact> {
    let aim = "≤ 3 × idle";
    let here = compared(&Ours::with_tunnel(&origin).await, 300, Duration::ZERO).await;
    // What fails does so by itself.
    let far =
        tokio::spawn(over_a_slow_line()).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let far = far.unwrap_or_else(|why| {
        let skipped = format!("not measured: it takes root, iproute2 and VXLAN ({why})");
        progress(&skipped);
        skipped
    });
    vec![
        Fact { what: "a small request during a download through the same tunnel", found: here, aim },
        Fact { what: "the same, the desktop behind a slow line", found: far, aim },
    ]
}

/// With the desktop, and its app, at the other end of an [`Uplink`].
async fn over_a_slow_line() -> std::io::Result<String> {
    let host = format!("city.{SITES_APART}");
    let line = Uplink::laid(&host).await?;
    let plan = Setup::default().base(SITES_APART).plan();
    let text = std::fs::read_to_string(plan.config())?;
    let port = text.split_once("https = [\"127.0.0.1:").and_then(|(_, rest)| rest.split_once('"'));
    let port = port.map_or("", |(port, _)| port);
    plan.rewrite(
        &format!("https = [\"127.0.0.1:{port}\"]"),
        &format!("https = [\"127.0.0.1:{port}\", \"{}:{port}\"]", uplink::EDGE),
    );
    let edge = plan.start().await;
    let app = free_port()?;
    let mut there = ourselves(&["origin", &app.to_string()])?;
    line.at_the_desk(&mut there);
    let app_there = Peer::spawn(&mut there)?;
    let ours =
        Ours::linked(edge, &format!("http://127.0.0.1:{app}"), |command| line.at_the_desk(command)).await;
    // TCP takes a while to fill the line.
    let found = compared(&ours, 150, Duration::from_secs(5)).await;
    drop((ours, app_there, line));
    let away = uplink::ROUND_TRIP.as_millis();
    Ok(format!("{found}, of {} with {} of queue, {away} ms away", uplink::RATE, uplink::QUEUE))
}

/// Alone, and then beside a download that never ends and has gone on for a while.
pub(crate) async fn compared(ours: &Ours, requests: usize, settled: Duration) -> String {
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
    tokio::time::sleep(settled).await;
    let busy = small_requests(ours, requests).await;
    let _ = stop.send(());
    let bytes = reading.await.unwrap_or(0);
    let speed = bytes as f64 / (1 << 20) as f64 / began.elapsed().as_secs_f64();
    let found = format!(
        "p50 {:.2} → {:.2} ms ({:.1} ×), p99 {:.2} → {:.2} ms ({:.1} ×), beside {speed:.1} MiB/s",
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
