//! What visitors may take their time for, and how much of it.

use std::time::Duration;

/// Chosen by the operator (`[limits]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the accepted connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last.
    pub header: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle: Duration,
    /// How long a visitor may owe the next bytes of a body, or leave those of an answer untaken.
    pub stall: Duration,
    /// The bytes in a second, on average, with which a debt is paid off: who sends or takes fewer for as long as a stall may
    /// last is too slow. It counts only while it is the visitor that everybody waits for.
    pub least_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(15),
            idle: Duration::from_secs(90),
            stall: Duration::from_secs(60),
            least_rate: 256,
        }
    }
}
