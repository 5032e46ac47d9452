//! `value_sum`, `value_avg`, `value_percentile`, `value_median`: figures made of numbers.

use std::collections::VecDeque;

use super::bounds::{Bounds, figure};
use super::groups::{growing, heap, is_roomy};
use super::kind::{Fact, Kind, Mark, Note, Verdict, insert_by_time};
use super::snapshot::{Broken, Reader, Writer};
use crate::rule::Figure;

/// The most numbers of one group; beyond, the figure is that of the newest.
const NUMBERS_MAX: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Figures {
    figure: Figure,
    bounds: Bounds,
}

impl Figures {
    pub(crate) fn new(figure: Figure, bounds: Bounds) -> Self {
        Self { figure, bounds }
    }

    fn is_percentile(&self) -> bool {
        matches!(self.figure, Figure::Percentile(_))
    }

    fn add(&self, state: &mut Numbers, number: Number) {
        insert_by_time(&mut state.line, number, |it| it.at.time);
        if self.is_percentile() {
            let place = state.sorted.partition_point(|it| it.total_cmp(&number.value).is_lt());
            state.sorted.insert(place, number.value);
        } else {
            state.sum.add(number.value);
        }
    }

    fn drop_oldest(&self, state: &mut Numbers) {
        let Some(number) = state.line.pop_front() else { return };
        if self.is_percentile() {
            let place = state.sorted.partition_point(|it| it.total_cmp(&number.value).is_lt());
            if place < state.sorted.len() {
                state.sorted.remove(place);
            }
        } else if state.sum.take(number.value) {
            state.sum = Sum::default();
            state.line.iter().for_each(|it| state.sum.add(it.value));
        }
    }
}

/// What a group remembers.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    line: VecDeque<Number>,
    /// Of percentiles: the same numbers by size.
    sorted: Vec<f64>,
    sum: Sum,
    /// The time of the newest number that there was no room for.
    dropped: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Number {
    at: Mark,
    value: f64,
}

/// A sum that remembers what rounding took from it (Neumaier's), so that numbers can leave it again.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        let (large, small) =
            if self.sum.abs() >= value.abs() { (self.sum, value) } else { (value, self.sum) };
        self.lost += (large - sum) + small;
        self.sum = sum;
    }

    /// Takes a number out; true when that left too little to trust.
    fn take(&mut self, value: f64) -> bool {
        const TRUSTED: f64 = 1_048_576.0;
        self.add(-value);
        !self.total().is_finite() || value.abs() > TRUSTED * self.total().abs()
    }

    fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// The value that this share of the sorted numbers does not exceed, linear between two of them.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = figure(last) * (share / 100.0).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a length")]
    let below = (position.floor() as usize).min(last);
    let low = *sorted.get(below)?;
    let high = sorted.get(below.saturating_add(1)).copied().unwrap_or(low);
    let part = position - position.floor();
    Some(low * (1.0 - part) + high * part)
}

impl Kind for Figures {
    type State = Box<Numbers>;

    fn start(&self) -> Box<Numbers> {
        Box::default()
    }

    fn note(&self, state: &mut Box<Numbers>, note: Note, _from: i64) {
        let Fact::Number(value) = note.fact else { return };
        if state.line.len() >= NUMBERS_MAX {
            let oldest = state.line.front().map_or(note.at.time, |it| it.at.time);
            state.dropped = state.dropped.max(Some(oldest.min(note.at.time)));
            if oldest > note.at.time {
                return;
            }
            self.drop_oldest(state);
        }
        self.add(state, Number { at: note.at, value });
    }

    fn forget(&self, state: &mut Box<Numbers>, from: i64) {
        while state.line.front().is_some_and(|it| it.at.time < from) {
            self.drop_oldest(state);
        }
        if is_roomy(state.line.len(), state.line.capacity()) {
            state.line.shrink_to_fit();
            state.sorted.shrink_to_fit();
        }
    }

    /// About all numbers that were not forgotten.
    fn verdict(&self, state: &Box<Numbers>, _from: i64) -> Verdict {
        let count = state.line.len();
        let value = match self.figure {
            Figure::Percentile(share) => percentile(&state.sorted, share),
            Figure::Sum => (count > 0).then(|| state.sum.total()),
            Figure::Average => (count > 0).then(|| state.sum.total() / figure(count)),
        };
        let value = value.filter(|it| it.is_finite());
        Verdict { holds: value.is_some_and(|it| self.bounds.hold(it)), figure: value }
    }

    fn evidence(&self, state: &Box<Numbers>, from: i64, out: &mut Vec<Mark>) {
        out.extend(state.line.iter().map(|it| it.at).filter(|it| it.time >= from));
    }

    fn is_saturated(&self, state: &Box<Numbers>, from: i64) -> bool {
        state.dropped.is_some_and(|it| it >= from)
    }

    fn heap(&self, state: &Box<Numbers>) -> usize {
        let line = growing::<Number>(state.line.len());
        let sorted = growing::<f64>(state.sorted.len());
        [heap::<Numbers>(1), line, sorted].iter().sum()
    }

    fn save(&self, state: &Box<Numbers>, to: &mut Writer) {
        to.count(state.line.len());
        for number in &state.line {
            number.at.save(to);
            to.float(number.value);
        }
        to.float(state.sum.sum);
        to.float(state.sum.lost);
        to.byte(u8::from(state.dropped.is_some()));
        to.signed(state.dropped.unwrap_or_default());
    }

    fn load(&self, from: &mut Reader<'_>) -> Result<Box<Numbers>, Broken> {
        let mut state = self.start();
        for _ in 0..from.count(size_of::<Number>())? {
            self.add(&mut state, Number { at: Mark::load(from)?, value: from.float()? });
        }
        state.sum = Sum { sum: from.float()?, lost: from.float()? };
        let dropped = from.byte()? != 0;
        state.dropped = Some(from.signed()?).filter(|_| dropped);
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::tests::verdicts;
    use super::*;
    use crate::expr::Op;
    use crate::rule::Bound;

    fn figures(of: Figure, values: &[(i64, Option<f64>)]) -> Vec<Option<f64>> {
        let kind = Figures::new(of, Bounds::new(&[Bound { op: Op::Gt, number: 0.0 }]));
        let notes: Vec<_> =
            values.iter().map(|it| (it.0, 0, it.1.map_or(Fact::None, Fact::Number))).collect();
        verdicts(&kind, 10, &notes).iter().map(|it| it.figure).collect()
    }

    #[test]
    fn sums_and_means_are_of_the_window() {
        let values = [(0, Some(1.0)), (5, None), (10, Some(4.0)), (11, Some(7.0)), (30, None)];
        assert_eq!(figures(Figure::Sum, &values), [Some(1.0), Some(1.0), Some(5.0), Some(11.0), None]);
        assert_eq!(figures(Figure::Average, &values), [Some(1.0), Some(1.0), Some(2.5), Some(5.5), None]);
    }

    #[test]
    fn percentiles_lie_between_two_numbers() {
        let values = [(0, Some(10.0)), (1, Some(40.0)), (2, Some(20.0)), (3, Some(30.0)), (13, Some(1.0))];
        let medians = [Some(10.0), Some(25.0), Some(20.0), Some(25.0), Some(15.5)];
        assert_eq!(figures(Figure::Percentile(50.0), &values), medians);
        assert_eq!(figures(Figure::Percentile(100.0), &values)[3], Some(40.0));
        assert_eq!(figures(Figure::Percentile(0.0), &values)[3], Some(10.0));
        let ninety = figures(Figure::Percentile(90.0), &values)[3].unwrap();
        assert!((ninety - 37.0).abs() < 1e-9);
    }

    #[test]
    fn a_huge_number_leaves_no_trace() {
        let values = [(0, Some(1e300)), (1, Some(1e150)), (2, Some(1.0)), (11, Some(2.0)), (12, Some(0.0))];
        assert_eq!(figures(Figure::Sum, &values)[3..], [Some(1e150), Some(3.0)]);
        let values = [(0, Some(f64::MAX)), (1, Some(f64::MAX)), (20, Some(5.0))];
        assert_eq!(figures(Figure::Sum, &values), [Some(f64::MAX), None, Some(5.0)]);
    }

    #[test]
    fn beyond_the_bound_it_is_the_newest_and_says_so() {
        let kind = Figures::new(Figure::Average, Bounds::new(&[]));
        let mut state = kind.start();
        for time in 0..5000_i32 {
            let at = Mark { time: time.into(), id: 0 };
            let fact = Fact::Number(if time < 904 { 100.0 } else { 1.0 });
            kind.note(&mut state, Note { member: 0, fact, at }, 0);
        }
        assert_eq!(kind.verdict(&state, 0).figure, Some(1.0));
        assert!(kind.is_saturated(&state, 903) && !kind.is_saturated(&state, 904));
    }
}
