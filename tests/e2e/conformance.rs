//! HTTP/2 to the letter (RFC 9113), over a bare socket: what is lawful is served, what breaks a connection ends it with the
//! right reason, and what breaks one request ends that and no other.

use futures_util::future::join_all;

use crate::rig::raw_http2::kind::*;
use crate::rig::raw_http2::{ACK, END_HEADERS, END_STREAM, Frames, authority, fields, frame};
use crate::rig::scene::Scene;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

/// Ada's browser, as bytes.
struct Ada {
    authority: String,
    cookies: String,
}

impl Ada {
    fn of(scene: &Scene) -> Self {
        let page = scene.page("/");
        let cookies = scene.ada.browser.cookies.header(&page).expect("cookies");
        Self { authority: authority(&page).to_owned(), cookies }
    }

    /// The head of a request, with `others` in place of what is named like them.
    fn head(&self, method: &str, others: &[(&str, &str)]) -> Vec<u8> {
        let usual = [
            (":method", method),
            (":scheme", "https"),
            (":path", "/echo"),
            (":authority", &self.authority),
            ("cookie", &self.cookies),
            ("sec-fetch-site", "same-origin"),
        ];
        let kept = usual.iter().filter(|(name, _)| others.iter().all(|(other, _)| other != name));
        let (pseudo, plain): (Vec<_>, Vec<_>) =
            others.iter().chain(kept).copied().partition(|(name, _)| name.starts_with(':'));
        fields(&[pseudo, plain].concat())
    }

    fn get(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &self.head("GET", &[]))
    }

    fn post(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, &self.head("POST", &[]))
    }
}

#[tokio::test]
async fn what_is_lawful_is_served() {
    let scene = Scene::signed_in().await;
    let ada = Ada::of(&scene);
    let whole = ada.head("GET", &[]);
    let (first, rest) = whole.split_at(whole.len() / 2);
    let priority = [&[0, 0, 0, 0, 16][..], &whole].concat();
    let padded = [&[4][..], &whole, &[0; 4]].concat();
    let last = (rest.len() - 1) / 10;
    let pieces = rest.chunks(10).enumerate();
    let pieces =
        pieces.map(|(at, piece)| frame(CONTINUATION, if at == last { END_HEADERS } else { 0 }, 1, piece));
    let pieces: Vec<Vec<u8>> = pieces.collect();
    let lawful = [
        ("a head", ada.get(1)),
        ("with a priority", frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, &priority)),
        ("padded", frame(HEADERS, END_HEADERS | END_STREAM | 0x8, 1, &padded)),
        (
            "in two frames",
            [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
        ),
        ("in many frames", [frame(HEADERS, END_STREAM, 1, first), pieces.concat()].concat()),
        ("with a body", [ada.post(1), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        ("with a padded body", [ada.post(1), frame(DATA, END_STREAM | 0x8, 1, b"\x02hello\0\0")].concat()),
        (
            "with trailers",
            [
                ada.post(1),
                frame(DATA, 0, 1, b"x"),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[("x-sum", "1")])),
            ]
            .concat(),
        ),
        ("after frames of unknown kinds", [frame(0xee, 0xff, 0, b"grease"), ada.get(1)].concat()),
        ("after an unknown setting", [frame(SETTINGS, 0, 0, &[0x0a, 0x0a, 1, 2, 3, 4]), ada.get(1)].concat()),
        ("after a priority of its own", [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), ada.get(1)].concat()),
        (
            "with te: trailers",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &ada.head("GET", &[("te", "trailers")])),
        ),
        (
            "with host beside the same authority",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &ada.head("GET", &[("host", &ada.authority)])),
        ),
    ];
    let scene = &scene;
    join_all(lawful.iter().map(|(what, said)| async move {
        let mut frames = Frames::open(&scene.ada.browser, &scene.page("/")).await;
        frames.say(said).await;
        let answer = frames.until(|frame| frame.stream == 1).await;
        assert_eq!(answer.as_ref().and_then(|frame| frame.status()), Some(200), "{what}: {answer:?}");
        assert!(frames.lives().await, "{what}");
    }))
    .await;
}

#[tokio::test]
async fn settings_are_acknowledged_and_pings_answered_with_what_they_brought() {
    let scene = Scene::start().await;
    let mut frames = Frames::open(&scene.ada.browser, &scene.page("/")).await;
    assert!(frames.until(|frame| frame.kind == SETTINGS && frame.flags == ACK).await.is_some());
    frames.say(&frame(PING, 0, 0, b"12345678")).await;
    let pong = frames.until(|frame| frame.kind == PING).await.expect("an answer");
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"12345678"[..]));
}

#[tokio::test]
async fn what_breaks_a_connection_ends_it_and_says_why() {
    let scene = Scene::signed_in().await;
    let ada = Ada::of(&scene);
    let before = scene.app.count();
    let setting = |id: u8, value: u32| frame(SETTINGS, 0, 0, &[&[0, id][..], &value.to_be_bytes()].concat());
    let head =
        |others: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &ada.head("GET", others));
    let window = |stream, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let broken: Vec<(&str, Vec<u8>, &[u32])> = vec![
        ("DATA of no stream", frame(DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
        ("DATA of an idle stream", frame(DATA, 0, 1, b"x"), &[PROTOCOL_ERROR, STREAM_CLOSED]),
        ("HEADERS of no stream", frame(HEADERS, END_HEADERS, 0, &ada.head("GET", &[])), &[PROTOCOL_ERROR]),
        ("a stream of the server's", ada.get(2), &[PROTOCOL_ERROR]),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), &[PROTOCOL_ERROR]),
        ("an acknowledgement with settings", frame(SETTINGS, ACK, 0, &[0; 6]), &[FRAME_SIZE_ERROR]),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 3]), &[FRAME_SIZE_ERROR]),
        ("push, perhaps", setting(2, 2), &[PROTOCOL_ERROR]),
        ("a window too large", setting(4, 1 << 31), &[FLOW_CONTROL_ERROR]),
        ("frames too small", setting(5, 100), &[PROTOCOL_ERROR]),
        ("frames too large", setting(5, 1 << 24), &[PROTOCOL_ERROR]),
        ("a short PING", frame(PING, 0, 0, &[0; 7]), &[FRAME_SIZE_ERROR]),
        ("a PING of a stream", frame(PING, 0, 1, &[0; 8]), &[PROTOCOL_ERROR]),
        ("a window grown by nothing", window(0, 0), &[PROTOCOL_ERROR]),
        ("a window grown too large", window(0, (1 << 31) - 1), &[FLOW_CONTROL_ERROR]),
        ("a window of an idle stream", window(1, 1), &[PROTOCOL_ERROR]),
        ("a short WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), &[FRAME_SIZE_ERROR]),
        ("an idle stream taken back", frame(RST_STREAM, 0, 1, &[0; 4]), &[PROTOCOL_ERROR]),
        ("no stream taken back", frame(RST_STREAM, 0, 0, &[0; 4]), &[PROTOCOL_ERROR]),
        ("a CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &[]), &[PROTOCOL_ERROR]),
        (
            "a head that another frame interrupts",
            [frame(HEADERS, END_STREAM, 1, &ada.head("GET", &[])), frame(PING, 0, 0, &[0; 8])].concat(),
            &[PROTOCOL_ERROR],
        ),
        (
            "a head that another stream goes on with",
            [frame(HEADERS, END_STREAM, 1, &ada.head("GET", &[])), frame(CONTINUATION, END_HEADERS, 3, &[])]
                .concat(),
            &[PROTOCOL_ERROR],
        ),
        ("a promise from a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), &[PROTOCOL_ERROR]),
        ("more padding than payload", frame(HEADERS, END_HEADERS | 0x8, 1, &[200, 0x82]), &[PROTOCOL_ERROR]),
        (
            "an index that no table has",
            frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0x7f]),
            &[COMPRESSION_ERROR],
        ),
        ("half a field", frame(HEADERS, END_HEADERS, 1, &[0x00, 0x05, b'a']), &[COMPRESSION_ERROR]),
        (
            "a table that grows too large",
            frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0x7f]),
            &[COMPRESSION_ERROR],
        ),
        // These break but one request; what breaks the fields' coding is not told from what breaks their rules.
        ("a name in capitals", head(&[("X-Capital", "1")]), &[PROTOCOL_ERROR]),
        ("a space in a name", head(&[("x a", "b")]), &[PROTOCOL_ERROR]),
        ("a line feed in a value", head(&[("x-a", "b\nc")]), &[PROTOCOL_ERROR]),
        ("NUL in a value", head(&[("x-a", "b\0c")]), &[PROTOCOL_ERROR]),
        ("an unknown pseudo field", head(&[(":secret", "1")]), &[PROTOCOL_ERROR]),
        ("a frame too long", frame(DATA, 0, 1, &vec![0; 16_385]), &[FRAME_SIZE_ERROR]),
    ];
    let scene = &scene;
    join_all(broken.iter().map(|(what, said, reasons)| async move {
        let mut frames = Frames::open(&scene.ada.browser, &scene.page("/")).await;
        frames.say(said).await;
        let goaway = frames.until(|frame| frame.kind == GOAWAY).await;
        let reason = goaway.as_ref().and_then(|frame| frame.reason());
        // The unspecific reason is always right (RFC 9113 §7).
        let right = |reason| reason == PROTOCOL_ERROR || reasons.contains(&reason);
        assert!(reason.is_some_and(right), "{what}: {goaway:?}");
        assert!(frames.until(|_| false).await.is_none(), "{what}: it is closed");
    }))
    .await;
    assert_eq!(scene.app.count(), before, "nothing reaches the app");
    scene.echo().await;
}

#[tokio::test]
async fn a_stream_that_goes_back_or_asks_for_no_more_room_ends_the_connection() {
    let scene = Scene::signed_in().await;
    let ada = Ada::of(&scene);
    for said in
        [[ada.get(5), ada.get(3)].concat(), [ada.post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat()]
    {
        let mut frames = Frames::open(&scene.ada.browser, &scene.page("/")).await;
        frames.say(&said).await;
        let goaway = frames.until(|frame| frame.kind == GOAWAY).await.expect("a word");
        assert!(matches!(goaway.reason(), Some(PROTOCOL_ERROR | STREAM_CLOSED)), "{goaway:?}");
    }
}

#[tokio::test]
async fn what_begins_otherwise_than_http_2_is_closed() {
    let scene = Scene::start().await;
    for said in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut frames = Frames::silent(&scene.ada.browser, &scene.page("/")).await;
        frames.say(said).await;
        assert!(frames.until(|frame| frame.kind == HEADERS).await.is_none(), "{said:?}");
    }
}

#[tokio::test]
async fn what_breaks_one_request_ends_it_and_no_other() {
    let scene = Scene::signed_in().await;
    let ada = Ada::of(&scene);
    let before = scene.app.count();
    let head = |others: &[(&str, &str)]| {
        let path = others.iter().all(|(name, _)| *name != ":path").then_some((":path", "/broken"));
        let all: Vec<_> = path.into_iter().chain(others.iter().copied()).collect();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &ada.head("GET", &all))
    };
    let raw = |all: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(all));
    let me = ada.authority.as_str();
    let other = format!("eve-abc234{}", &me[me.find('.').expect("a domain")..]);
    let broken = [
        ("a field of the connection", head(&[("connection", "keep-alive")])),
        ("keep-alive", head(&[("keep-alive", "5")])),
        ("proxy-connection", head(&[("proxy-connection", "close")])),
        ("transfer-encoding", head(&[("transfer-encoding", "chunked")])),
        ("upgrade", head(&[("upgrade", "h2c")])),
        ("te other than trailers", head(&[("te", "gzip")])),
        ("a pseudo field of answers", head(&[(":status", "200")])),
        (
            "a pseudo field late",
            raw(&[(":method", "GET"), (":scheme", "https"), ("x", "y"), (":path", "/"), (":authority", me)]),
        ),
        (
            "two paths",
            raw(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/"),
                (":path", "/b"),
                (":authority", me),
            ]),
        ),
        (
            "two authorities",
            raw(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/"),
                (":authority", me),
                (":authority", &other),
            ]),
        ),
        ("no method", raw(&[(":scheme", "https"), (":path", "/"), (":authority", me)])),
        ("no scheme", raw(&[(":method", "GET"), (":path", "/"), (":authority", me)])),
        ("no path", raw(&[(":method", "GET"), (":scheme", "https"), (":authority", me)])),
        ("an empty path", head(&[(":path", "")])),
        ("a path that is none", head(&[(":path", "echo")])),
        ("an address for a path", head(&[(":path", "https://evil.test/")])),
        ("a line feed in the path", head(&[(":path", "/a\nb")])),
        ("no authority", raw(&[(":method", "GET"), (":scheme", "https"), (":path", "/")])),
        ("another host beside the authority", head(&[("host", "evil.test")])),
        ("a sibling beside the authority", head(&[("host", &other)])),
        (
            "two hosts",
            raw(&[(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", me), ("host", &other)]),
        ),
        ("somebody's name in the authority", head(&[(":authority", &format!("u@{me}"))])),
        ("a sibling's authority", head(&[(":authority", &other)])),
        ("tracing", head(&[(":method", "TRACE")])),
        ("a proxy's request", raw(&[(":method", "CONNECT"), (":authority", "evil.test:443")])),
        (
            "a WebSocket that was not offered",
            raw(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":path", "/ws"),
                (":authority", me),
            ]),
        ),
        ("two lengths", head(&[("content-length", "0"), ("content-length", "1")])),
        ("a length and no body", head(&[("content-length", "5")])),
        (
            "more body than length",
            [
                frame(HEADERS, END_HEADERS, 1, &ada.head("POST", &[("content-length", "1")])),
                frame(DATA, END_STREAM, 1, b"abc"),
            ]
            .concat(),
        ),
    ];
    let (scene, ada) = (&scene, &ada);
    join_all(broken.iter().map(|(what, said)| async move {
        let mut frames = Frames::open(&scene.ada.browser, &scene.page("/")).await;
        frames.say(said).await;
        let ended = |frame: &crate::rig::raw_http2::Frame| {
            frame.stream == 1 && matches!(frame.kind, HEADERS | RST_STREAM)
        };
        let answer =
            frames.until(ended).await.unwrap_or_else(|| panic!("{what}: it took the connection along"));
        let refused =
            answer.kind == RST_STREAM || answer.status().is_some_and(|status| (400..500).contains(&status));
        assert!(refused, "{what}: {answer:?}");
        frames.say(&ada.get(3)).await;
        let next = frames.until(|frame| frame.stream == 3).await;
        assert_eq!(next.as_ref().and_then(|frame| frame.status()), Some(200), "{what}: {next:?}");
    }))
    .await;
    let reached = scene.app.seen();
    assert!(reached.iter().skip(before).all(|one| one.target == "/echo"), "nothing else: {reached:?}");
}
