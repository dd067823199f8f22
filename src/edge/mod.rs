//! The public server.
pub mod admin_commands;
pub mod admin_socket;
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
mod relay;
mod request_headers;
mod request_kind;
mod response_headers;
#[cfg(test)]
mod test_agent;
#[cfg(test)]
mod test_certificate;
#[cfg(test)]
mod test_listener;
mod tls;
mod token_query;
mod websocket;
