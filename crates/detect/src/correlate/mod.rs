//! Correlations: several events of one group within a window.
//!
//! Time is the time of the events. They are put in order first ([`Settings::lateness`] says how long
//! one waits for another), then each takes part in the groups it belongs to, and a condition is asked
//! at each event: the window ends there and is closed at both ends. What is told is the same for the
//! same events, whatever the order of their arrival within the lateness, and memory is bounded for each
//! correlation by itself.
//!
//! A firing is an event as well, for correlations that refer to its correlation: it stands behind the
//! event that ended its window.
//!
//! An event that comes after its turn still counts. It decides anew about the newest window of its
//! group, which fires unless it has already; older windows stay as they were decided.

mod bounds;
mod count;
mod distinct;
mod expression;
mod figures;
mod groups;
mod key;
mod kind;
mod ordered;
mod persist;
mod plan;
mod reorder;
mod snapshot;
mod table;
mod temporal;

use std::collections::VecDeque;

use self::groups::NEVER;
use self::key::Speller;
use self::kind::Mark;
pub(crate) use self::plan::Name;
use self::plan::Plan;
use self::reorder::{Reorder, Waiting};
pub use self::snapshot::Broken;
use self::table::{Firing, Moment, Part, Table};
use crate::detection::{Detection, Hit};
use crate::event::{Event, Fields};
use crate::rule::{Correlation, CorrelationKind, Ref, Rule};

const SECOND: i64 = 1_000_000;
/// Times further from 1970 than this are taken for this: two thousand years.
const TIME_MAX: i64 = 1 << 56;

/// How correlations treat time and memory. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How much later than others an event may come and still take its turn. So long does a
    /// correlation wait before it decides; 0 decides at once and takes events as they come.
    pub lateness: i64,
    /// A sensor that was not heard of for so long holds nobody.
    pub idle: i64,
    /// Nor does one whose events are so far behind those of the others.
    pub hold: i64,
    /// An event that is further ahead of its arrival counts from its arrival.
    pub ahead: i64,
    /// The sensors that are told apart without forgetting the silent ones.
    pub sensors: usize,
    /// The events that may wait for their turn.
    pub buffered_events: usize,
    /// What they may take, in bytes.
    pub buffered_bytes: usize,
    /// The groups that each correlation may have.
    pub groups: usize,
    /// What they may take, in bytes, for each correlation.
    pub bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lateness: 5 * SECOND,
            idle: 5 * SECOND,
            hold: 60 * SECOND,
            ahead: 300 * SECOND,
            sensors: 1024,
            buffered_events: 65_536,
            buffered_bytes: 32 << 20,
            groups: 100_000,
            bytes: 32 << 20,
        }
    }
}

/// How correlations fare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Events that wait for their turn.
    pub waiting: usize,
    /// What they take, in bytes, about.
    pub waiting_bytes: usize,
    /// Events that came after their turn.
    pub late: u64,
    /// Events that were far ahead of their arrival.
    pub ahead: u64,
    /// Events that had to take their turn early, for there was no room to wait.
    pub forced: u64,
    /// Each correlation, in the order of the pack.
    pub correlations: Vec<CorrelationStats>,
}

/// How one correlation fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CorrelationStats {
    /// Its groups.
    pub groups: usize,
    /// What they take, in bytes, about.
    pub bytes: usize,
    /// Groups that were forgotten before their window had passed: it may have missed something.
    pub evicted: u64,
    /// Events that came too late for any window that was still open.
    pub too_late: u64,
    /// Its condition asks for more than [`Settings::bytes`] can hold, or has too many alternatives: it
    /// cannot be trusted to fire.
    pub beyond: bool,
}

/// What firings have part in, in order.
type Turns = VecDeque<(Vec<Part>, Moment)>;

/// Runs correlations over events and what rules they matched.
pub struct Correlator {
    settings: Settings,
    plans: Vec<Plan>,
    tables: Vec<Box<dyn Table>>,
    /// For each rule who refers to it, and as which of its rules.
    members: Vec<Vec<(u32, u32)>>,
    /// The correlations that look forward.
    forward: Vec<u32>,
    reorder: Reorder,
    /// How far the order of events has been followed.
    now: i64,
    ahead: u64,
    speller: Speller,
}

impl Correlator {
    /// Correlations before the first event. Each stands behind those that it refers to; `rules` are
    /// those that [`Ref::Rule`] and [`Hit::rule`] count.
    #[must_use]
    pub fn new(correlations: &[Correlation], rules: &[Rule], settings: Settings) -> Self {
        let mut it = Self {
            settings,
            plans: Vec::new(),
            tables: Vec::new(),
            members: vec![Vec::new(); rules.len()],
            forward: Vec::new(),
            reorder: Reorder::new(settings),
            now: NEVER,
            ahead: 0,
            speller: Speller::default(),
        };
        let mut prints = Vec::new();
        for (place, correlation) in (0..).zip(correlations) {
            let mut plan = Plan::new(correlation, rules, &prints);
            let (table, beyond) = plan::table(correlation, &settings);
            plan.beyond = beyond;
            if matches!(correlation.kind, CorrelationKind::TemporalExpr { .. }) {
                it.forward.push(place);
            }
            prints.push(plan.print);
            for (member, one) in (0..).zip(&correlation.rules) {
                match *one {
                    Ref::Rule(at) => it.members.get_mut(at).map(|it| it.push((place, member))),
                    Ref::Correlation(at) => it.plans.get_mut(at).map(|it| it.parents.push((place, member))),
                };
            }
            it.plans.push(plan);
            it.tables.push(table);
        }
        it
    }

    /// Takes an event and the rules that it matched; `arrived` is when it came. What fires now, of this
    /// or earlier events, is appended to `out`.
    pub fn observe(&mut self, event: &Event<'_>, hits: &[Hit], arrived: i64, out: &mut Vec<Detection>) {
        let arrived = arrived.clamp(-TIME_MAX, TIME_MAX);
        let mut time = event.time.clamp(-TIME_MAX, TIME_MAX);
        let ahead = time > arrived.saturating_add(self.settings.ahead);
        if ahead {
            self.ahead = self.ahead.saturating_add(1);
            time = arrived;
        }
        let sensor = self.reorder.heard(&event.sensor, time, arrived);
        let parts = self.parts(event, hits);
        if !parts.is_empty() {
            let at = Mark { time, id: event.id };
            let late = self.reorder.is_late(at, &sensor);
            let moment = Moment { at, late, ahead };
            if late {
                self.reorder.late = self.reorder.late.saturating_add(1);
                self.follow(&parts, moment, out);
            } else {
                self.reorder.push(Waiting { moment, sensor, parts: parts.into() });
            }
        }
        self.drain(false, out);
    }

    /// The clock says `now`, and nothing that arrived before waits to be observed. For streams that
    /// fall silent; a replay does without.
    pub fn advance(&mut self, now: i64, out: &mut Vec<Detection>) {
        self.reorder.advance(now.clamp(-TIME_MAX, TIME_MAX));
        self.drain(false, out);
        let reached = self.now.max(self.reorder.watermark);
        self.tables.iter_mut().for_each(|it| it.expire(reached));
    }

    /// There are no more events: all take their turn that wait for it.
    pub fn finish(&mut self, out: &mut Vec<Detection>) {
        self.reorder.release_all();
        self.drain(true, out);
    }

    /// How it fares.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let each = self.plans.iter().zip(&self.tables).map(|(plan, table)| {
            let (groups, bytes, tally) = table.measure();
            let (evicted, too_late) = (tally.evicted, tally.too_late);
            CorrelationStats { groups, bytes, evicted, too_late, beyond: plan.beyond }
        });
        Stats {
            waiting: self.reorder.len(),
            waiting_bytes: self.reorder.bytes(),
            late: self.reorder.late,
            ahead: self.ahead,
            forced: self.reorder.forced,
            correlations: each.collect(),
        }
    }

    /// The parts of an event, in their order.
    fn parts(&mut self, event: &Event<'_>, hits: &[Hit]) -> Vec<Part> {
        let Self { plans, members, speller, .. } = self;
        let most = hits.iter().filter_map(|it| members.get(it.rule)).map(Vec::len).sum();
        let mut parts = Vec::with_capacity(most);
        for hit in hits {
            let Some(members) = members.get(hit.rule).filter(|it| !it.is_empty()) else { continue };
            let Some(view) = event.views.get(hit.view) else { continue };
            collect(plans, members, &view.fields, speller, &mut parts);
        }
        if parts.len() > 1 {
            parts.sort_unstable_by(Part::order);
            parts.dedup();
        }
        parts
    }

    /// An event takes its turn, and what fires takes its own behind it.
    fn follow(&mut self, parts: &[Part], moment: Moment, out: &mut Vec<Detection>) {
        self.now = self.now.max(moment.at.time);
        let mut turns = VecDeque::new();
        self.feed(parts, moment, &mut turns, out);
        while let Some((parts, moment)) = turns.pop_front() {
            self.feed(&parts, moment, &mut turns, out);
        }
    }

    fn feed(&mut self, parts: &[Part], moment: Moment, turns: &mut Turns, out: &mut Vec<Detection>) {
        for parts in parts.chunk_by(|a, b| a.correlation == b.correlation && a.key == b.key) {
            let Some(correlation) = parts.first().map(|it| it.correlation) else { continue };
            let Some(table) = self.tables.get_mut(correlation as usize) else { continue };
            if let Some(firing) = table.feed(parts, moment, self.now) {
                turns.extend(self.fire(correlation, firing, out));
            }
        }
    }

    /// Tells of a firing, and says what part it has in the correlations that refer to this one.
    fn fire(
        &mut self,
        correlation: u32,
        firing: Firing,
        out: &mut Vec<Detection>,
    ) -> Option<(Vec<Part>, Moment)> {
        let Self { plans, speller, .. } = self;
        let plan = plans.get(correlation as usize)?;
        let mut parts = Vec::new();
        if !plan.parents.is_empty() {
            collect(plans, &plan.parents, &plan.fields(&firing), speller, &mut parts);
        }
        let moment = firing.moment;
        if plan.told {
            out.push(plan.detection(correlation as usize, firing));
        }
        (!parts.is_empty()).then_some((parts, moment))
    }

    /// Everything whose turn has come, in order: events, and windows that have passed. At the end of a
    /// log the last of them have passed as well.
    fn drain(&mut self, at_the_end: bool, out: &mut Vec<Detection>) {
        while let Some(next) = self.reorder.pop() {
            self.decide_until(next.moment.at.time, out);
            self.follow(&next.parts, next.moment, out);
        }
        let passed = self.reorder.watermark.saturating_add(i64::from(at_the_end));
        self.decide_until(passed, out);
    }

    /// Decides about windows that ended before `time`.
    fn decide_until(&mut self, time: i64, out: &mut Vec<Detection>) {
        let due = |it: &Self| {
            let ends = it.forward.iter().filter_map(|&at| Some((it.tables.get(at as usize)?.due()?, at)));
            ends.min().filter(|it| it.0 < time)
        };
        while let Some((end, correlation)) = due(self) {
            self.now = self.now.max(end);
            let Some(table) = self.tables.get_mut(correlation as usize) else { return };
            let Some(firing) = table.decide() else { continue };
            if let Some((parts, moment)) = self.fire(correlation, firing, out) {
                self.follow(&parts, moment, out);
            }
        }
    }
}

/// The parts that something with these fields has.
fn collect(
    plans: &[Plan],
    members: &[(u32, u32)],
    fields: &Fields<'_>,
    speller: &mut Speller,
    parts: &mut Vec<Part>,
) {
    let of = |&(place, member): &(u32, u32)| plans.get(place as usize).map(|it| (it, place, member));
    for (plan, place, member) in members.iter().filter_map(of) {
        parts.extend(plan.part(place, member, fields, speller));
    }
}

#[cfg(test)]
mod tests;
