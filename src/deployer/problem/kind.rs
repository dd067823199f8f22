//! The kinds of problems there are: statuses, names that scripts may rely on, titles.

use http::StatusCode;

/// What went wrong. The names in the address are stable: scripts may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    SignInRequired,
    SignInRefused,
    ForeignOrigin,
    StepUpRequired,
    CeremonyOutlived,
    PasskeyRequired,
    ApprovalRequired,
    WeakPassword,
    WrongPassword,
    NoMail,
    RegistrationRefused,
    InvitationRefused,
    LinkRefused,
    LinkCodeRefused,
    ConfirmationRefused,
    PhoneCodeRefused,
    AuthorizationPending,
    SlowDown,
    ExpiredToken,
    AccessDenied,
    TryLater,
    NotFound,
    MethodNotAllowed,
    Taken,
    LastFactor,
    Overtaken,
    TooMany,
    TooLarge,
    NotJson,
    DesktopOffline,
    DesktopOutdated,
    Failed,
    Unavailable,
}

impl Kind {
    /// Status, last part of the type's address, title.
    pub(super) const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Self::SignInRequired => (StatusCode::UNAUTHORIZED, "sign-in-required", "Nobody is signed in"),
            Self::SignInRefused => (StatusCode::UNAUTHORIZED, "sign-in-refused", "The sign-in was refused"),
            Self::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "foreign-origin", "Not from this site's own pages")
            }
            Self::CeremonyOutlived => (StatusCode::CONFLICT, "ceremony-outlived", "Please touch once more"),
            Self::StepUpRequired => (StatusCode::FORBIDDEN, "step-up-required", "A fresh sign-in is needed"),
            Self::PasskeyRequired => (StatusCode::FORBIDDEN, "passkey-required", "A passkey is needed"),
            Self::ApprovalRequired => {
                (StatusCode::FORBIDDEN, "approval-required", "The desktop has not let you in yet")
            }
            Self::WeakPassword => {
                (StatusCode::UNPROCESSABLE_ENTITY, "weak-password", "The password is too easily guessed")
            }
            Self::WrongPassword => {
                (StatusCode::FORBIDDEN, "wrong-password", "This is not the current password")
            }
            Self::NoMail => (StatusCode::CONFLICT, "no-mail", "There is nowhere to send mail"),
            Self::RegistrationRefused => {
                (StatusCode::FORBIDDEN, "registration-refused", "The registration was refused")
            }
            Self::InvitationRefused => {
                (StatusCode::FORBIDDEN, "invitation-refused", "The invitation is not good")
            }
            Self::LinkRefused => (StatusCode::FORBIDDEN, "link-refused", "The link token is not good"),
            Self::LinkCodeRefused => (StatusCode::FORBIDDEN, "link-code-refused", "The code is not good"),
            Self::ConfirmationRefused => {
                (StatusCode::FORBIDDEN, "confirmation-refused", "The confirmation was refused")
            }
            Self::PhoneCodeRefused => (StatusCode::FORBIDDEN, "phone-code-refused", "The code is not good"),
            Self::AuthorizationPending => {
                (StatusCode::BAD_REQUEST, "authorization-pending", "Nobody has decided yet")
            }
            Self::SlowDown => (StatusCode::BAD_REQUEST, "slow-down", "Asked too often"),
            Self::ExpiredToken => (StatusCode::BAD_REQUEST, "expired-token", "The code has expired"),
            Self::AccessDenied => (StatusCode::BAD_REQUEST, "access-denied", "The linking was denied"),
            Self::TryLater => (StatusCode::TOO_MANY_REQUESTS, "try-later", "Too many tries at once"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method")
            }
            Self::Taken => (StatusCode::CONFLICT, "taken", "It is taken"),
            Self::LastFactor => (StatusCode::CONFLICT, "last-factor", "The last way to sign in is kept"),
            Self::Overtaken => (StatusCode::CONFLICT, "overtaken", "The account was changed meanwhile"),
            Self::TooMany => (StatusCode::CONFLICT, "too-many", "There are too many already"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "The request is not JSON"),
            Self::DesktopOffline => {
                (StatusCode::SERVICE_UNAVAILABLE, "desktop-offline", "The desktop is not connected")
            }
            Self::DesktopOutdated => {
                (StatusCode::SERVICE_UNAVAILABLE, "desktop-outdated", "The desktop's agent is too old")
            }
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "Something went wrong here"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available right now"),
        }
    }
}

impl Kind {
    /// The error code of RFC 8628 §3.5, for what a desktop that waits is told.
    pub(super) const fn oauth_error(self) -> Option<&'static str> {
        match self {
            Self::AuthorizationPending => Some("authorization_pending"),
            Self::SlowDown => Some("slow_down"),
            Self::ExpiredToken => Some("expired_token"),
            Self::AccessDenied => Some("access_denied"),
            _ => None,
        }
    }
}
