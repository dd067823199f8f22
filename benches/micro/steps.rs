//! Those steps that are the edge's own affair.

use std::net::IpAddr;

use divan::{Bencher, black_box};
use pingora::http::{RequestHeader, ResponseHeader};

use super::visit::{Step, Visit};
use super::{cookies, request_headers, response_headers};
use crate::access::cookies::{SESSION, SessionCookie};
use crate::{CROWD, NOW};

/// What a browser sends with each request of a page.
fn request() -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/assets/app.js?v=3", None).expect("a request");
    for (name, value) in [
        ("Host", "ada-abc234.tunnel.patapim.test"),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
        ),
        ("Accept", "*/*"),
        ("Accept-Language", "en-GB,en;q=0.9"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "no-cors"),
        ("Sec-Fetch-Dest", "script"),
        ("Referer", "https://ada-abc234.tunnel.patapim.test/"),
    ] {
        request.append_header(name, value).expect("a field");
    }
    let bind = "dGhpcyBpcyBub3QgYSBzZWNyZXQsIGl0IGlzIG9uZTE";
    let session = CROWD.cookie.to_value();
    let all = format!("theme=dark; __Host-patapim-bind={bind}; __Host-patapim-session={}", session.reveal());
    request.append_header("Cookie", all).expect("a field");
    request
}

fn told(assertion: Option<&str>) -> request_headers::Told<'_> {
    request_headers::Told {
        client: IpAddr::from([192, 0, 2, 7]),
        scheme: "https",
        host: "ada-abc234.tunnel.patapim.test",
        user: "ada",
        session: "aaaaaaaaaaaaaaaaaaaaaaaaaa",
        assertion,
    }
}

#[divan::bench]
fn cookie_parsing(bencher: Bencher<'_, '_>) {
    let request = request();
    bencher
        .bench_local(|| cookies::only(black_box(&request.headers), SESSION).and_then(SessionCookie::parse));
}

/// From a request's head to the permit.
#[divan::bench]
fn visit_read_and_decided(bencher: Bencher<'_, '_>) {
    let request = request();
    bencher.bench_local(|| {
        let visit = Visit::read(&CROWD.hosts, &CROWD.tunnel, black_box(&request), |_| false);
        match visit.decide(&CROWD.gate, NOW) {
            Step::Proxy(permit) => permit,
            _ => panic!("not let in"),
        }
    });
}

#[divan::bench]
fn request_headers_rewritten(bencher: Bencher<'_, '_>) {
    let assertion = "x".repeat(420);
    bencher.with_inputs(request).bench_local_refs(|request| {
        request_headers::rewrite(request, &told(Some(&assertion))).expect("rewritten");
    });
}

#[divan::bench]
fn response_headers_rewritten(bencher: Bencher<'_, '_>) {
    let answer = || {
        let mut answer = ResponseHeader::build(200, None).expect("an answer");
        for (name, value) in [
            ("Content-Type", "text/javascript"),
            ("Content-Length", "12345"),
            ("Cache-Control", "max-age=3600"),
            ("ETag", "\"33a64df5\""),
            ("Date", "Sun, 22 Nov 2026 17:00:00 GMT"),
        ] {
            answer.append_header(name, value).expect("a field");
        }
        answer
    };
    bencher.with_inputs(answer).bench_local_refs(|answer| {
        response_headers::rewrite(answer, "ada-abc234.tunnel.patapim.test").expect("rewritten");
    });
}
