//! What decides how rules behave, as bytes: the same for two rules that differ only in words, layout
//! or names of selections. Hashed it is a fingerprint, and its length says how large a rule is.

use sha2::{Digest, Sha256};

use crate::expr::{Ask, Expr, Op, Part, Test, Where};
use crate::pattern::{Pattern, Piece};
use crate::rule::{Bound, Correlation, CorrelationKind, Figure, LogSource, Meta, RefExpr};

/// The most that a rule may weigh, its filters included, see [`weight`]: some 100,000 tests.
pub(crate) const WEIGHT: usize = 8 << 20;

/// How large an expression is: about its bytes in memory.
pub(crate) fn weight(expr: &Expr) -> usize {
    let mut form = Form::default();
    form.expr(expr);
    form.0.len()
}

/// The fingerprint of a rule, and its weight.
pub(crate) fn rule(source: &LogSource, expr: &Expr) -> ([u8; 32], usize) {
    let mut form = Form::new("rule");
    for attribute in [&source.category, &source.product, &source.service] {
        form.optional(attribute.as_deref());
    }
    form.expr(expr);
    (form.hash(), form.0.len())
}

/// The fingerprint of a correlation over rules with these fingerprints.
pub(crate) fn correlation(it: &Correlation, rules: &[[u8; 32]]) -> [u8; 32] {
    let mut form = Form::new("correlation");
    form.count(rules.len());
    for rule in rules {
        form.0.extend_from_slice(rule);
    }
    form.count(it.group_by.len());
    for key in &it.group_by {
        form.text(&key.name);
        form.texts(key.fields.iter().map(|it| &**it));
    }
    form.0.extend_from_slice(&it.timespan.to_be_bytes());
    form.kind(&it.kind);
    form.hash()
}

/// The fingerprint of a pack: of its rules and correlations, in whatever order, and whether they are
/// told.
pub(crate) fn pack<'a>(parts: impl IntoIterator<Item = (&'a Meta, bool)>) -> [u8; 32] {
    let mut parts: Vec<_> =
        parts.into_iter().map(|(it, told)| (&it.id, &it.title, it.level, it.fingerprint, told)).collect();
    parts.sort_unstable();
    let mut form = Form::new("pack");
    for (id, title, level, fingerprint, told) in parts {
        form.optional(id.as_deref());
        form.text(title);
        form.text(level.name());
        form.0.extend_from_slice(&fingerprint);
        form.0.push(u8::from(told));
    }
    form.hash()
}

/// Bytes from which what was written can be told: kinds are letters, texts and lists have lengths.
#[derive(Default)]
struct Form(Vec<u8>);

impl Form {
    /// `kind` keeps things of different kinds apart, and the digit forms of different versions.
    fn new(kind: &str) -> Self {
        let mut form = Self::default();
        form.text(kind);
        form.0.push(b'1');
        form
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.count(texts.len());
        texts.for_each(|it| self.text(it));
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn number(&mut self, number: f64) {
        self.0.extend_from_slice(&number.to_bits().to_be_bytes());
    }

    fn expr(&mut self, expr: &Expr) {
        let (letter, parts) = match expr {
            Expr::Test(test) => return self.test(test),
            Expr::Not(inner) => {
                self.0.push(b'!');
                return self.expr(inner);
            }
            Expr::All(parts) => (b'&', parts),
            Expr::Any(parts) => (b'|', parts),
        };
        self.0.push(letter);
        self.count(parts.len());
        for part in parts {
            self.expr(part);
        }
    }

    fn test(&mut self, test: &Test) {
        self.0.push(b't');
        self.optional(test.field.as_deref());
        match &test.ask {
            Ask::Exists(asked) => self.0.extend_from_slice(&[b'e', u8::from(*asked)]),
            Ask::Null => self.0.push(b'0'),
            Ask::Text(pattern) => self.pattern(pattern),
            Ask::Bool(asked) => self.0.extend_from_slice(&[b'b', u8::from(*asked)]),
            Ask::Compare(op, number) => {
                self.0.extend_from_slice(&[b'c', letter_of_op(*op)]);
                self.number(*number);
            }
            Ask::Regex(regex) => {
                self.0.push(b'r');
                self.text(regex.0.as_str());
            }
            Ask::Cidr(net) => {
                self.0.push(b'n');
                self.text(&net.to_string());
            }
            Ask::Field(ask) => {
                self.0.extend_from_slice(&[b'f', letter_of_place(ask.place), u8::from(ask.cased)]);
                self.text(&ask.other);
            }
            Ask::Time(part, op, number) => {
                self.0.extend_from_slice(&[b'd', letter_of_part(*part), letter_of_op(*op)]);
                self.number(*number);
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern) {
        self.0.extend_from_slice(&[b'p', u8::from(pattern.cased)]);
        self.count(pattern.pieces.len());
        for piece in &pattern.pieces {
            match piece {
                Piece::Text(text) => {
                    self.0.push(b't');
                    self.text(text);
                }
                Piece::One => self.0.push(b'?'),
                Piece::Any => self.0.push(b'*'),
                Piece::Dash => self.0.push(b'-'),
            }
        }
    }

    fn kind(&mut self, kind: &CorrelationKind) {
        match kind {
            CorrelationKind::EventCount(bounds) => {
                self.0.push(b'e');
                self.bounds(bounds);
            }
            CorrelationKind::ValueCount(fields, bounds) => {
                self.0.push(b'v');
                self.texts(fields.iter().map(|it| &**it));
                self.bounds(bounds);
            }
            CorrelationKind::Temporal(bounds) => {
                self.0.push(b't');
                self.bounds(bounds);
            }
            CorrelationKind::TemporalOrdered(bounds) => {
                self.0.push(b'o');
                self.bounds(bounds);
            }
            CorrelationKind::TemporalExpr { expr, ordered } => {
                self.0.extend_from_slice(&[b'x', u8::from(*ordered)]);
                self.references(expr);
            }
            CorrelationKind::Figure(figure, field, bounds) => {
                self.0.push(b'f');
                match figure {
                    Figure::Sum => self.0.push(b's'),
                    Figure::Average => self.0.push(b'a'),
                    Figure::Percentile(share) => {
                        self.0.push(b'p');
                        self.number(*share);
                    }
                }
                self.text(field);
                self.bounds(bounds);
            }
        }
    }

    fn bounds(&mut self, bounds: &[Bound]) {
        self.count(bounds.len());
        for bound in bounds {
            self.0.push(letter_of_op(bound.op));
            self.number(bound.number);
        }
    }

    fn references(&mut self, expr: &RefExpr) {
        let (letter, parts) = match expr {
            RefExpr::Seen(at) => {
                self.0.push(b's');
                return self.count(*at);
            }
            RefExpr::Not(inner) => {
                self.0.push(b'!');
                return self.references(inner);
            }
            RefExpr::All(parts) => (b'&', parts),
            RefExpr::Any(parts) => (b'|', parts),
        };
        self.0.push(letter);
        self.count(parts.len());
        for part in parts {
            self.references(part);
        }
    }
}

fn letter_of_op(op: Op) -> u8 {
    match op {
        Op::Lt => b'<',
        Op::Lte => b'{',
        Op::Gt => b'>',
        Op::Gte => b'}',
        Op::Eq => b'=',
        Op::Neq => b'!',
    }
}

fn letter_of_place(place: Where) -> u8 {
    match place {
        Where::Whole => b'w',
        Where::Within => b'*',
        Where::Start => b'^',
        Where::End => b'$',
    }
}

fn letter_of_part(part: Part) -> u8 {
    match part {
        Part::Minute => b'm',
        Part::Hour => b'h',
        Part::Day => b'd',
        Part::Week => b'w',
        Part::Month => b'M',
        Part::Year => b'y',
    }
}
