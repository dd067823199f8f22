//! A person's tunnels: listed, named, removed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Site;
use super::acts::did;
use super::browser::Browser;
use super::payload::{DisplayName, Named, Payload};
use super::problem::Problem;
use super::signed_in::{Fresh, SignedIn, WithPasskey};
use crate::access::{Cause, Session, Target};
use crate::accounts::{Tunnel, TunnelKind};
use crate::clock::{self, Timestamp};
use crate::names::{TunnelId, UserName};
use crate::trail::Act;

/// How many origins a tunnel may be opened to.
const MOST_ORIGINS: usize = 32;

#[derive(Serialize)]
struct Shown {
    id: TunnelId,
    user: UserName,
    name: Option<String>,
    url: String,
    online: bool,
    desktop: Option<String>,
    #[serde(serialize_with = "clock::as_rfc3339_option")]
    last_seen: Option<Timestamp>,
    allowed_origins: Vec<String>,
}

impl Shown {
    fn new(site: &Site, owner: &Session, tunnel: Tunnel) -> Self {
        let online = tunnel.kind == TunnelKind::Fixed || site.presence.online(&tunnel.id);
        Self {
            user: owner.user_name().clone(),
            url: site.hosts.tunnel_origin(&tunnel.id),
            online,
            desktop: site.presence.desktop(&tunnel.id).or(tunnel.desktop),
            last_seen: if online { Some(site.now()) } else { tunnel.last_seen },
            allowed_origins: tunnel.allowed_origins,
            name: tunnel.name,
            id: tunnel.id,
        }
    }
}

/// `GET /tunnels`
pub(super) async fn list(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
) -> Result<Response, Problem> {
    let tunnels = site.accounts.tunnels_of(session.user()).await?;
    let shown: Vec<_> = tunnels.into_iter().map(|tunnel| Shown::new(&site, &session, tunnel)).collect();
    Ok(Json(shown).into_response())
}

#[derive(Deserialize)]
pub(super) struct Changed {
    name: Option<DisplayName>,
    allowed_origins: Option<Vec<String>>,
}

/// `PATCH /tunnels/{id}`
pub(super) async fn change(
    State(site): State<Arc<Site>>,
    WithPasskey(session): WithPasskey,
    browser: Browser,
    Named(id): Named,
    Payload(Changed { name, allowed_origins }): Payload<Changed>,
) -> Result<Response, Problem> {
    if let Some(origins) = &allowed_origins {
        if origins.len() > MOST_ORIGINS {
            return Err(Problem::field("allowed_origins", &format!("at most {MOST_ORIGINS} are possible")));
        }
        if let Some(bad) = origins.iter().find(|text| !is_origin(text)) {
            let fault =
                format!("{bad:?} is not an origin as browsers write it, such as https://app.example.com");
            return Err(Problem::field("allowed_origins", &fault));
        }
    }
    let name = name.map(String::from);
    let what = match (&name, &allowed_origins) {
        (_, Some(_)) => "allowed origins",
        (Some(_), None) => "name",
        (None, None) => "nothing",
    };
    let tunnel = site.accounts.change_tunnel(session.user(), &tunnel(&id)?, name, allowed_origins).await?;
    let event = did(Act::TunnelChanged, &session, &browser).tunnel(&tunnel.id).because(what);
    site.trail.record(event).await?;
    Ok(Json(Shown::new(&site, &session, tunnel)).into_response())
}

/// `DELETE /tunnels/{id}`: its sessions end, its desktop is unlinked, its label is never given away again.
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    let id = tunnel(&id)?;
    if site.accounts.tunnel(&id).await?.user != *session.user() {
        return Err(Problem::not_found("such tunnel"));
    }
    // Before and after, as with a passkey.
    site.sessions.revoke(&Target::Tunnel(id.clone()), Cause::Tunnel).await?;
    site.accounts.remove_tunnel(&id).await?;
    site.presence.unlinked(&id);
    site.sessions.revoke(&Target::Tunnel(id.clone()), Cause::Tunnel).await?;
    site.trail.record(did(Act::TunnelRemoved, &session, &browser).tunnel(&id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn tunnel(id: &str) -> Result<TunnelId, Problem> {
    TunnelId::parse(id).map_err(|_| Problem::not_found("such tunnel"))
}

/// A web origin exactly as a browser sends it (RFC 6454 §6.2).
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let exact = url.origin().ascii_serialization() == text;
        // To the parser `*` is a letter like any other; here somebody would mean more by it.
        exact && matches!(url.scheme(), "https" | "http") && !text.contains('*')
    })
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn an_origin_is_taken_only_as_browsers_write_it() {
        for good in ["https://app.example.com", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://App.example.com",
            "*",
            "null",
            "app.example.com",
            "https://*.example.com",
            "file:///",
            "https://a@b.c",
            "",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
