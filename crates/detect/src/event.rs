//! An event as rules see it.

use std::borrow::Cow;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use crate::rule::LogSource;

/// One field's value. Rules compare text without regard to case, and `22`, `"22"` and `22.0` are the
/// same to them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// The field is there and has no value.
    Null,
    /// A yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Several values: whatever is asked of the field holds if it holds for one of them.
    List(Vec<Value<'a>>),
}

impl Value<'_> {
    /// What text comparisons see: a whole number has no decimal point, however it was written. Null has
    /// no text, and of a list each member has its own.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null | Self::List(_) => None,
            Self::Bool(true) => Some(Cow::Borrowed("true")),
            Self::Bool(false) => Some(Cow::Borrowed("false")),
            Self::Int(it) => Some(Cow::Owned(it.to_string())),
            Self::Float(it) => Some(Cow::Owned(float_text(*it))),
            Self::Text(it) => Some(Cow::Borrowed(it)),
        }
    }

    /// The same, borrowing nothing.
    #[must_use]
    pub fn to_owned_value(&self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(it) => Value::Bool(*it),
            Self::Int(it) => Value::Int(*it),
            Self::Float(it) => Value::Float(*it),
            Self::Text(it) => Value::Text(Cow::Owned(it.to_string())),
            Self::List(it) => Value::List(it.iter().map(Value::to_owned_value).collect()),
        }
    }

    /// The value itself, or each member of the list and of lists in it.
    pub fn each<'v>(&'v self, ask: &mut dyn FnMut(&'v Value<'_>) -> bool) -> bool {
        match self {
            Self::List(members) => members.iter().any(|it| it.each(ask)),
            one => ask(one),
        }
    }
}

/// The one text of a number: `22` of 22.0, never an exponent, no sign of a zero.
pub(crate) fn float_text(it: f64) -> String {
    if it == 0.0 { "0".to_owned() } else { it.to_string() }
}

/// The fields of one event in one [`View`]: dotted paths to values, flat. A member `a` of an object
/// `b` is the field `b.a`; a member whose own name has a dot is found by that name first.
///
/// Looking a field up is linear, over the hashes of the names: events have tens of fields, and most
/// rules ask for one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields<'a> {
    hashes: Vec<u32>,
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Fields<'a> {
    /// No fields yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields yet, and room for so many.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Self { hashes: Vec::with_capacity(fields), members: Vec::with_capacity(fields) }
    }

    /// Adds a field. The first of a name counts.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        let name = name.into();
        self.hashes.push(name_hash(&name));
        self.members.push((name, value));
    }

    /// The value of the field of exactly this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.get_hashed(name, name_hash(name))
    }

    /// The same, for who knows the name's hash already.
    pub(crate) fn get_hashed(&self, name: &str, hash: u32) -> Option<&Value<'a>> {
        let mut from = 0;
        loop {
            let at = self.hashes.get(from..)?.iter().position(|it| *it == hash)?.saturating_add(from);
            match self.members.get(at) {
                Some((is, value)) if is == name => return Some(value),
                _ => from = at.saturating_add(1),
            }
        }
    }

    /// The value of the field of exactly this name, to change it.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        let hash = name_hash(name);
        let mut members = self.hashes.iter().zip(&mut self.members);
        members.find(|it| *it.0 == hash && it.1.0 == name).map(|it| &mut it.1.1)
    }

    /// Whether the field is there, with a value of its own or with members.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let is_or_holds =
            |it: &str| it.strip_prefix(name).is_some_and(|it| it.is_empty() || it.starts_with('.'));
        self.members.iter().any(|it| is_or_holds(&it.0))
    }

    /// All fields, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

/// Tells most names apart. Not to be stored: it differs between machines.
#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
pub(crate) fn name_hash(name: &str) -> u32 {
    FixedState::default().hash_one(name) as u32
}

/// An event in the terms of one log source: the same HTTP request is an OpenCanary record, a line of
/// a web server's log and a line of a proxy's log, each with its own field names.
#[derive(Debug, Clone, PartialEq)]
pub struct View<'a> {
    /// What it is a log of.
    pub source: &'a LogSource,
    /// Its fields there.
    pub fields: Fields<'a>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// What it is called in the evidence of a [`crate::Detection`]; the journal's number, say.
    pub id: u64,
    /// When it happened: microseconds since 1970-01-01 00:00 UTC.
    pub time: i64,
    /// Which sensor saw it; together with `time` and `id` this decides the order of events.
    pub sensor: Cow<'a, str>,
    /// What it is, in the terms of each log source it belongs to.
    pub views: Vec<View<'a>>,
}
