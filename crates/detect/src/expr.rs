//! What a rule asks of an event, once its YAML is understood: an expression over single tests.
//!
//! Modifiers, lists, wildcards, placeholders and quantifiers are gone by now: each became tests and
//! the operators between them. The full-scan evaluator reads this tree as it is, the index compiles
//! it.

use ipnet::IpNet;
use regex::Regex;

use crate::pattern::Pattern;

/// An expression. Two-valued: a test of a missing field is false, and its negation true.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// One test of one field, or of every value.
    Test(Test),
    /// Each of them; true when there are none.
    All(Vec<Expr>),
    /// One of them at least; false when there are none.
    Any(Vec<Expr>),
    /// Not that.
    Not(Box<Expr>),
}

/// A question about one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// Which field; `None` asks of every value at any depth whether one fits (a keyword).
    pub field: Option<Box<str>>,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked of a value. For a list it is asked of each member, and one is enough.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Is the field there, even if it is null or empty?
    Exists(bool),
    /// Is the field missing or null?
    Null,
    /// Does its text fit this pattern, from beginning to end? Also asked for numbers: two of them are
    /// equal when their texts are ([`crate::Value::text`]), so `22` is `22.0` and `"22"` but not `"022"`.
    Text(Pattern),
    /// Is it this, or the word for it, or the number 1 or 0 that stands for it?
    Bool(bool),
    /// Is it a number, or a number's text, on this side of that one?
    Compare(Op, f64),
    /// Does this regular expression find something in its text?
    Regex(RegexAsk),
    /// Is it an address of this network?
    Cidr(IpNet),
    /// How does its text relate to another field's text?
    Field(FieldAsk),
    /// Does this part of the point in time that it names stand so to that number?
    Time(Part, Op, f64),
}

/// How a number stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Less.
    Lt,
    /// At most.
    Lte,
    /// More.
    Gt,
    /// At least.
    Gte,
    /// Equal. Only of parts of a point in time, and in correlations.
    Eq,
    /// Not equal. Only in correlations.
    Neq,
}

impl Op {
    /// Whether `left OP right`.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "rules ask whether two numbers are the same")]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Lt => left < right,
            Self::Lte => left <= right,
            Self::Gt => left > right,
            Self::Gte => left >= right,
            Self::Eq => left == right,
            Self::Neq => left != right,
        }
    }
}

/// A regular expression; equal when its text is.
#[derive(Debug, Clone)]
pub struct RegexAsk(pub Regex);

impl PartialEq for RegexAsk {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A comparison with another field of the same event; false when either is missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldAsk {
    /// The other field.
    pub other: Box<str>,
    /// Where the other's text must stand in this one's.
    pub place: Where,
    /// Whether case counts.
    pub cased: bool,
}

/// Where a text stands in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Where {
    /// It is the whole.
    Whole,
    /// Anywhere.
    Within,
    /// At the beginning.
    Start,
    /// At the end.
    End,
}

/// A part of a point in time, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// Of the month, from 1.
    Day,
    /// Of the year, ISO 8601, from 1.
    Week,
    /// From 1.
    Month,
    /// With the century.
    Year,
}
