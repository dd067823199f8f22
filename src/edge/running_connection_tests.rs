//! Which site a connection leads to, and what it ends with.

use http::Version;

use super::*;

#[tokio::test]
async fn a_host_that_is_not_ours_is_misdirected_and_its_neighbours_live_on() {
    let test = Test::start().await;
    let ask = |host: &str| {
        Request::builder()
            .uri(format!("https://{host}/"))
            .version(Version::HTTP_2)
            .body(Empty::new())
            .expect("one")
    };
    let mut h2 = test.h2(TUNNEL).await;
    for host in ["evil.test", "deployer.patapim.test", "eve-abc234.tunnel.patapim.test"] {
        let answer = h2.send_request(ask(host)).await.expect("answered");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["cache-control"]),
            (421, &"no-store".parse().expect("v"))
        );
    }
    assert_eq!(h2.send_request(ask(TUNNEL)).await.expect("answered").status(), 401);

    let mut h1 = test.h1(TUNNEL).await;
    let request = Request::builder().uri("/").body(Empty::new()).expect("a request");
    assert_eq!(h1.send_request(request).await.expect("answered").status(), 400);
}

#[tokio::test]
async fn the_deployer_is_there_and_publishes_the_keys_of_assertions() {
    let test = Test::start().await;
    let mut visitor = test.h2("deployer.patapim.test").await;
    for (path, status) in [("/auth", 200), ("/.well-known/jwks.json", 200), ("/nothing", 404)] {
        let request = Request::builder().uri(format!("https://deployer.patapim.test{path}"));
        let request = request.version(Version::HTTP_2).body(Empty::new()).expect("a request");
        assert_eq!(visitor.send_request(request).await.expect("answered").status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_drain_ends_with_the_last_request_and_not_before() {
    let test = Test::start().await;
    let session = test.signed_in().await;
    let waiting = test.waiting(&session).await;
    let mut drained = std::pin::pin!(test.running.drain(Duration::from_secs(30)));
    assert!(futures_util::poll!(&mut drained).is_pending());
    drop(waiting);
    tokio::time::timeout(Duration::from_secs(5), drained).await.expect("in time");
}
