//! The public server.
pub mod admin_commands;
pub mod admin_socket;
mod cookies;
mod cross_site;
mod request_headers;
mod request_kind;
mod response_headers;
mod token_query;
mod websocket;
