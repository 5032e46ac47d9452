//! Extended conditions: an expression over the rules, such as `a and not b`.
//!
//! The expression is taken apart into alternatives, each a set of rules that must match and a set of
//! rules that must not. An alternative without the latter looks back, like every other correlation. One
//! with them looks forward: the window begins at a match of one of its rules, and is decided once it
//! has passed.

use std::collections::VecDeque;

use super::groups::{growing, heap, is_roomy};
use super::key::Key;
use super::kind::{Kind, Mark, Note, Verdict, insert_by_time};
use super::ordered::{Chains, Ladder};
use super::snapshot::{Broken, Reader, Writer};
use super::temporal::{LastSeen, load_seen, note_seen, nothing_seen, save_seen};
use crate::rule::RefExpr;

/// The most alternatives of one expression.
const ALTERNATIVES_MAX: usize = 64;
/// The most windows of one group that wait for their end.
const WAITING_MAX: usize = 4096;

/// One way for an expression to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Alternative {
    /// What must match, ascending.
    with: Vec<usize>,
    /// What must not.
    without: Vec<usize>,
}

impl Alternative {
    fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        both.with.extend(&other.with);
        both.without.extend(&other.without);
        for list in [&mut both.with, &mut both.without] {
            list.sort_unstable();
            list.dedup();
        }
        let contradicts = both.with.iter().any(|it| both.without.contains(it));
        (!contradicts).then_some(both)
    }
}

/// The alternatives of an expression; `None` when there are too many.
fn alternatives(expr: &RefExpr, negated: bool) -> Option<Vec<Alternative>> {
    let (parts, all) = match expr {
        RefExpr::Seen(rule) => {
            let mut only = Alternative::default();
            if negated { &mut only.without } else { &mut only.with }.push(*rule);
            return Some(vec![only]);
        }
        RefExpr::Not(inner) => return alternatives(inner, !negated),
        RefExpr::All(parts) => (parts, !negated),
        RefExpr::Any(parts) => (parts, negated),
    };
    let mut found = if all { vec![Alternative::default()] } else { Vec::new() };
    for part in parts {
        let of_part = alternatives(part, negated)?;
        if all {
            let pairs = found.iter().flat_map(|one| of_part.iter().filter_map(|other| one.and(other)));
            found = pairs.collect();
        } else {
            found.extend(of_part);
        }
        found.sort_by(|a, b| (&a.with, &a.without).cmp(&(&b.with, &b.without)));
        found.dedup();
        if found.len() > ALTERNATIVES_MAX {
            return None;
        }
    }
    Some(found)
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    rules: usize,
    alternatives: Vec<Alternative>,
    /// For each alternative how its rules stand in order, where the order counts.
    ladders: Vec<Ladder>,
}

impl Expression {
    /// `None` when the expression has too many alternatives to keep.
    pub(crate) fn new(expr: &RefExpr, rules: usize, ordered: bool) -> Option<Self> {
        let alternatives = alternatives(expr, false)?;
        let ladders = alternatives.iter().map(|it| Ladder::of_all(it.with.len()));
        let ladders = ladders.filter(|_| ordered).collect();
        Some(Self { rules, alternatives, ladders })
    }

    /// Whether an alternative holds of everything since `from`.
    fn holds(&self, state: &Memory, index: usize, from: i64) -> bool {
        let Some(it) = self.alternatives.get(index) else { return false };
        let seen = |rule: &usize| state.seen.get(*rule).is_some_and(|it| it.time >= from);
        let with = match (self.ladders.get(index), state.chains.get(index)) {
            (Some(ladder), Some(chains)) => ladder.has(chains, it.with.len(), from),
            _ => it.with.iter().all(seen),
        };
        with && !it.without.iter().any(seen)
    }

    fn looking(&self, forward: bool) -> impl Iterator<Item = (usize, &Alternative)> {
        self.alternatives.iter().enumerate().filter(move |it| it.1.without.is_empty() != forward)
    }

    fn collect(&self, state: &Memory, index: usize, from: i64, out: &mut Vec<Mark>) {
        let Some(it) = self.alternatives.get(index) else { return };
        if let (Some(ladder), Some(chains)) = (self.ladders.get(index), state.chains.get(index)) {
            ladder.evidence(chains, it.with.len(), out);
        } else {
            let seen = it.with.iter().filter_map(|it| state.seen.get(*it));
            out.extend(seen.filter(|it| it.time >= from));
        }
    }

    /// Which alternatives that look forward begin a window at a match of this rule.
    fn begun_by(&self, rule: usize) -> u64 {
        let begun = self.looking(true).filter(|it| it.1.with.contains(&rule) || it.1.with.is_empty());
        begun.fold(0, |set, it| set | 1 << it.0)
    }
}

/// What a group remembers.
#[derive(Debug)]
pub(crate) struct Memory {
    seen: LastSeen,
    /// For each alternative, where the order counts.
    chains: Box<[Chains]>,
    waiting: VecDeque<Begun>,
    /// The beginning of the newest window that there was no room for.
    turned_away: Option<i64>,
}

/// A window that waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begun {
    at: Mark,
    /// Bit by bit, the alternatives that are to be decided.
    alternatives: u64,
}

impl Memory {
    fn begin(&mut self, begun: Begun) {
        let before = self.waiting.iter_mut().rev().find(|it| it.at.time <= begun.at.time);
        if let Some(same) = before.filter(|it| it.at.time == begun.at.time) {
            same.alternatives |= begun.alternatives;
            return;
        }
        if self.waiting.len() < WAITING_MAX {
            insert_by_time(&mut self.waiting, begun, |it| it.at.time);
        } else {
            self.turned_away = self.turned_away.max(Some(begun.at.time));
        }
    }
}

impl Kind for Expression {
    type State = Memory;

    fn start(&self) -> Memory {
        Memory {
            seen: nothing_seen(self.rules),
            chains: self.ladders.iter().map(Ladder::start).collect(),
            waiting: VecDeque::new(),
            turned_away: None,
        }
    }

    fn note(&self, state: &mut Memory, note: Note, from: i64) {
        note_seen(&mut state.seen, note);
        let rule = note.member as usize;
        for ((it, ladder), chains) in self.alternatives.iter().zip(&self.ladders).zip(&mut state.chains) {
            if let Some(step) = it.with.iter().position(|it| *it == rule) {
                ladder.note(chains, step, note.at, from);
            }
        }
        let alternatives = self.begun_by(rule);
        if alternatives == 0 {
            return;
        }
        if state.waiting.len() >= WAITING_MAX {
            // Windows that nothing can save make room for those that something can.
            let Memory { seen, waiting, .. } = state;
            waiting.retain(|it| {
                self.looking(true).any(|(index, other)| {
                    let spoilt = |rule: &usize| seen.get(*rule).is_some_and(|seen| seen.time >= it.at.time);
                    it.alternatives & 1 << index != 0 && !other.without.iter().any(spoilt)
                })
            });
        }
        state.begin(Begun { at: note.at, alternatives });
    }

    fn forget(&self, _state: &mut Memory, _from: i64) {}

    fn verdict(&self, state: &Memory, from: i64) -> Verdict {
        let holds = self.looking(false).any(|it| self.holds(state, it.0, from));
        Verdict { holds, figure: None }
    }

    fn evidence(&self, state: &Memory, from: i64, out: &mut Vec<Mark>) {
        for (index, _) in self.looking(false) {
            if self.holds(state, index, from) {
                self.collect(state, index, from, out);
            }
        }
    }

    fn is_saturated(&self, state: &Memory, from: i64) -> bool {
        state.turned_away.is_some_and(|it| it >= from)
    }

    fn heap(&self, state: &Memory) -> usize {
        let own = [
            heap::<Mark>(state.seen.len()),
            heap::<Chains>(state.chains.len()),
            growing::<Begun>(state.waiting.len()),
            // The end that is waited for, in the list of all.
            heap::<(i64, Key)>(usize::from(!state.waiting.is_empty())),
        ];
        state.chains.iter().map(Ladder::heap).chain(own).sum()
    }

    fn waiting(&self, state: &Memory) -> Option<i64> {
        state.waiting.front().map(|it| it.at.time)
    }

    fn decide(&self, state: &mut Memory, from: i64, out: &mut Vec<Mark>) -> bool {
        let mut held = false;
        while let Some(begun) = state.waiting.pop_front_if(|it| it.at.time <= from) {
            for (index, _) in self.looking(true) {
                let asked = begun.alternatives & 1 << index != 0;
                if asked && begun.at.time == from && self.holds(state, index, from) {
                    held = true;
                    out.push(begun.at);
                    self.collect(state, index, from, out);
                }
            }
        }
        if is_roomy(state.waiting.len(), state.waiting.capacity()) {
            state.waiting.shrink_to_fit();
        }
        held
    }

    fn save(&self, state: &Memory, to: &mut Writer) {
        save_seen(&state.seen, to);
        for chains in &state.chains {
            Ladder::save(chains, to);
        }
        to.count(state.waiting.len());
        for begun in &state.waiting {
            begun.at.save(to);
            to.unsigned(begun.alternatives);
        }
        to.byte(u8::from(state.turned_away.is_some()));
        to.signed(state.turned_away.unwrap_or_default());
    }

    fn load(&self, from: &mut Reader<'_>) -> Result<Memory, Broken> {
        let seen = load_seen(self.rules, from)?;
        let chains = self.ladders.iter().map(|it| it.load(from)).collect::<Result<_, _>>()?;
        let count = from.count(size_of::<Begun>())?;
        let begun = (0..count).map(|_| Ok(Begun { at: Mark::load(from)?, alternatives: from.unsigned()? }));
        let waiting = begun.collect::<Result<_, Broken>>()?;
        let turned_away = from.byte()? != 0;
        let turned_away = Some(from.signed()?).filter(|_| turned_away);
        Ok(Memory { seen, chains, waiting, turned_away })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Fact;
    use super::super::kind::tests::verdicts;
    use super::*;

    fn seen(rule: usize) -> RefExpr {
        RefExpr::Seen(rule)
    }

    fn not(expr: RefExpr) -> RefExpr {
        RefExpr::Not(Box::new(expr))
    }

    #[test]
    fn alternatives_are_what_the_expression_says() {
        let of = |expr: RefExpr| {
            let found = alternatives(&expr, false).unwrap();
            found.into_iter().map(|it| (it.with, it.without)).collect::<Vec<_>>()
        };
        assert_eq!(of(RefExpr::All(vec![seen(1), not(seen(0))])), [(vec![1], vec![0])]);
        assert_eq!(of(not(RefExpr::All(vec![seen(0), seen(1)]))), [(vec![], vec![0]), (vec![], vec![1])]);
        assert_eq!(of(RefExpr::All(vec![seen(0), not(seen(0))])), []);
        assert_eq!(of(RefExpr::Any(vec![seen(0), seen(0)])), [(vec![0], vec![])]);
        assert_eq!(of(not(not(seen(3)))), [(vec![3], vec![])]);
    }

    #[test]
    fn an_expression_that_explodes_is_turned_away() {
        let pairs = (0..20).map(|it| RefExpr::Any(vec![seen(2 * it), seen(2 * it + 1)]));
        assert!(Expression::new(&RefExpr::All(pairs.collect()), 40, false).is_none());
    }

    #[test]
    fn what_asks_for_nothing_absent_looks_back() {
        let expr = RefExpr::Any(vec![RefExpr::All(vec![seen(0), seen(1)]), seen(2)]);
        let notes = [(0, 0), (10, 1), (11, 1), (30, 2)].map(|it| (it.0, it.1, Fact::None));
        let holds = |ordered| {
            let kind = Expression::new(&expr, 3, ordered).unwrap();
            verdicts(&kind, 10, &notes).iter().map(|it| it.holds).collect::<Vec<_>>()
        };
        assert_eq!(holds(false), [false, true, false, true]);
        assert_eq!(holds(true), [false, true, false, true]);
    }

    fn decisions(expr: &RefExpr, ordered: bool, notes: &[(i64, u32)]) -> Vec<i64> {
        let kind = Expression::new(expr, 3, ordered).unwrap();
        let mut state = kind.start();
        let mut fired = Vec::new();
        for (id, (time, member)) in (0..).zip(notes.iter().copied().chain([(i64::MAX, 0)])) {
            while let Some(begun) = kind.waiting(&state).filter(|it| it + 10 < time) {
                if kind.decide(&mut state, begun, &mut Vec::new()) {
                    fired.push(begun + 10);
                }
            }
            if time < i64::MAX {
                let note = Note { member, fact: Fact::None, at: Mark { time, id } };
                kind.note(&mut state, note, time - 10);
            }
        }
        fired
    }

    #[test]
    fn absence_is_decided_once_the_window_has_passed() {
        let expr = RefExpr::All(vec![seen(0), not(seen(1))]);
        assert_eq!(decisions(&expr, false, &[(0, 0)]), [10]);
        assert_eq!(decisions(&expr, false, &[(0, 0), (10, 1)]), [0; 0], "the end belongs to the window");
        assert_eq!(decisions(&expr, false, &[(0, 0), (11, 1)]), [10]);
        assert_eq!(decisions(&expr, false, &[(0, 1), (0, 0)]), [0; 0], "so does the beginning");
        assert_eq!(decisions(&expr, false, &[(0, 0), (5, 1), (6, 0), (7, 0)]), [16, 17]);
    }

    #[test]
    fn the_order_counts_where_it_is_asked_for() {
        let expr = RefExpr::All(vec![seen(0), seen(2), not(seen(1))]);
        assert_eq!(decisions(&expr, true, &[(0, 0), (3, 2)]), [10]);
        assert_eq!(decisions(&expr, true, &[(0, 2), (3, 0)]), [0; 0]);
        assert_eq!(decisions(&expr, false, &[(0, 2), (3, 0)]), [10]);
    }

    #[test]
    fn windows_that_wait_are_bounded_and_the_spoilt_ones_go_first() {
        let kind = Expression::new(&RefExpr::All(vec![seen(0), not(seen(1))]), 2, false).unwrap();
        let mut state = kind.start();
        let note = |state: &mut Memory, time: i64, member| {
            let at = Mark { time, id: time.unsigned_abs() };
            kind.note(state, Note { member, fact: Fact::None, at }, 0);
        };
        for time in 0..6000 {
            note(&mut state, time, 0);
        }
        assert_eq!(state.waiting.len(), WAITING_MAX);
        assert!(kind.is_saturated(&state, 5000) && !kind.is_saturated(&state, 6000));
        note(&mut state, 6000, 1);
        note(&mut state, 6001, 0);
        assert_eq!(state.waiting.len(), 1);
    }
}
