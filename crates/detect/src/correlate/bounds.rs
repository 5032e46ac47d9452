//! Conditions on a number, and how far one must count to know.

use crate::expr::Op;
use crate::rule::Bound;

/// What must hold of a figure: each of them.
#[derive(Debug, Clone)]
pub(crate) struct Bounds(Vec<Bound>);

impl Bounds {
    pub(crate) fn new(bounds: &[Bound]) -> Self {
        Self(bounds.to_vec())
    }

    pub(crate) fn hold(&self, figure: f64) -> bool {
        self.0.iter().all(|it| it.op.holds(figure, it.number))
    }

    /// The count beyond which nothing changes any more.
    pub(crate) fn reach(&self) -> usize {
        self.0.iter().map(reach).max().unwrap_or(1)
    }

    /// Whether more is never less good.
    pub(crate) fn only_from_below(&self) -> bool {
        self.0.iter().all(|it| matches!(it.op, Op::Gt | Op::Gte))
    }
}

fn reach(bound: &Bound) -> usize {
    let number = match bound.op {
        Op::Gte | Op::Lt => bound.number.ceil(),
        Op::Gt | Op::Lte | Op::Eq | Op::Neq => bound.number.floor() + 1.0,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and no count is negative"
    )]
    let number = number as usize;
    number.max(1)
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn figure(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_reach_every_count_is_judged_alike() {
        for op in [Op::Lt, Op::Lte, Op::Gt, Op::Gte, Op::Eq, Op::Neq] {
            for number in [-3.0, 0.0, 0.5, 1.0, 2.5, 7.0] {
                let bounds = Bounds::new(&[Bound { op, number }]);
                let reach = bounds.reach();
                let there = bounds.hold(figure(reach));
                assert!((reach..reach + 20).all(|it| bounds.hold(figure(it)) == there), "{op:?} {number}");
            }
        }
    }

    #[test]
    fn a_number_that_is_none_is_survived() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert!(Bounds::new(&[Bound { op: Op::Eq, number }]).reach() >= 1);
        }
    }
}
