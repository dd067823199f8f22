//! Pingora's callbacks. Each calls one named piece; the order in which they come is told in [`super`].

use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::failure::Failure;
use super::record::Record;
use super::refuse::Refusal;
use super::{Edge, site, tunnel_site};

/// The edge as Pingora calls it.
pub(super) struct EdgeProxy(pub(super) Arc<Edge>);

#[async_trait]
impl ProxyHttp for EdgeProxy {
    type CTX = Record;

    fn new_ctx(&self) -> Record {
        Record::new(self.0.in_flight.clone(), Arc::clone(&self.0.clock))
    }

    /// None of Pingora's own: it would compress.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// Answers, but for what goes to a fixed upstream.
    async fn request_filter(&self, session: &mut Session, record: &mut Record) -> Result<bool> {
        record.arrived();
        site::answer(&self.0, session, record).await
    }

    async fn upstream_peer(&self, _: &mut Session, record: &mut Record) -> Result<Box<HttpPeer>> {
        let admitted = record.admitted.as_ref().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        self.0.upstreams.peer_for(&admitted.permit).await.map(Box::new)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        record: &mut Record,
    ) -> Result<()> {
        tunnel_site::prepare_for_fixed(&self.0, session, request, record).await
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        record: &mut Record,
    ) -> Result<()> {
        tunnel_site::shape_answer(session, response, record)
    }

    /// As Pingora's own, without the upstream's address in the error: only what is surely repeatable is repeated.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        _: &mut Record,
        client_reused: bool,
    ) -> Box<Error> {
        if !session.req_header().method.is_idempotent() || session.as_ref().retry_buffer_truncated() {
            error.set_retry(false);
        } else {
            error.retry.decide_reuse(client_reused);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, record: &mut Record) -> FailToProxy {
        let answered = match refusal_for(error) {
            // Half an answer must not look like a whole one: the connection, or the stream, breaks with it.
            _ if session.response_written().is_some_and(|head| !head.status.is_informational()) => false,
            None => false,
            Some(refusal) => site::refuse(session, refusal).await.is_ok(),
        };
        let reason =
            Failure::of(error).map_or_else(|| error.etype().as_str().to_owned(), |one| one.to_string());
        let tunnel = record.tunnel_name();
        if *error.esource() == ErrorSource::Downstream {
            tracing::debug!(reason, tunnel, "the visitor left");
        } else {
            tracing::info!(reason, tunnel, "an answer is missing, or broke off");
        }
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        FailToProxy { error_code: status, can_reuse_downstream: answered }
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, record: &mut Record) {
        record.ended(session.response_written());
    }

    // Pingora's own log lines name the whole target; ours are in `Record` and `fail_to_proxy`.

    fn suppress_error_log(&self, _: &Session, _: &Record, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Record, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, _: &Record) -> String {
        session.req_header().method.to_string()
    }
}

/// What a visitor is told of `error`; nothing where he is gone.
fn refusal_for(error: &Error) -> Option<Refusal> {
    if let Some(failure) = Failure::of(error) {
        return Some(Refusal::Failure(failure));
    }
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, ErrorType::InvalidHTTPHeader) => Some(Refusal::BadRequest),
        (ErrorSource::Downstream, _) => None,
        (ErrorSource::Upstream, _) => Some(Refusal::Failure(Failure::Broken)),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Refusal::Internal),
    }
}
