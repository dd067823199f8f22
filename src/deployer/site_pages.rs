//! The pages of the site, and the one that is more than a page: `/auth`, which also ends the detour of a [grant].
//!
//! [grant]: super::grant

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use super::browser::Browser;
use super::cookies::{STATE, expire};
use super::grant::Grant;
use super::pages::{HEADERS, Page};
use super::problem::Problem;
use super::return_to::ReturnTo;
use super::{Site, assets, destination};
use crate::access::cookies::BindHash;
use crate::names::TunnelId;

pub(super) async fn home() -> Response {
    page(Page::Home)
}

pub(super) async fn email() -> Response {
    page(Page::Email)
}

pub(super) async fn enrol() -> Response {
    page(Page::Enrol)
}

pub(super) async fn link() -> Response {
    page(Page::Link)
}

pub(super) async fn phone() -> Response {
    page(Page::Phone)
}

pub(super) async fn security() -> Response {
    page(Page::Security)
}

pub(super) fn not_found() -> Response {
    page(Page::NotFound)
}

fn page(page: Page) -> Response {
    let status = StatusCode::from_u16(page.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_page_headers((status, page.html()).into_response())
}

fn with_page_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// `/assets/{version}/{name}`
pub(super) async fn asset(uri: Uri) -> Response {
    let Some(asset) = assets::asset(uri.path()) else { return not_found() };
    let headers = [
        (CONTENT_TYPE, asset.content_type),
        (CACHE_CONTROL, asset.cache_control),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, asset.body).into_response()
}

/// What `/auth` is asked for. Its script reads the same from its address.
#[derive(Default, Deserialize)]
pub(super) struct Asked {
    tunnel: Option<String>,
    bind: Option<String>,
    state: Option<String>,
    #[serde(default)]
    return_to: ReturnTo,
}

/// `/auth`: the page to sign in on; or, for whoever carries a live grant, straight on.
pub(super) async fn auth(
    State(site): State<Arc<Site>>,
    method: Method,
    headers: HeaderMap,
    browser: Browser,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let onward = match asked {
        Ok(Query(asked)) if opens_in_tab(&method, &headers) => onward(&site, &browser, asked).await,
        _ => Ok(None),
    };
    match onward {
        Ok(Some(response)) => response,
        Ok(None) => page(Page::Auth),
        Err(problem) => {
            problem.log();
            page(Page::Failed)
        }
    }
}

/// A grant is for a person on the move, not for a picture or a frame on a sibling's page, nor for a browser that reads
/// ahead.
fn opens_in_tab(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name, wanted: &str| headers.get(name).is_none_or(|value| value == wanted);
    *method == Method::GET
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
        && !headers.contains_key("sec-purpose")
        && !headers.contains_key("purpose")
}

/// First through the tunnel, for its bind cookie; then, with the cookie's hash and the state that went out, to the
/// tunnel with a token. None: there is nothing to go on with.
async fn onward(site: &Site, browser: &Browser, asked: Asked) -> Result<Option<Response>, Problem> {
    let Some(tunnel) = asked.tunnel.and_then(|label| TunnelId::parse(&label).ok()) else { return Ok(None) };
    let Some(grant) = Grant::carried(site, browser).await? else { return Ok(None) };
    let who = &grant.who;
    match (asked.bind.map(|bind| BindHash::parse(&bind)), asked.state) {
        (None, _) => {
            // The state goes only where the person's own desktop is.
            let theirs = site.accounts.standing_on(&who.user, &who.device, &tunnel).await.is_ok();
            let begin = grant.begin_at(site, &tunnel, &asked.return_to);
            Ok(theirs.then(|| see_other(&begin, None)))
        }
        (Some(Some(bind)), Some(state)) if grant.sent(&tunnel, &state) => {
            if !grant.spend(site).await? {
                return Ok(None);
            }
            let page = destination::with_token(site, who, &tunnel, &bind, &asked.return_to).await?;
            Ok(page.map(|page| see_other(&page, Some(expire(STATE)))))
        }
        _ => Ok(None),
    }
}

/// `303`, never kept and never a referrer: the address may carry a token.
fn see_other(location: &str, cookie: Option<(HeaderName, HeaderValue)>) -> Response {
    let Ok(mut location) = HeaderValue::try_from(location) else { return page(Page::Failed) };
    location.set_sensitive(true);
    let response = (StatusCode::SEE_OTHER, AppendHeaders(cookie)).into_response();
    let mut response = with_page_headers(response);
    response.headers_mut().remove(CONTENT_TYPE);
    response.headers_mut().insert(LOCATION, location);
    response
}
