//! `/.well-known/jwks.json`: the public keys that apps check an assertion with.
//!
//! For every app, and no page of another origin. It may be kept for as long as an assertion is good; who meets an unknown
//! `kid` sooner asks again.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};

use super::Site;

pub(super) const PATH: &str = "/.well-known/jwks.json";

pub(super) async fn publish(State(site): State<Arc<Site>>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "public, max-age=300"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, site.assertor.jwks(site.now()).to_string()).into_response()
}
