//! A request's first turning: whose site is it for?

use std::sync::Arc;

use axum::extract::Request;
use http::header::{COOKIE, HOST, TRANSFER_ENCODING};
use http::{Extensions, Method, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::server::HttpSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::crowd::{self, Crowd};
use super::record::{Admitted, Record};
use super::refuse::{self, Refusal, Reply};
use super::request_kind::RequestKind;
use super::{Edge, answer as send, bridge, route, tunnel_site};
use crate::deployer::Client;
use crate::metrics::{Limit, metrics};
use crate::names::Site;

/// The longest target, in bytes.
const LONGEST_TARGET: usize = 16 * 1024;
/// As many fields as a request may have, cookies aside, which HTTP/2 sends one by one. A browser has some thirty.
const MOST_FIELDS: usize = 128;

/// What became of a request.
pub(super) enum Passage {
    /// It has its answer.
    Answered,
    /// It was let in, and goes on to the proxy behind the gate.
    Onward(Arc<Admitted>),
}

/// Answers the request that `session` holds, or lets it in.
pub(super) async fn answer(edge: &Edge, session: &mut Session, record: &mut Record) -> Result<Passage> {
    let Some(life) = record.life.clone() else {
        return Err(Error::explain(ErrorType::InternalError, "a request without a connection"));
    };
    let request = session.req_header();
    let client = edge.entrance.proxies.visitor(life.connection.client(), &request.headers);
    let site = route::site_of(&edge.hosts, request, &life.connection);
    record.crowd = Crowd::thin_out(session.req_header_mut())?;
    let refusal = if life.connection.course.is_cut() {
        // What came of the head may be answered, and nothing after it.
        session.set_keepalive(None);
        Some(Refusal::HeadTooLarge)
    } else {
        fault_of(session)
    };
    if let Some(refusal) = refusal {
        if matches!(refusal, Refusal::HeadTooLarge | Refusal::TargetTooLong) {
            metrics().limited(Limit::HeadSize);
        }
        return refuse(session, refusal).await.map(|()| Passage::Answered);
    }
    if edge.entrance.caps.request_of_address(client).is_err() {
        return refuse(session, Refusal::TooMany).await.map(|()| Passage::Answered);
    }
    match site {
        Site::Unknown => refuse(session, Refusal::Misdirected).await.map(|()| Passage::Answered),
        Site::Deployer => {
            record.for_deployer();
            let mut extensions = Extensions::new();
            extensions.insert(Client { address: client.to_string() });
            let router = tower::ServiceExt::<Request>::map_err(edge.deployer.clone(), |never| match never {});
            bridge::serve(session, router, extensions).await.map(|()| Passage::Answered)
        }
        Site::Tunnel(tunnel) => {
            record.for_tunnel(&tunnel);
            tunnel_site::answer(edge, session, record, &tunnel, client).await
        }
    }
}

/// What no site takes, whoever asks.
fn fault_of(session: &Session) -> Option<Refusal> {
    let request = session.req_header();
    let headers = &request.headers;
    let fields = headers.len() - headers.get_all(COOKIE).iter().count();
    if request.method == Method::TRACE {
        Some(Refusal::Method("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
    } else if request.raw_path().len() > LONGEST_TARGET {
        Some(Refusal::TargetTooLong)
    } else if fields > MOST_FIELDS || crowd::size(headers) > crowd::LARGEST_HEAD {
        Some(Refusal::HeadTooLarge)
    } else if !has_proper_target(request) || !session.as_http1().is_none_or(is_proper_http1) {
        Some(Refusal::BadRequest)
    } else {
        None
    }
}

/// A path, or an address with one, or the server as a whole for OPTIONS (RFC 9112 §3.2).
fn has_proper_target(request: &RequestHeader) -> bool {
    match request.raw_path() {
        [b'/', ..] => true,
        b"*" => request.method == Method::OPTIONS,
        // Pingora has seen to it that its host is the one of `Host`.
        target => [&b"https://"[..], b"http://"]
            .iter()
            .any(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))),
    }
}

/// Whether HTTP/1.1 is spoken to the letter where Pingora is lenient: it names the host (RFC 9112 §3.2); it codes a body
/// in chunks or not at all, for an app that knows no other coding sees the body's end elsewhere (§6.1); and its lines end
/// in CRLF, for who reads a bare LF otherwise than we do sees other fields than we see (§2.2).
fn is_proper_http1(session: &HttpSession) -> bool {
    let request = session.req_header();
    let names_host = request.headers.contains_key(HOST) || request.version != Version::HTTP_11;
    let plainly_coded = request
        .headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let head = session.get_headers_raw_bytes();
    let mut lines = head.split(|&byte| byte == b'\n').rev();
    let last_is_whole = lines.next().is_some_and(<[u8]>::is_empty);
    names_host && plainly_coded && last_is_whole && lines.all(|line| line.ends_with(b"\r"))
}

/// Says no, for reasons that no sign-in would mend.
pub(super) async fn refuse(session: &mut Session, refusal: Refusal) -> Result<()> {
    let request = session.req_header();
    let kind = RequestKind::of(&request.method, &request.headers);
    reply(session, refuse::reply(refusal, kind, "/")?).await
}

/// Sends an answer of the edge's own.
pub(super) async fn reply(session: &mut Session, reply: Reply) -> Result<()> {
    send::send(session, reply.head, reply.body).await
}
