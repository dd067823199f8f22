//! A tunnel's site: what [`Visit::decide`] decided, done.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{EXPECT, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::answer::say_continue;
use super::approval::{self, Withheld};
use super::crowd::Crowd;
use super::failure::Failure;
use super::life::Life;
use super::record::{Admitted, Record};
use super::refuse::{self, Refusal, Reply};
use super::relay::{self, relay};
use super::request_kind::RequestKind;
use super::site::Passage;
use super::visit::{Step, Visit, told};
use super::{Edge, acts, cors, own, request_headers, response_headers, sign_in, site, waiting};
use crate::access::token::VerifiedToken;
use crate::access::{Beside, RedeemError, Visitor};
use crate::metrics::{Limit, metrics};
use crate::names::TunnelId;
use crate::wire::AppFault;

/// How often a request that an agent did not take is sent to the next.
const TRIES: usize = 3;

/// Answers a request to `tunnel`, or lets it in.
pub(super) async fn answer(
    edge: &Edge,
    session: &mut Session,
    record: &mut Record,
    tunnel: &TunnelId,
    client: IpAddr,
) -> Result<Passage> {
    let now = edge.clock.now();
    let allowed = |origin: &str| {
        edge.tunnels.get(tunnel).is_some_and(|tunnel| tunnel.allowed_origins.iter().any(|one| one == origin))
    };
    let visit = Visit::read(&edge.hosts, tunnel, session.req_header(), allowed);
    let step = visit.decide(&edge.gate, now);
    let allowed_origin = visit.allowed_origin.clone();
    let crowded = record.crowd.as_ref().is_some_and(Crowd::is_too_large);
    if let Step::Proxy(permit) = step {
        if edge.entrance.caps.request_of_session(permit.session().id()).is_err() {
            return site::refuse(session, Refusal::TooMany).await.map(|()| Passage::Answered);
        }
        if crowded {
            return crowded_out(edge, session, record, tunnel, allowed_origin).await;
        }
        let assertion = edge.assertor.assertion_for(&permit, now);
        let own_host = edge.hosts.tunnel_host(tunnel);
        let admitted = Admitted { permit, assertion, client, own_host, allowed_origin, kind: visit.kind };
        let admitted = Arc::new(admitted);
        if edge.upstreams.is_fixed(&admitted.permit) {
            record.admit(&admitted);
            return Ok(Passage::Onward(admitted));
        }
        return to_agent(edge, session, record, &admitted).await.map(|()| Passage::Answered);
    }

    // Whoever is not admitted may cost a copy of the head, which the answer is made from.
    let request = session.req_header().clone();
    let visit = Visit::read(&edge.hosts, tunnel, &request, allowed);
    let answer = match step {
        Step::Own(path) if path == waiting::PATH => match waiting::waits_for_events(edge, &visit, &request) {
            Some(permit) => {
                return waiting::events(edge, session, &permit).await.map(|()| Passage::Answered);
            }
            None => waiting::page(edge, &visit, &request.method).await?,
        },
        Step::Redeem(token, beside) => redeem(edge, &visit, &request, client, token, beside).await?,
        Step::Own(path) => own::answer(edge, &visit, &request.method, &path).await?,
        Step::Preflight => Ok(Reply { head: cors::preflight(&request)?, body: Default::default() }),
        Step::SignIn if visit.kind == RequestKind::Navigation && visit.may_be_sent_away() => {
            Ok(sign_in::to_deployer(&edge.hosts, &visit, &*edge.entropy)?)
        }
        Step::SignIn => Err(Refusal::SignIn),
        Step::Refuse(reason) => {
            acts::token_refused(edge, tunnel, reason, client);
            Err(Refusal::BadToken)
        }
        Step::CrossSite => {
            acts::cross_site_refused(edge, tunnel, client);
            Err(Refusal::CrossSite)
        }
        Step::Proxy(_) => Err(Refusal::Internal),
    };
    let mut reply = match answer {
        Ok(reply) => reply,
        Err(refusal) => refuse::reply(refusal, visit.kind, &way_in(edge, &visit, refusal))?,
    };
    if let Some(origin) = &allowed_origin {
        cors::open(&mut reply.head, origin)?;
    }
    site::reply(session, reply).await.map(|()| Passage::Answered)
}

/// No app can be asked with so many cookies.
async fn crowded_out(
    edge: &Edge,
    session: &mut Session,
    record: &Record,
    tunnel: &TunnelId,
    allowed_origin: Option<String>,
) -> Result<Passage> {
    metrics().limited(Limit::HeadSize);
    let request = session.req_header();
    let kind = RequestKind::of(&request.method, &request.headers);
    let mut reply = refuse::reply(Refusal::HeadTooLarge, kind, "/")?;
    if let Some(crowd) = &record.crowd {
        crowd.undo(&mut reply.head, &edge.hosts.tunnel_host(tunnel), edge.clock.now())?;
    }
    if let Some(origin) = &allowed_origin {
        cors::open(&mut reply.head, origin)?;
    }
    site::reply(session, reply).await.map(|()| Passage::Answered)
}

/// Where a page that says no leads: to the same address in a tab of its own, or to the beginning of a sign-in.
fn way_in(edge: &Edge, visit: &Visit<'_>, refusal: Refusal) -> String {
    let target = visit.target_without_token();
    if refusal == Refusal::SignIn && visit.kind == RequestKind::FramedNavigation {
        return edge.hosts.tunnel_origin(visit.tunnel) + &String::from_utf8_lossy(&target);
    }
    sign_in::begin_at(&edge.hosts, visit.tunnel, &target)
}

/// A token's first use, or its repetition.
async fn redeem(
    edge: &Edge,
    visit: &Visit<'_>,
    request: &RequestHeader,
    client: IpAddr,
    token: VerifiedToken,
    beside: Option<Beside>,
) -> Result<Result<Reply, Refusal>> {
    let user_agent =
        request.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let visitor = Visitor { address: client.to_string(), user_agent: user_agent.chars().take(256).collect() };
    if let Err(error) = edge.trail.trusted() {
        tracing::error!(%error, tunnel = %visit.tunnel, "a token is not redeemed");
        return Ok(Err(Refusal::Unavailable));
    }
    match edge.sessions.redeem(&token, visit.bind().as_ref(), beside, &visitor).await {
        Ok(redeemed) => {
            if let Err(error) = acts::session_opened(edge, visit.tunnel, &redeemed, client).await {
                tracing::error!(%error, tunnel = %visit.tunnel, "a session could not be written down");
                return Ok(Err(Refusal::Unavailable));
            }
            sign_in::redeemed(&edge.hosts, visit, &redeemed).map(Ok)
        }
        Err(RedeemError::Refused(reason)) => {
            acts::token_refused(edge, visit.tunnel, reason, client);
            Ok(Err(Refusal::BadToken))
        }
        Err(RedeemError::Session(error)) => {
            tracing::error!(%error, tunnel = %visit.tunnel, "a token could not be redeemed");
            Ok(Err(Refusal::Unavailable))
        }
    }
}

/// Sends an admitted request to the tunnel's agent.
async fn to_agent(
    edge: &Edge,
    session: &mut Session,
    record: &mut Record,
    admitted: &Arc<Admitted>,
) -> Result<()> {
    let mut tries = 1;
    loop {
        let link = edge.upstreams.agent_for(&admitted.permit).await?;
        let again = tries < TRIES;
        tries += 1;
        let leave = match approval::leave(edge, &link, &admitted.permit).await {
            Ok(leave) => leave,
            // The connection went with the question; another may be there.
            Err(Withheld::Unanswered) if again && link.closed().is_cancelled() => continue,
            Err(withheld) => return unapproved(edge, session, admitted, withheld).await,
        };
        // Not before: whoever the desktop will not have is told so, and not cut off.
        record.admit(admitted);
        let mut request = relay::request_of(session)?;
        prepare(edge, &mut request, admitted)?;
        let mut shape = |head: &mut ResponseHeader| shape(head, admitted, record);
        match relay(session, request, &leave, &mut shape).await {
            Err(error) => match Failure::of(&error) {
                Some(Failure::NotTaken) if again => {}
                Some(Failure::App(AppFault::NotApproved)) => {
                    // The agent knows better than what is remembered here, so it is asked once more.
                    link.forget(&admitted.permit);
                    if !again || !session.is_body_empty() {
                        return Err(error);
                    }
                }
                _ => return Err(error),
            },
            Ok(None) => return Ok(()),
            Ok(Some(socket)) => {
                let Some(life) = Life::current() else { return Err(Error::new(ErrorType::InternalError)) };
                let mut record = record.take();
                let rest = |visitor| -> BoxFuture<'static, ()> {
                    Box::pin(async move {
                        socket.run(visitor).await;
                        record.ended(None);
                    })
                };
                match life.leave(Box::new(rest)).await {}
            }
        }
    }
}

/// The desktop has not approved the session: a person is shown where to wait, a script is told.
async fn unapproved(
    edge: &Edge,
    session: &mut Session,
    admitted: &Admitted,
    withheld: Withheld,
) -> Result<()> {
    let tunnel = admitted.permit.tunnel();
    let request = session.req_header().clone();
    let visit = Visit::read(&edge.hosts, tunnel, &request, |_| false);
    let place = sign_in::wait_at(&edge.hosts, tunnel, visit.target.whole());
    let is_person = visit.kind == RequestKind::Navigation && visit.may_be_sent_away();
    let mut reply = match withheld {
        Withheld::Waiting | Withheld::Over if is_person => Reply::see_other(&place)?,
        Withheld::Waiting => refuse::reply(Refusal::Unapproved, visit.kind, &place)?,
        Withheld::Over => {
            let begin = sign_in::begin_at(&edge.hosts, tunnel, visit.target.whole());
            refuse::reply(Refusal::SignIn, visit.kind, &begin)?
        }
        Withheld::Outdated => refuse::reply(Refusal::Failure(Failure::Outdated), visit.kind, &place)?,
        Withheld::Unanswered => refuse::reply(Refusal::Failure(Failure::Offline), visit.kind, &place)?,
    };
    if let Some(origin) = &admitted.allowed_origin {
        cors::open(&mut reply.head, origin)?;
    }
    site::reply(session, reply).await
}

/// Shows an admitted request to the proxy behind the gate as an app may see it, with its admission: from here on nobody
/// meets a cookie or token of ours.
pub(super) fn introduce(edge: &Edge, session: &mut Session, admitted: Arc<Admitted>) -> Result<()> {
    let request = session.req_header_mut();
    // It is answered later, and only if the request goes on.
    let expects = request.headers.get(EXPECT).cloned();
    prepare(edge, request, &admitted)?;
    if let Some(expects) = expects {
        request.insert_header(EXPECT, expects)?;
    }
    request.extensions_mut().insert(admitted);
    Ok(())
}

fn admitted_in(record: &Record) -> Result<&Arc<Admitted>> {
    record.admitted().ok_or_else(|| Error::new(ErrorType::InternalError))
}

/// The last touch for the app behind a proxy, which the visitor was [introduced](introduce) to. Called once for each try.
pub(super) async fn send_on(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    if !matches!(request.raw_path(), [b'/', ..] | b"*") {
        // Apps want the path alone (RFC 9112 §3.2.1); whose site it is stands in `Host`.
        let path = request.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        request.set_uri(path.into());
    }
    // Nothing may become another protocol behind the edge's back; WebSockets go another way.
    request.remove_header(&UPGRADE);
    request.remove_header("http2-settings");
    let expects = pingora::protocols::http::v1::common::is_expect_continue_req(request);
    // Nobody behind a hop of HTTP/2 would answer it (RFC 9113 says nothing of it).
    request.remove_header(&EXPECT);
    if expects && session.response_written().is_none() {
        say_continue(session).await?;
    }
    Ok(())
}

fn prepare(edge: &Edge, request: &mut RequestHeader, admitted: &Admitted) -> Result<()> {
    let (scheme, host) = (edge.hosts.scheme().as_str(), edge.hosts.authority(&admitted.own_host));
    let told = told(&admitted.permit, admitted.assertion.as_deref(), admitted.client, scheme, &host);
    request_headers::rewrite(request, &told)
}

/// What the visitor gets to see of an answer of the app behind a proxy.
pub(super) fn shape_answer(session: &Session, head: &mut ResponseHeader, record: &mut Record) -> Result<()> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS
        || !head.status.is_informational() && !response_headers::is_sound(head)
    {
        // What came after it would pass unread for the answer to something else.
        return Err(Failure::App(AppFault::BadAnswer).into_error());
    }
    if session.req_header().version < Version::HTTP_11 {
        // HTTP/1.0 knows no chunks: what has no length ends with the connection.
        head.remove_header(&TRANSFER_ENCODING);
    }
    shape_websocket(head, record)
}

/// The same of its answer to a WebSocket's handshake, which may be to become another protocol.
pub(super) fn shape_websocket(head: &mut ResponseHeader, record: &mut Record) -> Result<()> {
    let admitted = Arc::clone(admitted_in(record)?);
    shape(head, &admitted, record)
}

fn shape(head: &mut ResponseHeader, admitted: &Admitted, record: &mut Record) -> Result<()> {
    response_headers::rewrite(head, &admitted.own_host)?;
    if admitted.kind == RequestKind::ServiceWorkerScript {
        response_headers::have_asked_again(head)?;
    }
    if head.status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        && let Some(crowd) = &record.crowd
    {
        crowd.undo(head, &admitted.own_host, record.now())?;
    }
    if let Some(origin) = &admitted.allowed_origin {
        cors::open(head, origin)?;
    }
    record.answered(head);
    Ok(())
}
