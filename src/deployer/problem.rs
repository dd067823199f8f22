//! What the API says when it does not do what was asked: `application/problem+json` (RFC 9457).
//!
//! The only place that turns errors into answers. What the client is told and what the log is told are two fields: a
//! refused sign-in looks the same whatever the reason, and the reason is in the log.

mod kind;

use std::borrow::Cow;

use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use self::kind::Kind;
use super::DesktopError;
use crate::access::access_tokens::MOST_ACCESS_TOKENS;
use crate::access::cookies;
use crate::access::sessions::SessionError;
use crate::accounts::{AccountError, PasswordFault};
use crate::store::StoreError;
use crate::trail::TrailError;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    /// That no account holds the passkey it is about, and the browser may forget it.
    unknown_credential: bool,
    /// For the log only.
    cause: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unknown_credential: bool,
}

impl Problem {
    fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), unknown_credential: false, cause: None }
    }

    /// A field that is missing or is not what it should be.
    pub(super) fn field(name: &str, fault: &str) -> Self {
        Self::new(Kind::Malformed, format!("{name}: {fault}"))
    }

    pub(super) fn sign_in_required() -> Self {
        Self::new(Kind::SignInRequired, "Sign in first.")
    }

    /// One answer for all that can be wrong with one kind of proof: a stranger learns nothing from it.
    pub(super) fn sign_in_refused(detail: &'static str) -> Self {
        Self::new(Kind::SignInRefused, detail)
    }

    /// The same for a name that somebody has and for one that nobody has.
    pub(super) fn too_many_sign_ins() -> Self {
        const DETAIL: &str = "Too many tries that were no good. Please wait a quarter of an hour, or sign in with a \
                              passkey: that works at any time.";
        Self::new(Kind::TryLater, DETAIL)
    }

    /// A sign-in by a fallback is good for using tunnels, and for registering a passkey.
    pub(super) fn passkey_required() -> Self {
        const DETAIL: &str = "You signed in without a passkey. To change anything here, sign in with one; if you have \
                              none any more, register one first.";
        Self::new(Kind::PasskeyRequired, DETAIL)
    }

    pub(super) fn approval_required() -> Self {
        const DETAIL: &str = "You signed in without a passkey. Open one of your tunnels and have its desktop let you \
                              in; then you can register a passkey here.";
        Self::new(Kind::ApprovalRequired, DETAIL)
    }

    pub(super) fn weak_password(fault: PasswordFault) -> Self {
        Self::new(Kind::WeakPassword, fault.to_string())
    }

    pub(super) fn wrong_password() -> Self {
        Self::new(Kind::WrongPassword, "The current password is another. Nothing was changed.")
    }

    pub(super) fn no_mail() -> Self {
        Self::new(Kind::NoMail, "This edge sends no mail. The person who runs it can set that up.")
    }

    pub(super) fn no_address() -> Self {
        const DETAIL: &str =
            "There is no e-mail address on your account. Ask the person who runs this edge to add one.";
        Self::new(Kind::NoMail, DETAIL)
    }

    /// Adds that no account holds the passkey in question, so that the browser need not offer it again.
    pub(super) fn of_unknown_credential(self) -> Self {
        Self { unknown_credential: true, ..self }
    }

    pub(super) fn foreign_origin() -> Self {
        Self::new(Kind::ForeignOrigin, "Changes are made from this site's own pages only.")
    }

    pub(super) fn step_up_required() -> Self {
        Self::new(
            Kind::StepUpRequired,
            "This needs a sign-in within the last 10 minutes. Please sign in again.",
        )
    }

    /// Nothing is wrong with it but its age: the desktop that is to check it has come back since.
    pub(super) fn ceremony_outlived() -> Self {
        const DETAIL: &str =
            "The desktop came back while you were signing in. Please use your passkey once more.";
        Self::new(Kind::CeremonyOutlived, DETAIL)
    }

    /// One answer for all that can be wrong with a registration, as for a sign-in.
    pub(super) fn registration_refused() -> Self {
        const DETAIL: &str =
            "The new passkey could not be verified, or the attempt took too long. Please try again.";
        Self::new(Kind::RegistrationRefused, DETAIL)
    }

    pub(super) fn invitation_refused() -> Self {
        const DETAIL: &str = "This invitation was used, has expired, or never was. Ask for a new one.";
        Self::new(Kind::InvitationRefused, DETAIL)
    }

    pub(super) fn link_refused() -> Self {
        const DETAIL: &str = "This link token was used, has expired, or never was. Have a new one made.";
        Self::new(Kind::LinkRefused, DETAIL)
    }

    /// One answer for a code that never was and for one that was used or is late.
    pub(super) fn link_code_refused() -> Self {
        const DETAIL: &str = "This code was used, has expired, or never was. Run `patapim-agent link` again \
                              for a new one.";
        Self::new(Kind::LinkCodeRefused, DETAIL)
    }

    /// One answer for all that can be wrong with a touch that approves a desktop, as for a sign-in.
    pub(super) fn confirmation_refused() -> Self {
        const DETAIL: &str =
            "This is not a passkey of yours here, or the attempt took too long. Please try again.";
        Self::new(Kind::ConfirmationRefused, DETAIL)
    }

    /// One answer for a code that never was, is late, or was scanned by somebody else.
    pub(super) fn phone_code_refused() -> Self {
        const DETAIL: &str = "This code was used or has expired. Have your computer show a new one; if it says that a \
                              phone has scanned the old one and that was not you, deny it there.";
        Self::new(Kind::PhoneCodeRefused, DETAIL)
    }

    pub(super) fn too_many_guesses() -> Self {
        const DETAIL: &str =
            "Too many codes that were no good. Please wait a quarter of an hour, then try again.";
        Self::new(Kind::TryLater, DETAIL)
    }

    pub(super) fn too_many_pages() -> Self {
        Self::new(Kind::TryLater, "Too many pages of yours listen for news at once. Close some.")
    }

    pub(super) fn authorization_pending() -> Self {
        Self::new(Kind::AuthorizationPending, "Nobody has approved or denied this desktop yet.")
    }

    pub(super) fn slow_down() -> Self {
        Self::new(Kind::SlowDown, "Ask less often: wait five more seconds between two calls from now on.")
    }

    pub(super) fn expired_token() -> Self {
        Self::new(
            Kind::ExpiredToken,
            "Nobody approved this desktop in time, or the code was used. Start again.",
        )
    }

    pub(super) fn access_denied() -> Self {
        Self::new(Kind::AccessDenied, "Somebody looked at this desktop's request and denied it.")
    }

    pub(super) fn not_found(what: &'static str) -> Self {
        Self::new(Kind::NotFound, format!("There is no {what}."))
    }

    pub(super) fn no_such_call() -> Self {
        Self::new(Kind::NotFound, "There is no such call at this address.")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(Kind::MethodNotAllowed, "This address does not take this method; see the Allow header.")
    }

    pub(super) fn failed(cause: impl ToString) -> Self {
        let detail = "The fault is on our side. Please try again in a moment.";
        Self { cause: Some(cause.to_string()), ..Self::new(Kind::Failed, detail) }
    }

    /// Tells the log what the client is not told.
    pub(super) fn log(&self) {
        if let Some(cause) = &self.cause {
            tracing::error!(cause, "the deployer could not answer");
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        let (status, slug, title) = self.kind.facts();
        let body = Body {
            r#type: format!("/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            error: self.kind.oauth_error(),
            unknown_credential: self.unknown_credential,
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 §15.5.2 wants a challenge; a browser opens no dialog for this one.
            let challenge = format!("Cookie cookie-name=\"{}\"", cookies::DEPLOYER);
            headers.extend(HeaderValue::try_from(challenge).map(|value| (header::WWW_AUTHENTICATE, value)));
        }
        let later = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some("2"),
            StatusCode::TOO_MANY_REQUESTS => Some("900"),
            _ => None,
        };
        headers.extend(later.map(|seconds| (header::RETRY_AFTER, HeaderValue::from_static(seconds))));
        with_headers(response)
    }
}

/// What every answer of the API carries, errors and successes.
pub(super) async fn with_api_headers(response: Response) -> Response {
    with_headers(response)
}

fn with_headers(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl From<DesktopError> for Problem {
    fn from(error: DesktopError) -> Self {
        match error {
            DesktopError::Offline => Self::new(
                Kind::DesktopOffline,
                "The desktop keeps this itself, and it is not connected. Start its agent, then try again.",
            ),
            DesktopError::Outdated => Self::new(
                Kind::DesktopOutdated,
                "The desktop's agent does not know of this yet. Update patapim-agent there, then try again.",
            ),
            DesktopError::NotTrusted => Self::not_found("such device on that desktop"),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Missing(what) => Self::not_found(what),
            AccountError::Taken(what) => Self::new(Kind::Taken, format!("There is one already: {what}.")),
            AccountError::LastFactor => {
                Self::new(Kind::LastFactor, "This is your last passkey. Register another one first.")
            }
            AccountError::Gone("invitation") => Self::invitation_refused(),
            AccountError::Gone("link code") => Self::link_code_refused(),
            AccountError::Gone(_) => Self::link_refused(),
            AccountError::Crowded => Self::new(
                Kind::TryLater,
                "As many desktops of this network as may wait to be linked already. Decide about one of them, \
                 or try again in a quarter of an hour.",
            ),
            AccountError::Busy => {
                Self::new(Kind::Unavailable, "Too many sign-ins at once. Please try again in a moment.")
            }
            AccountError::Disabled => Self::sign_in_refused("This account is switched off."),
            AccountError::Contended => Self::new(Kind::Overtaken, "Please look again, then try again."),
            AccountError::Store(error) => error.into(),
            error @ (AccountError::Name(_) | AccountError::Damaged(..)) => Self::failed(error),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Overtaken => Self::new(Kind::Overtaken, "Please sign in again."),
            SessionError::Term => Self::field("expires_at", "choose a moment of the coming year"),
            SessionError::TooMany => Self::new(
                Kind::TooMany,
                format!("A person has at most {MOST_ACCESS_TOKENS} access tokens. Revoke one first."),
            ),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let detail = "The edge cannot reach its store. Please try again in a moment.";
        Self { cause: Some(error.to_string()), ..Self::new(Kind::Unavailable, detail) }
    }
}

impl From<TrailError> for Problem {
    fn from(error: TrailError) -> Self {
        let detail = "The edge cannot write down what is done here. Please try again in a moment.";
        Self { cause: Some(error.to_string()), ..Self::new(Kind::Unavailable, detail) }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(Kind::TooLarge, "A body has at most 64 KiB."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(Kind::NotJson, "Send the header `Content-Type: application/json`.")
            }
            _ => Self::new(Kind::Malformed, rejection.body_text()),
        }
    }
}
