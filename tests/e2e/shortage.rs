//! More than the edge has: connections, requests and descriptors run out for those who take too many, and for nobody
//! else; health answers throughout.

use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use url::Url;

use crate::rig::client::{Stream, Visitor};
use crate::rig::edge::Setup;
use crate::rig::journey::Person;
use crate::rig::process::within;
use crate::rig::scene::Scene;

const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

/// Opens connections until one is refused.
async fn all_there_are(visitor: &Visitor, url: &Url, most: usize) -> Vec<Box<dyn Stream>> {
    let mut held = Vec::new();
    while let Ok(stream) = visitor.dial(url, None).await {
        held.push(stream);
        assert!(held.len() <= most, "there is no end to them");
    }
    held
}

async fn limited(scene: &Scene, limit: &str) -> u64 {
    let told = scene.edge.visitor().curl(&scene.edge.operator("/metrics")).await.must_be(200).text();
    let name = format!("patapim_edge_limited_total{{limit=\"{limit}\"}} ");
    let value = told.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted");
    value.parse().expect("a number")
}

/// Asks until there is an answer: connections that were closed are noticed one after the other.
async fn served_again(visitor: &Visitor, url: &Url) {
    let asked = async {
        loop {
            match visitor.stranger().curl(url).whole().await {
                Ok(answer) => return answer.must_be(401),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    within("service after the crowd has gone", asked).await;
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_have_theirs() {
    let scene = Scene::with(Setup::default().with("[limits]\nconnections_per_address = 20")).await;
    let (visitor, page) = (scene.edge.visitor(), scene.page("/"));
    let held = all_there_are(&visitor, &page, 20).await;
    assert!(!held.is_empty());
    assert!(visitor.h2().dial(&page, None).await.is_err(), "nor over HTTP/2");
    visitor.by_way_of(ELSEWHERE, b"").curl(&page).await.must_be(401);
    assert!(limited(&scene, "address_connections").await >= 2);
    drop(held);
    served_again(&visitor, &page).await;
}

#[tokio::test]
async fn all_together_have_so_many_connections_and_health_answers() {
    let scene = Scene::with(Setup::default().with("[limits]\nconnections = 20")).await;
    let (visitor, page) = (scene.edge.visitor(), scene.page("/"));
    let held = all_there_are(&visitor, &page, 20).await;
    assert!(visitor.by_way_of(ELSEWHERE, b"").dial(&page, None).await.is_err());
    visitor.curl(&scene.edge.operator("/healthz")).await.must_be(200);
    assert!(limited(&scene, "connections").await >= 2);
    drop(held);
    served_again(&visitor, &page).await;
}

#[tokio::test]
async fn a_session_has_so_many_requests_a_minute_and_another_has_its_own() {
    let setup = Setup::default().with("[limits]\nrequests_per_session = 10");
    let mut scene = Scene::with(setup).await;
    let page = scene.page("/echo");
    scene.ada.open(&page).await.must_be(200);
    let ask = || scene.ada.browser.fetch(Method::GET, &page);
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(ask().await);
    }
    let seen = scene.app.count();
    let refused = ask().await.must_be(429);
    assert_eq!(refused.headers["retry-after"], "60");
    assert_eq!(refused.json()["type"], "/problems/too-many-requests");
    assert_eq!(scene.app.count(), seen, "nothing reaches the app");
    assert!(answers.iter().any(|answer| answer.status == 200), "those before did");
    assert!(limited(&scene, "session_requests").await >= 1);

    let mut elsewhere = Person { browser: scene.ada.browser.stranger(), ..scene.ada };
    elsewhere.open(&page).await.must_be(200);
}

#[tokio::test]
async fn an_address_has_so_many_requests_a_minute_wherever_it_asks() {
    let scene = Scene::with(Setup::default().with("[limits]\nrequests_per_address = 200")).await;
    let (visitor, page) = (scene.edge.visitor(), scene.page("/"));
    let mut connection = visitor.connect(&page, None).await.expect("a connection");
    let refused = async {
        loop {
            let answer = connection.send(visitor.navigate(&page)).await.expect("an answer");
            let status = answer.status();
            let after = answer.headers().get("retry-after").cloned();
            http_body_util::BodyExt::collect(answer.into_body()).await.expect("a page");
            if status != 303 {
                return (status, after);
            }
        }
    };
    let (status, after) = within("an end", refused).await;
    assert_eq!((status.as_u16(), after.expect("a time to wait").to_str().expect("text")), (429, "60"));
    visitor.curl(&scene.edge.deployer("/auth")).await.must_be(429);
    visitor.by_way_of(ELSEWHERE, b"").curl(&page).await.must_be(401);
    visitor.curl(&scene.edge.operator("/healthz")).await.must_be(200);
}

#[tokio::test]
async fn where_descriptors_run_out_health_answers_and_service_comes_back() {
    let app = crate::rig::app::App::start("ada's app").await;
    let plan = Setup::default().upstream(crate::rig::scene::TUNNEL, "ada", &app.url()).plan();
    let mut command = Command::new("sh");
    let program = plan.serve();
    command
        .arg("-c")
        .arg("ulimit -n 128 && exec \"$0\" \"$@\"")
        .arg(program.get_program())
        .args(program.get_args());
    let edge = plan.start_as(command).await;
    let ada = Person::enrolled(&edge, "ada").await;
    let scene = Scene { edge, app, ada };
    let (visitor, page) = (scene.edge.visitor(), scene.page("/"));

    let port = page.port().expect("a port");
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(("127.0.0.1", port)).await.expect("the kernel takes them all"));
    }
    // The last one of many is refused as soon as it is accepted, and then all before it were.
    let mut word = [0];
    let last = crowd.last_mut().expect("many");
    let end = within("the last one's end", last.read(&mut word)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert!(visitor.dial(&page, None).await.is_err(), "there is nothing left");

    let (began, ticks) = (Instant::now(), scene.edge.process.ticks());
    for _ in 0..20 {
        visitor.curl(&scene.edge.operator("/healthz")).await.must_be(200);
        visitor.curl(&scene.edge.operator("/readyz")).await.must_be(200);
    }
    assert!(limited(&scene, "descriptors").await > 100);
    crate::rig::process::let_pass(Duration::from_secs(1)).await;
    let busy = Duration::from_millis(10 * (scene.edge.process.ticks() - ticks));
    assert!(busy < began.elapsed() / 2, "{busy:?} of {:?}", began.elapsed());

    drop(crowd);
    served_again(&visitor, &page).await;
    assert!(scene.edge.admin(&["session", "list"]).await.is_array());
}
