//! Many rules against one event at a time.
//!
//! Rules are sorted by log source, so that an event meets only those for one of its views. Of these
//! only the ones are asked of which a sign shows (`witness`, `index`), each test at most once. What
//! comes out is what asking every rule by [`Expr::holds`](crate::expr::Expr::holds) would give.

mod compile;
mod index;
mod values;
mod witness;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compile::{Compiler, Node, Predicate};
use index::{Builder, Found, Index, Target};
use values::{Names, Texts};

use witness::Rest;

use crate::detection::Hit;
use crate::event::{Event, Fields};
use crate::expr::{Ask, Expr};
use crate::rule::{LogSource, Rule};

/// Rules, compiled.
#[derive(Debug)]
pub struct Matcher {
    names: Names,
    predicates: Vec<Predicate>,
    /// By rule.
    rules: Vec<Node>,
    indexes: Vec<Index>,
    /// The places in `indexes` of the rules for exactly this source.
    sources: HashMap<LogSource, usize>,
    /// Tells matchers apart, for [`Scratch`].
    id: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Memory that [`Matcher::hits`] uses again and again. It serves any matcher, one at a time.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The matcher that all this is for.
    matcher: Option<u64>,
    /// The places in `Matcher::indexes` for each source seen so far.
    gates: Vec<(LogSource, Box<[usize]>)>,
    texts: Texts,
    memo: Memo,
    marks: Marks,
}

/// More sources than this are not remembered; there are only so many kinds of log.
const GATES_MAX: usize = 256;

impl Matcher {
    /// Compiles rules; [`Hit::rule`] is the place in this list.
    #[must_use]
    pub fn new(rules: &[Rule]) -> Self {
        let mut compiler = Compiler::default();
        let mut nodes: Vec<_> = rules.iter().map(|_| Node::All(Box::default())).collect();
        let mut by_source: BTreeMap<_, Vec<(u32, &Rule)>> = BTreeMap::new();
        for (number, rule) in (0_u32..).zip(rules) {
            let source = &rule.source;
            by_source
                .entry((&source.category, &source.product, &source.service))
                .or_default()
                .push((number, rule));
        }
        let mut sources = HashMap::new();
        let mut indexes = Vec::new();
        for group in by_source.into_values() {
            if let Some((_, first)) = group.first() {
                sources.insert(first.source.clone(), indexes.len());
            }
            indexes.push(index(&group, &mut compiler, &mut nodes));
        }
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self { names: compiler.names, predicates: compiler.predicates, rules: nodes, indexes, sources, id }
    }

    /// Puts into `hits`, in place of what it holds, the rules that match an event, in their order, each
    /// with the first view in which it does.
    pub fn hits(&self, event: &Event<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
        hits.clear();
        scratch.serve(self);
        scratch.marks.next_event();
        for (view, seen) in event.views.iter().enumerate() {
            let gate = scratch.gate(seen.source, self);
            let Some((_, gate)) = scratch.gates.get(gate).filter(|it| !it.1.is_empty()) else { continue };
            scratch.texts.next_view();
            scratch.memo.next_view();
            scratch.marks.next_view();
            for index in gate.iter().filter_map(|it| self.indexes.get(*it)) {
                index.look(&self.names, &seen.fields, &mut scratch.texts, &mut scratch.marks);
            }
            let mut asking = Asking {
                matcher: self,
                fields: &seen.fields,
                texts: &mut scratch.texts,
                memo: &mut scratch.memo,
            };
            scratch.marks.settle(|rule| asking.rule(rule), |rule| hits.push(Hit { rule, view }));
        }
        hits.sort_unstable();
    }

    /// The places of the indexes for the rules that apply to a source: those that name any part of it.
    fn indexes_for(&self, source: &LogSource) -> Box<[usize]> {
        let mut found: Vec<usize> = (0..8_u8)
            .filter_map(|parts| {
                let part = |bit: u8, it: &Option<_>| it.clone().filter(|_| parts & bit != 0);
                self.sources.get(&LogSource {
                    category: part(1, &source.category),
                    product: part(2, &source.product),
                    service: part(4, &source.service),
                })
            })
            .copied()
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into()
    }
}

/// The index of the rules for one source; puts into `nodes` what is left to ask of each.
fn index<'r>(rules: &[(u32, &'r Rule)], compiler: &mut Compiler<'r>, nodes: &mut [Node]) -> Index {
    let mut counts = BTreeMap::new();
    for (_, rule) in rules {
        count_exact(&rule.expr, &mut counts);
    }
    let pivot = counts.iter().max_by_key(|it| it.1).map(|it| *it.0);
    let mut builder = Builder::default();
    for (number, rule) in rules {
        let signs = witness::signs(&rule.expr, false, pivot);
        put(
            nodes,
            *number,
            compiler.node(signs.as_ref().map_or(&Rest::Whole(&rule.expr, false), |it| &it.rest)),
        );
        builder.add(*number, signs, |name| compiler.field(name));
    }
    builder.build().unwrap_or_else(|_| {
        // Too much text for an automaton: every rule is asked then, and all of it.
        let mut builder = Builder::default();
        for (number, rule) in rules {
            put(nodes, *number, compiler.node(&Rest::Whole(&rule.expr, false)));
            builder.add(*number, None, |_| 0);
        }
        builder.build().unwrap_or_default()
    })
}

fn put(nodes: &mut [Node], rule: u32, node: Node) {
    if let Some(into) = usize::try_from(rule).ok().and_then(|it| nodes.get_mut(it)) {
        *into = node;
    }
}

/// Counts by field how often a value is asked for exactly.
fn count_exact<'r>(expr: &'r Expr, counts: &mut BTreeMap<&'r str, usize>) {
    match expr {
        Expr::Test(test) => {
            if let (Some(field), Ask::Text(pattern)) = (&test.field, &test.ask)
                && pattern.as_literal().is_some()
            {
                let count = counts.entry(field).or_default();
                *count = count.saturating_add(1);
            }
        }
        Expr::Not(it) => count_exact(it, counts),
        Expr::All(them) | Expr::Any(them) => them.iter().for_each(|it| count_exact(it, counts)),
    }
}

impl Scratch {
    fn serve(&mut self, matcher: &Matcher) {
        if self.matcher != Some(matcher.id) {
            *self = Self {
                matcher: Some(matcher.id),
                gates: Vec::new(),
                texts: Texts::new(matcher.names.len()),
                memo: Memo { view: 0, answers: vec![0; matcher.predicates.len()] },
                marks: Marks::new(matcher.rules.len()),
            };
        }
    }

    /// The place of a source in `gates`.
    fn gate(&mut self, source: &LogSource, matcher: &Matcher) -> usize {
        if let Some(at) = self.gates.iter().position(|it| is_same(&it.0, source)) {
            return at;
        }
        if self.gates.len() >= GATES_MAX {
            self.gates.clear();
        }
        self.gates.push((source.clone(), matcher.indexes_for(source)));
        self.gates.len().saturating_sub(1)
    }
}

/// Equality, without looking at texts that are the same in memory: mostly they are.
fn is_same(one: &LogSource, other: &LogSource) -> bool {
    let same = |one: &Option<Arc<str>>, other: &Option<Arc<str>>| match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (one, other) => one.is_none() && other.is_none(),
    };
    same(&one.product, &other.product)
        && same(&one.category, &other.category)
        && same(&one.service, &other.service)
}

/// The answers of predicates for one view.
#[derive(Debug, Default)]
struct Memo {
    /// Counts views by twos: an answer is the view's number, plus one for yes.
    view: u32,
    answers: Vec<u32>,
}

impl Memo {
    fn next_view(&mut self) {
        let Some(view) = self.view.checked_add(2) else {
            self.answers.fill(0);
            self.view = 2;
            return;
        };
        self.view = view;
    }
}

/// Asks rules of one view.
struct Asking<'a, 'e> {
    matcher: &'a Matcher,
    fields: &'a Fields<'e>,
    texts: &'a mut Texts,
    memo: &'a mut Memo,
}

impl Asking<'_, '_> {
    fn rule(&mut self, rule: usize) -> bool {
        self.matcher.rules.get(rule).is_some_and(|it| self.node(it))
    }

    fn node(&mut self, node: &Node) -> bool {
        match node {
            Node::Test(number) => self.test(*number),
            Node::All(nodes) => nodes.iter().all(|it| self.node(it)),
            Node::Any(nodes) => nodes.iter().any(|it| self.node(it)),
            Node::Not(node) => !self.node(node),
        }
    }

    fn test(&mut self, number: u32) -> bool {
        let Ok(number) = usize::try_from(number) else { return false };
        let (Some(predicate), Some(answer)) =
            (self.matcher.predicates.get(number), self.memo.answers.get_mut(number))
        else {
            return false;
        };
        if *answer & !1 == self.memo.view {
            return *answer & 1 == 1;
        }
        let holds = predicate.holds(&self.matcher.names, self.fields, self.texts);
        *answer = self.memo.view | u32::from(holds);
        holds
    }
}

/// The rules that may match in one view, and those that did in one before.
#[derive(Debug, Default)]
struct Marks {
    /// Counts views by twos: a mark is the view's number, plus one if the rule surely matches.
    view: u32,
    rules: Vec<u32>,
    candidates: Vec<u32>,
    /// Counts events; a rule that matched has the event's number here.
    event: u32,
    matched: Vec<u32>,
}

impl Marks {
    fn new(rules: usize) -> Self {
        Self { rules: vec![0; rules], matched: vec![0; rules], ..Self::default() }
    }

    fn next_event(&mut self) {
        let Some(event) = self.event.checked_add(1) else {
            self.matched.fill(0);
            self.event = 1;
            return;
        };
        self.event = event;
    }

    fn next_view(&mut self) {
        self.candidates.clear();
        let Some(view) = self.view.checked_add(2) else {
            self.rules.fill(0);
            self.view = 2;
            return;
        };
        self.view = view;
    }

    /// Asks the candidates that are neither sure nor have matched in a view before, and tells which
    /// match now.
    fn settle(&mut self, mut holds: impl FnMut(usize) -> bool, mut tell: impl FnMut(usize)) {
        for rule in self.candidates.drain(..) {
            let Ok(rule) = usize::try_from(rule) else { continue };
            let (Some(mark), Some(matched)) = (self.rules.get(rule), self.matched.get_mut(rule)) else {
                continue;
            };
            if *matched != self.event && (*mark & 1 == 1 || holds(rule)) {
                *matched = self.event;
                tell(rule);
            }
        }
    }
}

impl Found for Marks {
    fn found(&mut self, targets: &[Target]) {
        for target in targets {
            let Some(mark) = usize::try_from(target.rule).ok().and_then(|it| self.rules.get_mut(it)) else {
                continue;
            };
            if *mark & !1 != self.view {
                *mark = self.view;
                self.candidates.push(target.rule);
            }
            *mark |= u32::from(target.sure);
        }
    }
}

#[cfg(test)]
mod tests;
