//! A Pingora proxy that does nothing but pass on: what the edge costs beyond it is the gate's price.

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, ProxyServiceBuilder, Session};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

struct PassThrough {
    origin: u16,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None of Pingora's own, as at the edge.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(("127.0.0.1", self.origin), false, String::new())))
    }
}

/// Serves on `port` until the process ends, with the edge's certificate and as many threads.
pub(crate) fn serve(port: u16, origin: u16, cert: &str, key: &str) -> pingora::Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads, ..ServerConf::default() });
    server.bootstrap();
    let mut service =
        ProxyServiceBuilder::new(&server.configuration, PassThrough { origin }).name("bare").build();
    let mut tls = TlsSettings::intermediate(cert, key)?;
    tls.enable_h2();
    service.add_tls_with_settings(&format!("127.0.0.1:{port}"), None, tls);
    server.add_service(service);
    server.run_forever()
}
