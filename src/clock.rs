//! Time, passed in.
//!
//! Decisions take a [`Timestamp`]; whoever calls them asks a [`Clock`]. The system clock here never goes
//! backwards: a machine whose clock is set back must not revive what has expired (threats: "clock set back").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch, as a JWT's NumericDate carries them (RFC 7519 §2).
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment cut to whole seconds.
    pub const fn floor_to_second(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// How long ago `earlier` was; zero when it is still to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with whole seconds, as every listing shows it.
    pub fn rfc3339(self) -> String {
        i64::try_from(self.secs())
            .ok()
            .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
    }

    /// Reads RFC 3339, any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(at.unix_timestamp()).ok().map(Self::from_secs)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Serialises a [`Timestamp`] as RFC 3339, for what people and scripts read.
/// Use with `#[serde(serialize_with = "clock::as_rfc3339")]`.
pub fn as_rfc3339<S: serde::Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&at.rfc3339())
}

/// As [`as_rfc3339`], `null` for none.
pub fn as_rfc3339_option<S: serde::Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => as_rfc3339(at, out),
        None => out.serialize_none(),
    }
}

/// Reads a [`Timestamp`] that [`as_rfc3339`] wrote.
pub fn from_rfc3339<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    Timestamp::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom("not a time"))
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. Never earlier than a moment returned before.
    fn now(&self) -> Timestamp;
}

/// The machine's clock, held so that it never goes back.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicU64,
}

impl SystemClock {
    /// Starts at `floor` or the machine's time, whichever is later. The floor is the latest moment the store has
    /// seen, so that the promise holds over a restart.
    pub fn not_before(floor: Timestamp) -> Arc<Self> {
        Arc::new(Self { latest: AtomicU64::new(floor.millis()) })
    }

    /// How far the machine's time is behind the present moment: more than nothing where the machine's clock was set back,
    /// or is wrong. So long [`Clock::now`] stands still.
    pub fn behind(&self) -> Duration {
        Timestamp(self.latest.load(Ordering::Relaxed)).since(Timestamp(machine_millis()))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let machine = machine_millis();
        let before = self.latest.fetch_max(machine, Ordering::Relaxed);
        Timestamp(before.max(machine))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one door to the machine's clock")]
fn machine_millis() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A clock that is moved by hand, for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at `at`.
    pub fn at(at: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(at.millis())))
    }

    /// Moves on by `by`.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_starts_no_earlier_than_what_the_store_has_seen() {
        let far = Timestamp::from_secs(4_000_000_000);
        let clock = SystemClock::not_before(far);
        assert_eq!(clock.now(), far);
        assert!(clock.behind() > Duration::from_secs(1_000_000_000));
        assert_eq!(SystemClock::not_before(Timestamp::default()).behind(), Duration::ZERO);
    }

    #[test]
    fn rfc3339_goes_there_and_back() {
        let at = Timestamp::from_secs(1_790_000_000);
        assert_eq!(Timestamp::parse_rfc3339(&at.rfc3339()), Some(at));
    }
}
