//! The product from outside: the built programs, sockets, browsers, and nothing else.
//!
//! A test starts what it needs on ports the system chose, in folders of its own, so all run at once; it waits for
//! events, never for time to pass.

mod layering;
mod linking;
#[allow(dead_code, reason = "the tests that use all of it land with the parts they test")]
mod rig;
mod scripts;
