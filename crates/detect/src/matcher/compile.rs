//! Expressions made ready: equal tests are one, and of several the cheap ones come first.

use std::hash::{Hash as _, Hasher as _};
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use foldhash::fast::FixedState;
use memchr::memmem::Finder;

use super::values::{Names, Texts};
use super::witness::Rest;
use crate::event::{Fields, Value};
use crate::expr::{Ask, Expr, Test};
use crate::pattern::{Pattern, Piece, fold};

type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;
type HashSet<T> = std::collections::HashSet<T, FixedState>;

/// An expression over [`Predicate`]s, by number.
#[derive(Debug)]
pub(super) enum Node {
    Test(u32),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
}

/// A test, ready to be asked.
#[derive(Debug)]
pub(super) enum Predicate {
    /// Of a field's folded text.
    Text(u32, TextAsk),
    /// Of a field's value.
    Value(u32, Ask),
    /// Whether a field is there.
    Presence(u32, Test),
    /// Of the event as a whole.
    Event(Test),
}

/// What is asked of a folded text.
#[derive(Debug)]
pub(super) enum TextAsk {
    Is(Box<str>),
    IsOneOf(HashSet<Box<str>>),
    Starts(Box<str>),
    Ends(Box<str>),
    Contains(Box<Finder<'static>>),
    ContainsOneOf(Box<Several>),
    Fits(Pattern),
}

/// Texts that are looked for together. Few rules ever become candidates, so that the automaton is made
/// when it is first needed.
#[derive(Debug)]
pub(super) struct Several {
    texts: Vec<Box<str>>,
    automaton: OnceLock<Option<AhoCorasick>>,
}

/// From so many texts on, looking for all in one pass is faster than looking for each.
const SEVERAL: usize = 4;

/// Numbers fields and tests while rules are compiled.
#[derive(Default)]
pub(super) struct Compiler<'r> {
    pub(super) names: Names,
    by_name: HashMap<&'r str, u32>,
    pub(super) predicates: Vec<Predicate>,
    costs: Vec<u32>,
    by_hash: HashMap<u64, Vec<(u32, &'r Test)>>,
}

impl<'r> Compiler<'r> {
    /// The number of a field.
    pub(super) fn field(&mut self, name: &'r str) -> u32 {
        *self.by_name.entry(name).or_insert_with(|| self.names.add(name))
    }

    pub(super) fn node(&mut self, rest: &Rest<'r>) -> Node {
        self.costed_rest(rest).1
    }

    fn costed_rest(&mut self, rest: &Rest<'r>) -> (u32, Node) {
        match rest {
            Rest::Nothing => (0, Node::All(Box::default())),
            Rest::Whole(expr, false) => self.costed(expr),
            Rest::Whole(expr, true) => {
                let (cost, node) = self.costed(expr);
                (cost, Node::Not(Box::new(node)))
            }
            Rest::All(them) => {
                let (cost, nodes) = cheapest_first(them.iter().map(|it| self.costed_rest(it)).collect());
                (cost, Node::All(nodes))
            }
        }
    }

    /// An expression and what asking it costs.
    fn costed(&mut self, expr: &'r Expr) -> (u32, Node) {
        match expr {
            Expr::Test(test) => self.test(test),
            Expr::Not(it) => {
                let (cost, node) = self.costed(it);
                (cost, Node::Not(Box::new(node)))
            }
            Expr::All(them) => {
                let (cost, nodes) = self.several(them);
                (cost, Node::All(nodes))
            }
            Expr::Any(them) => {
                if let Some(one) = self.one_of(them) {
                    return one;
                }
                let (cost, nodes) = self.several(them);
                (cost, Node::Any(nodes))
            }
        }
    }

    fn several(&mut self, exprs: &'r [Expr]) -> (u32, Box<[Node]>) {
        cheapest_first(exprs.iter().map(|it| self.costed(it)).collect())
    }

    /// A list of values that one field may have.
    fn one_of(&mut self, exprs: &'r [Expr]) -> Option<(u32, Node)> {
        let (field, is_part, _) = text_of(exprs.first()?)?;
        let alike = |it| text_of(it).filter(|it| (it.0, it.1) == (field, is_part)).map(|it| it.2.into());
        let texts: Vec<Box<str>> = exprs.iter().map(alike).collect::<Option<_>>()?;
        let ask = if !is_part {
            TextAsk::IsOneOf(texts.into_iter().collect())
        } else if texts.len() >= SEVERAL {
            TextAsk::ContainsOneOf(Box::new(Several { texts, automaton: OnceLock::new() }))
        } else {
            return None;
        };
        let predicate = Predicate::Text(self.field(field), ask);
        Some((predicate.cost(), Node::Test(self.add(predicate))))
    }

    fn add(&mut self, predicate: Predicate) -> u32 {
        self.costs.push(predicate.cost());
        self.predicates.push(predicate);
        u32::try_from(self.predicates.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn test(&mut self, test: &'r Test) -> (u32, Node) {
        let hash = hash_of(test);
        let known = self.by_hash.get(&hash).and_then(|it| it.iter().find(|it| it.1 == test));
        let number = if let Some((number, _)) = known {
            *number
        } else {
            let predicate = self.predicate(test);
            let number = self.add(predicate);
            self.by_hash.entry(hash).or_default().push((number, test));
            number
        };
        let cost = usize::try_from(number).ok().and_then(|it| self.costs.get(it).copied());
        (cost.unwrap_or(0), Node::Test(number))
    }

    fn predicate(&mut self, test: &'r Test) -> Predicate {
        match (test.field.as_deref(), &test.ask) {
            (None, _) => Predicate::Event(test.clone()),
            (Some(field), Ask::Exists(_) | Ask::Null) => Predicate::Presence(self.field(field), test.clone()),
            (Some(field), Ask::Text(pattern)) if !pattern.cased => {
                Predicate::Text(self.field(field), TextAsk::of(pattern))
            }
            (Some(field), ask) => Predicate::Value(self.field(field), ask.clone()),
        }
    }
}

fn cheapest_first(mut costed: Vec<(u32, Node)>) -> (u32, Box<[Node]>) {
    costed.sort_by_key(|it| it.0);
    let sum = costed.iter().fold(0_u32, |sum, it| sum.saturating_add(it.0));
    (sum, costed.into_iter().map(|it| it.1).collect())
}

/// The field and the folded text of a test for one value, or (true) for one part of it.
fn text_of(expr: &Expr) -> Option<(&str, bool, &str)> {
    let Expr::Test(Test { field: Some(field), ask: Ask::Text(pattern) }) = expr else { return None };
    match pattern.pieces.as_slice() {
        _ if pattern.cased => None,
        [Piece::Any, Piece::Text(text), Piece::Any] => Some((field, true, text)),
        _ => Some((field, false, pattern.as_literal()?)),
    }
}

/// Equal tests have equal hashes.
fn hash_of(test: &Test) -> u64 {
    let mut hasher = std::hash::BuildHasher::build_hasher(&FixedState::default());
    test.field.hash(&mut hasher);
    match &test.ask {
        Ask::Text(pattern) => pattern.hash(&mut hasher),
        // Few of these are alike.
        other => std::mem::discriminant(other).hash(&mut hasher),
    }
    hasher.finish()
}

impl Predicate {
    /// What asking it costs, in no unit.
    fn cost(&self) -> u32 {
        match self {
            Self::Text(_, TextAsk::Is(_) | TextAsk::Starts(_) | TextAsk::Ends(_)) => 1,
            Self::Text(_, TextAsk::IsOneOf(_)) => 2,
            Self::Text(_, TextAsk::Contains(_)) => 3,
            Self::Text(_, TextAsk::ContainsOneOf(_)) => 6,
            Self::Text(_, TextAsk::Fits(_)) => 10,
            Self::Value(_, Ask::Regex(_)) => 30,
            Self::Value(..) => 5,
            Self::Presence(..) => 4,
            Self::Event(_) => 60,
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, names: &Names, fields: &Fields<'_>, texts: &mut Texts) -> bool {
        match self {
            Self::Text(field, ask) => match names.get(*field, fields) {
                None => false,
                Some(list @ Value::List(_)) => {
                    list.each(&mut |one| one.text().is_some_and(|it| ask.holds(&fold(&it))))
                }
                Some(value) => texts.folded(*field, value).is_some_and(|it| ask.holds(it)),
            },
            Self::Value(field, ask) => names.get(*field, fields).is_some_and(|it| ask.holds(it, fields)),
            Self::Presence(field, test) => match (names.get(*field, fields), &test.ask) {
                (Some(_), Ask::Exists(asked)) => *asked,
                (Some(value), ask) => ask.holds(value, fields),
                (None, _) => test.holds(fields),
            },
            Self::Event(test) => test.holds(fields),
        }
    }
}

impl TextAsk {
    fn of(pattern: &Pattern) -> Self {
        match pattern.pieces.as_slice() {
            [] => Self::Is("".into()),
            [Piece::Text(text)] => Self::Is(text.clone()),
            [Piece::Text(text), Piece::Any] => Self::Starts(text.clone()),
            [Piece::Any, Piece::Text(text)] => Self::Ends(text.clone()),
            [Piece::Any, Piece::Text(text), Piece::Any] => {
                Self::Contains(Box::new(Finder::new(text.as_bytes()).into_owned()))
            }
            _ => Self::Fits(pattern.clone()),
        }
    }

    fn holds(&self, folded: &str) -> bool {
        match self {
            Self::Is(text) => **text == *folded,
            Self::IsOneOf(texts) => texts.contains(folded),
            Self::Starts(text) => folded.starts_with(&**text),
            Self::Ends(text) => folded.ends_with(&**text),
            Self::Contains(finder) => finder.find(folded.as_bytes()).is_some(),
            Self::ContainsOneOf(several) => several.are_in(folded),
            Self::Fits(pattern) => pattern.fits_folded(folded),
        }
    }
}

impl Several {
    fn are_in(&self, folded: &str) -> bool {
        let build = || AhoCorasick::new(self.texts.iter().map(|it| it.as_bytes())).ok();
        match self.automaton.get_or_init(build) {
            Some(automaton) => automaton.is_match(folded),
            None => self.texts.iter().any(|it| folded.contains(&**it)),
        }
    }
}
