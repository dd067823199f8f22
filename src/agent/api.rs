//! A call of the sign-in site's API, and what it says when it does not do it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::address::EdgeAddress;
use super::dial::{DialError, Dialer, TrustError};
use crate::wire::one_line;

/// The edge answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(15);

/// More than any answer of the edge has.
const ANSWER_LIMIT: usize = 64 * 1024;

/// A call that was not done.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The edge was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The edge said no, and why.
    #[error("the edge refused: {}", .0.sentence)]
    Refused(Refusal),
    /// The edge said something else.
    #[error("{edge} did not answer as an edge does ({why}); check the address")]
    Answer {
        /// Who.
        edge: EdgeAddress,
        /// What it did.
        why: String,
    },
}

/// A problem of the API (RFC 9457).
#[derive(Debug)]
pub struct Refusal {
    /// The status it came with.
    pub status: StatusCode,
    /// The last part of its type, which is stable.
    pub slug: String,
    /// What it says, on one line.
    pub sentence: String,
}

#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// The API of one edge.
pub(super) struct Api {
    edge: EdgeAddress,
    origin: String,
    dialer: Dialer,
}

impl Api {
    /// At `edge`, whose pages have `origin` where that is another.
    pub(super) fn of(edge: &EdgeAddress, origin: Option<&str>, ca: Option<&str>) -> Result<Self, TrustError> {
        let dialer = Dialer::for_api(edge.clone(), ca)?;
        Ok(Self { edge: edge.clone(), origin: origin.map_or_else(|| edge.origin(), str::to_owned), dialer })
    }

    /// Sends `body` to `/api/v1` + `path`, and reads the answer that comes with `success`.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        success: StatusCode,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).unwrap_or_default();
        let answered = timeout(PATIENCE, self.exchange(path, body)).await;
        let (status, answer) = answered.map_err(|_| self.strange("no answer in time"))??;
        if status == success {
            // An empty answer is one that says nothing.
            let answer = if answer.is_empty() { &b"null"[..] } else { &answer[..] };
            return serde_json::from_slice(answer).map_err(|error| self.strange(error));
        }
        let Problem { r#type, title, detail } = serde_json::from_slice(&answer).unwrap_or_default();
        match [detail, title].into_iter().find(|text| !text.is_empty()) {
            Some(sentence) => {
                let slug = r#type.rsplit('/').next().unwrap_or_default().to_owned();
                Err(CallError::Refused(Refusal { status, slug, sentence: one_line(&sentence) }))
            }
            None => Err(self.strange(format!("status {status}"))),
        }
    }

    fn strange(&self, why: impl ToString) -> CallError {
        CallError::Answer { edge: self.edge.clone(), why: why.to_string() }
    }

    async fn exchange(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), CallError> {
        let io = TokioIo::new(self.dialer.dial().await?);
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|error| self.strange(error))?;
        let request = Request::post(format!("/api/v1{path}"))
            .header(header::HOST, self.edge.authority())
            .header(header::ORIGIN, &self.origin)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("patapim-agent/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.strange(error))?;
        let exchange = async {
            let response = requests.send_request(request).await.map_err(|error| self.strange(error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            Ok((status, body.map_err(|error| self.strange(error))?.to_bytes()))
        };
        let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => {
                ended.map_err(|error| self.strange(error))?;
                exchange.await
            }
        }
    }
}
