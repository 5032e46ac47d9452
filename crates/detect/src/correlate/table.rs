//! One correlation at work: its groups, its window, its firings.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use super::groups::{Groups, NEVER, Quota};
use super::key::Key;
use super::kind::{Fact, Kind, Mark, Note, identities};
use super::snapshot::{Broken, Reader, Writer};

/// An event's part in one correlation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) correlation: u32,
    /// Which of the correlation's rules it matched.
    pub(crate) member: u32,
    pub(crate) key: Key,
    pub(crate) fact: Fact,
}

impl Part {
    /// Parts in one group of one correlation stand side by side, and of these the one of the last rule
    /// first: an event must not be two steps of a chain.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let own = (self.correlation, &self.key, Reverse(self.member), self.fact.rank());
        own.cmp(&(other.correlation, &other.key, Reverse(other.member), other.fact.rank()))
    }
}

/// When something happened, and what is odd about that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: Mark,
    /// It came after what comes after it.
    pub(crate) late: bool,
    /// It claimed to be from the future.
    pub(crate) ahead: bool,
}

/// A correlation's condition held.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Firing {
    pub(crate) key: Key,
    /// The end of the window, and the event that led to the decision.
    pub(crate) moment: Moment,
    pub(crate) figure: Option<f64>,
    pub(crate) evidence: Vec<u64>,
    pub(crate) saturated: bool,
}

/// What one correlation went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Groups that were forgotten before their window had passed.
    pub(crate) evicted: u64,
    /// Events that came too late for any window that is still open.
    pub(crate) too_late: u64,
}

/// One correlation at work.
pub(crate) trait Table: Send {
    /// Takes an event's parts in one group; `now` is how far the order of events has been followed.
    fn feed(&mut self, parts: &[Part], moment: Moment, now: i64) -> Option<Firing>;

    /// When the next window ends that waits for its end.
    fn due(&self) -> Option<i64>;

    /// Decides about one group's window that ended at [`Table::due`].
    fn decide(&mut self) -> Option<Firing>;

    /// Forgets what no window will ask for.
    fn expire(&mut self, now: i64);

    /// The number of groups, what they take in bytes, and what happened.
    fn measure(&self) -> (usize, usize, Tally);

    /// Writes the groups down.
    fn save(&self, to: &mut Writer);

    /// Reads them back, in place of what is there.
    fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Broken>;
}

/// A group's place among the others is right to this part of the span.
const GRAINS: i64 = 32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Window<K: Kind> {
    kind: K,
    span: i64,
    groups: Groups<K::State>,
    /// The ends of windows that wait for them, one for each group.
    ends: BTreeSet<(i64, Key)>,
    tally: Tally,
    /// The bytes that all groups may take.
    budget: usize,
}

impl<K: Kind> Window<K> {
    pub(crate) fn new(kind: K, span: i64, quota: Quota) -> Self {
        let groups = Groups::new(quota);
        Self { kind, span, groups, ends: BTreeSet::new(), tally: Tally::default(), budget: quota.bytes }
    }

    /// Forgets what no window will ask for, and then as many groups as there must be room for.
    fn make_room(&mut self, for_one: bool, spare: Option<u32>, now: i64) {
        let Self { groups, ends, tally, span, kind, .. } = self;
        let open = now.saturating_sub(*span);
        let mut gone = |it: super::groups::Group<K::State>| {
            if let Some(begin) = kind.waiting(&it.state) {
                ends.remove(&(begin.saturating_add(*span), it.key));
            }
            if it.newest >= open {
                tally.evicted = tally.evicted.saturating_add(1);
            }
        };
        groups.expire(open, &mut gone);
        groups.make_room(for_one, spare, &mut gone);
    }

    /// Keeps the one end for this group up to date.
    fn reschedule(&mut self, slot: u32, before: Option<i64>) {
        let Some(group) = self.groups.get(slot) else { return };
        let after = self.kind.waiting(&group.state);
        if before != after {
            let end = |begin: i64| begin.saturating_add(self.span);
            if let Some(begin) = before {
                self.ends.remove(&(end(begin), group.key.clone()));
            }
            if let Some(begin) = after {
                self.ends.insert((end(begin), group.key.clone()));
            }
        }
    }

    fn firing(
        &self,
        slot: u32,
        moment: Moment,
        from: i64,
        figure: Option<f64>,
        marks: &mut Vec<Mark>,
    ) -> Firing {
        let group = self.groups.get(slot);
        if marks.is_empty() {
            marks.push(moment.at);
        }
        Firing {
            key: group.map_or_else(|| Key::from(&[][..]), |it| it.key.clone()),
            moment: Moment {
                at: moment.at,
                late: group.is_some_and(|it| it.late >= from),
                ahead: group.is_some_and(|it| it.ahead >= from),
            },
            figure,
            evidence: identities(marks),
            saturated: group.is_some_and(|it| self.kind.is_saturated(&it.state, from)),
        }
    }
}

impl<K: Kind> Table for Window<K> {
    fn feed(&mut self, parts: &[Part], moment: Moment, now: i64) -> Option<Firing> {
        let key = &parts.first()?.key;
        let time = moment.at.time;
        if time < now.saturating_sub(self.span) {
            self.tally.too_late = self.tally.too_late.saturating_add(1);
            return None;
        }
        let known = self.groups.find(key);
        let slot = known.unwrap_or_else(|| {
            self.make_room(true, None, now.max(time));
            self.groups.find_or_insert(key, || self.kind.start())
        });
        let kind = &self.kind;
        let group = self.groups.get_mut(slot)?;
        let end = group.newest.max(time);
        let from = end.saturating_sub(self.span);
        if time < from {
            self.tally.too_late = self.tally.too_late.saturating_add(1);
            return None;
        }
        // Behind others of its group, it decides about their window anew, unless that has fired.
        let before = time < group.newest && kind.verdict(&group.state, from).holds;
        let waited = kind.waiting(&group.state);
        for part in parts {
            kind.note(&mut group.state, Note { member: part.member, fact: part.fact, at: moment.at }, from);
        }
        kind.forget(&mut group.state, from);
        group.newest = end;
        if moment.late {
            group.late = group.late.max(time);
        }
        if moment.ahead {
            group.ahead = group.ahead.max(time);
        }
        let verdict = kind.verdict(&group.state, from);
        let heap = kind.heap(&group.state);
        if time == end {
            self.groups.touch(slot, known.is_some(), self.span / GRAINS, heap);
        } else {
            self.groups.weigh(slot, heap);
        }
        self.reschedule(slot, waited);
        let firing = (verdict.holds && !before).then(|| {
            let mut marks = Vec::new();
            if let Some(group) = self.groups.get(slot) {
                self.kind.evidence(&group.state, from, &mut marks);
            }
            let moment = Moment { at: Mark { time: end, id: moment.at.id }, ..moment };
            self.firing(slot, moment, from, verdict.figure, &mut marks)
        });
        if self.groups.bytes() > self.budget {
            self.make_room(false, Some(slot), now);
        }
        firing
    }

    fn due(&self) -> Option<i64> {
        self.ends.first().map(|it| it.0)
    }

    fn decide(&mut self) -> Option<Firing> {
        let (end, key) = self.ends.pop_first()?;
        let from = end.saturating_sub(self.span);
        let slot = self.groups.find(&key)?;
        let group = self.groups.get_mut(slot)?;
        let mut marks = Vec::new();
        let held = self.kind.decide(&mut group.state, from, &mut marks);
        let heap = self.kind.heap(&group.state);
        self.groups.weigh(slot, heap);
        self.reschedule(slot, None);
        let id = marks.iter().max_by_key(|it| it.time).map_or(0, |it| it.id);
        let moment = Moment { at: Mark { time: end, id }, late: false, ahead: false };
        held.then(|| self.firing(slot, moment, from, None, &mut marks))
    }

    fn expire(&mut self, now: i64) {
        self.make_room(false, None, now);
    }

    fn measure(&self) -> (usize, usize, Tally) {
        (self.groups.len(), self.groups.bytes(), self.tally)
    }

    fn save(&self, to: &mut Writer) {
        to.unsigned(self.tally.evicted);
        to.unsigned(self.tally.too_late);
        to.count(self.groups.len());
        for group in self.groups.iter() {
            to.byte(u8::from(group.again));
            to.signed(group.listed);
            to.string(&group.key);
            to.signed(group.newest);
            to.signed(group.late);
            to.signed(group.ahead);
            self.kind.save(&group.state, to);
        }
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Broken> {
        self.tally = Tally { evicted: from.unsigned()?, too_late: from.unsigned()? };
        for _ in 0..from.count(1 + 4 + 32)? {
            let (again, listed) = (from.byte()? != 0, from.signed()?);
            let key = Key::from(from.string()?);
            let (newest, late, ahead) = (from.signed()?, from.signed()?, from.signed()?);
            let state = self.kind.load(from)?;
            if newest == NEVER || self.groups.find(&key).is_some() {
                return Err(Broken);
            }
            let heap = self.kind.heap(&state);
            let slot = self.groups.find_or_insert(&key, || state);
            let group = self.groups.get_mut(slot).ok_or(Broken)?;
            (group.newest, group.late, group.ahead) = (newest, late, ahead);
            self.groups.weigh(slot, heap);
            self.groups.list(slot, again, listed);
            self.reschedule(slot, None);
        }
        // It may have been written under a larger quota.
        self.make_room(false, None, NEVER);
        Ok(())
    }
}
