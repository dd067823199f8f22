//! Tying this desktop to a tunnel, once, with a token.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::address::EdgeAddress;
use super::dial::{DialError, Dialer, TrustError};
use super::identity::{DesktopKey, KeyError, Link};
use crate::names::TunnelId;
use crate::secret::{SecretText, base64url};
use crate::wire::one_line;

/// The edge answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// More than any answer of the edge has.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What a link is asked for with.
pub struct LinkRequest {
    /// The sign-in site.
    pub edge: EdgeAddress,
    /// The origin that browsers know it by, where that is not the address that is dialed: in the demo.
    pub origin: Option<String>,
    /// The authorities to trust instead of the system's, in PEM.
    pub ca: Option<String>,
    /// What to call this desktop.
    pub name: String,
    /// The owner's leave.
    pub token: SecretText,
}

/// This desktop was not linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkingError {
    /// The edge was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It could not be tried.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The edge said no, and why.
    #[error("the edge refused: {0}")]
    Refused(String),
    /// The edge said something else.
    #[error("{edge} did not answer as an edge does ({why}); check the address")]
    Answer {
        /// Who.
        edge: EdgeAddress,
        /// What it did.
        why: String,
    },
}

#[derive(Serialize)]
struct Asked<'a> {
    name: &'a str,
    public_key: String,
    token: &'a str,
}

#[derive(Deserialize)]
struct Linked {
    tunnel: TunnelId,
    user: String,
    tunnel_url: String,
}

/// As RFC 9457 has it.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// Makes a key and has the edge pin it. Nothing is kept yet: see [`Link::save`].
pub async fn link_desktop(asked: LinkRequest) -> Result<Link, LinkingError> {
    let LinkRequest { edge, origin, ca, name, token } = asked;
    let origin = origin.unwrap_or_else(|| edge.origin());
    let key = DesktopKey::generate()?;
    let body = Asked { name: &name, public_key: base64url(key.public()), token: token.reveal() };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let dialer = Dialer::for_api(edge.clone(), ca.as_deref())?;
    let strange = |why: String| LinkingError::Answer { edge: edge.clone(), why };

    let answered = timeout(PATIENCE, post(&dialer, &edge, &origin, body)).await;
    let (status, answer) = answered.map_err(|_| strange("no answer in time".to_owned()))??;
    if status == StatusCode::CREATED {
        let linked: Linked = serde_json::from_slice(&answer).map_err(|error| strange(error.to_string()))?;
        let Linked { tunnel, user, tunnel_url } = linked;
        let (user, tunnel_url) = (one_line(&user), one_line(&tunnel_url));
        return Ok(Link { edge, tunnel, user, tunnel_url, name, ca, key });
    }
    let Problem { title, detail } = serde_json::from_slice(&answer).unwrap_or_default();
    match [detail, title].into_iter().find(|text| !text.is_empty()) {
        Some(sentence) => Err(LinkingError::Refused(one_line(&sentence))),
        None => Err(strange(format!("status {status}"))),
    }
}

async fn post(
    dialer: &Dialer,
    edge: &EdgeAddress,
    origin: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), LinkingError> {
    let strange = |why: String| LinkingError::Answer { edge: edge.clone(), why };
    let io = TokioIo::new(dialer.dial().await?);
    let (mut requests, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(|error| strange(error.to_string()))?;
    let request = Request::post("/api/v1/link")
        .header(header::HOST, edge.authority())
        .header(header::ORIGIN, origin)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("patapim-agent/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| strange(error.to_string()))?;
    let exchange = async {
        let response = requests.send_request(request).await.map_err(|error| strange(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        Ok((status, body.map_err(|error| strange(error.to_string()))?.to_bytes()))
    };
    let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended.map_err(|error| strange(error.to_string()))?;
            exchange.await
        }
    }
}
