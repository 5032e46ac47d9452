//! Rules, correlations and filters, as read.

use std::sync::Arc;

use crate::expr::{Expr, Op};
use crate::refusal::Place;

/// How much a match matters. Sigma specification 2.1, `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Worth knowing.
    #[default]
    Informational,
    /// Worth a look now and then.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
    /// Somebody is in.
    Critical,
}

impl Level {
    /// All, from the least.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Sigma's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a rule says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Meta {
    /// For people.
    pub title: String,
    /// A UUID. A rule without one gets none: it is then known by its title alone.
    pub id: Option<String>,
    /// For references by correlations; unique in a pack.
    pub name: Option<String>,
    /// `stable`, `test`, `experimental`, `deprecated`, `unsupported`.
    pub status: Option<String>,
    /// What it finds and why.
    pub description: Option<String>,
    /// Who wrote it. Its licence may ask that matches name them.
    pub author: Option<String>,
    /// SPDX.
    pub license: Option<String>,
    /// Where to read on.
    pub references: Vec<String>,
    /// `namespace.word`, such as `attack.t1110`.
    pub tags: Vec<String>,
    /// What else may cause it.
    pub falsepositives: Vec<String>,
    /// Fields worth showing.
    pub fields: Vec<String>,
    /// How much it matters; `informational` when the rule does not say.
    pub level: Level,
    /// Where it stands.
    pub place: Option<Place>,
    /// SHA-256 of what decides its behaviour: state is kept over a reload while this is the same.
    pub fingerprint: [u8; 32],
}

/// What a rule is a rule for, or what an event is a log of. At least one is set in a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LogSource {
    /// Such as `webserver`.
    pub category: Option<Arc<str>>,
    /// Such as `opencanary`.
    pub product: Option<Arc<str>>,
    /// Such as `sshd`.
    pub service: Option<Arc<str>>,
}

impl LogSource {
    /// Whether a rule for `self` applies to events of `event`: all that the rule names is the same.
    #[must_use]
    pub fn covers(&self, event: &Self) -> bool {
        let fits = |asked: &Option<Arc<str>>, is: &Option<Arc<str>>| asked.is_none() || asked == is;
        fits(&self.category, &event.category)
            && fits(&self.product, &event.product)
            && fits(&self.service, &event.service)
    }
}

/// A rule about single events, filters already applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it says of itself.
    pub meta: Meta,
    /// What it is for.
    pub source: LogSource,
    /// What it asks. A list of conditions became one with `Any`.
    pub expr: Expr,
    /// Whether a match is told. Rules that only correlations refer to are told through those, unless
    /// one of them says `generate`.
    pub told: bool,
}

/// A place in a pack's list of rules, or in its list of correlations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ref {
    /// `Pack::rules[it]`.
    Rule(usize),
    /// `Pack::correlations[it]`, which stands before the one that refers to it.
    Correlation(usize),
}

/// A rule about several events of one group within a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// What it says of itself.
    pub meta: Meta,
    /// What it looks at, in the order of the file; each once.
    pub rules: Vec<Ref>,
    /// Its groups: events differ in group if one of these does. None is one group for all.
    pub group_by: Vec<GroupKey>,
    /// The length of the window, microseconds; it is closed at both ends.
    pub timespan: i64,
    /// What must hold within it.
    pub kind: CorrelationKind,
    /// Whether a firing is told; see [`Rule::told`].
    pub told: bool,
}

/// One of the fields that make a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKey {
    /// The field or alias as the correlation names it: what the group is shown under.
    pub name: Arc<str>,
    /// The field to read for each of [`Correlation::rules`], in their order.
    pub fields: Vec<Arc<str>>,
}

/// What a correlation asks. Sigma specification 2.1, correlation rules.
#[derive(Debug, Clone, PartialEq)]
pub enum CorrelationKind {
    /// How many events there were.
    EventCount(Vec<Bound>),
    /// How many different values these fields had together.
    ValueCount(Vec<Arc<str>>, Vec<Bound>),
    /// How many of the rules matched, in any order.
    Temporal(Vec<Bound>),
    /// The rules matched in the listed order.
    TemporalOrdered(Vec<Bound>),
    /// An expression over the rules: places in [`Correlation::rules`].
    TemporalExpr {
        /// What must hold.
        expr: RefExpr,
        /// Whether the order of the list counts.
        ordered: bool,
    },
    /// A figure made of the numbers in this field.
    Figure(Figure, Arc<str>, Vec<Bound>),
}

/// An expression over the rules of a correlation.
#[derive(Debug, Clone, PartialEq)]
pub enum RefExpr {
    /// A match of `Correlation::rules[it]` is in the window.
    Seen(usize),
    /// Each of them.
    All(Vec<RefExpr>),
    /// One of them at least.
    Any(Vec<RefExpr>),
    /// Not that: decided once the window has passed.
    Not(Box<RefExpr>),
}

/// A figure made of several numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The value that this share of them, 0 to 100, does not exceed; linear between two of them.
    Percentile(f64),
}

/// One side of a condition: `value OP number`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// How.
    pub op: Op,
    /// Than what.
    pub number: f64,
}
