//! The edge's own paths on a tunnel's host: `/.patapim/…`.

use std::time::Duration;

use http::Method;
use http::header::SET_COOKIE;
use pingora::Result;
use serde_json::json;

use super::refuse::{Refusal, Reply};
use super::request_kind::RequestKind;
use super::sign_in::{back_to_deployer, begin_at, cookie, without_twins};
use super::visit::Visit;
use super::{Edge, acts};
use crate::access::cookies::{BIND, SESSION};
use crate::access::gate::Verdict;
use crate::access::{Cause, Permit, Target};
use crate::deployer::tunnel_pages::TunnelPage;

/// Answers a request for the edge's own `path`; a refusal where it cannot.
pub(super) async fn answer(
    edge: &Edge,
    visit: &Visit<'_>,
    method: &Method,
    path: &str,
) -> Result<Result<Reply, Refusal>> {
    let reply = match (path, method) {
        ("begin", &Method::GET) => back_to_deployer(&edge.hosts, visit, &*edge.entropy)?,
        ("session", &Method::GET | &Method::HEAD) => match permit(edge, visit) {
            Ok(permit) => session(&permit)?,
            Err(refusal) => return Ok(Err(refusal)),
        },
        // Without the visitor's cookies too: what is answered would take them, and what the app has stored, away.
        ("logout", &Method::POST) if !visit.may_be_sent_away() => return Ok(Err(Refusal::CrossSite)),
        ("logout", &Method::POST) => match permit(edge, visit) {
            Ok(permit) => {
                let target = Target::Session(permit.session().id().clone());
                if let Err(error) = edge.sessions.revoke(&target, Cause::Logout).await {
                    tracing::error!(%error, "a logout could not be kept");
                    return Ok(Err(Refusal::Unavailable));
                }
                if let Err(error) = acts::signed_out(edge, &permit).await {
                    tracing::error!(%error, "a logout could not be written down");
                    return Ok(Err(Refusal::Unavailable));
                }
                signed_out(edge, visit)?
            }
            Err(Refusal::SignIn) => signed_out(edge, visit)?,
            Err(refusal) => return Ok(Err(refusal)),
        },
        ("begin", _) => return Ok(Err(Refusal::Method("GET"))),
        ("session", _) => return Ok(Err(Refusal::Method("GET, HEAD"))),
        ("logout", _) => return Ok(Err(Refusal::Method("POST"))),
        _ => return Ok(Err(Refusal::NotFound)),
    };
    Ok(Ok(reply))
}

fn permit(edge: &Edge, visit: &Visit<'_>) -> Result<Permit, Refusal> {
    match visit.verdict(&edge.gate, edge.clock.now()) {
        Verdict::Admit(permit) => Ok(permit),
        Verdict::CrossSite => Err(Refusal::CrossSite),
        _ => Err(Refusal::SignIn),
    }
}

fn session(permit: &Permit) -> Result<Reply> {
    let session = json!({
        "user": permit.user_name(),
        "tunnel": permit.tunnel(),
        "expiry": permit.session().expires_at().rfc3339(),
    });
    Reply::new(200, "application/json", session.to_string())
}

/// The browser keeps nothing of this tunnel; other cookies of the site are other people's.
fn signed_out(edge: &Edge, visit: &Visit<'_>) -> Result<Reply> {
    let sign_in = begin_at(&edge.hosts, visit.tunnel, b"/");
    let mut reply = match visit.kind {
        RequestKind::Script | RequestKind::ServiceWorkerScript => Reply::new(204, "text/plain", "")?,
        _ => Reply::page(TunnelPage::SignedOut { sign_in: &sign_in })?,
    };
    without_twins(&mut reply, visit)?;
    for name in [SESSION, BIND] {
        reply.head.append_header(SET_COOKIE, cookie(name, "", Duration::ZERO))?;
    }
    reply.head.insert_header("Clear-Site-Data", "\"cache\", \"storage\"")?;
    Ok(reply)
}
