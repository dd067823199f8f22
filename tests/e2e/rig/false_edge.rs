//! An edge of the test suite's own, as far as a desktop that wants to be linked has to do with one. It has the right
//! certificate, and says what a test has it say.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::ca::Ca;

const BASE: &str = "patapim.localhost";

/// The code that it gives every desktop.
pub(crate) const CODE: &str = "BCDF-2345";

/// It serves until the test ends.
pub(crate) struct FalseEdge {
    /// Its address, and so the origin of its pages.
    pub(crate) origin: String,
    /// Whom a desktop has to trust to reach it.
    pub(crate) root_file: PathBuf,
    _folder: TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl FalseEdge {
    /// One that says that a desktop was approved by whatever `approver` makes of the edge's origin and of what the
    /// desktop asked.
    pub(crate) async fn start(approver: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> Self {
        let folder = TempDir::with_prefix("patapim-false-edge-").expect("a folder");
        let ca = Ca::for_edge(BASE, folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("https://deployer.{BASE}:{}", listener.local_addr().expect("bound").port());
        let site = Arc::new(Site {
            origin: origin.clone(),
            approver: Box::new(approver),
            asked: Mutex::new(Value::Null),
        });
        let serving = tokio::spawn(serve(listener, tls(&ca), site));
        Self { origin, root_file: ca.root_file, _folder: folder, _serving: AbortOnDropHandle::new(serving) }
    }
}

/// Who is said to have approved a desktop: made of the edge's origin and of what the desktop asked.
type Approver = Box<dyn Fn(&str, &Value) -> Value + Send + Sync>;

struct Site {
    origin: String,
    approver: Approver,
    /// What the desktop asked for its code with.
    asked: Mutex<Value>,
}

impl Site {
    fn answer(&self, path: &str, said: Value) -> Value {
        let mut asked = self.asked.lock().expect("whole");
        match path {
            "/api/v1/link" => {
                *asked = said;
                let page = format!("{}/link?code={CODE}", self.origin);
                json!({
                    "user_code": CODE, "device_code": "hush", "verification_url": page,
                    "interval": 1, "expires_in": 60,
                })
            }
            "/api/v1/link/poll" => json!({
                "tunnel": "ada-abc234", "user": "ada", "tunnel_url": format!("https://ada-abc234.tunnel.{BASE}"),
                "approved_by": (self.approver)(&self.origin, &asked),
            }),
            other => panic!("a desktop that wants to be linked asked for {other}"),
        }
    }
}

async fn serve(listener: TcpListener, tls: tokio_rustls::TlsAcceptor, site: Arc<Site>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let Ok(io) = tls.accept(tcp).await else { continue };
        let service = service_fn(async |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let said = body.collect().await.expect("a body").to_bytes();
            let answer = site.answer(head.uri.path(), serde_json::from_slice(&said).expect("JSON"));
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    }
}

fn tls(ca: &Ca) -> tokio_rustls::TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&ca.cert_file).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&ca.key_file).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a matching key");
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}
