//! `event_count`: how many events there were.
//!
//! Only as many are kept as the condition can tell apart, so that the memory of a group does not
//! depend on the rate of its events.

use std::collections::VecDeque;

use super::bounds::{Bounds, figure};
use super::groups::{growing, is_roomy};
use super::kind::{Kind, Mark, Note, Verdict, insert_by_time};
use super::snapshot::{Broken, Reader, Writer};

/// See the module.
#[derive(Debug)]
pub(crate) struct EventCount {
    bounds: Bounds,
    keep: usize,
}

impl EventCount {
    /// Keeps as many events as this at most.
    pub(crate) fn new(bounds: Bounds, most: usize) -> Self {
        Self { keep: bounds.reach().min(most), bounds }
    }
}

impl Kind for EventCount {
    /// The newest events, oldest first.
    type State = VecDeque<Mark>;

    fn start(&self) -> Self::State {
        VecDeque::new()
    }

    fn note(&self, state: &mut Self::State, note: Note, _from: i64) {
        if state.len() >= self.keep {
            if state.front().is_some_and(|it| it.time > note.at.time) {
                return;
            }
            state.pop_front();
        }
        insert_by_time(state, note.at, |it| it.time);
    }

    fn forget(&self, state: &mut Self::State, from: i64) {
        while state.pop_front_if(|it| it.time < from).is_some() {}
        if is_roomy(state.len(), state.capacity()) {
            state.shrink_to_fit();
        }
    }

    fn verdict(&self, state: &Self::State, from: i64) -> Verdict {
        // What is older has been forgotten; only the last to be is looked at.
        let is_new = state.front().is_none_or(|it| it.time >= from);
        let old = if is_new { 0 } else { state.partition_point(|it| it.time < from) };
        let count = figure(state.len().saturating_sub(old));
        Verdict { holds: self.bounds.hold(count), figure: Some(count) }
    }

    fn evidence(&self, state: &Self::State, from: i64, out: &mut Vec<Mark>) {
        out.extend(state.iter().filter(|it| it.time >= from));
    }

    fn heap(&self, state: &Self::State) -> usize {
        growing::<Mark>(state.len())
    }

    fn save(&self, state: &Self::State, to: &mut Writer) {
        to.count(state.len());
        for mark in state {
            mark.save(to);
        }
    }

    fn load(&self, from: &mut Reader<'_>) -> Result<Self::State, Broken> {
        let count = from.count(size_of::<Mark>())?;
        (0..count).map(|_| Mark::load(from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Fact;
    use super::super::kind::tests::verdicts;
    use super::*;
    use crate::expr::Op;
    use crate::rule::Bound;

    fn fires(op: Op, number: f64, span: i64, times: &[i64]) -> Vec<bool> {
        let kind = EventCount::new(Bounds::new(&[Bound { op, number }]), 1000);
        let notes: Vec<_> = times.iter().map(|&it| (it, 0, Fact::None)).collect();
        verdicts(&kind, span, &notes).into_iter().map(|it| it.holds).collect()
    }

    #[test]
    fn the_window_is_closed_at_both_ends() {
        assert_eq!(fires(Op::Gte, 3.0, 10, &[0, 5, 10]), [false, false, true]);
        assert_eq!(fires(Op::Gte, 3.0, 10, &[0, 5, 11]), [false, false, false]);
    }

    #[test]
    fn it_fires_for_as_long_as_it_holds() {
        assert_eq!(fires(Op::Gte, 2.0, 10, &[0, 1, 2, 3, 50]), [false, true, true, true, false]);
        assert_eq!(fires(Op::Eq, 2.0, 10, &[0, 1, 2, 50]), [false, true, false, false]);
        assert_eq!(fires(Op::Lt, 2.0, 10, &[0, 1, 50]), [true, false, true]);
    }

    #[test]
    fn a_late_event_counts_in_its_place() {
        assert_eq!(fires(Op::Gte, 3.0, 10, &[8, 10, 9]), [false, false, true]);
        assert_eq!(fires(Op::Gte, 2.0, 10, &[8, 10, 1, 19]), [false, true, true, true]);
        assert_eq!(fires(Op::Gte, 2.0, 10, &[8, 10, 9, 20]), [false, true, true, true]);
    }

    #[test]
    fn memory_does_not_grow_with_the_rate() {
        let kind = EventCount::new(Bounds::new(&[Bound { op: Op::Gte, number: 5.0 }]), 1000);
        let mut state = kind.start();
        for (id, time) in (0..10_000).enumerate() {
            let at = Mark { time, id: id as u64 };
            kind.note(&mut state, Note { member: 0, fact: Fact::None, at }, -1_000_000);
        }
        assert_eq!(state.len(), 5);
        assert!(kind.heap(&state) < 160, "{}", kind.heap(&state));
    }
}
