//! From what shows in an event to the rules that may match it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aho_corasick::packed::Searcher;
use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};
use foldhash::fast::FixedState;
use ipnet::IpNet;

use super::values::{Names, Texts};
use super::witness::{Sign, Signs};
use crate::evaluate::address_of;
use crate::event::{Fields, Value};
use crate::expr::Where;
use crate::pattern::fold;

type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A rule that may match, or surely does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) rule: u32,
    pub(super) sure: bool,
}

/// Takes what shows.
pub(super) trait Found {
    fn found(&mut self, targets: &[Target]);
}

/// The signs of all rules for one log source.
#[derive(Debug, Default)]
pub(super) struct Index {
    fields: Vec<FieldIndex>,
    anywhere: Option<Anywhere>,
    /// Rules that may match where nothing shows.
    always: Vec<Target>,
}

/// The signs that one field may show.
#[derive(Debug, Default)]
struct FieldIndex {
    /// Its number among the fields that rules name.
    field: u32,
    /// By the folded text.
    exact: HashMap<Box<str>, Vec<Target>>,
    /// Those of `exact` that are the text of a whole number.
    numbers: HashMap<i64, Vec<Target>>,
    needles: Option<Needles>,
    nets: Nets,
    present: Vec<Target>,
}

/// Texts looked for in one pass, wherever they stand.
#[derive(Debug)]
struct Needles {
    /// Finds out faster whether one of them is there at all; only made of few.
    quick: Option<Searcher>,
    automaton: AhoCorasick,
    /// For each text: targets where it stands anywhere, at the start, at the end.
    targets: Vec<[Vec<Target>; 3]>,
}

/// Texts looked for in all values.
#[derive(Debug)]
struct Anywhere {
    needles: Needles,
    /// Whether one of them can stand in a number.
    numbers: bool,
    /// A byte that is in each of them and has no case, if there is one: most events do without it.
    common: Option<u8>,
}

/// Networks by the length of their prefix.
#[derive(Debug, Default)]
struct Nets {
    lengths: Vec<u8>,
    nets: HashMap<IpNet, Vec<Target>>,
}

/// Texts of up to so many bytes together get the automaton that is fastest and largest.
const DFA_BYTES: usize = 8 * 1024;

/// So many texts can be looked for several bytes at a time (Teddy).
const QUICK_NEEDLES: usize = 64;

/// Collects signs.
#[derive(Default)]
pub(super) struct Builder {
    fields: BTreeMap<u32, FieldBuilder>,
    anywhere: NeedlesBuilder,
    always: Vec<Target>,
}

#[derive(Default)]
struct FieldBuilder {
    index: FieldIndex,
    needles: NeedlesBuilder,
}

type NeedlesBuilder = BTreeMap<Box<str>, [Vec<Target>; 3]>;

impl Builder {
    /// Adds a rule by its signs; without any it is always a candidate.
    pub(super) fn add<'r>(
        &mut self,
        rule: u32,
        signs: Option<Signs<'r>>,
        mut number: impl FnMut(&'r str) -> u32,
    ) {
        let Some(signs) = signs else {
            self.always.push(Target { rule, sure: false });
            return;
        };
        for (sign, sure) in signs.list {
            let target = Target { rule, sure };
            let field = match sign {
                Sign::Exact(field, _) | Sign::Net(field, _) | Sign::Present(field) => Some(field),
                Sign::Needle(field, ..) => field,
            };
            let Some(field) = field.map(&mut number) else {
                if let Sign::Needle(_, text, place) = sign {
                    add_needle(&mut self.anywhere, text, place, target);
                }
                continue;
            };
            let into = self.fields.entry(field).or_default();
            into.index.field = field;
            match sign {
                Sign::Exact(_, text) => into.index.add_exact(text, target),
                Sign::Needle(_, text, place) => add_needle(&mut into.needles, text, place, target),
                Sign::Net(_, net) => into.index.nets.add(net, target),
                Sign::Present(_) => into.index.present.push(target),
            }
        }
    }

    /// # Errors
    ///
    /// If all texts together are too many for an automaton.
    pub(super) fn build(self) -> Result<Index, BuildError> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for builder in self.fields.into_values() {
            fields.push(FieldIndex { needles: Needles::build(builder.needles)?, ..builder.index });
        }
        Ok(Index { fields, anywhere: Anywhere::build(self.anywhere)?, always: self.always })
    }
}

fn add_needle(into: &mut NeedlesBuilder, text: Box<str>, place: Where, target: Target) {
    let [anywhere, start, end] = into.entry(text).or_default();
    match place {
        Where::Start => start.push(target),
        Where::End => end.push(target),
        Where::Within | Where::Whole => anywhere.push(target),
    }
}

impl Index {
    /// Hands over the targets of everything that shows in these fields; some of them twice.
    pub(super) fn look(&self, names: &Names, fields: &Fields<'_>, texts: &mut Texts, into: &mut impl Found) {
        into.found(&self.always);
        for index in &self.fields {
            match names.get(index.field, fields) {
                None => {}
                Some(Value::Int(number)) if index.needles.is_none() => {
                    into.found(&index.present);
                    find(&index.numbers, number, into);
                }
                Some(list @ Value::List(_)) => {
                    list.each(&mut |one| {
                        index.look_at(one, one.text().as_deref().map(fold).as_deref(), into);
                        false
                    });
                }
                Some(value) => index.look_at(value, texts.folded(index.field, value), into),
            }
        }
        if let Some(anywhere) = &self.anywhere
            && anywhere.may_be_in(fields)
        {
            anywhere.needles.look_at(texts.all(fields, anywhere.numbers), into);
        }
    }
}

impl FieldIndex {
    fn add_exact(&mut self, text: Box<str>, target: Target) {
        if let Some(number) = text.parse::<i64>().ok().filter(|it| it.to_string() == *text) {
            self.numbers.entry(number).or_default().push(target);
        }
        self.exact.entry(text).or_default().push(target);
    }

    fn look_at(&self, value: &Value<'_>, folded: Option<&str>, into: &mut impl Found) {
        into.found(&self.present);
        let Some(folded) = folded else { return };
        find(&self.exact, folded, into);
        if let Some(needles) = &self.needles {
            needles.look_at(folded, into);
        }
        if !self.nets.lengths.is_empty()
            && let Some(address) = address_of(value)
        {
            self.nets.look_at(address, into);
        }
    }
}

fn find<K, Q>(map: &HashMap<K, Vec<Target>>, key: &Q, into: &mut impl Found)
where
    K: std::borrow::Borrow<Q> + Eq + std::hash::Hash,
    Q: Eq + std::hash::Hash + ?Sized,
{
    if !map.is_empty()
        && let Some(targets) = map.get(key)
    {
        into.found(targets);
    }
}

impl Needles {
    fn build(from: NeedlesBuilder) -> Result<Option<Self>, BuildError> {
        if from.is_empty() {
            return Ok(None);
        }
        let size: usize = from.keys().map(|it| it.len()).sum();
        let kind = (size <= DFA_BYTES).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder().kind(kind).build(from.keys().map(|it| it.as_bytes()))?;
        let quick = if from.len() <= QUICK_NEEDLES {
            Searcher::new(from.keys().map(|it| it.as_bytes()))
        } else {
            None
        };
        Ok(Some(Self { quick, automaton, targets: from.into_values().collect() }))
    }

    fn look_at(&self, folded: &str, into: &mut impl Found) {
        if folded.is_empty() {
            return;
        }
        // Mostly nothing is there, which is found out faster than what is.
        let none = match &self.quick {
            Some(quick) if folded.len() >= quick.minimum_len() => quick.find(folded).is_none(),
            _ => !self.automaton.is_match(folded),
        };
        if none {
            return;
        }
        for seen in self.automaton.find_overlapping_iter(folded) {
            let Some([anywhere, start, end]) = self.targets.get(seen.pattern().as_usize()) else { continue };
            into.found(anywhere);
            if seen.start() == 0 {
                into.found(start);
            }
            if seen.end() == folded.len() {
                into.found(end);
            }
        }
    }
}

impl Anywhere {
    fn build(from: NeedlesBuilder) -> Result<Option<Self>, BuildError> {
        let in_number = |it: &str| it.bytes().all(|it| matches!(it, b'0'..=b'9' | b'-' | b'.'));
        let numbers = from.keys().any(|it| in_number(it));
        let in_all = |byte: u8| from.keys().all(|it| it.as_bytes().contains(&byte));
        // In an order that begins with what is rare in texts.
        let common = b"${}<>|^~\\`;\"'!*%@#&?=+[](),:/".iter().copied().find(|it| in_all(*it));
        let needles = Needles::build(from)?;
        Ok(needles.map(|needles| Self { needles, numbers, common }))
    }

    fn may_be_in(&self, fields: &Fields<'_>) -> bool {
        let Some(common) = self.common else { return true };
        let has = |it: &Value<'_>| match it {
            Value::Text(text) => memchr::memchr(common, text.as_bytes()).is_some(),
            // No number and no word for a truth value has one of these bytes.
            _ => false,
        };
        fields.iter().any(|(_, value)| match value {
            Value::List(_) => value.each(&mut |one| has(one)),
            one => has(one),
        })
    }
}

impl Nets {
    fn add(&mut self, net: IpNet, target: Target) {
        if !self.lengths.contains(&net.prefix_len()) {
            self.lengths.push(net.prefix_len());
        }
        self.nets.entry(net).or_default().push(target);
    }

    fn look_at(&self, address: IpAddr, into: &mut impl Found) {
        for length in &self.lengths {
            if let Ok(net) = IpNet::new(address, *length) {
                find(&self.nets, &net.trunc(), into);
            }
        }
    }
}
