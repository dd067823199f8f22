//! Who the visitor is where something stands in between: its word counts if the operator said so, and nobody else's.

use http::Method;
use http_body_util::BodyExt as _;

use crate::rig::client::Visitor;
use crate::rig::edge::Setup;
use crate::rig::scene::Scene;

/// The balancer, and somebody who is none.
const BALANCER: [u8; 4] = [127, 0, 0, 9];
const ANYBODY: [u8; 4] = [127, 0, 0, 8];

/// Version 2 of the PROXY protocol, for this address.
fn binary(from: [u8; 4]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &from, &[10, 0, 0, 1, 0x1f, 0x90, 1, 0xbb]].concat()
}

fn line(from: &str) -> String {
    format!("PROXY TCP4 {from} 10.0.0.1 8080 443\r\n")
}

async fn signed_in(proxies: &str) -> Scene {
    let mut scene = Scene::with(Setup::default().with(proxies)).await;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);
    scene
}

/// Whom the app is told that it speaks to.
async fn told(scene: &Scene, visitor: &Visitor, forwarded: &str) -> String {
    let request = visitor.fetch(Method::GET, &scene.page("/echo")).header("x-forwarded-for", forwarded);
    let echo = request.await.must_be(200).json();
    echo["headers"]["x-forwarded-for"].as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn a_balancer_says_who_the_visitor_is_and_nobody_else_does() {
    let scene = signed_in("[proxies]\nproxy_protocol = [\"127.0.0.9\"]").await;
    let ada = &scene.ada.browser;
    let by_balancer = |first: &[u8]| ada.by_way_of(BALANCER, first);
    for first in [line("203.0.113.7").into_bytes(), binary([203, 0, 113, 7])] {
        assert_eq!(told(&scene, &by_balancer(&first), "198.51.100.1").await, "203.0.113.7");
        assert_eq!(told(&scene, &by_balancer(&first).h2(), "198.51.100.1").await, "203.0.113.7");
    }
    assert_eq!(
        told(&scene, &by_balancer(b"PROXY UNKNOWN\r\n"), "").await,
        "127.0.0.9",
        "it speaks for itself"
    );
    assert_eq!(told(&scene, ada, "198.51.100.1").await, "127.0.0.1", "who comes straight is who it is");

    let page = scene.page("/");
    let half = line("203.0.113.7").replace(" 443", "");
    for (who, first) in [
        (BALANCER, Vec::new()),
        (BALANCER, half.into_bytes()),
        (BALANCER, binary([203, 0, 113, 7])[..20].to_vec()),
        (BALANCER, line("203.0.113.7").to_lowercase().into_bytes()),
        (ANYBODY, line("203.0.113.7").into_bytes()),
        (ANYBODY, binary([203, 0, 113, 7])),
    ] {
        assert!(ada.by_way_of(who, &first).dial(&page, None).await.is_err(), "{who:?}: {first:?}");
    }
    let listed = scene.edge.admin(&["session", "list"]).await;
    assert_eq!(listed[0]["address"], "127.0.0.1");

    let plain = by_balancer(line("203.0.113.7").as_bytes()).curl(&scene.edge.plain(&page)).await;
    assert_eq!(plain.status, 308, "redirects are behind it as well");
}

#[tokio::test]
async fn limits_are_for_the_visitors_behind_a_balancer_and_not_for_it() {
    let limits = "[limits]\nconnections_per_address = 20\n[proxies]\nproxy_protocol = [\"127.0.0.9\"]";
    let scene = Scene::with(Setup::default().with(limits)).await;
    let (page, visitor) = (scene.page("/"), scene.edge.visitor());
    let one = visitor.by_way_of(BALANCER, line("203.0.113.7").as_bytes());
    let mut held = Vec::new();
    while let Ok(stream) = one.dial(&page, None).await {
        held.push(stream);
        assert!(held.len() <= 20, "there is no end to them");
    }
    assert_eq!(held.len(), 20);
    visitor.by_way_of(BALANCER, line("203.0.113.8").as_bytes()).curl(&page).await.must_be(401);
}

#[tokio::test]
async fn a_crowd_of_addresses_leaves_nothing_behind() {
    let scene = Scene::with(Setup::default().with("[proxies]\nforwarded_for = [\"127.0.0.9\"]")).await;
    let (page, visitor) = (scene.page("/"), scene.edge.visitor().by_way_of(BALANCER, b""));
    let mut connection = visitor.connect(&page, None).await.expect("a connection");
    let mut ask = async |range: std::ops::Range<u32>| {
        for n in range {
            let [_, a, b, c] = n.to_be_bytes();
            let asked = visitor.curl(&page).header("x-forwarded-for", &format!("100.{a}.{b}.{c}"));
            let answer = connection.send(asked).await.expect("an answer");
            assert_eq!(answer.status(), 401);
            answer.into_body().collect().await.expect("a problem");
        }
        scene.edge.process.resident_kib()
    };
    let before = ask(0..1000).await;
    let after = ask(1000..6000).await;
    assert!(after < before + 4 * 1024, "{before} KiB before, {after} KiB after five thousand more");
}

#[tokio::test]
async fn a_forwarded_address_counts_from_a_trusted_proxy_alone() {
    let scene = signed_in("[proxies]\nforwarded_for = [\"127.0.0.9\", \"10.0.0.0/8\"]").await;
    let ada = &scene.ada.browser;
    let proxy = ada.by_way_of(BALANCER, b"");
    assert_eq!(told(&scene, &proxy, "203.0.113.7").await, "203.0.113.7");
    assert_eq!(told(&scene, &proxy, "198.51.100.1, 203.0.113.7, 10.1.2.3").await, "203.0.113.7");
    assert_eq!(told(&scene, &proxy, "nobody").await, "127.0.0.9");
    assert_eq!(told(&scene, ada, "203.0.113.7").await, "127.0.0.1");
}
