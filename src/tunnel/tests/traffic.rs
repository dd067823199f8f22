//! What goes through.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use sha2::{Digest as _, Sha256};

use super::*;

#[tokio::test]
async fn a_request_reaches_the_app_as_the_visitor_sent_it() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("https://{HOST}:8443/head?q=%2F&token=theirs"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-patapim-user", "ada")
        .header(SESSION_HEADER, SESSION)
        .body(())
        .expect("a request");
    let answer = ask(&link, request).await.expect("an answer");
    assert_eq!(answer.head.status(), StatusCode::OK);
    let lines: Vec<_> = answer.text().lines().collect();
    assert_eq!(lines[0], "GET /head?q=%2F&token=theirs");
    for wanted in [
        format!("host: {HOST}:8443"),
        "cookie: a=1; b=2".into(),
        "x-patapim-user: ada".into(),
        format!("x-patapim-session: {SESSION}"),
    ] {
        assert!(lines.contains(&wanted.as_str()), "{wanted} in {lines:?}");
    }
    assert_eq!(lines.len(), 5, "nothing was added: {lines:?}");
    assert!(!answer.head.headers().contains_key("connection"));
}

#[tokio::test]
async fn the_app_may_be_told_another_host() {
    let (app, _app) = app::start().await;
    let edge = Edge::start().await;
    let app = AppAddress::parse(&app).expect("an address").with_host("localhost:3000").expect("a host");
    let _agent = Running::with(edge.link(), app);
    let answer = ask(&*edge.agent_link().await, get("/head")).await.expect("an answer");
    assert!(answer.text().contains("host: localhost:3000"), "{}", answer.text());
}

#[tokio::test]
async fn both_directions_stream_at_once_without_waiting_for_an_end() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let Opened { response, mut body, permit: _permit } = link.open(post("/echo"), false).expect("a stream");
    let mut echo = None;
    let mut response = Some(response);
    for word in ["one", "two", "three"] {
        http2::send(&mut body, &mut Bytes::from(word), false).await.expect("sent");
        if let Some(response) = response.take() {
            echo = Some(soon(response).await.expect("an answer before the request ended").into_body());
        }
        let stream = echo.as_mut().expect("answered");
        let piece = soon(http2::receive(stream)).await.expect("a piece").expect("whole");
        assert_eq!(piece, word);
    }
    http2::send(&mut body, &mut Bytes::new(), true).await.expect("ended");
    assert!(soon(http2::receive(echo.as_mut().expect("answered"))).await.is_none());
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let Opened { response, body: _body, permit: _permit } = link.open(get("/clock"), true).expect("a stream");
    let mut events = soon(response).await.expect("an answer").into_body();
    let mut heard = String::new();
    for tick in 0..50 {
        let event = format!("data: {tick}\n\n");
        while !heard.contains(&event) {
            let piece = soon(http2::receive(&mut events)).await.expect("a piece").expect("whole");
            heard.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_come_back_as_they_went() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let Opened { response, mut body, permit: _permit } = link.open(post("/echo"), false).expect("a stream");
    let sending = tokio::spawn(async move {
        let mut hash = Sha256::new();
        for number in 0..1024u32 {
            let piece: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(64 * 1024).collect();
            hash.update(&piece);
            http2::send(&mut body, &mut Bytes::from(piece), number == 1023).await.expect("sent");
        }
        hash.finalize()
    });
    let mut echo = soon(response).await.expect("an answer").into_body();
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(piece) = soon(http2::receive(&mut echo)).await {
        let piece = piece.expect("whole");
        size += piece.len();
        hash.update(&piece);
    }
    assert_eq!(size, 64 << 20);
    assert_eq!(hash.finalize(), sending.await.expect("sent"));
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let mut request = get("/trailers");
    request.headers_mut().insert("te", "trailers".parse().expect("a value"));
    let answer = ask(&link, request).await.expect("an answer");
    assert_eq!(answer.text(), "summed");
    assert_eq!(answer.trailers.expect("trailers")["x-sum"], "42");

    let mut request = post("/echo");
    request.headers_mut().insert("te", "trailers".parse().expect("a value"));
    request.headers_mut().insert("trailer", "x-mark".parse().expect("a value"));
    let mut opened = link.open(request, false).expect("a stream");
    http2::send(&mut opened.body, &mut Bytes::from("marked"), false).await.expect("sent");
    let trailers = HeaderMap::from_iter([("x-mark".parse().expect("a name"), "7".parse().expect("a value"))]);
    opened.body.send_trailers(trailers).expect("sent");
    let answer = soon(read(opened)).await.expect("an answer");
    assert_eq!(answer.trailers.expect("trailers")["x-mark"], "7");
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_length() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let mut request = get("/zeros?1000");
    *request.method_mut() = Method::HEAD;
    let answer = ask(&link, request).await.expect("an answer");
    assert_eq!(
        (&answer.head.headers()["content-length"], answer.body.len()),
        (&"1000".parse().expect("a value"), 0)
    );
}

#[tokio::test]
async fn forty_visitors_who_do_not_read_hold_up_nobody() {
    let (app, _app) = app::start().await;
    let (_edge, _agent, link) = connected(&app).await;
    let mut stuck = Vec::new();
    for _ in 0..40 {
        let Opened { response, body, permit } = link.open(get("/zeros?8000000"), true).expect("a stream");
        stuck.push((soon(response).await.expect("an answer"), body, permit));
    }
    let answer = ask(&link, get("/zeros?3000000")).await.expect("an answer");
    assert_eq!(answer.body.len(), 3_000_000);
    // And those who went on reading late get all of it.
    let (response, ..) = stuck.pop().expect("forty");
    let mut stream = response.into_body();
    let mut size = 0;
    while let Some(piece) = soon(http2::receive(&mut stream)).await {
        size += piece.expect("whole").len();
    }
    assert_eq!(size, 8_000_000);
}

#[tokio::test]
async fn an_upload_that_the_app_does_not_read_waits_at_the_edge() {
    let (app, _app) = raw_app(|tcp| async move {
        let _open = tcp;
        std::future::pending().await
    })
    .await;
    let (_edge, _agent, link) = connected(&app).await;
    let mut opened = link.open(post("/"), false).expect("a stream");
    let mut sent = 0;
    let piece = Bytes::from(vec![0; 64 * 1024]);
    let sending = async {
        loop {
            http2::send(&mut opened.body, &mut piece.clone(), false).await.expect("sent");
            sent += piece.len();
        }
    };
    // What stops is the sender; there is no event for that.
    let _ = timeout(Duration::from_secs(1), sending).await;
    assert!(sent < 16 << 20, "{sent} bytes were taken for an app that reads nothing");
}
