//! What can go wrong between the gate and the app, in words that an answer can be made of.

use pingora::{Error, ErrorType};

use crate::wire::AppFault;

/// Why an admitted request got no answer from its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// No agent is connected.
    #[error("the tunnel is offline")]
    Offline,
    /// The agent is too old to be asked whether it will have a session.
    #[error("the agent is too old to approve sessions")]
    Outdated,
    /// As many streams as allowed are open on the tunnel.
    #[error("the tunnel is busy")]
    Busy,
    /// The agent says why the app did not answer.
    #[error("the app did not answer: {}", .0.as_str())]
    App(AppFault),
    /// The agent left, or broke off, before an answer.
    #[error("the tunnel broke")]
    Broken,
    /// The agent never began to work on the request, and says so: it may be sent again, whatever it was.
    #[error("the agent did not take the request")]
    NotTaken,
    /// The request cannot be put to an app.
    #[error("the request cannot be sent on")]
    Unsendable,
}

impl Failure {
    /// As Pingora carries it.
    pub(super) fn into_error(self) -> Box<Error> {
        Error::because(ErrorType::ConnectError, "tunnel", self).into_up()
    }

    /// The failure that `error` carries, if it is one of ours.
    pub(super) fn of(error: &Error) -> Option<Self> {
        error.cause.as_ref()?.downcast_ref().copied()
    }
}
