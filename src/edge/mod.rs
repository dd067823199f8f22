//! The public server.
mod admin;
pub mod admin_commands;
pub mod admin_socket;
mod agents;
mod answer;
mod bridge;
mod certificate_dates;
mod connection;
mod cookies;
mod cross_site;
mod drain;
mod failure;
mod hello;
mod life;
mod listen;
mod presence;
mod redirect;
mod relay;
mod request_headers;
mod request_kind;
mod response_headers;
mod settings;
mod store_metrics;
#[cfg(test)]
mod test_agent;
#[cfg(test)]
mod test_certificate;
#[cfg(test)]
mod test_listener;
mod tls;
mod token_query;
mod websocket;

pub use settings::{Browsers, FixedUpstream, ListenSettings, Ready, Settings};
pub use tls::CertificateFiles;
