//! Refusals: written one by one while there are few, counted when there are many.
//!
//! Whoever is refused may come again a thousand times a second, and the trail must outlive that. Of each kind (what was
//! refused, why, whose account) the first five in a minute are lines of their own, and of those two from one address;
//! the rest is counted, and when the time is over one line says how many there were. While it goes on the minute doubles,
//! up to an hour. Over all kinds there are at most 600 lines of their own in an hour, then only counts of acts. So a
//! storm of any size writes less than seven megabytes a day, and what is remembered meanwhile is bounded too.

use std::collections::HashMap;
use std::time::Duration;

use super::event::{Act, Event};
use crate::clock::Timestamp;
use crate::names::UserId;

const FIRST_WINDOW: Duration = Duration::from_secs(60);
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);
/// How many of a kind have lines of their own in a window.
const SINGLES: usize = 5;
/// And how many of those may be from one address.
const FROM_ONE: usize = 2;
/// How many there may be of all kinds in an hour.
const SINGLES_AN_HOUR: u32 = 600;
/// How many kinds are told apart at one time.
const KINDS: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    act: Act,
    reason: Option<String>,
    user: Option<UserId>,
}

struct Window {
    since: Timestamp,
    lasts: Duration,
    addresses: Vec<Option<String>>,
    counted: u64,
    /// What the line with the count will say besides.
    like: Event,
}

/// What was refused lately.
#[derive(Default)]
pub(super) struct Strangers {
    windows: HashMap<Kind, Window>,
    hour_began: Timestamp,
    singles: u32,
}

impl Strangers {
    /// Gives `event` back if it is to be written by itself, else counts it.
    pub(super) fn take(&mut self, event: Event, now: Timestamp) -> Option<Event> {
        if now.since(self.hour_began) >= LONGEST_WINDOW {
            (self.hour_began, self.singles) = (now, 0);
        }
        let may = self.singles < SINGLES_AN_HOUR;
        let window = self.window(&event, may, now);
        let from_here = window.addresses.iter().filter(|one| **one == event.address).count();
        if !may || window.addresses.len() >= SINGLES || from_here >= FROM_ONE {
            window.counted += 1;
            return None;
        }
        window.addresses.push(event.address.clone());
        self.singles += 1;
        Some(event)
    }

    /// Counts one that could not be written.
    pub(super) fn count(&mut self, event: &Event, now: Timestamp) {
        self.window(event, true, now).counted += event.count.unwrap_or(1);
    }

    fn window(&mut self, event: &Event, told_apart: bool, now: Timestamp) -> &mut Window {
        let kind = Kind { act: event.event, reason: event.reason.clone(), user: event.user_id.clone() };
        let known = self.windows.contains_key(&kind);
        let whole = known || (told_apart && self.windows.len() < KINDS);
        let kind = if whole { kind } else { Kind { act: event.event, reason: None, user: None } };
        self.windows.entry(kind).or_insert_with(|| {
            let mut like = Event::new(event.event);
            if whole {
                (like.reason, like.user, like.user_id) =
                    (event.reason.clone(), event.user.clone(), event.user_id.clone());
            }
            Window { since: now, lasts: FIRST_WINDOW, addresses: Vec::new(), counted: 0, like }
        })
    }

    /// The counts of the windows that are over.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Event> {
        let mut due = Vec::new();
        self.windows.retain(|_, window| {
            if now.since(window.since) < window.lasts {
                return true;
            }
            let goes_on = window.counted > 0;
            due.extend(window.counted());
            window.since = now;
            window.lasts = (window.lasts * 2).min(LONGEST_WINDOW);
            window.addresses.clear();
            goes_on
        });
        due
    }

    /// All counts, at the end.
    pub(super) fn rest(&mut self) -> Vec<Event> {
        self.windows.drain().filter_map(|(_, mut window)| window.counted()).collect()
    }
}

impl Window {
    fn counted(&mut self) -> Option<Event> {
        let count = std::mem::take(&mut self.counted);
        let told = Event { count: Some(count), since: Some(self.since), ..self.like.clone() };
        (count > 0).then_some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn refused(reason: &'static str, address: &str) -> Event {
        Event::new(Act::TokenRefused).because(reason).from(address)
    }

    #[test]
    fn a_few_are_written_one_by_one_and_the_rest_is_counted() {
        let mut strangers = Strangers::default();
        let written = |strangers: &mut Strangers, address: &str| {
            strangers.take(refused("bind", address), BEGAN).is_some()
        };
        let singles = (0..1000).filter(|n| written(&mut strangers, &format!("192.0.2.{}", n % 100))).count();
        assert_eq!(singles, SINGLES);
        assert!(strangers.take(refused("late", "192.0.2.1"), BEGAN).is_some(), "another reason");
        assert!(strangers.due(BEGAN + Duration::from_secs(59)).is_empty());
        let due = strangers.due(BEGAN + FIRST_WINDOW);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].count, due[0].reason.as_deref()), (Some(995), Some("bind")));
        assert_eq!(due[0].since, Some(BEGAN));
    }

    #[test]
    fn one_address_leaves_room_for_the_others() {
        let mut strangers = Strangers::default();
        let singles =
            (0..100).filter(|_| strangers.take(refused("bind", "192.0.2.1"), BEGAN).is_some()).count();
        assert_eq!(singles, FROM_ONE);
        assert!(strangers.take(refused("bind", "192.0.2.2"), BEGAN).is_some());
    }

    #[test]
    fn while_it_goes_on_counts_come_less_often_and_none_is_lost() {
        const HOURS: u64 = 4;
        let mut strangers = Strangers::default();
        let (mut now, mut lines, mut told) = (BEGAN, 0, 0);
        for _ in 0..HOURS * 3600 {
            now = now + Duration::from_secs(1);
            for n in 0..10 {
                told += u64::from(strangers.take(refused("bind", &format!("192.0.2.{n}")), now).is_some());
            }
            let due = strangers.due(now);
            lines += due.len();
            told += due.iter().filter_map(|event| event.count).sum::<u64>();
        }
        told += strangers.rest().iter().filter_map(|event| event.count).sum::<u64>();
        assert_eq!(told, HOURS * 3600 * 10);
        assert!(lines < 10, "{lines}");
    }

    #[test]
    fn a_storm_of_all_kinds_is_bounded_in_the_hour_and_in_memory() {
        let mut strangers = Strangers::default();
        let entropy = crate::secret::SystemEntropy::shared();
        let name = crate::names::UserName::parse("ada").expect("a name");
        let mut singles = 0;
        for _ in 0..5000 {
            let user = UserId::random(&*entropy);
            let event = refused("bind", "192.0.2.1").of(&user, &name);
            singles += u32::from(strangers.take(event, BEGAN).is_some());
        }
        assert_eq!(singles, SINGLES_AN_HOUR);
        assert!(strangers.windows.len() <= KINDS);
        let counted: u64 = strangers.rest().iter().filter_map(|event| event.count).sum();
        assert_eq!(counted + u64::from(singles), 5000);
    }
}
