//! What is under way on the line from one agent, and how much of it is good for anything.
//!
//! A line is full with the bytes that it carries in one round trip. What is under way beyond them waits somewhere: in the
//! agent's system, in a router, in ours. Whoever asks for something small waits behind it, on a slow uplink for longer than
//! the whole of his answer takes. What a stream may have under way is its window. So the round trips that are measured
//! anyway, and what came in meanwhile, say how wide a window is good for something: at two empty round trips the line is
//! full, and the wait is short.

use std::time::Duration;

use crate::wire::http2::{FRAME_SIZE, STREAM_WINDOW};

/// Beside it a round trip on one machine is nothing.
const NEXT_DOOR: Duration = Duration::from_millis(1);

/// One agent's line.
#[derive(Debug)]
pub(super) struct Line {
    /// A round trip when nothing is under way, as far as is known.
    empty: Duration,
    /// The round trip that the window was narrowed for last time.
    narrowed_for: Option<Duration>,
    window: u32,
}

impl Default for Line {
    fn default() -> Self {
        Self { empty: Duration::MAX, narrowed_for: None, window: STREAM_WINDOW }
    }
}

impl Line {
    /// The widest window that is good for something, after a round trip within which so many `bytes` came.
    pub(super) fn measured(&mut self, took: Duration, bytes: u64) -> u32 {
        let narrowed_for = self.narrowed_for.take();
        if narrowed_for.is_some_and(|before| took > before.mul_f64(0.9)) && bytes >= u64::from(FRAME_SIZE) {
            // That did not help, so the wait is not ours to shorten: the way has become longer.
            self.empty = took;
        }
        self.empty = self.empty.min(took);
        let enough = 2 * self.empty + NEXT_DOOR;
        let share = enough.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let window = f64::from(self.window);
        if took > enough + NEXT_DOOR && bytes >= u64::from(FRAME_SIZE) {
            // One stream may have had less than its window under way; several have had more.
            let good = (window.min(bytes as f64) * share) as u32;
            if good < self.window && self.window > FRAME_SIZE {
                self.narrowed_for = Some(took);
                self.window = good;
            }
        } else if took < self.empty.mul_f64(1.5) + NEXT_DOOR / 4 && bytes as f64 > window / 2.0 {
            // Nothing waits, so it may be the window that keeps more from coming.
            self.window = self.window.saturating_mul(2);
        }
        self.window = self.window.clamp(FRAME_SIZE, STREAM_WINDOW);
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as TCP makes it: whatever is under way beyond what it carries in a round trip stands in a queue.
    struct Wire {
        /// In bytes a second.
        rate: f64,
        empty: f64,
        streams: f64,
    }

    impl Wire {
        /// Downloads for a while; gives the round trip and the rate in the end, in seconds and bytes a second.
        fn carries(&self, line: &mut Line) -> (f64, f64) {
            line.measured(Duration::from_secs_f64(self.empty), 0);
            self.goes_on(line)
        }

        fn goes_on(&self, line: &mut Line) -> (f64, f64) {
            let mut end = (self.empty, 0.0);
            for _ in 0..20 {
                let bytes = self.streams * f64::from(line.window);
                let took = self.empty.max(bytes / self.rate);
                line.measured(Duration::from_secs_f64(took), bytes as u64);
                end = (took, bytes / took);
            }
            end
        }

        fn every() -> impl Iterator<Item = Self> {
            let rates = [1e5, 1e6, 1e7, 1e8, 1e9];
            let ways = [0.001, 0.01, 0.03, 0.1, 0.3];
            rates.into_iter().flat_map(move |rate| {
                ways.into_iter().flat_map(move |empty| {
                    [1.0, 3.0, 20.0].into_iter().map(move |streams| Self { rate, empty, streams })
                })
            })
        }

        fn assert_good(&self, (took, rate): (f64, f64)) {
            let Self { rate: full, empty, streams } = *self;
            // Each stream has at least a frame, and at most the widest window.
            let frames = streams * f64::from(FRAME_SIZE) / full;
            assert!(
                took <= (2.1 * empty + 0.003).max(frames * 1.01),
                "{took} for {empty} at {full}, {streams}"
            );
            let most = full.min(streams * f64::from(STREAM_WINDOW) / empty);
            assert!(rate >= 0.9 * most, "{rate} of {most}, {empty} away, {streams}");
        }
    }

    #[test]
    fn a_line_is_full_and_the_wait_short() {
        for wire in Wire::every() {
            wire.assert_good(wire.carries(&mut Line::default()));
        }
    }

    #[test]
    fn a_way_that_becomes_longer_or_shorter_is_still_well_used() {
        for wire in Wire::every() {
            let mut line = Line::default();
            wire.carries(&mut line);
            for times in [4.0, 1.0] {
                let way = Wire { empty: wire.empty * times, ..wire };
                // Downloads go on, so an empty round trip is not seen.
                let (_, rate) = way.goes_on(&mut line);
                let most = way.rate.min(way.streams * f64::from(STREAM_WINDOW) / way.empty);
                assert!(rate >= 0.7 * most, "{rate} of {most}, {} away, {}", way.empty, way.streams);
            }
        }
    }

    #[test]
    fn a_late_answer_with_nothing_under_way_narrows_nothing() {
        let mut line = Line::default();
        for took in [10, 500, 20, 3000, 10] {
            assert_eq!(line.measured(Duration::from_millis(took), 400), STREAM_WINDOW);
        }
    }
}
