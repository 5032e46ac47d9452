//! The order of events: by time, then sensor, then identity, whatever the order of their arrival.
//!
//! Events wait until nothing before them is to be expected: until every sensor that is heard of has
//! told of something later by more than the lateness. A sensor that is silent, or far behind the
//! others, holds nobody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use super::Settings;
use super::groups::{NEVER, heap};
use super::kind::Mark;
use super::table::{Moment, Part};

/// An event that waits for its turn.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) moment: Moment,
    pub(crate) sensor: Arc<str>,
    pub(crate) parts: Box<[Part]>,
}

impl Waiting {
    fn order(&self) -> (i64, &str, u64) {
        (self.moment.at.time, &self.sensor, self.moment.at.id)
    }

    fn bytes(&self) -> usize {
        let keys: usize = self.parts.iter().map(|it| it.key.heap()).sum();
        [size_of::<Self>(), heap::<Part>(self.parts.len()), keys].iter().sum()
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// What is known of a sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sensor {
    pub(crate) name: Arc<str>,
    /// The time of its newest event.
    pub(crate) newest: i64,
    /// When it was last heard of.
    pub(crate) heard: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reorder {
    settings: Settings,
    pub(crate) sensors: BTreeMap<Arc<str>, Sensor>,
    /// Those that came in order: of most sensors all, and quicker than the heap.
    line: VecDeque<Waiting>,
    /// The others.
    heap: BinaryHeap<Reverse<Waiting>>,
    bytes: usize,
    /// The latest time of arrival that anybody named.
    pub(crate) clock: i64,
    /// Nothing before this is expected.
    pub(crate) watermark: i64,
    /// The event that was released last.
    pub(crate) last: (i64, Arc<str>, u64),
    /// Events that came after their turn.
    pub(crate) late: u64,
    /// Events that had to go before their turn.
    pub(crate) forced: u64,
}

impl Reorder {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            sensors: BTreeMap::new(),
            line: VecDeque::new(),
            heap: BinaryHeap::new(),
            bytes: 0,
            clock: NEVER,
            watermark: NEVER,
            last: (NEVER, Arc::from(""), 0),
            late: 0,
            forced: 0,
        }
    }

    /// A sensor told of an event at `time`, heard of at `arrived`.
    pub(crate) fn heard(&mut self, sensor: &str, time: i64, arrived: i64) -> Arc<str> {
        self.clock = self.clock.max(arrived);
        let heard = self.clock;
        let name = if let Some(known) = self.sensors.get_mut(sensor) {
            (known.newest, known.heard) = (known.newest.max(time), heard);
            known.name.clone()
        } else {
            let name: Arc<str> = sensor.into();
            self.sensors.insert(name.clone(), Sensor { name: name.clone(), newest: time, heard });
            name
        };
        self.settle();
        name
    }

    /// The clock on the wall says so.
    pub(crate) fn advance(&mut self, now: i64) {
        self.clock = self.clock.max(now);
        self.settle();
    }

    /// Moves the watermark to where the sensors allow.
    fn settle(&mut self) {
        let Settings { lateness, idle, hold, .. } = self.settings;
        let clock = self.clock;
        let silence = |it: &Sensor| clock.saturating_sub(it.heard);
        let live = || self.sensors.values().filter(|it| silence(it) < idle).map(|it| it.newest);
        let reached = match (live().min(), live().max()) {
            (Some(least), Some(most)) => least.max(most.saturating_sub(hold)),
            // Nobody is heard: everybody's own time has gone on since.
            _ => self.sensors.values().map(|it| it.newest.saturating_add(silence(it))).max().unwrap_or(NEVER),
        };
        self.watermark = self.watermark.max(reached.saturating_sub(lateness));
        if self.sensors.len() > self.settings.sensors {
            self.sensors.retain(|_, it| clock.saturating_sub(it.heard) < idle);
        }
    }

    /// Whether an event of this order is behind what has been decided.
    pub(crate) fn is_late(&self, at: Mark, sensor: &str) -> bool {
        at.time < self.watermark || (at.time, sensor, at.id) < (self.last.0, &*self.last.1, self.last.2)
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(waiting.bytes());
        if self.line.back().is_none_or(|it| *it <= waiting) {
            self.line.push_back(waiting);
        } else {
            self.heap.push(Reverse(waiting));
        }
    }

    /// The same, of an event whose parts are in correlations that may stand elsewhere by now.
    pub(crate) fn push_renumbered(&mut self, mut waiting: Waiting, place: impl Fn(u32) -> Option<u32>) {
        let mut parts = waiting.parts.into_vec();
        parts.retain_mut(|it| {
            let to = place(it.correlation);
            it.correlation = to.unwrap_or_default();
            to.is_some()
        });
        // The order of correlations may have changed.
        parts.sort_unstable_by(Part::order);
        waiting.parts = parts.into();
        if !waiting.parts.is_empty() {
            self.push(waiting);
        }
    }

    /// The next event whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let (line, heap) = (self.line.front(), self.heap.peek().map(|it| &it.0));
        let in_line = heap.is_none_or(|heap| line.is_some_and(|line| line <= heap));
        let time = if in_line { line } else { heap }?.moment.at.time;
        if time > self.watermark {
            if self.len() <= self.settings.buffered_events && self.bytes <= self.settings.buffered_bytes {
                return None;
            }
            self.forced = self.forced.saturating_add(1);
            self.watermark = time;
        }
        let next = if in_line { self.line.pop_front() } else { self.heap.pop().map(|it| it.0) }?;
        self.bytes = self.bytes.saturating_sub(next.bytes());
        if (self.last.0, &*self.last.1, self.last.2) < next.order() {
            self.last = (next.moment.at.time, next.sensor.clone(), next.moment.at.id);
        }
        Some(next)
    }

    pub(crate) fn len(&self) -> usize {
        self.line.len().saturating_add(self.heap.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everybody's turn has come.
    pub(crate) fn release_all(&mut self) {
        let newest = self.sensors.values().map(|it| it.newest).max();
        let waiting = self.waiting().last().map(|it| it.moment.at.time);
        self.watermark = self.watermark.max(newest.max(waiting).unwrap_or(NEVER));
    }

    /// All that wait, in order.
    pub(crate) fn waiting(&self) -> Vec<&Waiting> {
        let mut all: Vec<_> = self.line.iter().chain(self.heap.iter().map(|it| &it.0)).collect();
        all.sort();
        all
    }

    /// Takes all that wait out, in order.
    pub(crate) fn take(&mut self) -> Vec<Waiting> {
        self.bytes = 0;
        let (line, heap) = (std::mem::take(&mut self.line), std::mem::take(&mut self.heap));
        let mut all: Vec<_> = line.into_iter().chain(heap.into_iter().map(|it| it.0)).collect();
        all.sort();
        all
    }
}
