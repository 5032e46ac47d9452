//! `temporal`: how many of the rules matched, in any order.

use super::bounds::{Bounds, figure};
use super::groups::{NEVER, heap};
use super::kind::{Kind, Mark, Note, Verdict};
use super::snapshot::{Broken, Reader, Writer};

/// When each of a correlation's rules matched last.
pub(crate) type LastSeen = Box<[Mark]>;

pub(crate) fn nothing_seen(rules: usize) -> LastSeen {
    vec![Mark { time: NEVER, id: 0 }; rules].into()
}

pub(crate) fn note_seen(seen: &mut LastSeen, note: Note) {
    let last = seen.get_mut(note.member as usize);
    if let Some(last) = last.filter(|it| it.time <= note.at.time) {
        *last = note.at;
    }
}

pub(crate) fn save_seen(seen: &LastSeen, to: &mut Writer) {
    for mark in seen {
        mark.save(to);
    }
}

pub(crate) fn load_seen(rules: usize, from: &mut Reader<'_>) -> Result<LastSeen, Broken> {
    (0..rules).map(|_| Mark::load(from)).collect()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Temporal {
    bounds: Bounds,
    rules: usize,
}

impl Temporal {
    pub(crate) fn new(bounds: Bounds, rules: usize) -> Self {
        Self { bounds, rules }
    }
}

impl Kind for Temporal {
    type State = LastSeen;

    fn start(&self) -> LastSeen {
        nothing_seen(self.rules)
    }

    fn note(&self, state: &mut LastSeen, note: Note, _from: i64) {
        note_seen(state, note);
    }

    fn forget(&self, _state: &mut LastSeen, _from: i64) {}

    fn verdict(&self, state: &LastSeen, from: i64) -> Verdict {
        let count = figure(state.iter().filter(|it| it.time >= from).count());
        Verdict { holds: self.bounds.hold(count), figure: Some(count) }
    }

    fn evidence(&self, state: &LastSeen, from: i64, out: &mut Vec<Mark>) {
        out.extend(state.iter().filter(|it| it.time >= from));
    }

    fn heap(&self, state: &LastSeen) -> usize {
        heap::<Mark>(state.len())
    }

    fn save(&self, state: &LastSeen, to: &mut Writer) {
        save_seen(state, to);
    }

    fn load(&self, from: &mut Reader<'_>) -> Result<LastSeen, Broken> {
        load_seen(self.rules, from)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Fact;
    use super::super::kind::tests::verdicts;
    use super::*;
    use crate::expr::Op;
    use crate::rule::Bound;

    #[test]
    fn all_rules_within_the_span_in_any_order() {
        let kind = Temporal::new(Bounds::new(&[Bound { op: Op::Gte, number: 3.0 }]), 3);
        let notes = [(0, 2), (1, 0), (2, 0), (10, 1), (11, 1), (12, 2)];
        let notes = notes.map(|(time, member)| (time, member, Fact::None));
        let holds: Vec<_> = verdicts(&kind, 10, &notes).iter().map(|it| it.holds).collect();
        assert_eq!(holds, [false, false, false, true, false, true]);
    }
}
