//! The sign-in site: its pages and its API.

pub mod assets;
pub mod pages;
pub mod tunnel_pages;
