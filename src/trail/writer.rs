//! The writer: one thread, which takes all that waits, appends it and makes it durable with one sync.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot, watch};

use super::chain::{Head, seal};
use super::event::{Act, Event};
use super::file::TrailFile;
use super::{TrailError, lock};
use crate::clock::Clock;
use crate::names::UserId;

/// The largest group that is synced together.
pub(super) const GROUP: usize = 512;

/// Where the trail ends, and how long its file is.
pub(super) type Measured = (Head, u64);

type Waiting = oneshot::Sender<Result<(), TrailError>>;
type Asked = oneshot::Sender<Measured>;

/// What the writer is asked for.
pub(super) enum Job {
    /// To write an event; whoever waits for it hears when it is durable.
    Write(Box<Event>, Option<oneshot::Sender<Result<(), TrailError>>>),
    /// To say whether an event can be written now.
    Probe(oneshot::Sender<Result<(), TrailError>>),
    /// To say how things stand between two writes.
    Measure(oneshot::Sender<Measured>),
    /// To let go of the file, say so, and go on as it is told then. What comes meanwhile waits.
    Yield(oneshot::Sender<()>, oneshot::Receiver<Place>),
}

/// Where events are written.
pub(super) enum Place {
    Here(TrailFile),
    /// In another process.
    Elsewhere(Forward),
    /// Nowhere: the file was given away.
    Nowhere,
}

/// Has another process write an event; when it returns, that one has.
pub type Forward = Box<dyn FnMut(&Event) -> Result<(), TrailError> + Send>;

/// Where each person's last line begins. As many as there are people, however long the trail is.
pub(super) struct Index {
    latest: HashMap<UserId, u64>,
    /// What the store does not know yet.
    unkept: HashMap<UserId, u64>,
}

impl Index {
    pub(super) fn of(latest: HashMap<UserId, u64>) -> Self {
        Self { latest, unkept: HashMap::new() }
    }

    pub(super) fn latest(&self, user: &UserId) -> Option<u64> {
        self.latest.get(user).copied()
    }

    pub(super) fn found(&mut self, lines: Vec<(UserId, u64)>) {
        for (user, at) in lines {
            self.latest.insert(user.clone(), at);
            self.unkept.insert(user, at);
        }
    }

    pub(super) fn take_unkept(&mut self) -> HashMap<UserId, u64> {
        std::mem::take(&mut self.unkept)
    }

    pub(super) fn not_kept(&mut self, latest: HashMap<UserId, u64>) {
        for (user, at) in latest {
            self.unkept.entry(user).or_insert(at);
        }
    }
}

pub(super) struct Writer {
    place: Place,
    /// The last event that is known to be in the file, and how long that was.
    measured: Measured,
    index: Arc<Mutex<Index>>,
    told: watch::Sender<Head>,
    clock: Arc<dyn Clock>,
    /// Why the last write failed, if it did.
    unwritten: Arc<ArcSwapOption<String>>,
}

impl Writer {
    pub(super) fn new(
        file: TrailFile,
        index: Arc<Mutex<Index>>,
        told: watch::Sender<Head>,
        unwritten: Arc<ArcSwapOption<String>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let measured = (file.head(), file.length_by_name());
        Self { place: Place::Here(file), measured, index, told, clock, unwritten }
    }

    fn run(mut self, jobs: &mut mpsc::Receiver<Job>) {
        let mut group = Vec::new();
        while jobs.blocking_recv_many(&mut group, GROUP) > 0 {
            let (mut events, mut waiting, mut asked) = (Vec::new(), Vec::new(), Vec::new());
            let mut probing = Vec::new();
            for job in group.drain(..) {
                match job {
                    Job::Write(event, answer) => {
                        events.push(*event);
                        waiting.extend(answer);
                    }
                    Job::Measure(answer) => asked.push(answer),
                    Job::Probe(answer) => probing.push(answer),
                    Job::Yield(told, next) => {
                        self.finish(&mut events, &mut waiting, &mut asked);
                        self.yield_place(told, next);
                    }
                }
            }
            self.finish(&mut events, &mut waiting, &mut asked);
            if !probing.is_empty() {
                let can = self.probe();
                probing.into_iter().for_each(|answer| drop(answer.send(can.clone())));
            }
        }
    }

    /// Where the last event could not be written, whether one can be now: with nobody let in there may be no other to try.
    fn probe(&mut self) -> Result<(), TrailError> {
        match &self.place {
            // It is asked itself.
            Place::Elsewhere(_) => return Ok(()),
            Place::Nowhere => return Err(TrailError::Closed),
            Place::Here(file) => {
                file.trusted()?;
                file.in_place().map_err(|error| TrailError::Unwritten(error.to_string()))?;
            }
        }
        if self.unwritten.load().is_some() {
            let what = "it could not be written for a while; what was done then was not acknowledged";
            let done = self.write(&[Event::new(Act::TrailRepaired).because(what)]);
            self.report(&done);
            return done;
        }
        Ok(())
    }

    fn finish(&mut self, events: &mut Vec<Event>, waiting: &mut Vec<Waiting>, asked: &mut Vec<Asked>) {
        if !events.is_empty() {
            let done = self.write(events);
            self.report(&done);
            // Whoever does not wait any more needs no answer.
            waiting.drain(..).for_each(|answer| drop(answer.send(done.clone())));
            events.clear();
        }
        for answer in asked.drain(..) {
            if let Place::Here(file) = &self.place {
                self.measured = (file.head(), file.length_by_name());
            }
            let _ = answer.send(self.measured);
        }
    }

    fn yield_place(&mut self, told: oneshot::Sender<()>, next: oneshot::Receiver<Place>) {
        if let Place::Here(file) = std::mem::replace(&mut self.place, Place::Nowhere) {
            self.measured = (file.head(), file.length_by_name());
        }
        // Who asked for it may have gone; then nobody says how to go on either.
        let _ = told.send(());
        self.place = next.blocking_recv().unwrap_or(Place::Nowhere);
        if let Place::Here(file) = &self.place {
            self.told.send_replace(file.head());
        }
    }

    fn write(&mut self, events: &[Event]) -> Result<(), TrailError> {
        let unwritten = |error: &dyn std::fmt::Display| TrailError::Unwritten(error.to_string());
        let file = match &mut self.place {
            Place::Here(file) => file,
            // There it is in the log too.
            Place::Elsewhere(forward) => return events.iter().try_for_each(forward),
            Place::Nowhere => return Err(TrailError::Closed),
        };
        let start = file.next_start().map_err(|error| unwritten(&error))?;
        let now = self.clock.now();
        let (mut lines, mut head, mut latest) = (Vec::new(), file.head(), HashMap::new());
        for event in events {
            let begins = start + lines.len() as u64;
            let earlier = event.user_id.as_ref().and_then(|user| {
                latest.insert(user.clone(), begins).or_else(|| lock(&self.index).latest(user))
            });
            head = seal(&mut lines, &head, begins, now, event, earlier).map_err(|error| unwritten(&error))?;
        }
        file.append(&lines, start, head)?;
        lock(&self.index).found(latest.into_iter().collect());
        events.iter().for_each(mirror);
        self.told.send_replace(head);
        Ok(())
    }

    fn report(&mut self, done: &Result<(), TrailError>) {
        let why = done.as_ref().err().map(|error| match error {
            TrailError::Unwritten(why) => why.clone(),
            other => other.to_string(),
        });
        let before = self.unwritten.swap(why.map(Arc::new));
        match done {
            Ok(()) if before.is_some() => tracing::info!("the audit trail is written again"),
            Err(error) if before.is_none() => tracing::error!(%error, "acts are refused"),
            _ => {}
        }
    }
}

/// Runs `writer` on a thread of its own until nobody is left to ask it.
pub(super) fn start(writer: Writer, mut jobs: mpsc::Receiver<Job>) -> std::io::Result<()> {
    std::thread::Builder::new().name("trail-writer".to_owned()).spawn(move || writer.run(&mut jobs)).map(drop)
}

/// The same in the log, for whoever watches that: without the names that people gave.
fn mirror(event: &Event) {
    let act = serde_json::to_value(event.event).unwrap_or_default();
    tracing::info!(
        target: "audit",
        user = event.user.as_ref().map(|name| name.as_str()),
        tunnel = event.tunnel.as_ref().map(|tunnel| tunnel.as_str()),
        session = event.session.as_ref().map(|session| session.as_str()),
        device = event.device.as_ref().map(|device| device.as_str()),
        address = event.address.as_deref(),
        method = event.method.as_deref(),
        reason = event.reason.as_deref(),
        count = event.count,
        "{}", act.as_str().unwrap_or_default(),
    );
}
