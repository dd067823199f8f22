//! How much of the edge one visitor may have: connections, and requests a minute.
//!
//! Addresses and sessions are counted in tables of a fixed size (count-min sketches), so that a flood of addresses
//! grows nothing. Such a count is never too low, and too high only where tens of thousands are counted at once. An
//! IPv6 address counts with its /64, which is what one household or one machine is given.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora_limits::inflight::{Guard, Inflight};
use pingora_limits::rate::Rate;
use tokio::net::TcpStream;

use super::CapSettings;
use crate::metrics::{Limit, metrics};
use crate::names::SessionId;

/// Requests are counted by the minute: a page of a thousand pieces is no flood.
const MINUTE: Duration = Duration::from_secs(60);
/// The size of a table of rates: 4 rows, of which the least count is taken.
const ROWS: usize = 4;
const COLUMNS: usize = 16 * 1024;

/// What there is, and how much of it is taken.
pub(super) struct Caps {
    most: CapSettings,
    connections: AtomicUsize,
    of_address: Inflight,
    requests_of_address: Rate,
    requests_of_session: Rate,
    descriptors: Descriptors,
}

impl Caps {
    pub(super) fn new(most: CapSettings) -> Self {
        let rate = || Rate::new_with_estimator_config(MINUTE, ROWS, COLUMNS);
        Self {
            most,
            connections: AtomicUsize::new(0),
            of_address: Inflight::new(),
            requests_of_address: rate(),
            requests_of_session: rate(),
            descriptors: Descriptors::of_this_process(),
        }
    }

    /// A place for one more connection, if there is one. Whose it is may be learnt later.
    pub(super) fn place(self: &Arc<Self>, tcp: &TcpStream) -> Result<Place, Limit> {
        if self.descriptors.are_scarce(tcp.as_raw_fd()) {
            return Err(self.met(Limit::Descriptors));
        }
        let place = Place { caps: Arc::clone(self), of_address: None };
        let taken = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        if exceeds(taken, self.most.connections) {
            return Err(self.met(Limit::Connections));
        }
        Ok(place)
    }

    /// Counts one more request of `client`.
    pub(super) fn request_of_address(&self, client: IpAddr) -> Result<(), Limit> {
        let most = self.most.requests_per_address;
        self.request(&self.requests_of_address, &neighbourhood(client), most, Limit::AddressRequests)
    }

    /// Counts one more request under `session`.
    pub(super) fn request_of_session(&self, session: &SessionId) -> Result<(), Limit> {
        let most = self.most.requests_per_session;
        self.request(&self.requests_of_session, session, most, Limit::SessionRequests)
    }

    fn request<K: Hash>(&self, counted: &Rate, key: &K, most: u32, limit: Limit) -> Result<(), Limit> {
        if most > 0 && exceeds(counted.observe(key, 1).unsigned_abs(), most) {
            return Err(self.met(limit));
        }
        Ok(())
    }

    /// Streams at once on one connection of HTTP/2.
    pub(super) fn streams(&self) -> u32 {
        self.most.streams_per_connection
    }

    /// Whether a connection to an app, with this descriptor, is one too many.
    pub(super) fn leaves_no_descriptors(&self, of_upstream: RawFd) -> bool {
        let too_many = self.descriptors.are_nearly_gone(of_upstream);
        if too_many {
            metrics().limited(Limit::Descriptors);
        }
        too_many
    }

    fn met(&self, limit: Limit) -> Limit {
        metrics().limited(limit);
        limit
    }
}

/// Whether `count` is over `most`, where 0 is no limit.
fn exceeds(count: usize, most: u32) -> bool {
    most > 0 && count > most as usize
}

/// What is given to one household, or one machine.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// A connection's place among all; given back when dropped.
pub(super) struct Place {
    caps: Arc<Caps>,
    of_address: Option<Guard>,
}

impl Place {
    /// From now on it counts as one of `address`, if that one may have one more.
    pub(super) fn belongs_to(&mut self, address: IpAddr) -> Result<(), Limit> {
        let (guard, count) = self.caps.of_address.incr(neighbourhood(address), 1);
        if exceeds(count.unsigned_abs(), self.caps.most.connections_per_address) {
            return Err(self.caps.met(Limit::AddressConnections));
        }
        self.of_address = Some(guard);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of the files that the process may have open, those that visitors do not get: health, the store, the trail and the
/// operator need some whatever happens.
///
/// The system gives a new descriptor the lowest number that is free, so a high one says how many are taken.
#[derive(Clone, Copy, Debug)]
struct Descriptors {
    for_visitors: RawFd,
    for_apps: RawFd,
}

impl Descriptors {
    fn of_this_process() -> Self {
        Self::of(raise_descriptors())
    }

    /// An eighth is kept, and of that half from connections to apps: without them those who were let in would get nothing.
    fn of(most: u64) -> Self {
        let kept = (most / 8).clamp(16, 1024);
        let below = |kept: u64| RawFd::try_from(most.saturating_sub(kept)).unwrap_or(RawFd::MAX);
        Self { for_visitors: below(kept), for_apps: below(kept / 2) }
    }

    fn are_scarce(self, newest: RawFd) -> bool {
        newest >= self.for_visitors
    }

    fn are_nearly_gone(self, newest: RawFd) -> bool {
        newest >= self.for_apps
    }
}

/// Lets the process have as many files open as it may, and tells how many. Shells give a program a thousand, and leave
/// it to ask for more.
fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.current,
        Err(_) => before,
    }
    .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(most: CapSettings) -> Arc<Caps> {
        Arc::new(Caps::new(most))
    }

    async fn socket() -> TcpStream {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn a_place_is_taken_until_it_is_dropped() {
        let caps = caps(CapSettings { connections: 3, connections_per_address: 1, ..CapSettings::default() });
        let socket = socket().await;
        let place = || caps.place(&socket);
        let [mut a, mut b, c] = [place(), place(), place()].map(|place| place.expect("room"));
        assert_eq!(place().err(), Some(Limit::Connections));
        drop(c);
        assert!(place().is_ok(), "one that was refused takes none");

        a.belongs_to(address("192.0.2.1")).expect("its first");
        assert_eq!(b.belongs_to(address("::ffff:192.0.2.1")), Err(Limit::AddressConnections));
        b.belongs_to(address("192.0.2.2")).expect("another");
        drop(a);
        assert_eq!(place().expect("room").belongs_to(address("192.0.2.1")), Ok(()));
    }

    #[test]
    fn an_ipv6_household_is_one() {
        let caps = caps(CapSettings { requests_per_address: 2, ..CapSettings::default() });
        let request = |text| caps.request_of_address(address(text));
        assert!(request("2001:db8::1").is_ok() && request("2001:db8::ffff:2").is_ok());
        assert_eq!(request("2001:db8::3"), Err(Limit::AddressRequests));
        assert!(request("2001:db8:0:1::3").is_ok() && request("192.0.2.1").is_ok());
    }

    #[test]
    fn nothing_is_counted_where_there_is_no_limit() {
        let none = CapSettings { requests_per_address: 0, ..CapSettings::default() };
        let caps = caps(none);
        assert!((0..1000).all(|_| caps.request_of_address(address("192.0.2.1")).is_ok()));
    }

    #[test]
    fn some_descriptors_are_kept() {
        for (most, for_visitors, for_apps) in [(96, 80, 88), (1024, 896, 960), (524_288, 523_264, 523_776)] {
            let descriptors = Descriptors::of(most);
            assert_eq!((descriptors.for_visitors, descriptors.for_apps), (for_visitors, for_apps));
            assert!(descriptors.are_scarce(for_visitors) && !descriptors.are_scarce(for_visitors - 1));
        }
    }
}
