//! Connections that come, go, freeze, and misunderstand each other.

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::tunnel::Ending;
use crate::wire::{AgentHello, CONTROL_AUTHORITY, HELLO_PATH};

#[tokio::test]
async fn a_newer_agent_takes_over_and_the_older_ends_its_work_first() {
    let (app, _app) = app::start().await;
    let edge = Edge::start().await;
    let older_link = edge.link();
    let pin = older_link.key.pin();
    let mut older = Running::start(older_link, &app);
    let old = edge.agent_link().await;
    let mut upload = old.open(post("/count"), false).expect("a stream");
    http2::send(&mut upload.body, &mut Bytes::from("half "), false).await.expect("sent");

    let newer_link = edge.link();
    let _newer = Running::start(newer_link, &app);
    older.until(|state| *state == AgentState::Replaced).await;
    let new = edge.agent_link().await;
    assert!(!Arc::ptr_eq(&old, &new));
    assert_ne!(new.identity().pin, pin);
    assert!(old.open(get("/head"), true).is_err(), "nothing new goes to the older");
    ask(&new, get("/head")).await.expect("the newer serves");

    http2::send(&mut upload.body, &mut Bytes::from("done"), true).await.expect("sent");
    assert_eq!(soon(read(upload)).await.expect("an answer").text(), "9");
    assert!(matches!(older.ended().await, Err(RunError::Replaced)));
    assert_eq!(edge.registry.online().len(), 1);
}

#[tokio::test]
async fn an_agent_that_stops_lets_what_is_in_flight_end() {
    let (app, _app) = app::start().await;
    let (edge, agent, link) = connected(&app).await;
    let mut upload = link.open(post("/count"), false).expect("a stream");
    http2::send(&mut upload.body, &mut Bytes::from("half "), false).await.expect("sent");
    agent.shutdown.cancel();
    soon(async {
        while edge.registry.find(&tunnel()).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    http2::send(&mut upload.body, &mut Bytes::from("done"), true).await.expect("sent");
    assert_eq!(soon(read(upload)).await.expect("an answer").text(), "9");
    agent.ended().await.expect("stopped as asked");
}

#[tokio::test]
async fn an_agent_comes_back_when_its_connection_breaks() {
    let (app, _app) = app::start().await;
    let (edge, mut agent, first) = connected(&app).await;
    edge.registry.cut_off(&tunnel());
    soon(first.closed().cancelled()).await;
    let second = edge.agent_link().await;
    assert!(!Arc::ptr_eq(&first, &second));
    ask(&second, get("/head")).await.expect("an answer");
    agent.until(|state| matches!(state, AgentState::Connected { .. })).await;
}

#[tokio::test]
async fn an_agent_of_an_edge_that_drains_dials_anew_and_drops_nothing() {
    let (app, _app) = app::start().await;
    let (edge, agent, old) = connected(&app).await;
    let mut upload = old.open(post("/count"), false).expect("a stream");
    http2::send(&mut upload.body, &mut Bytes::from("half "), false).await.expect("sent");
    edge.registry.drain();
    soon(async {
        while edge.registry.find(&tunnel()).is_none_or(|link| Arc::ptr_eq(&link, &old)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    http2::send(&mut upload.body, &mut Bytes::from("done"), true).await.expect("sent");
    assert_eq!(soon(read(upload)).await.expect("an answer").text(), "9");
    soon(old.closed().cancelled()).await;
    ask(&*edge.agent_link().await, get("/head")).await.expect("an answer");
    assert!(!agent.ended.is_finished(), "its own newer connection does not end it");
}

/// The edge's side of a connection in memory, as one agent meets it.
fn served_in_memory(
    settings: TunnelSettings,
) -> (tokio::io::DuplexStream, JoinHandle<Ending>, Arc<Registry>) {
    served_while(true, settings)
}

/// As above, with what is known of the agent's key once it can be found.
fn served_while(
    linked: bool,
    settings: TunnelSettings,
) -> (tokio::io::DuplexStream, JoinHandle<Ending>, Arc<Registry>) {
    let registry = Registry::new();
    let host = AgentHost {
        registry: Arc::clone(&registry),
        nonces: Arc::default(),
        clock: SystemClock::not_before(Timestamp::default()),
        settings,
        still_linked: Box::new(move |_| Box::pin(async move { linked })),
        verdicts: Arc::new(|_, _, _| Box::pin(async {})),
    };
    let identity = AgentIdentity {
        tunnel: tunnel(),
        user: UserId::random(&*SystemEntropy::shared()),
        pin: SpkiPin::of_spki(b"key"),
        public_url: format!("https://{HOST}"),
    };
    let (near, far) = tokio::io::duplex(1 << 20);
    let serving = tokio::spawn(async move { serve_agent(far, identity, &host).await });
    (near, serving, registry)
}

type FakeAgent = h2::server::Connection<tokio::io::DuplexStream, Bytes>;

/// An agent that answers the hello with `line` and then does what the test does with it.
async fn greeted(io: tokio::io::DuplexStream, line: String) -> (FakeAgent, h2::SendStream<Bytes>) {
    let mut connection: FakeAgent = soon(http2::server().handshake(io)).await.expect("HTTP/2");
    let (request, mut respond) = soon(connection.accept()).await.expect("a request").expect("whole");
    assert_eq!(request.uri().path(), HELLO_PATH);
    assert_eq!(request.uri().authority().expect("an authority"), CONTROL_AUTHORITY);
    let mut events = respond.send_response(Response::new(()), false).expect("answered");
    events.send_data(line.into(), false).expect("sent");
    (connection, events)
}

fn hello(version: u32) -> String {
    let hello =
        AgentHello { version, name: "Fake".into(), software: String::new(), again: false, nonce: None };
    serde_json::to_string(&hello).expect("JSON") + "\n"
}

#[tokio::test]
async fn a_frozen_agent_is_found() {
    let rhythm = Rhythm {
        every: Duration::from_millis(20),
        at_rest: Duration::ZERO,
        deadline: Duration::from_secs(2),
    };
    let (io, serving, registry) = served_in_memory(TunnelSettings { rhythm, ..TunnelSettings::default() });
    let (mut connection, _events) = greeted(io, hello(1)).await;
    let tunnel = tunnel();
    let link = soon(async {
        loop {
            tokio::select! {
                found = registry.wait_for(&tunnel, PATIENCE) => break found.expect("an agent"),
                _ = connection.accept() => {}
            }
        }
    })
    .await;
    // It answers for a while, and then holds the connection without ever looking at it again.
    soon(async {
        while link.rtt().is_none() {
            let _ = timeout(Duration::from_millis(5), connection.accept()).await;
        }
    })
    .await;
    let ending = soon(serving).await.expect("no panic");
    assert!(matches!(ending, Ending::Silent(_)), "{ending}");
    assert!(link.closed().is_cancelled());
    drop(connection);
}

#[tokio::test]
async fn more_under_way_than_the_line_carries_narrows_what_a_stream_may_have() {
    let (io, _serving, registry) = served_in_memory(TunnelSettings::default());
    let (mut connection, _events) = greeted(io, hello(1)).await;
    let tunnel = tunnel();
    let link = soon(async {
        tokio::select! {
            found = registry.wait_for(&tunnel, PATIENCE) => found.expect("an agent"),
            _ = connection.accept() => panic!("nothing is asked"),
        }
    })
    .await;
    assert_eq!(link.window_now(), http2::STREAM_WINDOW);
    link.measured(Duration::from_millis(20), 0);
    link.measured(Duration::from_millis(400), 500_000);
    assert!(link.window_now() <= 52_000, "{}", link.window_now());
}

#[tokio::test]
async fn an_agent_of_an_unknown_version_is_refused_with_a_sentence() {
    let (io, serving, registry) = served_in_memory(TunnelSettings::default());
    let (mut connection, _events) = greeted(io, hello(2)).await;
    let (request, mut respond) = soon(connection.accept()).await.expect("a request").expect("whole");
    assert_eq!(request.uri().path(), "/outdated");
    let mut body = request.into_body();
    let said = tokio::select! {
        said = http2::receive(&mut body) => said.expect("a body").expect("whole"),
        _ = connection.accept() => panic!("closed before it was said"),
    };
    assert!(std::str::from_utf8(&said).expect("text").contains("version 2"), "{said:?}");
    respond.send_response(Response::new(()), true).expect("answered");
    while let Some(Ok(_)) = soon(connection.accept()).await {}
    assert!(matches!(soon(serving).await.expect("no panic"), Ending::Outdated(_)));
    assert!(registry.online().is_empty());
}

#[tokio::test]
async fn an_unlinking_between_handshake_and_claim_is_not_missed() {
    let (io, serving, registry) = served_while(false, TunnelSettings::default());
    let (mut connection, _events) = greeted(io, hello(1)).await;
    let (request, mut respond) = soon(connection.accept()).await.expect("a request").expect("whole");
    assert_eq!(request.uri().path(), "/unlinked");
    respond.send_response(Response::new(()), true).expect("answered");
    while let Some(Ok(_)) = soon(connection.accept()).await {}
    assert!(matches!(soon(serving).await.expect("no panic"), Ending::Cut));
    assert!(registry.online().is_empty());
}

#[tokio::test]
async fn an_agent_that_says_nothing_or_nonsense_is_let_go() {
    let deadline = TunnelSettings { hello_deadline: Duration::from_millis(50), ..TunnelSettings::default() };
    let (_io, serving, _) = served_in_memory(deadline);
    assert!(matches!(soon(serving).await.expect("no panic"), Ending::NoHello));

    let (mut io, serving, registry) = served_in_memory(TunnelSettings::default());
    io.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    assert!(matches!(soon(serving).await.expect("no panic"), Ending::Broken(_)));
    assert!(registry.online().is_empty());

    let (io, serving, _) = served_in_memory(TunnelSettings::default());
    let (mut connection, mut events) = greeted(io, hello(1)).await;
    events.send_data(Bytes::from(vec![b'x'; 20_000]), false).expect("sent");
    while let Some(Ok(_)) = soon(connection.accept()).await {}
    assert!(matches!(soon(serving).await.expect("no panic"), Ending::Events(_)));
}

#[tokio::test]
async fn an_edge_of_an_unknown_version_is_refused_with_a_sentence() {
    let (certificates, ca) = certificates(EDGE_HOST);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = client_cert::server_config(provider, certificates).expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let edge = Edge::start().await;
    let mut link = edge.link();
    let port = listener.local_addr().expect("bound").port();
    link.edge = EdgeAddress::parse(&format!("https://{EDGE_HOST}:{port}")).expect("an address");
    link.ca = Some(ca);
    let agent = Running::start(link, "http://127.0.0.1:1");

    let (tcp, _) = soon(listener.accept()).await.expect("a connection");
    let io = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.expect("TLS");
    let (mut requests, connection) = http2::client().handshake::<_, Bytes>(io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request =
        Request::post(format!("https://{CONTROL_AUTHORITY}{HELLO_PATH}")).body(()).expect("a request");
    let (response, mut body) = requests.send_request(request, false).expect("sent");
    body.send_data(r#"{"version":9,"tunnel":"of a new kind"}"#.into(), true).expect("sent");
    let response = soon(response).await.expect("an answer");
    assert_eq!(response.status(), http::StatusCode::UPGRADE_REQUIRED);
    drop((response, requests));
    let ended = agent.ended().await.expect_err("refused");
    assert!(ended.to_string().starts_with("version mismatch: "), "{ended}");
}
