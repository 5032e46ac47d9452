//! `value_count`: how many different values there were.
//!
//! The most recently seen values are kept, in the order in which they were last seen, as many as the
//! condition can tell apart. Whether there were N of them is a look at how old the N-th is.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::bounds::{Bounds, figure};
use super::groups::{growing, is_roomy};
use super::key::Token;
use super::kind::{Fact, Kind, Mark, Note, Verdict};
use super::snapshot::{Broken, Reader, Writer};

/// No value.
const NONE: u32 = u32::MAX;
/// Up to so many values a look at each is quicker than an index.
const WITHOUT_INDEX: usize = 24;

/// See the module.
#[derive(Debug)]
pub(crate) struct ValueCount {
    bounds: Bounds,
    keep: usize,
    hasher: RandomState,
}

impl ValueCount {
    /// Keeps as many values as this at most.
    pub(crate) fn new(bounds: Bounds, most: usize) -> Self {
        Self { keep: bounds.reach().min(most), bounds, hasher: RandomState::new() }
    }

    fn find(&self, state: &Recent, token: &Token) -> Option<u32> {
        let entries = &state.entries;
        if let Some(index) = &state.index {
            let same = |it: &u32| entries.get(*it as usize).is_some_and(|it| it.token == *token);
            return index.find(self.hasher.hash_one(token), same).copied();
        }
        // Places that are free hold no value of the list.
        let place = entries.iter().position(|it| it.used && it.token == *token)?;
        u32::try_from(place).ok()
    }

    fn index(&self, state: &mut Recent, slot: u32) {
        let Recent { entries, index, .. } = state;
        let hash = |it: &u32| entries.get(*it as usize).map_or(0, |it| self.hasher.hash_one(it.token));
        if let Some(index) = index {
            index.insert_unique(hash(&slot), slot, hash);
        } else if entries.len() > WITHOUT_INDEX {
            let mut table = Box::new(HashTable::with_capacity(entries.len().saturating_mul(2)));
            for slot in (0..).zip(entries.iter()).filter(|it| it.1.used).map(|it| it.0) {
                table.insert_unique(hash(&slot), slot, hash);
            }
            *index = Some(table);
        }
    }

    fn drop_oldest(&self, state: &mut Recent) {
        let slot = state.oldest;
        let Some(token) = state.get(slot).map(|it| it.token) else { return };
        let hash = self.hasher.hash_one(token);
        if let Some(Ok(entry)) = state.index.as_mut().map(|it| it.find_entry(hash, |&it| it == slot)) {
            entry.remove();
        }
        state.unlink(slot);
        let free = state.free;
        if let Some(entry) = state.get_mut(slot) {
            (entry.used, entry.newer) = (false, free);
        }
        state.free = slot;
        state.length = state.length.saturating_sub(1);
    }

    fn add(&self, state: &mut Recent, token: Token, at: Mark) {
        if state.length >= self.keep {
            if state.get(state.oldest).is_some_and(|it| it.last.time > at.time) {
                return;
            }
            self.drop_oldest(state);
        }
        let entry = Seen { token, last: at, older: NONE, newer: NONE, used: true };
        let slot = state.free;
        let slot = if let Some(place) = state.get_mut(slot) {
            let next = place.newer;
            *place = entry;
            state.free = next;
            slot
        } else {
            if state.entries.len() == state.entries.capacity() {
                state.entries.reserve_exact(state.entries.len().max(1));
            }
            let next = u32::try_from(state.entries.len()).unwrap_or(NONE);
            state.entries.push(entry);
            next
        };
        state.length = state.length.saturating_add(1);
        state.link(slot);
        self.index(state, slot);
    }
}

/// The values of a group, linked in the order in which they were last seen.
#[derive(Debug)]
pub(crate) struct Recent {
    entries: Vec<Seen>,
    index: Option<Box<HashTable<u32>>>,
    oldest: u32,
    newest: u32,
    /// The first place that is not used; they are linked by `newer`.
    free: u32,
    length: usize,
}

/// A value and when it was last seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    token: Token,
    last: Mark,
    older: u32,
    newer: u32,
    used: bool,
}

impl Recent {
    fn get(&self, slot: u32) -> Option<&Seen> {
        self.entries.get(slot as usize)
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Seen> {
        self.entries.get_mut(slot as usize)
    }

    /// From the value that was seen last.
    fn iter(&self) -> impl Iterator<Item = &Seen> {
        std::iter::successors(self.get(self.newest), |it| self.get(it.older))
    }

    fn unlink(&mut self, slot: u32) {
        let Some(&Seen { older, newer, .. }) = self.get(slot) else { return };
        match self.get_mut(older) {
            Some(it) => it.newer = newer,
            None => self.oldest = newer,
        }
        match self.get_mut(newer) {
            Some(it) => it.older = older,
            None => self.newest = older,
        }
    }

    /// Puts a value in its place by time: at the end, unless it came late.
    fn link(&mut self, slot: u32) {
        let Some(time) = self.get(slot).map(|it| it.last.time) else { return };
        let (mut older, mut newer) = (self.newest, NONE);
        while let Some(it) = self.get(older).filter(|it| it.last.time > time) {
            (older, newer) = (it.older, older);
        }
        match self.get_mut(older) {
            Some(it) => it.newer = slot,
            None => self.oldest = slot,
        }
        match self.get_mut(newer) {
            Some(it) => it.older = slot,
            None => self.newest = slot,
        }
        if let Some(it) = self.get_mut(slot) {
            (it.older, it.newer) = (older, newer);
        }
    }
}

impl Kind for ValueCount {
    type State = Recent;

    fn start(&self) -> Recent {
        Recent { entries: Vec::new(), index: None, oldest: NONE, newest: NONE, free: NONE, length: 0 }
    }

    fn note(&self, state: &mut Recent, note: Note, _from: i64) {
        let Fact::Token(token) = note.fact else { return };
        let Some(slot) = self.find(state, &token) else { return self.add(state, token, note.at) };
        if state.get(slot).is_some_and(|it| it.last.time > note.at.time) {
            return;
        }
        state.unlink(slot);
        if let Some(it) = state.get_mut(slot) {
            it.last = note.at;
        }
        state.link(slot);
    }

    fn forget(&self, state: &mut Recent, from: i64) {
        while state.get(state.oldest).is_some_and(|it| it.last.time < from) {
            self.drop_oldest(state);
        }
        if is_roomy(state.length, state.entries.len()) {
            let mut all: Vec<_> = state.iter().map(|it| (it.token, it.last)).collect();
            *state = self.start();
            while let Some((token, at)) = all.pop() {
                self.add(state, token, at);
            }
        }
    }

    fn verdict(&self, state: &Recent, from: i64) -> Verdict {
        // What is older has been forgotten, unless a late event asks about the window before.
        let old = std::iter::successors(state.get(state.oldest), |it| state.get(it.newer));
        let old = old.take_while(|it| it.last.time < from).count();
        let count = figure(state.length.saturating_sub(old));
        Verdict { holds: self.bounds.hold(count), figure: Some(count) }
    }

    fn evidence(&self, state: &Recent, from: i64, out: &mut Vec<Mark>) {
        out.extend(state.iter().map(|it| it.last).take_while(|it| it.time >= from));
    }

    fn heap(&self, state: &Recent) -> usize {
        // The index has a byte more for each of its places.
        let index = if state.length > WITHOUT_INDEX { growing::<[u8; 10]>(state.length) } else { 0 };
        growing::<Seen>(state.length).saturating_add(index)
    }

    fn save(&self, state: &Recent, to: &mut Writer) {
        to.count(state.length);
        for seen in state.iter() {
            to.bytes(&seen.token);
            seen.last.save(to);
        }
    }

    fn load(&self, from: &mut Reader<'_>) -> Result<Recent, Broken> {
        let count = from.count(size_of::<(Token, Mark)>())?;
        let mut seen = Vec::with_capacity(count);
        for _ in 0..count {
            seen.push((from.array()?, Mark::load(from)?));
        }
        let mut state = self.start();
        for (token, at) in seen.into_iter().rev() {
            if self.find(&state, &token).is_some() {
                return Err(Broken);
            }
            self.add(&mut state, token, at);
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::token;
    use super::super::kind::tests::verdicts;
    use super::*;
    use crate::expr::Op;
    use crate::rule::Bound;

    fn kind(op: Op, number: f64) -> ValueCount {
        ValueCount::new(Bounds::new(&[Bound { op, number }]), 1000)
    }

    fn figures(kind: &ValueCount, span: i64, values: &[(i64, &str)]) -> Vec<f64> {
        let notes: Vec<_> = values.iter().map(|it| (it.0, 0, Fact::Token(token(it.1.as_bytes())))).collect();
        verdicts(kind, span, &notes).into_iter().map(|it| it.figure.unwrap()).collect()
    }

    #[test]
    fn a_value_counts_once_and_not_past_the_span() {
        let seen = [(0, "a"), (1, "b"), (2, "a"), (11, "c"), (12, "d"), (13, "d")];
        let kind = kind(Op::Gte, 9.0);
        // At 11 `b` is still in; at 12 it is one past, and `a` is just in; at 13 that is past as well.
        assert_eq!(figures(&kind, 10, &seen), [1.0, 2.0, 2.0, 3.0, 3.0, 2.0]);
    }

    #[test]
    fn an_event_without_the_value_adds_none() {
        let kind = kind(Op::Lt, 1.0);
        let all = verdicts(&kind, 10, &[(0, 0, Fact::None), (1, 0, Fact::Token(token(b"a")))]);
        assert_eq!(all.iter().map(|it| it.holds).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn late_values_stand_in_their_place() {
        let kind = kind(Op::Gte, 3.0);
        let seen = [(10, "a"), (20, "b"), (12, "c"), (11, "a"), (21, "d"), (22, "d"), (23, "d")];
        assert_eq!(figures(&kind, 10, &seen), [1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 2.0]);
    }

    #[test]
    fn many_values_are_found_by_their_index_as_by_a_look_at_each() {
        let kind = kind(Op::Gte, 40.0);
        let names: Vec<String> = (0..60).map(|it| it.to_string()).collect();
        // Every value comes again after 60 events, later than the 40 that are kept.
        let seen: Vec<_> = (0..300).zip(names.iter().cycle().map(String::as_str)).collect();
        for (at, figure) in (0..).zip(figures(&kind, 45, &seen)) {
            let expected: i32 = (at + 1).min(40);
            assert!((figure - f64::from(expected)).abs() < 0.1, "{at}: {figure}");
        }
        let seen: Vec<_> = (0..300).zip(names[..30].iter().cycle().map(String::as_str)).collect();
        assert!(figures(&kind, 45, &seen)[60..].iter().all(|it| (it - 30.0).abs() < 0.1));
    }
}
