//! What a check found: how it is, in one sentence, and how to mend it.

use serde::Serialize;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    Server,
    Dns,
    Certificate,
    Clock,
    PublicSuffix,
    RpId,
    Files,
    Store,
    Ports,
    Limits,
}

impl Check {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Dns => "dns",
            Self::Certificate => "certificate",
            Self::Clock => "clock",
            Self::PublicSuffix => "public-suffix",
            Self::RpId => "rp-id",
            Self::Files => "files",
            Self::Store => "store",
            Self::Ports => "ports",
            Self::Limits => "limits",
        }
    }
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Ok,
    /// Worth a look; it may be meant.
    Warning,
    /// Something does not work, or will not.
    Failed,
}

impl Outcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One finding. Without a mend there is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) result: Outcome,
    pub(super) finding: String,
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: Check, finding: impl Into<String>) -> Self {
        Self { check, result: Outcome::Ok, finding: finding.into(), mend: None }
    }

    pub(super) fn warning(check: Check, finding: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, result: Outcome::Warning, finding: finding.into(), mend: Some(mend.into()) }
    }

    pub(super) fn failed(check: Check, finding: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, result: Outcome::Failed, finding: finding.into(), mend: Some(mend.into()) }
    }
}
