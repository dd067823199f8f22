//! A browser without a window: its cookies, the headers it sends, and everything a hostile client may change in them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use super::answer::{Answer, Live};
use super::ca::Ca;
use super::cookies::Jar;
use super::process::within;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

/// A byte stream, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A browser. Clones share its cookies.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) cookies: Jar,
    http: Http,
    tls: [Arc<rustls::ClientConfig>; 2],
    way: Way,
}

/// How a visitor's connections come to the edge.
#[derive(Clone)]
struct Way {
    /// From which address of this machine.
    from: Ipv4Addr,
    /// What is said before the TLS handshake.
    first: Vec<u8>,
}

impl Visitor {
    /// One that trusts `ca` and nobody else.
    pub(crate) fn trusting(ca: &Ca) -> Self {
        let tls = [ca.client(&["http/1.1"]), ca.client(&["h2"])];
        let way = Way { from: Ipv4Addr::LOCALHOST, first: Vec::new() };
        Self { cookies: Jar::default(), http: Http::One, tls, way }
    }

    /// The same browser over HTTP/2.
    pub(crate) fn h2(&self) -> Self {
        Self { http: Http::Two, ..self.clone() }
    }

    /// The same browser, coming from another of this machine's addresses, where `first` is said before all else.
    pub(crate) fn by_way_of(&self, from: [u8; 4], first: &[u8]) -> Self {
        Self { way: Way { from: from.into(), first: first.to_vec() }, ..self.clone() }
    }

    /// Another browser, that knows nothing of this one's cookies.
    pub(crate) fn stranger(&self) -> Self {
        Self { cookies: Jar::default(), ..self.clone() }
    }

    /// A copy of this browser whose cookies change apart from now on.
    pub(crate) fn with(&self, url: &Url, cookie: &str, value: &str) -> Self {
        let copy = self.stranger();
        copy.cookies.set(url, cookie, value);
        copy
    }

    /// The person types `url` into the address bar.
    pub(crate) fn navigate(&self, url: &Url) -> Outgoing {
        self.send(Method::GET, url)
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "none")
            .header("sec-fetch-user", "?1")
            .header("upgrade-insecure-requests", "1")
            .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    }

    /// A page of the same origin calls `fetch`.
    pub(crate) fn fetch(&self, method: Method, url: &Url) -> Outgoing {
        let outgoing = self
            .send(method.clone(), url)
            .header("sec-fetch-mode", "cors")
            .header("sec-fetch-dest", "empty")
            .header("sec-fetch-site", "same-origin")
            .header("accept", "*/*");
        if method == Method::GET { outgoing } else { outgoing.header("origin", &origin(url)) }
    }

    /// A page of the same origin posts JSON.
    pub(crate) fn post(&self, url: &Url, body: &Value) -> Outgoing {
        self.fetch(Method::POST, url).json(body)
    }

    /// A request with nothing but cookies, as `curl -b` sends it.
    pub(crate) fn send(&self, method: Method, url: &Url) -> Outgoing {
        Outgoing {
            visitor: self.clone(),
            method,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
            sni: None,
        }
    }

    /// A plain request from a tool.
    pub(crate) fn curl(&self, url: &Url) -> Outgoing {
        self.send(Method::GET, url).header("accept", "*/*").header("user-agent", "curl/8.5.0")
    }

    /// Goes to `url` and wherever it leads, and returns every answer on the way.
    pub(crate) async fn follow(&self, url: &Url) -> Vec<Answer> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut url = url.clone();
        while answers.len() < 10 {
            let answer = self.navigate(&url).await;
            let next = answer.is_redirect().then(|| answer.location());
            answers.push(answer);
            match next {
                Some(next) => url = next,
                None => return answers,
            }
        }
        panic!(
            "redirected without end: {:?}",
            answers.iter().map(|one| one.url.as_str()).collect::<Vec<_>>()
        );
    }

    /// Dials `url` with the name `sni` in the TLS greeting.
    pub(crate) async fn dial(&self, url: &Url, sni: Option<&str>) -> std::io::Result<Box<dyn Stream>> {
        let port = url.port_or_known_default().expect("a web address");
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.way.from, 0).into())?;
        let mut tcp = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(&self.way.first).await?;
        if url.scheme() == "http" {
            return Ok(Box::new(tcp));
        }
        let name = sni.or(url.host_str()).expect("a host").to_owned();
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        let tls = tokio_rustls::TlsConnector::from(self.tls[usize::from(self.http == Http::Two)].clone());
        Ok(Box::new(tls.connect(name, tcp).await?))
    }

    /// The certificate that a new connection to `url` is shown.
    pub(crate) async fn certificate(&self, url: &Url) -> CertificateDer<'static> {
        let port = url.port_or_known_default().expect("a web address");
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let name = ServerName::try_from(url.host_str().expect("a host").to_owned()).expect("a name");
        // A session that is resumed would show the certificate that it began with.
        let mut config = rustls::ClientConfig::clone(&self.tls[0]);
        config.resumption = rustls::client::Resumption::disabled();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = tls.connect(name, tcp).await.expect("a handshake");
        tls.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    }

    /// Opens a connection that takes many requests.
    pub(crate) async fn connect(&self, url: &Url, sni: Option<&str>) -> std::io::Result<Connection> {
        let io = TokioIo::new(self.dial(url, sni).await?);
        let other = std::io::Error::other;
        Ok(match self.http {
            Http::One => {
                // As many fields as a browser takes.
                let built = http1::Builder::new().max_headers(2000).handshake(io).await;
                let (sender, driver) = built.map_err(other)?;
                Connection { sender: Sender::One(sender), driver: tokio::spawn(async { drop(driver.await) }) }
            }
            Http::Two => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                let built = builder.max_header_list_size(256 * 1024).handshake(io).await;
                let (sender, driver) = built.map_err(other)?;
                Connection { sender: Sender::Two(sender), driver: tokio::spawn(async { drop(driver.await) }) }
            }
        })
    }
}

/// The origin of `url` as a browser writes it.
pub(crate) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// An open connection to the edge. Dropped, it is closed.
pub(crate) struct Connection {
    sender: Sender,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Sends one request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, outgoing: Outgoing) -> hyper::Result<http::Response<Incoming>> {
        let request = outgoing.into_request();
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends one request, and leaves its answer to itself.
    pub(crate) async fn begin(&mut self, outgoing: Outgoing) {
        let Sender::Two(sender) = &mut self.sender else { panic!("only HTTP/2 goes on before the answer") };
        sender.ready().await.expect("an open connection");
        tokio::spawn(sender.send_request(outgoing.into_request()));
    }

    /// As [`Self::send`]; the body follows. The connection stays with whoever has it.
    pub(crate) async fn open(&mut self, outgoing: Outgoing) -> Live {
        let url = outgoing.url.clone();
        let (head, body) = self.send(outgoing).await.expect("an answer").into_parts();
        Live { url, status: head.status, headers: head.headers, body, _connection: None }
    }

    /// Whether it still takes requests.
    pub(crate) fn is_open(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => !sender.is_closed(),
            Sender::Two(sender) => !sender.is_closed(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A request that has not left yet. Await it for the whole answer.
pub(crate) struct Outgoing {
    visitor: Visitor,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    sni: Option<String>,
}

impl Outgoing {
    /// Sets a header, in place of any it had.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a header value");
        self.headers.insert(HeaderName::from_bytes(name.as_bytes()).expect("a header name"), value);
        self
    }

    /// By another method.
    pub(crate) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// As a browser too old for `Sec-Fetch-*`.
    pub(crate) fn without_fetch_metadata(mut self) -> Self {
        for name in ["sec-fetch-mode", "sec-fetch-dest", "sec-fetch-site", "sec-fetch-user"] {
            self.headers.remove(name);
        }
        self
    }

    /// Another name in the TLS greeting than in the URL.
    pub(crate) fn sni(mut self, name: &str) -> Self {
        self.sni = Some(name.to_owned());
        self
    }

    /// With a body of known length.
    pub(crate) fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync();
        self
    }

    /// With a body that comes piece by piece.
    pub(crate) fn stream<S>(mut self, pieces: S) -> Self
    where
        S: futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        use futures_util::TryStreamExt as _;
        self.body = StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync();
        self
    }

    /// With a JSON body.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    fn into_request(self) -> Request<Body> {
        let Self { visitor, method, url, mut headers, body, .. } = self;
        if let Some(cookies) = visitor.cookies.header(&url)
            && !headers.contains_key(header::COOKIE)
        {
            headers.insert(header::COOKIE, HeaderValue::from_str(&cookies).expect("cookies"));
        }
        let target = match visitor.http {
            Http::One => url[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
            Http::Two => url[..url::Position::AfterQuery].to_owned(),
        };
        if visitor.http == Http::One && !headers.contains_key(header::HOST) {
            let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
            headers.insert(header::HOST, HeaderValue::from_str(host).expect("a host"));
        }
        let mut request = Request::builder().method(method).uri(target).body(body).expect("a request");
        *request.headers_mut() = headers;
        request
    }

    /// Sends it on a connection of its own and waits for the head of the answer; the body follows.
    pub(crate) async fn open(self) -> std::io::Result<Live> {
        let (visitor, url) = (self.visitor.clone(), self.url.clone());
        let mut connection = visitor.connect(&url, self.sni.as_deref()).await?;
        let response = connection.send(self).await.map_err(std::io::Error::other)?;
        visitor.cookies.keep(&url, response.headers());
        let (head, body) = response.into_parts();
        Ok(Live { url, status: head.status, headers: head.headers, body, _connection: Some(connection) })
    }

    /// Sends it and reads the whole answer; an answer that breaks off is an error.
    pub(crate) async fn whole(self) -> std::io::Result<Answer> {
        let live = self.open().await?;
        let body = live.body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(Answer { url: live.url, status: live.status, headers: live.headers, body })
    }
}

impl IntoFuture for Outgoing {
    type Output = Answer;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let what = format!("{} {}", self.method, self.url);
        Box::pin(async move {
            let whole = within(&what, self.whole()).await;
            whole.unwrap_or_else(|error| panic!("{what}: {error:?}"))
        })
    }
}
