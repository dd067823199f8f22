//! The next piece of a request's body, waited for no longer than its visitor may take.
//!
//! Over HTTP/1.1 the connection itself knows what it waits for ([`super::visitor_stream`]). Over HTTP/2, where it carries many
//! requests, each counts for itself, and only while somebody wants the next piece: an app that does not read holds up the
//! visitor, and not the other way round.

use std::sync::Arc;

use bytes::Bytes;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::life::Life;
use super::pace::Pace;
use crate::metrics::{Limit, metrics};

/// Reads one request's body.
pub(super) struct RequestBody {
    patience: Option<(Arc<Life>, Pace)>,
}

impl RequestBody {
    /// Of the request that `session` holds.
    pub(super) fn of(session: &Session) -> Self {
        let life = Life::current().filter(|_| session.is_http2());
        Self { patience: life.map(|life| (Arc::clone(&life), Pace::new(&life.connection.limits))) }
    }

    /// The next piece; `None` at the end. May be dropped and called again.
    pub(super) async fn next(&mut self, session: &mut Session) -> Result<Option<Bytes>> {
        let piece = session.read_request_body();
        let piece = match &mut self.patience {
            Some((life, pace)) if !life.is_settled() => {
                let length = |read: &Result<Option<Bytes>>| match read {
                    Ok(Some(piece)) => piece.len(),
                    _ => 0,
                };
                pace.watch(piece, length).await.unwrap_or_else(|| {
                    metrics().limited(Limit::SendingRate);
                    Err(Error::explain(ErrorType::ReadTimedout, "the visitor is too slow"))
                })
            }
            _ => piece.await,
        };
        piece.map_err(Error::into_down)
    }
}
