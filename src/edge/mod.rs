//! The public server.
pub mod admin_commands;
pub mod admin_socket;
