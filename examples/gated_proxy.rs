//! A Pingora proxy of somebody's own, reachable only after a sign-in with a passkey.
//!
//! ```sh
//! cargo run --example gated_proxy -- edge.toml
//! patapim-edge user add ada --config edge.toml
//! ```
//!
//! The file is the one that `patapim-edge serve` takes. Each `[[upstream]]` in it is a host that the proxy below serves,
//! instead of the edge's own. What belongs to the gate is marked; the rest is as in any proxy.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use async_trait::async_trait;
use bytes::Bytes;
use patapim_edge::config::{self, Loaded};
use patapim_edge::edge::plugin::{Admitted, Gatekeeper};
use patapim_edge::names::TunnelId;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{ProxyHttp, Session};
use pingora::server::Server;
use pingora::upstreams::peer::HttpPeer;
use pingora::{ErrorType, OkOrErr as _, OrErr as _};
use tracing_subscriber::EnvFilter;

/// Wikis, and where each of them listens.
struct Wikis(HashMap<TunnelId, (String, u16)>);

#[async_trait]
impl ProxyHttp for Wikis {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Answers one path itself.
    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        if session.req_header().uri.path() != "/whoami" {
            return Ok(false);
        }
        // The gate: who it let in. The proxy is asked nothing about anybody else.
        let name = Admitted::of(session).map(|admitted| admitted.user().to_string()).unwrap_or_default();
        let mut head = ResponseHeader::build(200, None)?;
        head.insert_header("Content-Type", "text/plain; charset=utf-8")?;
        head.insert_header("Content-Length", name.len().to_string())?;
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(Bytes::from(name)), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        // The gate: which of the hosts it was.
        let wiki = Admitted::of(session).and_then(|admitted| self.0.get(admitted.tunnel()));
        let (host, port) = wiki.or_err(ErrorType::HTTPStatus(404), "no such wiki")?;
        let mut addresses = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .or_err(ErrorType::ConnectError, "the wiki's name leads nowhere")?;
        let address = addresses.next().or_err(ErrorType::ConnectError, "the wiki has no address")?;
        Ok(Box::new(HttpPeer::new(address, false, String::new())))
    }

    /// A header that this wiki believes. A client cannot send it: what it sent under the name is replaced.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> pingora::Result<()> {
        if let Some(admitted) = Admitted::of(session) {
            request.insert_header("X-Wiki-Editor", admitted.user().as_str())?;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> pingora::Result<()> {
        response.insert_header("X-Served-By", "wikis")
    }
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Each is a sentence that says what is wrong and how to mend it.
            let _ = writeln!(std::io::stderr(), "gated_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: gated_proxy EDGE.TOML")?;
    // Pingora's own lines quote requests, and what is in them may be secret.
    let filter = EnvFilter::new("info,pingora_proxy=off,pingora_http=off,pingora_core=off");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let Loaded { config, .. } = config::load(Path::new(&file), std::env::vars())?;
    let wikis = config.edge.upstreams.iter().map(|one| (one.tunnel.clone(), (one.host.clone(), one.port)));
    let wikis = Wikis(wikis.collect());

    // The gate: opened before anything serves, so that what is wrong is said here.
    let gate = Gatekeeper::open(config.edge, None)?;
    let ready = serde_json::to_string(gate.ready())?;

    let mut server = Server::new(None)?;
    server.bootstrap();
    // The gate: in place of `http_proxy_service` and its listeners.
    let guarded = gate.in_front_of(wikis, &server.configuration);
    server.add_service(guarded);
    writeln!(std::io::stdout(), "{ready}")?;
    server.run_forever()
}
