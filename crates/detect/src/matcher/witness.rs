//! What must be seen in an event before a rule can match: its signs.
//!
//! The signs of a rule are chosen so that whenever the rule matches, one of them at least shows. The
//! index looks for signs and leaves alone the rules that show none; it may not err the other way.

use ipnet::IpNet;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::values::BETWEEN_TEXTS;
use crate::expr::{Ask, Expr, RegexAsk, Test, Where};
use crate::modifier::REGEX_DEPTH;
use crate::pattern::{DASHES, Pattern, Piece, fold, fold_char};

/// Something that shows in an event. Texts are folded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sign<'r> {
    /// A field's text is this.
    Exact(&'r str, Box<str>),
    /// A field's text, or for `None` any text, has this in it at this place (never the whole).
    Needle(Option<&'r str>, Box<str>, Where),
    /// A field is an address of this network.
    Net(&'r str, IpNet),
    /// A field has a value of its own.
    Present(&'r str),
}

/// The signs of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signs<'r> {
    /// Each with whether it proves the expression.
    pub(super) list: Vec<(Sign<'r>, bool)>,
    /// What is left to ask when one of them shows that does not prove it.
    pub(super) rest: Rest<'r>,
    /// How often they are expected to show for nothing, and what looking for them costs: no unit.
    cost: f64,
}

impl Default for Signs<'_> {
    fn default() -> Self {
        Self { list: Vec::new(), rest: Rest::Nothing, cost: 0.0 }
    }
}

/// What is left to ask of an expression once a sign has shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rest<'r> {
    /// Nothing: each sign proves it.
    Nothing,
    /// The expression itself, or its negation.
    Whole(&'r Expr, bool),
    /// Each of these.
    All(Vec<Rest<'r>>),
}

/// Alternatives of a regular expression beyond which its literals are not worth looking for.
const ALTERNATIVES_MAX: usize = 64;

/// The signs of an expression, or of its negation; `None` if it may hold where nothing shows. The
/// pivot is the field that other rules look up anyway.
pub(super) fn signs<'r>(expr: &'r Expr, negated: bool, pivot: Option<&str>) -> Option<Signs<'r>> {
    let whole = Rest::Whole(expr, negated);
    match (expr, negated) {
        (Expr::Test(test), false) => {
            let mut signs = of_test(test, pivot)?;
            signs.rest = if signs.list.iter().all(|it| it.1) { Rest::Nothing } else { whole };
            Some(signs)
        }
        (Expr::Test(_), true) => None,
        (Expr::Not(it), _) => signs(it, !negated, pivot),
        (Expr::Any(children), false) | (Expr::All(children), true) => {
            let mut union = Signs::default();
            for child in children {
                let one = signs(child, negated, pivot)?;
                union.list.extend(one.list);
                union.cost += one.cost;
                if one.rest != Rest::Nothing {
                    union.rest = whole.clone();
                }
            }
            Some(union)
        }
        (Expr::All(children), false) | (Expr::Any(children), true) => {
            let of_each = children.iter().map(|it| signs(it, negated, pivot)).enumerate();
            let of_some = of_each.filter_map(|(at, it)| Some((at, it?)));
            let (chosen, mut best) = of_some.min_by(|one, other| one.1.cost.total_cmp(&other.1.cost))?;
            if children.len() > 1 {
                best.list.iter_mut().for_each(|it| it.1 = false);
                let others = children.iter().enumerate().filter(|it| it.0 != chosen);
                let mut rest: Vec<_> = others.map(|it| Rest::Whole(it.1, negated)).collect();
                rest.push(best.rest);
                best.rest = Rest::All(rest);
            }
            Some(best)
        }
    }
}

fn of_test<'r>(test: &'r Test, pivot: Option<&str>) -> Option<Signs<'r>> {
    let field = test.field.as_deref();
    match &test.ask {
        Ask::Exists(_) | Ask::Null => None,
        Ask::Text(pattern) => of_pattern(field, pattern, pivot),
        Ask::Bool(true) => Some(exact(field?, &["true", "1"], false, pivot)),
        Ask::Bool(false) => Some(exact(field?, &["false", "0"], false, pivot)),
        Ask::Regex(regex) => match literals_of(regex) {
            Some(found) => needles(field, found, Where::Within, false),
            None => Some(present(field?)),
        },
        Ask::Cidr(net) => {
            Some(Signs { list: vec![(Sign::Net(field?, *net), true)], cost: 3.0, ..Signs::default() })
        }
        Ask::Compare(..) | Ask::Field(_) | Ask::Time(..) => Some(present(field?)),
    }
}

fn of_pattern<'r>(field: Option<&'r str>, pattern: &'r Pattern, pivot: Option<&str>) -> Option<Signs<'r>> {
    if let (Some(field), Some(text)) = (field, pattern.as_literal()) {
        return Some(exact(field, &[text], !pattern.cased, pivot));
    }
    let Some((found, place)) = needles_of(pattern) else { return Some(present(field?)) };
    let is_all = matches!(
        pattern.pieces.as_slice(),
        [Piece::Any, Piece::Text(_)]
            | [Piece::Text(_), Piece::Any]
            | [Piece::Any, Piece::Text(_), Piece::Any]
    );
    needles(field, found, place, is_all && !pattern.cased)
}

fn exact<'r>(field: &'r str, texts: &[&str], sure: bool, pivot: Option<&str>) -> Signs<'r> {
    let list: Vec<_> =
        texts.iter().map(|it| (Sign::Exact(field, fold(it).into_owned().into()), sure)).collect();
    Signs { list, cost: if Some(field) == pivot { 0.1 } else { 1.0 }, ..Signs::default() }
}

fn present(field: &str) -> Signs<'_> {
    Signs { list: vec![(Sign::Present(field), false)], cost: 300.0, ..Signs::default() }
}

fn needles(field: Option<&str>, found: Vec<String>, place: Where, sure: bool) -> Option<Signs<'_>> {
    let mut signs = Signs::default();
    for needle in found {
        let often = match needle.len() {
            0 => return None,
            1 => 120.0,
            2 => 40.0,
            3 => 12.0,
            4 | 5 => 5.0,
            _ => 2.0,
        };
        // All texts of an event are more than one.
        signs.cost += if field.is_none() { often * 4.0 } else { often };
        // All texts are looked at as one, so that where one begins and ends is not seen.
        let (place, sure) = match field {
            Some(_) => (place, sure),
            None => (Where::Within, sure && place == Where::Within && !needle.contains(BETWEEN_TEXTS)),
        };
        signs.list.push((Sign::Needle(field, fold(&needle).into_owned().into(), place), sure));
    }
    Some(signs)
}

/// Texts of which one is in every text that fits, and where: those of the longest stretch without
/// wildcards.
fn needles_of(pattern: &Pattern) -> Option<(Vec<String>, Where)> {
    let is_wild = |it: &Piece| matches!(it, Piece::Any | Piece::One);
    let stretches = pattern.pieces.split(is_wild).enumerate();
    let last = pattern.pieces.iter().filter(|it| is_wild(it)).count();
    let (at, found) = stretches
        .map(|(at, stretch)| (at, alternatives(stretch)))
        .filter(|it| !it.1.is_empty())
        .max_by_key(|it| it.1.iter().map(String::len).min())?;
    let place = match at {
        0 => Where::Start,
        _ if at == last => Where::End,
        _ => Where::Within,
    };
    // With several dashes the alternatives are but a part of the stretch.
    let partial = pattern.pieces.iter().filter(|it| **it == Piece::Dash).count() > 1;
    Some((found, if partial { Where::Within } else { place }))
}

fn alternatives(stretch: &[Piece]) -> Vec<String> {
    let text = |it: &Piece| if let Piece::Text(text) = it { text.to_string() } else { String::new() };
    let dashes = stretch.iter().filter(|it| **it == Piece::Dash).count();
    if dashes > 1 {
        let longest = stretch.iter().map(text).max_by_key(String::len);
        return longest.into_iter().filter(|it| !it.is_empty()).collect();
    }
    let with = |dash: &str| -> String {
        stretch.iter().map(|it| if *it == Piece::Dash { dash.to_owned() } else { text(it) }).collect()
    };
    let all = if dashes == 0 {
        vec![with("")]
    } else {
        DASHES.iter().map(|it| with(it.encode_utf8(&mut [0; 4]))).collect()
    };
    all.into_iter().filter(|it| !it.is_empty()).collect()
}

/// Folded texts of which one is in the folded form of everything that a regular expression finds.
fn literals_of(regex: &RegexAsk) -> Option<Vec<String>> {
    let mut parser = regex_syntax::ParserBuilder::new().nest_limit(REGEX_DEPTH).build();
    literals(&parser.parse(regex.0.as_str()).ok()?)
}

fn literals(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Concat(parts) => in_sequence(parts),
        HirKind::Literal(_) | HirKind::Class(_) => in_sequence(std::slice::from_ref(hir)),
        HirKind::Capture(it) => literals(&it.sub),
        HirKind::Repetition(it) if it.min > 0 => literals(&it.sub),
        HirKind::Alternation(parts) => {
            let mut union = Vec::new();
            for part in parts {
                union.extend(literals(part)?);
                if union.len() > ALTERNATIVES_MAX {
                    return None;
                }
            }
            Some(union)
        }
        HirKind::Repetition(_) | HirKind::Look(_) | HirKind::Empty => None,
    }
}

/// The best of what stands side by side: adjacent characters make one text, also where a character
/// may be in either case.
fn in_sequence(parts: &[Hir]) -> Option<Vec<String>> {
    let mut best: Option<Vec<String>> = None;
    let mut run = String::new();
    let shortest = |it: &[String]| it.iter().map(String::len).min().unwrap_or(0);
    let mut offer = |found: Vec<String>| {
        let better = shortest(&found) > best.as_deref().map_or(0, shortest);
        if better {
            best = Some(found);
        }
    };
    for part in parts {
        if let Some(text) = one_text(part) {
            run.push_str(&text);
            continue;
        }
        offer(vec![std::mem::take(&mut run)]);
        if !matches!(part.kind(), HirKind::Class(_))
            && let Some(found) = literals(part)
        {
            offer(found);
        }
    }
    offer(vec![run]);
    best
}

/// The one folded text that a part stands for, if it is one.
fn one_text(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(it) => Some(fold(std::str::from_utf8(&it.0).ok()?).into_owned()),
        HirKind::Class(Class::Unicode(class)) => {
            let mut members = class.iter().flat_map(|it| it.start()..=it.end());
            let first = fold_char(members.next()?);
            // The few forms of one letter; a class of thousands is left at its second member.
            members.all(|it| fold_char(it) == first).then(|| first.to_string())
        }
        _ => None,
    }
}
