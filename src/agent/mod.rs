//! The desktop side: it dials the edge and hands what comes to the app.
//!
//! - [`ask_for_code`] ties this desktop to a tunnel once: it makes a key, tells the edge its public half, shows a code,
//!   and waits until a person has approved it. With a token, [`link_desktop`] does it at once. The tie is a [`Link`] in
//!   the agent's folder, [`Home`].
//! - [`run`] keeps a connection to the edge: it dials, waits longer after each failure, serves visitors, and stops for
//!   good when the edge says that another took its place or that it is no longer linked.
//! - Each visitor's stream becomes one HTTP/1.1 request to the app, if this desktop has approved its session: the
//!   [`Desk`] is where the edge asks and the person decides. The edge's own opinion does not count.
//!
//! The rules both sides follow are in [`crate::wire`].

mod address;
mod api;
mod app_connection;
mod approvals;
mod backoff;
mod belief;
mod body;
mod console;
mod control;
mod decisions;
mod desk;
mod dial;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headers;
mod home;
mod identity;
mod link_code;
mod linking;
mod listing;
mod local;
mod notify;
mod panel;
mod qr;
mod run;
mod serve;
#[cfg(test)]
mod test_passkey;
mod trust;
mod waiting;
mod websocket;

#[cfg(all(test, feature = "edge"))]
mod lies_tests;

pub mod cli;
pub mod proof;

pub use address::{EdgeAddress, NotAnEdge};
pub use api::{CallError, Refusal};
pub use backoff::Backoff;
pub use belief::Unproven;
pub use desk::{Desk, Trust};
pub use dial::{DialError, Dialer, TrustError};
pub use home::{Home, HomeError};
pub use identity::{DesktopKey, KeyError, Link, LinkError};
pub use link_code::{LinkCode, ask_for_code};
pub use linking::{FirstTrust, LinkRequest, LinkingError, link_desktop};
pub use local::{AppAddress, AppAddressError};
pub use run::{Agent, AgentState, Pace, RunError, run};
