//! What an agent may send in place of an answer, frame by frame: the visitor gets a 502, or an answer that breaks off
//! where it can be seen, and the next answer is nobody else's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Method, Response, StatusCode};

use super::Beside;
use crate::rig::answer::Answer;
use crate::rig::client::Visitor;
use crate::rig::fake_agent::{Asked, Manners};
use crate::rig::raw_http2::kind::{CONTINUATION, DATA, HEADERS, PUSH_PROMISE};
use crate::rig::raw_http2::{END_HEADERS, END_STREAM, PADDED, fields, frame, head};

type Frames = fn(u32) -> Vec<u8>;

/// A whole answer with this head and the body "evil".
fn answer(stream: u32, block: &[(&str, &[u8])]) -> Vec<u8> {
    [head(stream, 0, &fields(block)), frame(DATA, END_STREAM, stream, b"evil")].concat()
}

fn with_status(stream: u32, status: &str) -> Vec<u8> {
    answer(stream, &[(":status", status.as_bytes())])
}

fn with(stream: u32, name: &str, value: &[u8]) -> Vec<u8> {
    answer(stream, &[(":status", b"200"), (name, value)])
}

/// Nothing of these is an answer.
const NO_ANSWERS: &[(&str, Frames)] = &[
    ("chunks beside a length", |s| {
        answer(s, &[(":status", b"200"), ("content-length", b"4"), ("transfer-encoding", b"chunked")])
    }),
    ("two lengths", |s| {
        answer(s, &[(":status", b"200"), ("content-length", b"4"), ("content-length", b"400")])
    }),
    ("one length twice", |s| {
        answer(s, &[(":status", b"200"), ("content-length", b"4"), ("content-length", b"4")])
    }),
    ("a list of lengths", |s| with(s, "content-length", b"4, 4")),
    ("a signed length", |s| with(s, "content-length", b"+4")),
    ("a negative length", |s| with(s, "content-length", b"-4")),
    ("a length in hexadecimals", |s| with(s, "content-length", b"0x4")),
    ("no length where one is named", |s| with(s, "content-length", b"")),
    ("a length beyond all numbers", |s| with(s, "content-length", b"99999999999999999999999")),
    ("a length and no body", |s| {
        head(s, END_STREAM, &fields(&[(":status", "200"), ("content-length", "5")]))
    }),
    ("a connection's field", |s| with(s, "connection", b"keep-alive, content-length")),
    ("an upgrade", |s| with(s, "upgrade", b"h2c")),
    ("a connection to be kept", |s| with(s, "keep-alive", b"timeout=600")),
    ("a proxy's connection", |s| with(s, "proxy-connection", b"keep-alive")),
    ("another protocol, unasked, and nothing after it", |s| with_status(s, "101")),
    ("nothing but an interim answer", |s| {
        head(s, END_STREAM, &fields(&[(":status", "103"), ("link", "</evil>")]))
    }),
    ("interim answers without end", |s| {
        [head(s, 0, &fields(&[(":status", "103"), ("link", "</evil>")])).repeat(5_000), with_status(s, "200")]
            .concat()
    }),
    ("no status", |s| answer(s, &[("x-evil", b"1")])),
    ("two statuses", |s| answer(s, &[(":status", b"200"), (":status", b"204")])),
    ("a status in letters", |s| with_status(s, "abc")),
    ("a status of two digits", |s| with_status(s, "20")),
    ("a status of four digits", |s| with_status(s, "2000")),
    ("a status below all", |s| with_status(s, "099")),
    ("a status above all", |s| with_status(s, "600")),
    ("a status far above", |s| with_status(s, "999")),
    ("a status with a reason", |s| with_status(s, "200 OK")),
    ("a status after the fields", |s| answer(s, &[("x-evil", b"1"), (":status", b"200")])),
    ("an unknown pseudo-field", |s| answer(s, &[(":status", b"200"), (":evil", b"1")])),
    ("a name in capitals", |s| with(s, "X-Evil", b"1")),
    ("a name with a space", |s| with(s, "x evil", b"1")),
    ("a name with a colon", |s| with(s, "x-evil:", b"1")),
    ("a name with a line's end", |s| with(s, "x-evil\r\nset-cookie", b"1")),
    ("no name", |s| with(s, "", b"1")),
    ("a value with a line's end", |s| with(s, "x-evil", b"1\r\nset-cookie: evil=1")),
    ("a value with a bare line feed", |s| with(s, "x-evil", b"1\nset-cookie: evil=1")),
    ("a value with a NUL", |s| with(s, "x-evil", b"1\x00")),
    ("a value with a carriage return", |s| with(s, "x-evil", b"1\r")),
    ("one field of 200 KB", |s| with(s, "x-evil", &[b'x'; 200_000])),
    ("ten thousand fields", |s| {
        let block = [vec![(":status", "200")], vec![("x-evil", "1"); 10_000]];
        head(s, END_STREAM, &fields(&block.concat()))
    }),
    ("a head without end", |s| {
        let piece = frame(CONTINUATION, 0, s, &fields(&[("x-evil", "1")]));
        [frame(HEADERS, 0, s, &fields(&[(":status", "200")])), piece.repeat(20_000)].concat()
    }),
    ("a field that no table has", |s| frame(HEADERS, END_HEADERS | END_STREAM, s, &[0xff, 0xff, 0xff, 0x7f])),
    ("letters that no table has", |s| {
        frame(HEADERS, END_HEADERS | END_STREAM, s, &[0, 0x82, 0xff, 0xff, 1, b'1'])
    }),
    ("a body without a head", |s| frame(DATA, END_STREAM, s, b"evil")),
    ("another frame within a head", |s| {
        [frame(HEADERS, 0, s, &fields(&[(":status", "200")])), frame(DATA, END_STREAM, s, b"evil")].concat()
    }),
    ("a head that is all padding", |s| frame(HEADERS, END_HEADERS | PADDED, s, &[200, 1, 2])),
    ("a push", |s| {
        let request =
            fields(&[(":method", "GET"), (":scheme", "https"), (":authority", "evil"), (":path", "/")]);
        let promise = [&2u32.to_be_bytes(), &request[..]].concat();
        [frame(PUSH_PROMISE, END_HEADERS, s, &promise), with_status(2, "200")].concat()
    }),
];

/// These begin well.
const BROKEN_BODIES: &[(&str, Frames)] = &[
    ("less than its length", |s| {
        let head = head(s, 0, &fields(&[(":status", "200"), ("content-length", "100")]));
        [head, frame(DATA, END_STREAM, s, b"short")].concat()
    }),
    ("more than its length", |s| {
        let head = head(s, 0, &fields(&[(":status", "200"), ("content-length", "2")]));
        [head, frame(DATA, END_STREAM, s, b"far too long")].concat()
    }),
    ("trailers that come after less than its length", |s| {
        let begun = head(s, 0, &fields(&[(":status", "200"), ("content-length", "100")]));
        [begun, frame(DATA, 0, s, b"short"), head(s, END_STREAM, &fields(&[("x-evil", "1")]))].concat()
    }),
    ("a second head", |s| {
        let begun = head(s, 0, &fields(&[(":status", "200")]));
        [begun.clone(), frame(DATA, 0, s, b"half"), begun, frame(DATA, END_STREAM, s, b"half")].concat()
    }),
    ("padding that is longer than its frame", |s| {
        let begun = head(s, 0, &fields(&[(":status", "200")]));
        [begun, frame(DATA, PADDED | END_STREAM, s, &[200, 1, 2])].concat()
    }),
    ("a frame that is too long", |s| {
        let begun = head(s, 0, &fields(&[(":status", "200")]));
        [begun, frame(DATA, END_STREAM, s, &[7; 40_000])].concat()
    }),
];

/// "well" at `/`, else whatever stands in `next`.
fn saying(next: &Arc<Mutex<Frames>>) -> Manners {
    let next = Arc::clone(next);
    Manners::default().app(move |asked: Asked| {
        let frames = *next.lock().expect("whole");
        async move {
            if asked.path() == "/" {
                return asked.say("well");
            }
            asked.wire.write(frames(asked.stream()));
            // What was sent below it would be followed by its own reset.
            std::future::pending::<()>().await;
        }
    })
}

fn both(browser: &Visitor) -> [Visitor; 2] {
    [browser.clone(), browser.h2()]
}

/// Has Eve's agent answer each of them to browsers of both kinds, and looks at what comes with `judge`, which says what is
/// wrong; and each time at the answer after it.
async fn each_of(cases: &[(&str, Frames)], judge: impl Fn(std::io::Result<Answer>) -> Option<String>) {
    let next = Arc::new(Mutex::new(cases[0].1));
    let beside = Beside::start(saying(&next)).await;
    let mut faults = Vec::new();
    for (what, frames) in cases {
        *next.lock().expect("whole") = *frames;
        for browser in both(&beside.eve.browser) {
            let agent = beside.dials(saying(&next)).await;
            let asked = browser.fetch(Method::GET, &beside.page("/evil")).whole();
            match tokio::time::timeout(Duration::from_secs(20), asked).await {
                Ok(answer) => faults.extend(judge(answer).map(|fault| format!("{what}: {fault}"))),
                Err(_) => faults.push(format!("{what}: no answer")),
            }
            // Some of it costs an agent its connection.
            drop(agent);
            let _agent = beside.dials(saying(&next)).await;
            let well = browser.fetch(Method::GET, &beside.page("/")).await;
            if (well.status, well.text().as_str()) != (StatusCode::OK, "well") {
                faults.push(format!("after {what}: {well:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    beside.ada_is_well().await;
}

#[tokio::test]
async fn what_is_no_answer_is_a_502_and_nothing_of_it_reaches_the_visitor() {
    each_of(NO_ANSWERS, |answer| {
        let answer = answer.map_err(|error| error.to_string());
        let clean = |answer: &Answer| {
            let all = format!("{:?}{}", answer.headers, answer.text());
            answer.status == StatusCode::BAD_GATEWAY && !all.contains("evil")
        };
        (!answer.as_ref().is_ok_and(clean)).then(|| format!("{answer:?}"))
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_belies_itself_breaks_off() {
    each_of(BROKEN_BODIES, |answer| {
        let whole = answer.ok().filter(|answer| answer.status != StatusCode::BAD_GATEWAY);
        whole.map(|answer| format!("{answer:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_body_where_none_may_be_is_not_the_beginning_of_the_next_answer() {
    let beside = Beside::start(Manners::default().app(|mut asked: Asked| async move {
        let Some(status) = asked.path().strip_prefix("/as/").and_then(|status| status.parse::<u16>().ok())
        else {
            return asked.say("well");
        };
        let response = Response::builder().status(status).body(()).expect("a status");
        let Ok(mut body) = asked.respond.send_response(response, false) else { return };
        let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let _ = body.send_data(Bytes::from_static(smuggled.as_bytes()), true);
    }))
    .await;
    for browser in both(&beside.eve.browser) {
        let page = beside.page("/");
        let mut connection = browser.connect(&page, None).await.expect("a connection");
        for (method, path) in [(Method::GET, "/as/204"), (Method::GET, "/as/304"), (Method::HEAD, "/as/200")]
        {
            let sent = connection.send(browser.fetch(method.clone(), &beside.page(path))).await;
            let (head, body) = sent.expect("an answer").into_parts();
            let body = http_body_util::BodyExt::collect(body).await.map(|body| body.to_bytes());
            assert!(body.is_ok_and(|body| body.is_empty()), "{method} {path}: {head:?}");
            if !connection.is_open() {
                connection = browser.connect(&page, None).await.expect("a connection");
            }
            let next = connection.send(browser.fetch(Method::GET, &page)).await.expect("the next answer");
            let body = http_body_util::BodyExt::collect(next.into_body()).await.expect("whole").to_bytes();
            assert_eq!(body, "well", "after {method} {path}");
        }
    }
}

#[tokio::test]
async fn trailers_say_nothing_that_belongs_into_a_head() {
    let beside = Beside::start(Manners::default().app(|mut asked: Asked| async move {
        if asked.path() == "/" {
            return asked.say("well");
        }
        let mut trailers = HeaderMap::new();
        for name in
            ["set-cookie", "content-length", "alt-svc", "content-type", "x-patapim-agent-error", "x-sum"]
        {
            trailers.insert(name, "1".parse().expect("a value"));
        }
        let Ok(mut body) = asked.respond.send_response(Response::new(()), false) else { return };
        let _ = body.send_data("summed".into(), false);
        let _ = body.send_trailers(trailers);
    }))
    .await;
    let browser = beside.eve.browser.h2();
    let mut connection = browser.connect(&beside.page("/"), None).await.expect("a connection");
    let sent = connection.send(browser.fetch(Method::GET, &beside.page("/sum"))).await.expect("an answer");
    let collected = http_body_util::BodyExt::collect(sent.into_body()).await.expect("whole");
    let names: Vec<_> = collected.trailers().expect("trailers").keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-sum"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_one_agent_answers_no_byte_of_it_is_anothers() {
    const CALLERS: usize = 4;
    const EACH: usize = 250;
    let next = Arc::new(Mutex::new(NO_ANSWERS[0].1));
    let beside = Beside::start(saying(&next)).await;
    let evil = async {
        for (_, frames) in NO_ANSWERS.iter().chain(BROKEN_BODIES).cycle() {
            *next.lock().expect("whole") = *frames;
            let _agent = beside.dials(saying(&next)).await;
            let asked = join_all(
                both(&beside.eve.browser)
                    .map(|browser| browser.fetch(Method::GET, &beside.page("/evil")).whole()),
            );
            drop(
                tokio::time::timeout(Duration::from_secs(20), asked)
                    .await
                    .expect("answers, whatever they are"),
            );
        }
    };
    let tagged = join_all((0..CALLERS).map(|caller| {
        let browser = both(&beside.linked.ada.browser)[caller % 2].clone();
        let linked = &beside.linked;
        async move {
            let mut connection = browser.connect(&linked.page("/"), None).await.expect("a connection");
            for number in 0..EACH {
                let tag = format!("{caller}-{number}");
                let request =
                    browser.fetch(Method::POST, &linked.page(&format!("/tag/{tag}"))).body(tag.clone());
                let answer = connection.send(request).await.expect("an answer");
                let body =
                    http_body_util::BodyExt::collect(answer.into_body()).await.expect("whole").to_bytes();
                let line = format!("ada's app:{tag}:{tag}\n");
                let whole = body.len() % line.len() == 0 && !body.is_empty();
                assert!(
                    whole && body.chunks(line.len()).all(|one| one == line.as_bytes()),
                    "{tag}: {body:?}"
                );
            }
        }
    }));
    tokio::select! {
        () = evil => unreachable!("it goes on for ever"),
        _ = tagged => {}
    }
}
