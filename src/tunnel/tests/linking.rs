//! The one call that ties a desktop to a tunnel, against a site that answers as told.

use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::agent::{FirstTrust, LinkRequest, LinkingError, ask_for_code, link_desktop};
use crate::names::DeviceId;
use crate::secret::{SecretText, from_base64url};
use crate::wire::approval::{PasskeyFacts, PublicKey};

fn token() -> SecretText {
    SecretText::new("one-time".into())
}

/// A sign-in site that answers every request with `status` and `answer`, and hands on what it was asked.
async fn site(
    status: StatusCode,
    answer: String,
) -> (LinkRequest, mpsc::UnboundedReceiver<(http::request::Parts, Value)>) {
    let (certificates, ca) = certificates(EDGE_HOST);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let edge = format!("https://{EDGE_HOST}:{}", listener.local_addr().expect("bound").port());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a connection");
        let io = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.expect("TLS");
        let service = service_fn(|request: Request<Incoming>| {
            let (tell, answer) = (tell.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.expect("a body").to_bytes();
                tell.send((head, serde_json::from_slice(&body).expect("JSON"))).expect("heard");
                let mut response = Response::new(Full::new(Bytes::from(answer)));
                *response.status_mut() = status;
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    });
    let request = LinkRequest {
        origin: None,
        edge: EdgeAddress::parse(&edge).expect("an address"),
        ca: Some(ca),
        name: "Work laptop".into(),
    };
    (request, told)
}

#[tokio::test]
async fn a_token_ties_a_new_key_to_a_tunnel() {
    let answer =
        json!({"tunnel": "ada-abc234", "user": "ada", "tunnel_url": format!("https://{HOST}"), "more": 1});
    let (request, mut told) = site(StatusCode::CREATED, answer.to_string()).await;
    let origin = request.edge.origin();
    let link = soon(link_desktop(request, &token())).await.expect("linked");
    assert_eq!(
        (link.tunnel.as_str(), link.user.as_str(), link.name.as_str()),
        ("ada-abc234", "ada", "Work laptop")
    );

    let (head, body) = told.recv().await.expect("asked");
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/api/v1/link"));
    assert_eq!(head.headers["origin"], origin.as_str());
    assert_eq!(format!("https://{}", head.headers["host"].to_str().expect("text")), origin);
    assert_eq!((&body["name"], &body["token"]), (&json!("Work laptop"), &json!("one-time")));
    let key = from_base64url(body["public_key"].as_str().expect("text")).expect("base64url");
    assert_eq!(SpkiPin::of_spki(&key), link.key.pin(), "the edge was told the key that is kept");
}

#[tokio::test]
async fn a_refusal_is_quoted_on_one_line() {
    let problem = json!({"type": "/problems/x", "title": "Refused", "detail": "This token was used.\u{1b}[2J\nAsk for another."});
    let (request, _told) = site(StatusCode::FORBIDDEN, problem.to_string()).await;
    let error = soon(link_desktop(request, &token())).await.expect_err("refused").to_string();
    assert_eq!(error, "the edge refused: This token was used. [2J Ask for another.");
}

#[tokio::test]
async fn a_site_that_is_no_edge_is_named() {
    let (request, _told) = site(StatusCode::OK, "<html>".into()).await;
    let error = soon(link_desktop(request, &token())).await.expect_err("refused").to_string();
    assert!(error.contains("did not answer as an edge does (status 200 OK)"), "{error}");
}

/// A sign-in site that answers one call after the other with a line of `script` each, and hands on what it was asked.
async fn scripted(
    script: Vec<(StatusCode, Value)>,
) -> (LinkRequest, mpsc::UnboundedReceiver<(String, Value)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let (certificates, ca) = certificates(EDGE_HOST);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let edge = format!("https://{EDGE_HOST}:{}", listener.local_addr().expect("bound").port());
    let script = Arc::new(Mutex::new(script.into_iter()));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.expect("a connection");
            // A line without a body is a connection that is lost.
            let (status, answer) = script.lock().expect("whole").next().expect("a line");
            let io = TlsAcceptor::from(Arc::new(config.clone())).accept(tcp).await.expect("TLS");
            if answer.is_null() && status != StatusCode::NO_CONTENT {
                continue;
            }
            let service = service_fn(|request: Request<Incoming>| {
                let (tell, answer) = (tell.clone(), answer.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    let asked = serde_json::from_slice(&body).expect("JSON");
                    tell.send((head.uri.path().to_owned(), asked)).expect("heard");
                    let body = if answer.is_null() { String::new() } else { answer.to_string() };
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    Ok::<_, std::convert::Infallible>(response)
                }
            });
            let serving = hyper::server::conn::http1::Builder::new();
            let _ = serving.serve_connection(TokioIo::new(io), service).await;
        }
    });
    let edge = EdgeAddress::parse(&edge).expect("an address");
    (LinkRequest { edge, origin: None, ca: Some(ca), name: "Work laptop".into() }, told)
}

fn begun() -> (StatusCode, Value) {
    let url = "https://deployer.patapim.test/link?code=BCDF-2345";
    let body = json!({"user_code": "BCDF-2345\n", "device_code": "hush", "verification_url": url, "interval": 0, "expires_in": 900});
    (StatusCode::OK, body)
}

fn problem(slug: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"type": format!("/problems/{slug}"), "detail": "Said so."}))
}

#[tokio::test]
async fn a_code_is_shown_and_a_key_that_was_approved_is_kept() {
    let key = PublicKey::of_bytes(vec![0xa5, 1]).expect("a key");
    let passkey = PasskeyFacts::new(DeviceId::of_credential(&[1]), "Phone".into(), key);
    let linked = json!({
        "tunnel": "ada-abc234", "user": "ada", "tunnel_url": format!("https://{HOST}"), "approved_by": passkey,
    });
    let script = vec![begun(), (StatusCode::OK, Value::Null), (StatusCode::OK, linked)];
    let (request, mut told) = scripted(script).await;
    let code = soon(ask_for_code(request, &*SystemEntropy::shared())).await.expect("a code");
    assert_eq!((code.user_code.as_str(), code.expires_in), ("BCDF-2345 ", Duration::from_secs(900)));
    let fingerprint = code.fingerprint();
    let mut trouble = Vec::new();
    let never = std::future::pending();
    let decided = soon(code.decision(never, |what| trouble.push(what.to_owned()))).await;
    let (link, trusted) = decided.expect("linked");
    assert_eq!(trusted, FirstTrust::Unproven(passkey));
    assert_eq!((link.tunnel.as_str(), link.key.pin().fingerprint()), ("ada-abc234", fingerprint));
    assert!(trouble.len() == 1 && trouble[0].contains(EDGE_HOST), "{trouble:?}");

    let (path, asked) = told.recv().await.expect("asked");
    assert_eq!((&*path, &asked["name"]), ("/api/v1/link", &json!("Work laptop")));
    assert!(asked.get("token").is_none());
    let key = from_base64url(asked["public_key"].as_str().expect("text")).expect("base64url");
    assert_eq!(SpkiPin::of_spki(&key), link.key.pin());
    let polled = told.recv().await.expect("polled");
    assert_eq!(polled, ("/api/v1/link/poll".to_owned(), json!({"device_code": "hush"})));
}

#[tokio::test]
async fn what_became_of_a_code_is_told_apart() {
    for (slug, sentence) in [
        ("access-denied", "denied: "),
        ("expired-token", "expired: nobody approved"),
        ("foreign-origin", "the edge refused: Said so."),
    ] {
        let (request, _told) = scripted(vec![begun(), problem(slug)]).await;
        let code = soon(ask_for_code(request, &*SystemEntropy::shared())).await.expect("a code");
        let error = soon(code.decision(std::future::pending(), |_| ())).await.expect_err("not linked");
        assert!(error.to_string().starts_with(sentence), "{slug}: {error}");
    }
}

#[tokio::test]
async fn who_gives_up_takes_the_code_back() {
    let (request, mut told) = scripted(vec![begun(), (StatusCode::NO_CONTENT, Value::Null)]).await;
    let code = soon(ask_for_code(request, &*SystemEntropy::shared())).await.expect("a code");
    let error = soon(code.decision(std::future::ready(()), |_| ())).await.expect_err("not linked");
    assert!(matches!(error, LinkingError::Interrupted));
    told.recv().await.expect("asked");
    let withdrawn = told.recv().await.expect("withdrawn");
    assert_eq!(withdrawn, ("/api/v1/link/withdraw".to_owned(), json!({"device_code": "hush"})));
}
