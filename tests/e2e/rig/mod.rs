//! What the tests play with: edges, desktops, apps, people, and the tools of those who attack them.
//!
//! Everything here enters by sockets, on ports that the system chose, and knows the product by its contract alone.

pub(crate) mod accessibility;
pub(crate) mod agent;
pub(crate) mod answer;
pub(crate) mod app;
pub(crate) mod authenticator;
pub(crate) mod browser;
pub(crate) mod ca;
pub(crate) mod client;
pub(crate) mod cookies;
pub(crate) mod devtools;
pub(crate) mod disk;
pub(crate) mod edge;
pub(crate) mod fake_agent;
pub(crate) mod false_edge;
pub(crate) mod fleet;
pub(crate) mod frames;
pub(crate) mod held;
pub(crate) mod journey;
pub(crate) mod machine;
pub(crate) mod pattern;
pub(crate) mod peers;
pub(crate) mod post;
pub(crate) mod power;
pub(crate) mod process;
pub(crate) mod raw_http2;
pub(crate) mod scene;
pub(crate) mod stage;
pub(crate) mod told;
pub(crate) mod traffic;
pub(crate) mod virtual_authenticator;
pub(crate) mod websocket;
