//! Reach an app that runs on a desktop from any browser, with a fingerprint instead of a password.
//!
//! One library, two programs: `patapim-edge`, the public server, and `patapim-agent`, which runs beside the app and
//! dials out. Everything here serves two journeys.
//!
//! # A sign-in
//!
//! A browser opens `https://ada-abc234.tunnel.patapim.ai/notes`. It has no session there, so the [edge] plants a *bind*
//! cookie on that host, whose secret only this browser has, and sends it to the [deployer], the sign-in site, with the
//! cookie's hash. There the person touches a sensor; the browser finds the passkey by itself, without a name typed. The
//! deployer checks what the authenticator signed, uses the ceremony up, and has a *token* issued ([`access::token`]): a
//! JWT for this person, this tunnel and the browser behind that hash, on record in the [store].
//!
//! The browser carries the token back to the tunnel. The gate ([`access::gate`]) judges it, and its first use binds it
//! for ever to one *session*: one atomic create in the store, so that of fifty tries, or of two on both sides of a
//! crash, one wins. The browser gets the session's cookie and its own address again, without the token.
//!
//! # A request
//!
//! From now on every request takes the same way:
//!
//! ```text
//!  TCP ─▶ TLS ─▶ whose host? ─▶ gate ─▶ Permit ─▶ a stream of the tunnel ─▶ agent ─▶ app, and back
//! ```
//!
//! The gate decides from memory: the session is alive, it is this tunnel's, and no foreign page is using it. Only then
//! there is a [`Permit`](access::Permit), and only with one can a stream be opened on the connection that the tunnel's
//! agent once dialed: TLS with the roles turned, the edge being the HTTP/2 client ([wire]). The [agent] puts the request
//! to the app on `127.0.0.1`; bodies, event streams and WebSockets flow both ways as they come.
//!
//! The permit carries a switch. When the session ends (logout, an operator, a removed passkey, its time), what is open
//! under it is cut at that moment, and the next request begins the first journey anew.
//!
//! # The layers
//!
//! Imports go down only; a test holds it. `ARCHITECTURE.md` has the reasons.
//!
//! | layer | |
//! |---|---|
//! | [cli], [demo], [config] | what an operator types, the whole of it on one machine, one checked TOML file |
//! | [edge] | listeners, TLS, the path of a request; the only place that knows Pingora |
//! | [deployer], [tunnel] | the sign-in site, which knows no Pingora; the agents that dialed in |
//! | [access] | tokens, sessions, revocation, the gate; knows no HTTP |
//! | [accounts] | people, passkeys, tunnels, desktops |
//! | [trail] | what was done, in an order that nobody changes unseen |
//! | [store], [wire] | what outlives a restart; what edge and agent agree on |
//! | [names], [clock], [secret], [proof], [metrics], [manual] | the ground |
//! | [agent] | the desktop side, on [wire] and the ground alone |
//!
//! The cargo features `edge` and `agent` choose the programs; the agent alone needs no Pingora, SQLite or axum.

#[cfg(feature = "edge")]
pub mod access;
#[cfg(feature = "edge")]
pub mod accounts;
#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "edge")]
pub mod cli;
pub mod clock;
#[cfg(feature = "edge")]
pub mod config;
#[cfg(all(feature = "edge", feature = "agent"))]
pub mod demo;
#[cfg(feature = "edge")]
pub mod deployer;
#[cfg(feature = "edge")]
pub mod edge;
#[cfg(any(feature = "edge", feature = "agent"))]
pub mod manual;
#[cfg(feature = "edge")]
pub mod metrics;
pub mod names;
pub mod proof;
pub mod secret;
#[cfg(feature = "edge")]
pub mod store;
#[cfg(feature = "edge")]
pub mod trail;
#[cfg(feature = "edge")]
pub mod tunnel;
pub mod wire;
