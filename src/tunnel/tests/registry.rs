//! Who serves a tunnel, seen from those who look for it.

use super::*;
use crate::tunnel::{Cut, OpenError};

#[tokio::test]
async fn whoever_waits_is_woken_by_the_agent_that_comes() {
    let (app, _app) = app::start().await;
    let edge = Edge::start().await;
    assert!(edge.registry.find(&tunnel()).is_none());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let registry = Arc::clone(&edge.registry);
            tokio::spawn(async move { registry.wait_for(&tunnel(), PATIENCE).await })
        })
        .collect();
    let _agent = Running::start(edge.link(), &app);
    for waiter in waiting {
        let link = soon(waiter).await.expect("no panic").expect("an agent");
        assert_eq!(link.identity().tunnel, tunnel());
    }
}

#[tokio::test]
async fn whoever_waits_in_vain_leaves_no_trace() {
    let registry = Registry::new();
    assert!(registry.wait_for(&tunnel(), Duration::from_millis(1)).await.is_none());
    let given_up = timeout(Duration::from_millis(1), registry.wait_for(&tunnel(), PATIENCE)).await;
    assert!(given_up.is_err());
    assert_eq!(registry.tunnels_known(), 0);
}

#[tokio::test]
async fn an_agent_is_listed_while_it_serves_and_forgotten_after() {
    let (app, _app) = app::start().await;
    let (edge, agent, link) = connected(&app).await;
    let online = edge.registry.online();
    assert_eq!((online.len(), online[0].desktop.as_str(), &online[0].tunnel), (1, "Laptop", &tunnel()));
    agent.shutdown.cancel();
    agent.ended().await.expect("stopped as asked");
    soon(link.closed().cancelled()).await;
    assert!(matches!(link.open(get("/"), true), Err(OpenError::Gone)));
    assert!(edge.registry.online().is_empty());
    assert_eq!(edge.registry.tunnels_known(), 0);
}

#[tokio::test]
async fn a_tunnel_has_so_many_streams_and_gets_them_back() {
    let (app, _app) = app::start().await;
    let edge = Edge::with(TunnelSettings { streams: 2, ..TunnelSettings::default() }).await;
    let _agent = Running::start(edge.link(), &app);
    let link = edge.agent_link().await;
    let one = link.open(get("/clock"), true).expect("a stream");
    let two = link.open(get("/clock"), true).expect("a stream");
    assert_eq!(link.streams_open(), 2);
    assert!(matches!(link.open(get("/head"), true), Err(OpenError::Busy)));
    drop(one);
    ask(&link, get("/head")).await.expect("an answer");
    drop(two);
    assert_eq!(link.streams_open(), 0);
}

#[tokio::test]
async fn a_cut_ends_all_that_is_in_flight_and_the_agent_does_not_come_back() {
    let (app, _app) = app::start().await;
    let (edge, agent, link) = connected(&app).await;
    let Opened { response, body: _body, permit: _permit } = link.open(get("/clock"), true).expect("a stream");
    let mut events = soon(response).await.expect("an answer").into_body();
    let began = std::time::Instant::now();
    edge.known.lock().expect("whole").clear();
    edge.registry.cut(&tunnel(), Cut::Unlinked);
    let cut = async { while let Some(Ok(_)) = http2::receive(&mut events).await {} };
    soon(cut).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(matches!(agent.ended().await, Err(RunError::Unlinked)));
    assert!(edge.registry.find(&tunnel()).is_none());
}

#[tokio::test]
async fn an_agent_whose_owner_is_suspended_waits_and_says_why() {
    let (app, _app) = app::start().await;
    let (edge, mut agent, _link) = connected(&app).await;
    edge.registry.cut(&tunnel(), Cut::Suspended);
    let state = agent.until(|state| matches!(state, AgentState::Waiting { .. })).await;
    let AgentState::Waiting { problem } = state else { unreachable!() };
    assert!(problem.starts_with("refused by the edge: "), "{problem}");
}
