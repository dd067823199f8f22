//! What edge and agent agree on: reverse HTTP/2.
//!
//! The agent dials the edge's https port with ALPN [`ALPN`] over TLS 1.3 and proves itself with a client
//! certificate of its own key, which the edge knows by its [`SpkiPin`]. Then the roles turn: the edge is the HTTP/2
//! client on that connection and the agent the server. From there on it is plain HTTP/2 (RFC 9113):
//!
//! - A visitor's request is a stream. A WebSocket is an extended CONNECT (RFC 8441).
//! - The edge speaks to the agent itself with requests to the authority [`CONTROL_AUTHORITY`]: first `POST /hello`
//!   ([`EdgeHello`]), later a [`Notice`], and whether it will have a session ([`approval`]).
//! - The agent speaks to the edge in the body of its answer to the hello: lines of JSON, first its [`AgentHello`],
//!   then an [`AgentEvent`] each. That stream lives as long as the agent takes requests.
//! - Either side finds a frozen peer with PING ([`pulse`]), and the edge ends one that floods it ([`Calm`]).
//!
//! There is no framing, no multiplexing and no flow control of our own.

pub mod approval;
pub mod http2;

mod buffered;
mod calm;
mod control;
mod hello;
mod lines;
mod pin;
mod pulse;

pub use buffered::Buffered;
pub use calm::{Calm, Overdrawn};
pub use control::{AgentEvent, AppFault, Notice, NoticeBody};
pub use hello::{AgentHello, EdgeHello, HELLO_PATH, Hello, UnknownVersion, read_hello};
pub use lines::{LineTooLong, Lines};
pub use pin::SpkiPin;
pub use pulse::{Heard, Listened, Rhythm, Silence, pulse};

/// The protocol's name in the TLS handshake (RFC 7301). Its number moves only when an old peer could not even be told
/// that it is old; everything less goes by [`VERSION`].
pub const ALPN: &[u8] = b"patapim-tunnel/1";

/// The version of the messages in this module.
pub const VERSION: u32 = 1;

/// The authority that the agent itself answers for; `.invalid` is nobody's (RFC 6761 §6.4), so no visitor's request
/// can have it.
pub const CONTROL_AUTHORITY: &str = "control.patapim.invalid";

/// Set by the agent on an answer of its own making, never by the app: an [`AppFault`]. The edge removes it.
pub const AGENT_ERROR_HEADER: &str = "x-patapim-agent-error";

/// The longest control message, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024;

/// Text from the other side, fit for a terminal and a log: one line, no control characters, nothing that turns the order
/// of what follows or hides in it, not endless.
pub fn one_line(text: &str) -> String {
    let unseen = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|c| if c.is_control() || unseen(c) { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_hostile_name_stays_on_its_line_and_in_its_order() {
        assert_eq!(one_line("a\r\nb\u{1b}[2Jc"), "a  b [2Jc");
        assert_eq!(one_line("pho\u{202e}gpj.exe\u{200b}"), "pho gpj.exe ");
        assert_eq!(one_line("Zoë’s 手机 📱"), "Zoë’s 手机 📱");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 300);
    }
}
