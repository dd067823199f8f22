//! A request's first turning: whose site is it for?

use axum::extract::Request;
use http::{Extensions, Method};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::record::Record;
use super::refuse::{self, Refusal, Reply};
use super::request_kind::RequestKind;
use super::{Edge, answer as send, bridge, route, tunnel_site};
use crate::deployer::Client;
use crate::names::Site;

/// The longest target, in bytes.
const LONGEST_TARGET: usize = 16 * 1024;
/// The largest head, as RFC 9113 §6.5.2 counts it. A sibling can toss a browser cookies up to several times that.
const LARGEST_HEAD: usize = 64 * 1024;

/// Answers the request that `session` holds; false: it goes on to a fixed upstream.
pub(super) async fn answer(edge: &Edge, session: &mut Session, record: &mut Record) -> Result<bool> {
    let Some(life) = record.life.clone() else {
        return Err(Error::explain(ErrorType::InternalError, "a request without a connection"));
    };
    let request = session.req_header();
    let site = route::site_of(&edge.hosts, request, &life.connection);
    if let Some(refusal) = fault_of(request) {
        return refuse(session, refusal).await.map(|()| true);
    }
    match site {
        Site::Unknown => refuse(session, Refusal::Misdirected).await.map(|()| true),
        Site::Deployer => {
            record.for_deployer();
            let mut extensions = Extensions::new();
            extensions.insert(Client { address: life.connection.client().to_string() });
            let router = tower::ServiceExt::<Request>::map_err(edge.deployer.clone(), |never| match never {});
            bridge::serve(session, router, extensions).await.map(|()| true)
        }
        Site::Tunnel(tunnel) => {
            record.for_tunnel(&tunnel);
            tunnel_site::answer(edge, session, record, &tunnel, life.connection.client()).await
        }
    }
}

/// What no site takes, whoever asks.
fn fault_of(request: &RequestHeader) -> Option<Refusal> {
    let head: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if request.method == Method::TRACE {
        Some(Refusal::Method)
    } else if request.raw_path().len() > LONGEST_TARGET || head > LARGEST_HEAD {
        Some(Refusal::TooLarge)
    } else {
        None
    }
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
