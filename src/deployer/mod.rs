//! The sign-in site: its pages and its API (contract §5).
//!
//! An axum router that knows no Pingora: [`router`] gives the whole site, the edge calls it in process.
//!
//! ```text
//!  GET /auth ──▶ page ──▶ POST sign-in/passkey ──▶ sealed ceremony ──▶ browser, authenticator
//!                                                                          │
//!   token at T ◀── destination ◀── deployer session ◀── used once ◀── verified
//! ```
//!
//! A [ceremony] is a sealed note that the browser carries; nothing is kept until it succeeds. Whoever has signed in is
//! sent on by [destination]: with a token if the tunnel's bind cookie is known, else through the tunnel's
//! `/.patapim/begin` on the strength of a [grant]. Errors are written in [problem] and nowhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::access::seal::Sealer;
use crate::access::{Assertor, Once, Sessions};
use crate::accounts::Accounts;
use crate::clock::{Clock, Timestamp};
use crate::names::{DeviceId, PublicHosts, TunnelId};
use crate::secret::Entropy;
use crate::trail::Trail;

mod accepted;
mod access_tokens;
mod activity;
mod acts;
pub mod assets;
mod browser;
mod ceremony;
pub mod changes;
mod cookies;
mod destination;
mod devices;
mod events;
mod fallbacks;
#[cfg(fuzzing)]
pub mod fuzzing;
mod grant;
mod key_set;
mod link;
pub mod mail;
mod notices;
mod origin_check;
pub mod pages;
mod passkeys;
mod payload;
mod phone;
mod problem;
mod providers;
mod return_to;
mod rp_id;
mod sessions;
mod sign_in;
mod signed_in;
mod site_pages;
mod throttle;
pub mod tunnel_pages;
mod tunnels;
mod user_agent;
pub mod waiting_page;
mod webauthn;

#[cfg(test)]
mod tests;

pub use browser::Client;
pub use changes::Changes;
pub use rp_id::{RpIdError, check_rp_id};

use problem::Problem;
use webauthn::Webauthn;

/// Largest body of a request, in bytes. A registration with a long attestation has a few thousand.
const LONGEST_BODY: usize = 64 * 1024;

/// The `[webauthn]` part of the configuration.
#[derive(Clone, Debug)]
pub struct WebauthnSettings {
    /// The RP ID of every passkey: the deployer's host, or a domain above it.
    pub rp_id: String,
}

/// Which desktops are there right now. The edge knows; the deployer asks.
pub trait Presence: Send + Sync + 'static {
    /// Whether a tunnel can be used now.
    fn online(&self, tunnel: &TunnelId) -> bool;

    /// The name of the desktop that serves it, if one does.
    fn desktop(&self, tunnel: &TunnelId) -> Option<String>;

    /// The passkeys that the desktop which serves it trusts.
    fn devices(&self, tunnel: &TunnelId) -> BoxFuture<'static, Result<Vec<TrustedDevice>, DesktopError>>;

    /// Has that desktop trust a device no longer; it ends the device's sessions.
    fn remove_device(
        &self,
        tunnel: &TunnelId,
        device: &DeviceId,
    ) -> BoxFuture<'static, Result<(), DesktopError>>;

    /// The desktops linked to it so far are so no more: ends their connections at once, and tells them not to come back.
    fn unlinked(&self, tunnel: &TunnelId);
}

/// A passkey that a desktop trusts, as the desktop tells of it.
#[derive(Clone, Debug)]
pub struct TrustedDevice {
    /// Which: the id of the passkey.
    pub id: DeviceId,
    /// What it was called when it was approved.
    pub name: String,
    /// That of its key.
    pub fingerprint: String,
    /// When it was approved.
    pub since: Timestamp,
    /// When a session of its was last opened.
    pub last_used: Option<Timestamp>,
}

/// Why a desktop did not say, or do, what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesktopError {
    /// It is not connected, or does not answer.
    Offline,
    /// Its agent is too old to be asked.
    Outdated,
    /// It trusts no such device.
    NotTrusted,
}

/// What the site works with.
pub struct Deployer {
    /// Who there is.
    pub accounts: Accounts,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Seals ceremonies and grants.
    pub sealer: Sealer,
    /// Knows which of them were used.
    pub once: Once,
    /// Whose public keys are published.
    pub assertor: Arc<Assertor>,
    /// Our own names.
    pub hosts: PublicHosts,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub entropy: Arc<dyn Entropy>,
    /// How passkeys are made.
    pub webauthn: WebauthnSettings,
    /// Which desktops are there.
    pub presence: Arc<dyn Presence>,
    /// Where acts are written down.
    pub trail: Arc<Trail>,
    /// News for open pages.
    pub changes: Arc<Changes>,
    /// Cancelled when the server begins to stop: pages that listen for news are sent away.
    pub leaving: CancellationToken,
    /// Where mails are handed in; none: no mail is sent.
    pub outbox: Option<mail::Outbox>,
}

/// The site as its handlers see it.
struct Site {
    deployer: Deployer,
    webauthn: Webauthn,
    origin: String,
    limits: link::Limits,
    guesses: sign_in::Limits,
    phones: phone::Codes,
}

impl std::ops::Deref for Site {
    type Target = Deployer;
    fn deref(&self) -> &Deployer {
        &self.deployer
    }
}

impl Site {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The whole site. Requests should carry a [`Client`] among their extensions.
pub fn router(deployer: Deployer) -> Router {
    changes::follow(&deployer.changes, deployer.accounts.clone(), &deployer.sessions);
    let origin = deployer.hosts.deployer_origin();
    let webauthn = Webauthn::new(&deployer.webauthn.rp_id, &origin);
    let site = Arc::new(Site {
        deployer,
        webauthn,
        origin,
        guesses: sign_in::Limits::default(),
        limits: link::Limits::default(),
        phones: phone::Codes::default(),
    });

    let api = Router::new()
        .route("/passkeys/registration", post(passkeys::begin_registration))
        .route("/passkeys/registration/{ceremony}", post(passkeys::finish_registration))
        .route("/passkeys/accepted", get(accepted::list))
        .route("/passkeys", get(passkeys::list))
        .route("/passkeys/{id}", patch(passkeys::rename).delete(passkeys::remove))
        .route("/sign-in/passkey", post(sign_in::passkey::begin))
        .route("/sign-in/passkey/{ceremony}", post(sign_in::passkey::finish))
        .route("/sign-in", get(sign_in::ways))
        .route("/sign-in/backup-code", post(sign_in::backup_code::sign_in))
        .route("/sign-in/password", post(sign_in::password::sign_in))
        .route("/sign-in/magic-link", post(sign_in::magic_link::ask))
        .route("/sign-in/magic-link/redeem", post(sign_in::magic_link::redeem))
        .route("/fallbacks", get(fallbacks::list))
        .route(
            "/fallbacks/backup-codes",
            put(fallbacks::switch_backup_codes).post(fallbacks::make_backup_codes),
        )
        .route("/fallbacks/magic-link", put(fallbacks::switch_magic_link))
        .route("/fallbacks/password", put(fallbacks::change_password))
        .route("/sign-out", post(sessions::sign_out))
        .route("/events", get(events::listen))
        .route("/sessions", get(sessions::list).delete(sessions::end_all))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/tunnels", get(tunnels::list))
        .route("/tunnels/{id}", patch(tunnels::change).delete(tunnels::remove))
        .route("/tunnels/{id}/devices", get(devices::list))
        .route("/tunnels/{id}/devices/{device}", delete(devices::remove))
        .route("/access-tokens", get(access_tokens::list).post(access_tokens::make))
        .route("/access-tokens/{id}", delete(access_tokens::revoke))
        .route("/activity", get(activity::list))
        .route("/phone-codes", post(phone::make))
        .route("/phone-codes/scan", post(phone::scan))
        .route("/phone-codes/ask", post(phone::ask))
        .route("/phone-codes/poll", post(phone::poll))
        .route("/phone-codes/{id}/wait", post(phone::wait))
        .route("/phone-codes/{id}/approve", post(phone::approve))
        .route("/phone-codes/{id}/deny", post(phone::deny))
        .route("/link", post(link::link))
        .route("/link/poll", post(link::by_code::poll))
        .route("/link/withdraw", post(link::by_code::withdraw))
        .route("/link/lookup", post(link::decide::lookup))
        .route("/link/confirm", post(link::confirm::begin))
        .route("/link/approve", post(link::decide::approve))
        .route("/link/deny", post(link::decide::deny))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .route_layer(from_fn_with_state(Arc::clone(&site), acts::guard))
        .route_layer(from_fn_with_state(Arc::clone(&site), origin_check::guard))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(map_response(problem::with_api_headers));

    Router::new()
        .route("/", get(site_pages::home))
        .route("/auth", get(site_pages::auth))
        .route(sign_in::magic_link::PAGE, get(site_pages::email))
        .route("/enrol", get(site_pages::enrol))
        .route("/link", get(site_pages::link))
        .route("/phone", get(site_pages::phone))
        .route("/settings/security", get(site_pages::security))
        .route("/assets/{version}/{name}", get(site_pages::asset))
        .route(key_set::PATH, get(key_set::publish))
        .nest("/api/v1", api)
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .fallback(not_found)
        .with_state(site)
}

async fn not_found(request: Request) -> Response {
    if request.uri().path().starts_with("/api/") {
        Problem::no_such_call().into_response()
    } else {
        site_pages::not_found()
    }
}
