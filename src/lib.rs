//! patapim-edge
#![allow(dead_code)]

pub mod clock;
pub mod names;
pub mod secret;
#[cfg(feature = "edge")]
pub mod store;
