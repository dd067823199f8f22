//! What the edge counts: the one registry of the process, scraped on the admin listener (contract, section 7).
//!
//! Labels are enums, so that no host, user or path can become one. The registry is one per process, as every
//! Prometheus client has it: what is counted is the process, and a counter passed through five layers would hide
//! the code that it counts.

mod labels;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use labels::Class;
pub use labels::{Handshake, Limit, Route, SignInMethod, SignInResult, StreamKind, TokenCheck};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is counted. Fields are private: each has a method that says what happened.
///
/// What is counted with each request has its series looked up once, here: by its labels a series is found through a lock
/// and a hash.
pub struct Metrics {
    registry: Registry,
    requests: [[IntCounter; Class::ALL.len()]; Route::ALL.len()],
    request_seconds: [Histogram; Route::ALL.len()],
    token_checks: IntCounterVec,
    sign_ins: IntCounterVec,
    sessions_active: IntGauge,
    revocations: IntCounterVec,
    revocation_cut_seconds: Histogram,
    streams_active: [IntGauge; StreamKind::ALL.len()],
    tunnels_connected: IntGauge,
    tunnel_reconnects: IntCounter,
    agent_rtt_seconds: Histogram,
    tls_handshakes: IntCounterVec,
    limited: IntCounterVec,
    store_seconds: HistogramVec,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    &METRICS
}

/// From a tenth of a millisecond to a minute.
const SECONDS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

impl Metrics {
    #[expect(clippy::expect_used, reason = "names and help texts are constants; a test renders them all")]
    fn new() -> Self {
        let registry = Registry::new_custom(Some("patapim_edge".to_owned()), None).expect("a valid prefix");
        macro_rules! keep {
            ($metric:expr) => {{
                let metric = $metric.expect("a valid metric");
                registry.register(Box::new(metric.clone())).expect("a new name");
                metric
            }};
        }
        let seconds = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let build = keep!(IntGaugeVec::new(
            Opts::new("build_info", "The version that runs; always 1."),
            &["version"]
        ));
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        let requests = keep!(IntCounterVec::new(
            Opts::new("requests_total", "Requests answered, by whose they were and the class of the status."),
            &["route", "class"],
        ));
        let request_seconds = keep!(HistogramVec::new(
            seconds("request_seconds", "From a request's head to the last byte of its answer."),
            &["route"],
        ));
        let streams_active = keep!(IntGaugeVec::new(
            Opts::new("streams_active", "Requests in flight, by what they carry."),
            &["kind"],
        ));

        let metrics = Self {
            requests: each(Route::ALL, |route| {
                each(Class::ALL, |class| requests.with_label_values(&[route.as_str(), class.as_str()]))
            }),
            request_seconds: each(Route::ALL, |route| request_seconds.with_label_values(&[route.as_str()])),
            token_checks: keep!(IntCounterVec::new(
                Opts::new("token_checks_total", "Tokens looked at, by what was found."),
                &["result"],
            )),
            sign_ins: keep!(IntCounterVec::new(
                Opts::new("sign_ins_total", "Sign-ins tried, by method and result."),
                &["method", "result"],
            )),
            sessions_active: keep!(IntGauge::new("sessions_active", "Sessions that are good now.")),
            revocations: keep!(IntCounterVec::new(
                Opts::new("revocations_total", "Sessions ended before their time, by cause."),
                &["cause"],
            )),
            revocation_cut_seconds: keep!(Histogram::with_opts(seconds(
                "revocation_cut_seconds",
                "From the revocation of a session to the end of each stream it had open.",
            ))),
            streams_active: each(StreamKind::ALL, |kind| streams_active.with_label_values(&[kind.as_str()])),
            tunnels_connected: keep!(IntGauge::new("tunnels_connected", "Agents that are connected.")),
            tunnel_reconnects: keep!(IntCounter::new(
                "tunnel_reconnects_total",
                "Agents that came back after they had been connected before.",
            )),
            agent_rtt_seconds: keep!(Histogram::with_opts(seconds(
                "agent_rtt_seconds",
                "Round trips to agents, measured with PING.",
            ))),
            tls_handshakes: keep!(IntCounterVec::new(
                Opts::new("tls_handshakes_total", "TLS handshakes, by how they ended."),
                &["result"],
            )),
            limited: keep!(IntCounterVec::new(
                Opts::new(
                    "limited_total",
                    "Connections and requests refused or ended, by the limit that was met."
                ),
                &["limit"],
            )),
            store_seconds: keep!(HistogramVec::new(
                seconds("store_seconds", "Calls of the store, by operation."),
                &["op"],
            )),
            registry,
        };
        metrics.begin_bounded_series_at_zero();
        metrics
    }

    /// A series that appears with its first event hides that event from `rate()`.
    fn begin_bounded_series_at_zero(&self) {
        for check in TokenCheck::ALL {
            self.token_checks.with_label_values(&[check.as_str()]);
        }
        for method in SignInMethod::ALL {
            for result in SignInResult::ALL {
                self.sign_ins.with_label_values(&[method.as_str(), result.as_str()]);
            }
        }
        for handshake in Handshake::ALL {
            self.tls_handshakes.with_label_values(&[handshake.as_str()]);
        }
        for limit in Limit::ALL {
            self.limited.with_label_values(&[limit.as_str()]);
        }
    }

    /// A request was answered with `status` (0 when it was cut before an answer), `took` after it came.
    pub fn request(&self, route: Route, status: u16, took: Duration) {
        self.requests[route as usize][Class::of(status) as usize].inc();
        self.request_seconds[route as usize].observe(took.as_secs_f64());
    }

    /// A token was looked at.
    pub fn token_check(&self, result: TokenCheck) {
        self.token_checks.with_label_values(&[result.as_str()]).inc();
    }

    /// A sign-in ended.
    pub fn sign_in(&self, method: SignInMethod, result: SignInResult) {
        self.sign_ins.with_label_values(&[method.as_str(), result.as_str()]).inc();
    }

    /// How many sessions are good now.
    pub fn sessions_active(&self, count: usize) {
        self.sessions_active.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// `count` sessions were ended before their time, by a cause's label.
    pub fn revocations(&self, cause: &'static str, count: usize) {
        self.revocations.with_label_values(&[cause]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// A stream of a revoked session closed, `after` the revocation.
    pub fn revocation_cut(&self, after: Duration) {
        self.revocation_cut_seconds.observe(after.as_secs_f64());
    }

    /// A stream of `kind` is open for as long as the answer lives.
    #[must_use]
    pub fn stream(&self, kind: StreamKind) -> OpenStream {
        let gauge = self.streams_active[kind as usize].clone();
        gauge.inc();
        OpenStream(gauge)
    }

    /// How many agents are connected.
    pub fn tunnels_connected(&self, count: usize) {
        self.tunnels_connected.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An agent came back.
    pub fn tunnel_reconnect(&self) {
        self.tunnel_reconnects.inc();
    }

    /// A PING to an agent was answered.
    pub fn agent_rtt(&self, took: Duration) {
        self.agent_rtt_seconds.observe(took.as_secs_f64());
    }

    /// A TLS handshake ended.
    pub fn tls_handshake(&self, result: Handshake) {
        self.tls_handshakes.with_label_values(&[result.as_str()]).inc();
    }

    /// Somebody met a limit.
    pub fn limited(&self, limit: Limit) {
        self.limited.with_label_values(&[limit.as_str()]).inc();
    }

    /// A call of the store's `op`, a constant, ended.
    pub fn store_call(&self, op: &'static str, began: Instant) {
        self.store_seconds.with_label_values(&[op]).observe(began.elapsed().as_secs_f64());
    }

    /// All of it in Prometheus' text format.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "metrics could not be rendered");
        }
        out
    }
}

/// Counts a stream as open until it is dropped.
pub struct OpenStream(IntGauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The series of each of a label's values.
fn each<L: Copy, S, const N: usize>(values: &[L], series: impl Fn(L) -> S) -> [S; N] {
    std::array::from_fn(|at| series(values[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_contract_is_there_from_the_start() {
        metrics().store_call("get", Instant::now());
        // The layer that knows the causes counts none of each when it opens.
        metrics().revocations("logout", 0);
        let text = String::from_utf8(metrics().render()).expect("text");
        for name in [
            "requests_total",
            "request_seconds",
            "token_checks_total",
            "sign_ins_total",
            "sessions_active",
            "revocations_total",
            "revocation_cut_seconds",
            "streams_active",
            "tunnels_connected",
            "tunnel_reconnects_total",
            "agent_rtt_seconds",
            "tls_handshakes_total",
            "store_seconds",
            "build_info",
        ] {
            assert!(text.contains(&format!("# TYPE patapim_edge_{name} ")), "{name}");
        }
    }

    #[test]
    fn an_open_stream_is_counted_until_it_is_dropped() {
        let text = |metrics: &Metrics| String::from_utf8(metrics.render()).expect("text");
        let metrics = Metrics::new();
        let open = metrics.stream(StreamKind::Sse);
        assert!(text(&metrics).contains("streams_active{kind=\"sse\"} 1"));
        drop(open);
        assert!(text(&metrics).contains("streams_active{kind=\"sse\"} 0"));
    }
}
