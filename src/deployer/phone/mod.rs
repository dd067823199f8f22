//! "Open on your phone": a picture on the screen of somebody signed in, which brings a phone to the same tunnel.
//!
//! What the picture holds signs nobody in. Whoever scans it, once and within a minute, learns whose tunnel it is and may
//! then do one of two things: sign in there with a passkey, as anybody may try; or ask the screen it came from to let it
//! register a passkey. Both sides then show a number, the desktop also the phone's system, browser and address, and only
//! what the person at the desktop approves, freshly signed in by a passkey, gives the phone an invitation.
//!
//! So whoever photographs the picture and is faster gets names that are in every link anyway, and a question on the
//! desktop's screen, with a number that the person's own phone does not show: it says that the code was used.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qrcode::{Color, EcLevel, QrCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

mod codes;

use self::codes::{Code, Stage};
use super::Site;
use super::acts::{did, tried};
use super::browser::Browser;
use super::payload::{Named, Payload};
use super::problem::Problem;
use super::signed_in::{Fresh, SignedIn};
use super::user_agent::UserAgent;
use crate::access::{Method, Session};
use crate::names::{SessionId, TunnelId, UserName};
use crate::secret::{SecretText, random};
use crate::trail::{Act, By};

pub(super) use codes::Codes;

/// How long the phone has to register with what it was given.
const INVITED_FOR: Duration = Duration::from_secs(5 * 60);
/// How long an answer waits for something new.
const WAIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub(super) struct Wanted {
    tunnel: TunnelId,
}

#[derive(Serialize)]
struct Made {
    id: String,
    url: String,
    /// The picture, row by row: `1` is dark.
    rows: Vec<String>,
    expires_at: String,
}

/// `POST /phone-codes`
pub(super) async fn make(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Payload(Wanted { tunnel }): Payload<Wanted>,
) -> Result<Response, Problem> {
    by_passkey(&session)?;
    if site.accounts.tunnel(&tunnel).await?.user != *session.user() {
        return Err(Problem::not_found("such tunnel"));
    }
    let code = SecretText::random(&*site.entropy);
    let url = format!("{}/phone?code={}", site.origin, code.reveal());
    let rows = picture(&url)?;
    let id = SessionId::random(&*site.entropy).to_string();
    site.trail.record(did(Act::PhoneCodeMade, &session, &browser).tunnel(&tunnel)).await?;
    let who = (session.user().clone(), session.user_name().clone());
    let expires_at = site.phones.show(id.clone(), code.fingerprint(), who, tunnel, site.now());
    let made = Made { id, url, rows, expires_at: expires_at.rfc3339() };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// A sign-in by a fallback changes no factor, and is no ground to have one added.
fn by_passkey(session: &Session) -> Result<(), Problem> {
    if session.method() == Method::Passkey { Ok(()) } else { Err(Problem::step_up_required()) }
}

fn picture(url: &str) -> Result<Vec<String>, Problem> {
    let code = QrCode::with_error_correction_level(url, EcLevel::L).map_err(Problem::failed)?;
    let modules = code.to_colors();
    let row =
        |row: &[Color]| row.iter().map(|module| if *module == Color::Dark { '1' } else { '0' }).collect();
    Ok(modules.chunks(code.width()).map(row).collect())
}

/// What the side that waits knows already.
#[derive(Default, Deserialize)]
pub(super) struct Known {
    #[serde(default)]
    state: String,
}

/// `POST /phone-codes/{id}/wait`: how far it has come, as soon as that is something new.
pub(super) async fn wait(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
    Named(id): Named,
    Payload(known): Payload<Known>,
) -> Result<Response, Problem> {
    let look = || site.phones.of_desktop(&id, session.user(), site.now());
    Ok(Json(news(&site, &known.state, look).await?).into_response())
}

/// Looks until there is something new, or for a while.
async fn news(site: &Site, known: &str, look: impl Fn() -> Option<Code>) -> Result<Code, Problem> {
    let mut changes = site.phones.changes();
    let until = tokio::time::Instant::now() + WAIT;
    loop {
        let code = look().ok_or_else(|| Problem::not_found("such code any more"))?;
        if code.stage.name() != known || tokio::time::timeout_at(until, changes.changed()).await.is_err() {
            return Ok(code);
        }
    }
}

impl Stage {
    /// As it is written.
    const fn name(&self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Scanned => "scanned",
            Self::Asking { .. } => "asking",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
        }
    }
}

/// `POST /phone-codes/{id}/approve`
pub(super) async fn approve(
    State(site): State<Arc<Site>>,
    Fresh(session): Fresh,
    browser: Browser,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    by_passkey(&session)?;
    decide(&site, &session, &browser, &id, Stage::Approved).await
}

/// `POST /phone-codes/{id}/deny`. It gives nothing, so any sign-in will do.
pub(super) async fn deny(
    State(site): State<Arc<Site>>,
    SignedIn(session): SignedIn,
    browser: Browser,
    Named(id): Named,
) -> Result<StatusCode, Problem> {
    decide(&site, &session, &browser, &id, Stage::Denied).await
}

async fn decide(
    site: &Site,
    session: &Session,
    browser: &Browser,
    id: &str,
    verdict: Stage,
) -> Result<StatusCode, Problem> {
    let act = if verdict == Stage::Approved { Act::PhoneApproved } else { Act::PhoneDenied };
    let code = site.phones.decide(id, session.user(), verdict, site.now());
    let code = code.ok_or_else(|| Problem::not_found("phone that asks"))?;
    let event = did(act, session, browser).tunnel(&code.tunnel).named(&code.phone.unwrap_or_default());
    site.trail.record(event).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct Scanned {
    code: String,
}

#[derive(Serialize)]
struct Found {
    /// What the phone is known by from now on.
    phone: String,
    tunnel: TunnelId,
    user: UserName,
}

/// `POST /phone-codes/scan`, by the phone. Nobody is signed in by it.
pub(super) async fn scan(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(Scanned { code }): Payload<Scanned>,
) -> Result<Response, Problem> {
    let secret = SecretText::random(&*site.entropy);
    let agent = UserAgent::read(&browser.visitor.user_agent);
    let phone =
        agent.browser.map_or(agent.device_type.to_owned(), |name| format!("{name} on {}", agent.device_type));
    let seen = (phone.clone(), browser.visitor.address.clone());
    let code = SecretText::new(code).fingerprint();
    let Some(code) = site.phones.scan(&code, secret.fingerprint(), seen, site.now()) else {
        site.trail.note(tried(Act::PhoneCodeRefused, &browser));
        return Err(Problem::phone_code_refused());
    };
    let event = tried(Act::PhoneCodeUsed, &browser).of(&code.user, &code.user_name).tunnel(&code.tunnel);
    site.trail.record(event.named(&phone)).await?;
    let found = Found { phone: secret.reveal().to_owned(), tunnel: code.tunnel, user: code.user_name };
    Ok(Json(found).into_response())
}

#[derive(Deserialize)]
pub(super) struct Phone {
    phone: String,
    #[serde(flatten)]
    known: Known,
}

/// `POST /phone-codes/ask`, by the phone: it wants to register a passkey. Gives the number that both sides show.
pub(super) async fn ask(
    State(site): State<Arc<Site>>,
    Payload(Phone { phone, .. }): Payload<Phone>,
) -> Result<Response, Problem> {
    let [byte] = random::<1>(&*site.entropy);
    let number = 10 + byte % 90;
    let phone = SecretText::new(phone).fingerprint();
    site.phones.ask(&phone, number, site.now()).ok_or_else(Problem::phone_code_refused)?;
    Ok(Json(json!({ "number": number })).into_response())
}

/// `POST /phone-codes/poll`, by the phone: what was decided; with an approval, once, the ticket to register with.
pub(super) async fn poll(
    State(site): State<Arc<Site>>,
    browser: Browser,
    Payload(Phone { phone, known }): Payload<Phone>,
) -> Result<Response, Problem> {
    let phone = SecretText::new(phone).fingerprint();
    let code = news(&site, &known.state, || site.phones.of_phone(&phone, site.now()))
        .await
        .map_err(|_| Problem::phone_code_refused())?;
    if code.stage != Stage::Approved {
        return Ok(Json(json!({ "state": code.stage.name() })).into_response());
    }
    let code = site.phones.fetch(&phone, site.now()).ok_or_else(Problem::phone_code_refused)?;
    let event = tried(Act::UserInvited, &browser).by(By::Person).of(&code.user, &code.user_name);
    site.trail.record(event.because("a phone was approved")).await?;
    let ticket = site.accounts.invite_for(&code.user, INVITED_FOR).await?;
    Ok(Json(json!({ "state": "approved", "ticket": ticket.reveal() })).into_response())
}
