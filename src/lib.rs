//! patapim-edge

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
#[cfg(feature = "edge")]
pub mod metrics;
pub mod names;
pub mod secret;
#[cfg(feature = "edge")]
pub mod store;
#[cfg(feature = "edge")]
pub mod tunnel;
pub mod wire;
