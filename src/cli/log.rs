//! The log, on standard error: for people on a terminal, one JSON object per line otherwise.

mod line;
mod outlet;

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use line::JsonLine;
pub(super) use outlet::Flushing;
use outlet::Outlet;

/// Libraries that quote requests (addresses, headers, unread bytes) in what they log. A token may be in any of it, so
/// it is not written whatever the filter says; the edge writes its own line for each request.
const QUOTING: [&str; 5] =
    ["pingora_proxy", "pingora_http", "pingora_cache", "pingora_core::apps", "pingora_core::protocols"];

/// Libraries that quote only where they trace themselves.
const TALKATIVE: [&str; 6] = ["pingora", "hyper", "hyper_util", "rustls", "tungstenite", "tokio_tungstenite"];

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("--log {0:?} is not a filter: {1}; write it such as \"info\" or \"warn,patapim_edge=debug\"")]
    Filter(String, ParseError),
    #[error(transparent)]
    Twice(#[from] TryInitError),
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
}

/// Starts the log, from which `filter` chooses. To be kept until the end: what is still to be written is written then.
pub(super) fn start(filter: &str) -> Result<Flushing, LogError> {
    let chosen = EnvFilter::try_new(filter).map_err(|error| LogError::Filter(filter.to_owned(), error))?;
    let (outlet, flushing) = Outlet::before(io::stderr())?;
    let outlet = move || outlet.clone();
    let written = if io::stderr().is_terminal() {
        fmt::layer().with_writer(outlet).with_target(false).boxed()
    } else {
        fmt::layer().with_writer(outlet).event_format(JsonLine).boxed()
    };
    log_to(written, chosen).try_init()?;
    Ok(flushing)
}

fn log_to(
    written: Box<dyn Layer<Registry> + Send + Sync>,
    chosen: EnvFilter,
) -> impl tracing::Subscriber + Send + Sync {
    tracing_subscriber::registry().with(written.with_filter(filter_fn(is_fit)).with_filter(chosen))
}

/// Whether a record may be written at all.
fn is_fit(record: &Metadata<'_>) -> bool {
    let from = |library: &str| {
        record.target().strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if QUOTING.iter().any(|library| from(library)) {
        return false;
    }
    // It warns of single frames, and whoever speaks HTTP/2 can send them without end.
    if from("h2") {
        return *record.level() == Level::ERROR;
    }
    let talkative = TALKATIVE.iter().any(|library| from(library)) || record.target().starts_with("pingora_");
    !talkative || *record.level() <= Level::WARN
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, write: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone()).boxed();
        page.filled(layer, filter, write)
    }

    impl Page {
        fn filled(
            self,
            layer: Box<dyn Layer<Registry> + Send + Sync>,
            filter: &str,
            write: impl FnOnce(),
        ) -> String {
            tracing::subscriber::with_default(log_to(layer, EnvFilter::new(filter)), write);
            String::from_utf8(self.0.lock().expect("whole").clone()).expect("text")
        }
    }

    #[test]
    fn a_record_is_one_line_of_json_whatever_is_in_it() {
        let page = Page::default();
        let writer = page.clone();
        let layer = fmt::layer().with_writer(move || writer.clone()).event_format(JsonLine).boxed();
        let text = page.filled(layer, "info", || {
            let (missing, hostile) = (None::<u64>, "\"a\\b\"\n\u{1b}[2J\u{2028}");
            tracing::warn!(target: "request", status = 200_u16, cut = true, missing, hostile, shown = %hostile, "said {}", 7);
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let hostile = "\"a\\b\"\n\u{1b}[2J\u{2028}";
        let timestamp = line["timestamp"].as_str().expect("a time");
        assert!(crate::clock::Timestamp::parse_rfc3339(timestamp).is_some(), "{timestamp}");
        assert_eq!(
            line,
            serde_json::json!({
                "timestamp": timestamp, "level": "WARN", "message": "said 7", "target": "request",
                "status": 200, "cut": true, "hostile": hostile, "shown": hostile,
            })
        );
    }

    #[test]
    fn what_quotes_requests_is_not_written_even_when_everything_is_asked_for() {
        let text = logged("trace", || {
            tracing::error!(target: "pingora_proxy", "GET /?token=hush");
            tracing::error!(target: "pingora_core::protocols::http::v1::server", "buf: Cookie: hush");
            tracing::debug!(target: "h2::hpack::decoder", "hush");
            tracing::warn!(target: "h2::proto::ping_pong", "hush, recv PING ack that we never sent");
            tracing::info!(target: "pingora_core::server", "hush, Bootstrap starting");
            tracing::warn!(target: "pingora_core::server", "heard");
            tracing::trace!(target: "patapim_edge::edge", "heard as well");
        });
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("heard as well") && text.lines().count() == 2, "{text}");
    }

    #[test]
    fn the_filter_chooses() {
        let text = logged("warn,patapim_edge::access=debug", || {
            tracing::info!(target: "patapim_edge::edge", "left out");
            tracing::debug!(target: "patapim_edge::access", "taken");
        });
        assert!(!text.contains("left out") && text.contains("taken"), "{text}");
        let Err(refused) = start("info,=,=x") else { panic!("not a filter") };
        assert!(refused.to_string().contains("is not a filter"), "{refused}");
    }
}
