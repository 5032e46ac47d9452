//! `temporal_ordered`: the rules matched in the listed order.
//!
//! For every rule and every length, the chain of events that ends with this rule, has this length, and
//! began last: if any such chain lies in the window, that one does. An event that matches two rules
//! stands for one of them. An event that comes late goes on with what was before it; what was after it
//! and has been seen does not go on with it, which would take all events to know.

use super::bounds::{Bounds, figure};
use super::groups::{NEVER, heap};
use super::kind::{Kind, Mark, Note, Verdict};
use super::snapshot::{Broken, Reader, Writer};
use super::temporal::{LastSeen, load_seen, note_seen, nothing_seen, save_seen};

/// Events of rules in the listed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain(Box<[Mark]>);

impl Chain {
    fn begin(&self) -> i64 {
        self.0.first().map_or(NEVER, |it| it.time)
    }

    fn end(&self) -> i64 {
        self.0.last().map_or(NEVER, |it| it.time)
    }

    fn and(before: &[Mark], at: Mark) -> Self {
        Self(before.iter().copied().chain([at]).collect())
    }
}

/// Which chains there are: in the order of their last rule, then of their length.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    rules: usize,
    /// Chains of fewer rules are told apart only as steps to this length.
    wanted: usize,
    /// The longest chain that matters.
    longest: usize,
}

/// One place for each chain of a [`Ladder`].
pub(crate) type Chains = Box<[Option<Chain>]>;

impl Ladder {
    /// For chains of all rules.
    pub(crate) fn of_all(rules: usize) -> Self {
        Self { rules, wanted: rules, longest: rules }
    }

    /// For chains of any of the rules, of each length.
    fn of_any(rules: usize) -> Self {
        Self { rules, wanted: 0, longest: rules }
    }

    /// For chains of this many rules.
    fn of_some(rules: usize, wanted: usize) -> Self {
        Self { rules, wanted, longest: wanted }
    }

    /// The lengths of the chains that end with this rule and may be of use.
    fn lengths(&self, last: usize) -> std::ops::RangeInclusive<usize> {
        // Every rule after it can add one.
        let place = last.saturating_add(1);
        let shortest = self.wanted.saturating_add(place).saturating_sub(self.rules).max(1);
        shortest..=place.min(self.longest)
    }

    /// The most lengths that one rule has.
    fn width(&self) -> usize {
        self.rules.saturating_add(1).saturating_sub(self.wanted).min(self.longest)
    }

    fn place(&self, last: usize, length: usize) -> Option<usize> {
        let lengths = self.lengths(last);
        let step = length.checked_sub(*lengths.start()).filter(|_| lengths.contains(&length))?;
        last.checked_mul(self.width())?.checked_add(step)
    }

    pub(crate) fn start(&self) -> Chains {
        vec![None; self.rules.saturating_mul(self.width())].into()
    }

    /// An event of the rule `last`. `from` is where the window begins.
    pub(crate) fn note(&self, chains: &mut Chains, last: usize, at: Mark, from: i64) {
        if last >= self.rules {
            return;
        }
        for length in self.lengths(last).rev() {
            let Some(place) = self.place(last, length) else { continue };
            let new = if length == 1 {
                Chain::and(&[], at)
            } else {
                let shorter = length.saturating_sub(1);
                let before = (0..last)
                    .filter_map(|it| chains.get(self.place(it, shorter)?)?.as_ref())
                    .filter(|it| it.begin() >= from && it.end() <= at.time)
                    .max_by_key(|it| it.begin());
                let Some(before) = before else { continue };
                Chain::and(&before.0, at)
            };
            let place = chains.get_mut(place);
            if let Some(place) = place.filter(|it| it.as_ref().is_none_or(|it| it.begin() <= new.begin())) {
                *place = Some(new);
            }
        }
    }

    /// The chain of this length that began last.
    pub(crate) fn chain<'c>(&self, chains: &'c Chains, length: usize) -> Option<&'c Chain> {
        let all = (0..self.rules).filter_map(|it| chains.get(self.place(it, length)?)?.as_ref());
        all.max_by_key(|it| it.begin())
    }

    pub(crate) fn has(&self, chains: &Chains, length: usize, from: i64) -> bool {
        length == 0 || self.chain(chains, length).is_some_and(|it| it.begin() >= from)
    }

    /// The most rules that matched in order.
    fn longest(&self, chains: &Chains, from: i64) -> usize {
        (1..=self.longest).rev().find(|&it| self.has(chains, it, from)).unwrap_or(0)
    }

    pub(crate) fn evidence(&self, chains: &Chains, length: usize, out: &mut Vec<Mark>) {
        out.extend(self.chain(chains, length).iter().flat_map(|it| it.0.iter().copied()));
    }

    pub(crate) fn heap(chains: &Chains) -> usize {
        let each = chains.iter().flatten().map(|it| heap::<Mark>(it.0.len()));
        each.chain([heap::<Option<Chain>>(chains.len())]).sum()
    }

    pub(crate) fn save(chains: &Chains, to: &mut Writer) {
        for chain in chains {
            let marks = chain.as_ref().map_or(&[][..], |it| &it.0);
            to.count(marks.len());
            for mark in marks {
                mark.save(to);
            }
        }
    }

    pub(crate) fn load(&self, from: &mut Reader<'_>) -> Result<Chains, Broken> {
        let mut chains = self.start();
        for place in &mut chains {
            let count = from.count(size_of::<Mark>())?;
            let marks: Box<[Mark]> = (0..count).map(|_| Mark::load(from)).collect::<Result<_, _>>()?;
            *place = (count > 0).then_some(Chain(marks));
        }
        Ok(chains)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TemporalOrdered {
    bounds: Bounds,
    ladder: Ladder,
    /// Whether a chain may leave out rules that matched out of order: it may where more is better.
    may_leave_out: bool,
}

/// What a group remembers.
#[derive(Debug)]
pub(crate) struct InOrder {
    seen: LastSeen,
    chains: Chains,
}

impl TemporalOrdered {
    pub(crate) fn new(bounds: Bounds, rules: usize) -> Self {
        let may_leave_out = bounds.only_from_below();
        let reach = bounds.reach();
        let some = may_leave_out && reach <= rules;
        let ladder = if some { Ladder::of_some(rules, reach) } else { Ladder::of_any(rules) };
        Self { bounds, ladder, may_leave_out }
    }
}

impl Kind for TemporalOrdered {
    type State = InOrder;

    fn start(&self) -> InOrder {
        let rules = if self.may_leave_out { 0 } else { self.ladder.rules };
        InOrder { seen: nothing_seen(rules), chains: self.ladder.start() }
    }

    fn note(&self, state: &mut InOrder, note: Note, from: i64) {
        note_seen(&mut state.seen, note);
        self.ladder.note(&mut state.chains, note.member as usize, note.at, from);
    }

    fn forget(&self, _state: &mut InOrder, _from: i64) {}

    fn verdict(&self, state: &InOrder, from: i64) -> Verdict {
        let seen = state.seen.iter().filter(|it| it.time >= from).count();
        let (count, in_order) = if self.may_leave_out {
            (self.ladder.longest(&state.chains, from), true)
        } else {
            (seen, self.ladder.has(&state.chains, seen, from))
        };
        let count = figure(count);
        Verdict { holds: in_order && self.bounds.hold(count), figure: Some(count) }
    }

    fn evidence(&self, state: &InOrder, from: i64, out: &mut Vec<Mark>) {
        self.ladder.evidence(&state.chains, self.ladder.longest(&state.chains, from), out);
    }

    fn heap(&self, state: &InOrder) -> usize {
        heap::<Mark>(state.seen.len()).saturating_add(Ladder::heap(&state.chains))
    }

    fn save(&self, state: &InOrder, to: &mut Writer) {
        save_seen(&state.seen, to);
        Ladder::save(&state.chains, to);
    }

    fn load(&self, from: &mut Reader<'_>) -> Result<InOrder, Broken> {
        let rules = if self.may_leave_out { 0 } else { self.ladder.rules };
        Ok(InOrder { seen: load_seen(rules, from)?, chains: self.ladder.load(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Fact;
    use super::super::kind::tests::verdicts;
    use super::*;
    use crate::expr::Op;
    use crate::rule::Bound;

    fn holds(op: Op, number: f64, rules: usize, notes: &[(i64, u32)]) -> Vec<bool> {
        let kind = TemporalOrdered::new(Bounds::new(&[Bound { op, number }]), rules);
        let notes: Vec<_> = notes.iter().map(|it| (it.0, it.1, Fact::None)).collect();
        verdicts(&kind, 10, &notes).iter().map(|it| it.holds).collect()
    }

    #[test]
    fn every_step_counts_not_only_the_first() {
        assert_eq!(holds(Op::Gte, 3.0, 3, &[(0, 0), (1, 1), (2, 2)]), [false, false, true]);
        assert_eq!(holds(Op::Gte, 3.0, 3, &[(0, 0), (1, 2), (2, 1)]), [false; 3]);
        assert_eq!(holds(Op::Gte, 3.0, 3, &[(0, 1), (1, 0), (2, 2)]), [false; 3]);
        assert_eq!(holds(Op::Gte, 3.0, 3, &[(0, 0), (1, 2), (2, 1), (3, 2)])[3..], [true]);
    }

    #[test]
    fn the_chain_that_began_last_decides() {
        // The first beginning has passed by 11, the second has not.
        assert_eq!(holds(Op::Gte, 2.0, 2, &[(0, 0), (5, 0), (11, 1)])[2..], [true]);
        assert_eq!(holds(Op::Gte, 2.0, 2, &[(0, 0), (11, 1)])[1..], [false]);
        assert_eq!(
            holds(Op::Gte, 2.0, 2, &[(0, 0), (1, 1), (5, 0), (10, 0), (11, 0)])[2..],
            [true, true, false]
        );
    }

    #[test]
    fn some_of_the_rules_in_order_are_enough_where_the_condition_says_so() {
        assert_eq!(holds(Op::Gte, 2.0, 3, &[(0, 2), (1, 0), (2, 0)]), [false; 3]);
        assert_eq!(holds(Op::Gte, 2.0, 3, &[(0, 2), (1, 0), (2, 2)])[2..], [true]);
        assert_eq!(holds(Op::Gte, 2.0, 3, &[(0, 2), (1, 1), (2, 0), (3, 1)])[3..], [true]);
        // Exactly two, and those in order.
        assert_eq!(holds(Op::Eq, 2.0, 3, &[(0, 0), (1, 1), (2, 2)]), [false, true, false]);
        assert_eq!(holds(Op::Eq, 2.0, 3, &[(0, 1), (1, 0), (2, 1)]), [false, false, true]);
    }

    #[test]
    fn more_than_there_are_is_never() {
        assert_eq!(holds(Op::Gt, 3.0, 3, &[(0, 0), (1, 1), (2, 2)]), [false; 3]);
    }

    #[test]
    fn a_late_event_goes_on_with_what_was_before_it() {
        assert_eq!(holds(Op::Gte, 3.0, 3, &[(0, 0), (5, 2), (3, 1), (6, 2)])[2..], [false, true]);
        assert_eq!(holds(Op::Gte, 2.0, 2, &[(5, 0), (3, 1)]), [false, false]);
    }
}
