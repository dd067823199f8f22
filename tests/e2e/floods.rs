//! Visitors who keep the edge busy for nothing: floods of HTTP/2's small frames end with GOAWAY, cost no memory, and
//! keep nobody else out.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use crate::rig::client::Visitor;
use crate::rig::process::within;
use crate::rig::raw_http2::kind::*;
use crate::rig::raw_http2::{END_HEADERS, END_STREAM, PREFACE, authority, frame, whole_frames};
use crate::rig::scene::Scene;

const ENHANCE_YOUR_CALM: u32 = 0xb;
const REFUSED_STREAM: u32 = 7;

/// The head of a request for `url`, as HPACK writes it with the static table alone.
fn head(url: &Url, method: u8) -> Vec<u8> {
    let authority = authority(url);
    let length = u8::try_from(authority.len()).expect("short");
    [&[method, 0x87, 0x84, 0x01, length], authority.as_bytes()].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// What is said first, and then what without end; of the latter the number is given, for streams of their own.
struct Flood {
    what: &'static str,
    begin: Vec<u8>,
    more: Box<dyn Fn(u32) -> Vec<u8> + Send>,
}

fn floods(url: &Url) -> Vec<Flood> {
    let flood = |what, begin, more: Box<dyn Fn(u32) -> Vec<u8> + Send>| Flood { what, begin, more };
    let same = |what, frame: Vec<u8>| flood(what, Vec::new(), Box::new(move |_| frame.clone()));
    let (get, post) = (head(url, GET), head(url, POST));
    let upload = frame(HEADERS, END_HEADERS, 1, &post);
    vec![
        same("PING", frame(PING, 0, 0, &[7; 8])),
        same("answers to no PING", frame(PING, 1, 0, &[7; 8])),
        same("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        same("SETTINGS that change windows", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        same("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
        same("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        same("frames of no known kind", frame(0xfa, 0, 0, &[])),
        flood("empty DATA", upload.clone(), Box::new(|_| frame(DATA, 0, 1, &[]))),
        flood(
            "DATA that is padding",
            upload,
            Box::new(|_| frame(DATA, 8, 1, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ),
        flood(
            "CONTINUATION",
            frame(HEADERS, END_STREAM, 1, &get),
            Box::new(|_| frame(CONTINUATION, 0, 1, &[])),
        ),
        flood(
            "requests that are taken back",
            Vec::new(),
            Box::new(move |n| {
                let stream = 2 * n + 1;
                let begun = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
                [begun, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            }),
        ),
    ]
}

/// Floods until the edge ends it, or for so long that nobody would bear it. Gives the reason of the edge's GOAWAY.
async fn until_ended(visitor: &Visitor, url: &Url, flood: Flood) -> Option<u32> {
    let stream = visitor.h2().dial(url, None).await.expect("a connection");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(PREFACE).await?;
        writer.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        writer.write_all(&flood.begin).await?;
        for batch in 0..1000 {
            let frames: Vec<u8> = (0..200).flat_map(|n| (flood.more)(batch * 200 + n)).collect();
            writer.write_all(&frames).await?;
        }
        writer.flush().await
    };
    let mut heard = Vec::new();
    let read = async {
        // It may be told that nobody listens any more, before or after it was told why.
        let _ = reader.read_to_end(&mut heard).await;
    };
    let what = format!("{} to be ended", flood.what);
    within(&what, futures_util::future::join(read, async { drop(write.await) })).await;
    whole_frames(&heard).find(|one| one.kind == GOAWAY)?.reason()
}

/// How long the quickest of some visitors waits for an answer.
async fn a_fresh_visitor_waits(visitor: &Visitor, url: &Url) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..10 {
        let began = Instant::now();
        visitor.stranger().curl(url).await.must_be(401);
        quickest = quickest.min(began.elapsed());
    }
    quickest
}

#[tokio::test]
async fn floods_end_with_goaway_and_cost_neither_memory_nor_others_time() {
    let scene = Scene::signed_in().await;
    let (visitor, url) = (scene.edge.visitor(), scene.page("/"));
    let before = scene.edge.process.resident_kib();
    let all = join_all(floods(&url).into_iter().map(|flood| async {
        let what = flood.what;
        (what, until_ended(&visitor, &url, flood).await)
    }));
    let (ended, waited) = futures_util::future::join(all, a_fresh_visitor_waits(&visitor, &url)).await;
    for (what, reason) in ended {
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM), "{what}");
    }
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let after = scene.edge.process.resident_kib();
    assert!(after < before + 48 * 1024, "{before} KiB before, {after} KiB after");
    scene.echo().await;
    let told = visitor.curl(&scene.edge.operator("/metrics")).await.must_be(200).text();
    assert!(!told.contains("limited_total{limit=\"frames\"} 0"), "{told}");
}

#[tokio::test]
async fn a_head_that_unfolds_into_more_than_it_is_does_not() {
    let scene = Scene::signed_in().await;
    let (visitor, url) = (scene.edge.visitor(), scene.page("/"));
    let before = scene.edge.process.resident_kib();
    let bombs = (0..8).map(|_| {
        // A field of 4,000 bytes goes into the table, and is named sixteen thousand times: 64 MB.
        let field = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'a'; 4000]].concat();
        let first = [head(&url, GET), field, vec![0xbe; 12_000]].concat();
        let begin = frame(HEADERS, END_HEADERS | END_STREAM, 1, &first);
        let more = Box::new(|n: u32| match n {
            0..=200 => frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &[0xbe; 16_000]),
            _ => frame(PING, 0, 0, &[7; 8]),
        });
        until_ended(&visitor, &url, Flood { what: "an unfolding head", begin, more })
    });
    let (_, waited) =
        futures_util::future::join(join_all(bombs), a_fresh_visitor_waits(&visitor, &url)).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let after = scene.edge.process.peak_kib();
    assert!(after < before + 96 * 1024, "{before} KiB before, {after} KiB at most");
    scene.echo().await;
}

#[tokio::test]
async fn a_connection_has_so_many_requests_under_way() {
    let setup = crate::rig::edge::Setup::default().with("[limits]\nstreams_per_connection = 3");
    let scene = Scene::with(setup).await;
    let url = scene.page("/");
    let mut stream = scene.edge.visitor().h2().dial(&url, None).await.expect("a connection");
    let post = head(&url, POST);
    let begun = (0..4).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &post)).collect::<Vec<_>>();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &begun].concat()).await.expect("written");
    let mut heard = Vec::new();
    let refused = async {
        loop {
            stream.read_buf(&mut heard).await.expect("the edge goes on");
            if let Some(refused) = whole_frames(&heard).find(|one| one.kind == RST_STREAM) {
                return (refused.stream, refused.reason());
            }
        }
    };
    assert_eq!(within("the fourth to be refused", refused).await, (7, Some(REFUSED_STREAM)));
    let settings = whole_frames(&heard).find(|one| one.kind == SETTINGS).expect("the edge's own");
    assert!(settings.payload.chunks(6).any(|one| one == [0, 3, 0, 0, 0, 3]), "{:?}", settings.payload);
}
