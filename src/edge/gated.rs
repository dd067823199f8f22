//! A proxy behind the gate: what Pingora calls, and in which order the gate and the proxy behind it have their say.
//!
//! The proxy behind ([`ProxyHttp`], anybody's) is asked nothing about a request before the gate has let it in, and sees
//! it then as an app may see it: without our cookies and tokens, with who is visiting. What it answers goes through the
//! gate once more. For the edge it is [`FixedUpstreams`](super::fixed_upstreams::FixedUpstreams); for whoever embeds the
//! gate, a proxy of their own ([`super::plugin`]). There is no other way through.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use pingora::cache::key::HashBinary;
use pingora::cache::{CacheKey, CacheMeta, ForcedFreshness, HitHandler, PurgeAction, RespCacheable};
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, PurgeStatus, RangeType, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::failure::Failure;
use super::fixed_websocket::{self, Shape};
use super::life::Life;
use super::proxied_body::ProxiedBody;
use super::record::{Admitted, Record};
use super::refuse::Refusal;
use super::site::Passage;
use super::{Edge, response_headers, site, tunnel_site, websocket};

/// The gate, and `P` behind it.
pub(super) struct Gated<P> {
    edge: Arc<Edge>,
    behind: P,
    /// For WebSockets, which are relayed here whatever the proxy behind says of its peers.
    connector: TransportConnector,
}

impl<P> Gated<P> {
    pub(super) fn new(edge: Arc<Edge>, behind: P) -> Self {
        Self { edge, behind, connector: TransportConnector::new(None) }
    }
}

/// What is kept of one request: by the gate, and by the proxy behind it.
pub(super) struct Passing<C> {
    record: Record,
    body: Option<ProxiedBody>,
    behind: C,
}

#[async_trait]
impl<P> ProxyHttp for Gated<P>
where
    P: ProxyHttp + Send + Sync,
    P::CTX: Send + Sync,
{
    type CTX = Passing<P::CTX>;

    fn new_ctx(&self) -> Self::CTX {
        let record = Record::new(self.edge.in_flight.clone(), Arc::clone(&self.edge.clock));
        Passing { record, body: None, behind: self.behind.new_ctx() }
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        self.behind.init_downstream_modules(modules);
    }

    /// The gate first. What it lets in is the other's, whose early filter gets its turn only now.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        ctx.record.arrived(!session.as_downstream_mut().is_body_done());
        match site::answer(&self.edge, session, &mut ctx.record).await? {
            Passage::Answered => return Ok(true),
            Passage::Onward(admitted) => tunnel_site::introduce(&self.edge, session, admitted)?,
        }
        self.behind.early_request_filter(session, &mut ctx.behind).await?;
        if self.behind.request_filter(session, &mut ctx.behind).await? {
            return Ok(true);
        }
        if !websocket::is_handshake(session.req_header()) {
            if session.is_http2() && !session.as_downstream_mut().is_body_done() {
                ctx.body = ctx.record.life.as_ref().map(ProxiedBody::begin);
            }
            return Ok(false);
        }
        let peer = self.behind.upstream_peer(session, &mut ctx.behind).await?;
        let mut request = session.req_header().clone();
        request.remove_header(&EXPECT);
        self.behind.upstream_request_filter(session, &mut request, &mut ctx.behind).await?;
        let mut shaping = Shaping { gated: self, ctx };
        let app = (&self.connector, *peer, &*self.edge.entrance.caps);
        // Boxed, or every request would have as much room as this one needs.
        let relayed = Box::pin(fixed_websocket::relay(session, request, app, &mut shaping));
        relayed.await.map(|()| true)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        self.behind.upstream_peer(session, &mut ctx.behind).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        tunnel_site::send_on(session, request).await?;
        self.behind.upstream_request_filter(session, request, &mut ctx.behind).await
    }

    /// The gate has the last word.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.behind.response_filter(session, response, &mut ctx.behind).await?;
        tunnel_site::shape_answer(session, response, &mut ctx.record)?;
        if let Some(body) = ctx.body.take_if(|_| !response.status.is_informational()) {
            body.settled();
        }
        Ok(())
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        let said = self.behind.response_trailer_filter(session, trailers, &mut ctx.behind).await;
        response_headers::rewrite_trailers(trailers);
        said
    }

    /// A failure of ours gets our page, and so does one that the proxy behind says nothing about; a status that it
    /// asks for is the answer.
    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let answered = match (error.etype(), refusal_for(error)) {
            // Half an answer must not look like a whole one: the connection, or the stream, breaks with it.
            _ if session.response_written().is_some_and(|head| !head.status.is_informational()) => false,
            (ErrorType::HTTPStatus(status), _) => session.respond_error(*status).await.is_ok(),
            (_, None) => false,
            (_, Some(refusal)) => site::refuse(session, refusal).await.is_ok(),
        };
        let reason =
            Failure::of(error).map_or_else(|| error.etype().as_str().to_owned(), |one| one.to_string());
        let tunnel = ctx.record.tunnel_name();
        if *error.esource() == ErrorSource::Downstream {
            tracing::debug!(reason, tunnel, "the visitor left");
        } else {
            tracing::info!(reason, tunnel, "an answer is missing, or broke off");
        }
        let status = session.response_written().map_or(0, |head| head.status.as_u16());
        FailToProxy { error_code: status, can_reuse_downstream: answered }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        ctx.record.ended(session.response_written());
        if Admitted::of(session).is_some() {
            self.behind.logging(session, error, &mut ctx.behind).await;
        }
    }

    // Pingora's own log lines name the whole target; ours are in `Record` and `fail_to_proxy`.

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, _: &Self::CTX) -> String {
        session.req_header().method.to_string()
    }

    // The rest comes after the gate, and is the other's own affair.

    fn allow_spawning_subrequest(&self, session: &Session, ctx: &Self::CTX) -> bool {
        self.behind.allow_spawning_subrequest(session, &ctx.behind)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if end_of_stream {
            Life::settled();
        }
        if let Some(passing) = &mut ctx.body {
            passing.passed(body.as_ref().map_or(0, Bytes::len));
            if end_of_stream {
                passing.settled();
            }
        }
        self.behind.request_body_filter(session, body, end_of_stream, &mut ctx.behind).await
    }

    async fn proxy_upstream_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        self.behind.proxy_upstream_filter(session, &mut ctx.behind).await
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.behind.upstream_response_filter(session, response, &mut ctx.behind).await
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        self.behind.upstream_response_body_filter(session, body, end_of_stream, &mut ctx.behind)
    }

    fn upstream_response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        self.behind.upstream_response_trailer_filter(session, trailers, &mut ctx.behind)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        self.behind.response_body_filter(session, body, end_of_stream, &mut ctx.behind)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        fd: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        if self.edge.entrance.caps.leaves_no_descriptors(fd) {
            return Err(Failure::Busy.into_error());
        }
        self.behind.connected_to_upstream(session, reused, peer, fd, digest, &mut ctx.behind).await
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        self.behind.error_while_proxy(peer, session, error, &mut ctx.behind, client_reused)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        peer: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        self.behind.fail_to_connect(session, peer, &mut ctx.behind, error)
    }

    fn request_cache_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        self.behind.request_cache_filter(session, &mut ctx.behind)
    }

    fn cache_key_callback(&self, session: &Session, ctx: &mut Self::CTX) -> Result<CacheKey> {
        self.behind.cache_key_callback(session, &mut ctx.behind)
    }

    fn cache_miss(&self, session: &mut Session, ctx: &mut Self::CTX) {
        self.behind.cache_miss(session, &mut ctx.behind);
    }

    async fn cache_hit_filter(
        &self,
        session: &mut Session,
        meta: &CacheMeta,
        hit: &mut HitHandler,
        is_fresh: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<ForcedFreshness>> {
        self.behind.cache_hit_filter(session, meta, hit, is_fresh, &mut ctx.behind).await
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<RespCacheable> {
        self.behind.response_cache_filter(session, response, &mut ctx.behind)
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        ctx: &mut Self::CTX,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        self.behind.cache_vary_filter(meta, &mut ctx.behind, request)
    }

    fn cache_not_modified_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<bool> {
        self.behind.cache_not_modified_filter(session, response, &mut ctx.behind)
    }

    fn range_header_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> RangeType {
        self.behind.range_header_filter(session, response, &mut ctx.behind)
    }

    fn should_serve_stale(&self, session: &mut Session, ctx: &mut Self::CTX, error: Option<&Error>) -> bool {
        self.behind.should_serve_stale(session, &mut ctx.behind, error)
    }

    fn is_purge(&self, session: &Session, ctx: &Self::CTX) -> bool {
        self.behind.is_purge(session, &ctx.behind)
    }

    fn purge_action(&self, session: &Session, ctx: &Self::CTX) -> PurgeAction {
        self.behind.purge_action(session, &ctx.behind)
    }

    fn purge_response_filter(
        &self,
        session: &Session,
        ctx: &mut Self::CTX,
        status: PurgeStatus,
        response: &mut std::borrow::Cow<'static, ResponseHeader>,
    ) -> Result<()> {
        self.behind.purge_response_filter(session, &mut ctx.behind, status, response)
    }
}

/// What an app's answer to a WebSocket's handshake goes through: the same as any other.
struct Shaping<'a, P: ProxyHttp> {
    gated: &'a Gated<P>,
    ctx: &'a mut Passing<P::CTX>,
}

#[async_trait]
impl<P> Shape for Shaping<'_, P>
where
    P: ProxyHttp + Send + Sync,
    P::CTX: Send + Sync,
{
    async fn shape(&mut self, session: &mut Session, head: &mut ResponseHeader) -> Result<()> {
        self.gated.behind.response_filter(session, head, &mut self.ctx.behind).await?;
        tunnel_site::shape_websocket(head, &mut self.ctx.record)
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
