//! patapim-edge
#![allow(dead_code)]

pub mod clock;
#[cfg(feature = "edge")]
pub mod metrics;
pub mod names;
pub mod secret;
#[cfg(feature = "edge")]
pub mod store;
