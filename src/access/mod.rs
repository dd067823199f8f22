//! Who may pass: tokens, the sessions they are bound to, what was revoked, and the gate that decides.
//!
//! A person signs in at the deployer and is issued a [`token`]. The first use binds it to one session
//! ([`sessions`]: one atomic create in the store). From then on the [`gate`] looks the session up in memory and hands
//! out a [`Permit`], without which nothing can be proxied. [`revocation`] ends sessions; each session carries the
//! switch that cuts its open streams.
//!
//! No HTTP type comes in here, and no clock: `now` is an argument.

pub mod access_tokens;
mod approval;
pub mod assertion;
pub mod cookies;
pub mod gate;
mod keyfile;
pub mod keys;
mod last_seen;
mod nonce_tree;
mod nonces;
pub mod once;
mod redeem;
pub mod revocation;
mod revoked;
pub mod rotation;
pub mod seal;
mod session;
pub mod sessions;
mod table;
pub mod token;

pub use assertion::Assertor;
pub use gate::{Gate, Permit};
pub use keys::{Former, KeyRing};
pub use nonces::Nonces;
pub use once::Once;
pub use redeem::{Beside, RedeemError, Redeemed, Refused};
pub use revocation::{Cause, Target};
pub use session::{Method, Realm, Session};
pub use sessions::{Sessions, SignIn, Visitor};
