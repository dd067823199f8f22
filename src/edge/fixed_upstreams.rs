//! The proxy behind the edge's own gate: tunnels with a fixed address, through Pingora's pool.

use std::collections::HashMap;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _, Result};

use super::failure::Failure;
use super::record::Admitted;
use super::settings::FixedUpstream;
use super::upstream::CONNECT_DEADLINE;
use crate::names::TunnelId;

/// The addresses of the configuration.
pub(super) struct FixedUpstreams(HashMap<TunnelId, FixedUpstream>);

impl FixedUpstreams {
    pub(super) fn new(fixed: &[FixedUpstream]) -> Self {
        Self(fixed.iter().map(|one| (one.tunnel.clone(), one.clone())).collect())
    }
}

#[async_trait]
impl ProxyHttp for FixedUpstreams {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None of Pingora's own: it would compress.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// The address of the tunnel that the visitor was let into.
    async fn upstream_peer(&self, session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let admitted = Admitted::of(session).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let fixed = self.0.get(admitted.tunnel()).ok_or_else(|| Failure::Offline.into_error())?;
        let mut addresses = tokio::net::lookup_host((fixed.host.as_str(), fixed.port))
            .await
            .or_err(ErrorType::ConnectError, "no address for an [[upstream]]")?;
        let address = addresses.next().ok_or_else(|| Failure::Broken.into_error())?;
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(CONNECT_DEADLINE);
        peer.options.total_connection_timeout = Some(CONNECT_DEADLINE);
        Ok(Box::new(peer))
    }

    /// As Pingora's own, without the upstream's address in the error: only what is surely repeatable is repeated.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        (): &mut (),
        client_reused: bool,
    ) -> Box<Error> {
        if !session.req_header().method.is_idempotent() || session.as_ref().retry_buffer_truncated() {
            error.set_retry(false);
        } else {
            error.retry.decide_reuse(client_reused);
        }
        error
    }
}
