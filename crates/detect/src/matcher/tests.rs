//! The index against the full scan, over rules and events made up from few words so that they meet.

use std::borrow::Cow;
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::event::{Value, View};
use crate::expr::Test;
use crate::modifier::item;
use crate::pattern::Pattern;
use crate::scalar::Scalar;

const FIELDS: [&str; 5] = ["A", "B", "A.B", "C", "logtype"];
const WORDS: [&str; 26] = [
    "-f -ab",
    "/f -ab",
    "",
    "a",
    "b",
    "-",
    "ab",
    "Ab",
    "AB",
    "-f",
    "/f",
    "x -f y",
    "needle",
    "NEEDLE",
    "a needle b",
    "22",
    "022",
    "2.5",
    "10.1.2.3",
    "2001:db8::1",
    "true",
    "οδός",
    "ΟΔΌΣ",
    "ς",
    "2026-11-22 10:00:00",
    "İK",
];
const PATTERNS: [&str; 28] = [
    "-f -ab",
    "-f -ab*",
    "",
    "*",
    "?",
    "a",
    "A*",
    "*b",
    "a?",
    "*a*b*",
    "ab",
    "needle",
    "*need*dle*",
    "NEED",
    "?eedle",
    "-f",
    " -f ",
    "22",
    "*2",
    "ΟΔΌΣ",
    "οδός",
    "σ",
    "K",
    r"\*",
    r"a\",
    "10.1.*",
    "true",
    "x *f y",
];
const REGEXES: [&str; 14] = [
    "a",
    "^a.*b$",
    "(needle|ab+)",
    "(?i)NEEDLE",
    "[ab]{2}",
    "x? -f",
    "^$",
    "b?",
    "(?i)k",
    "a|22|(x -)(f|g)",
    "σ$",
    r"\d+",
    "[Nn]eed(?:le)+",
    "^(10|22)",
];

fn text(it: &str) -> Scalar {
    Scalar::Text(it.to_owned())
}

fn pick<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    *random.choice(of).unwrap()
}

/// One item by way of the modifiers, so that tests have the forms that rules give them.
fn random_item(random: &mut Rng) -> Expr {
    let field = (random.u8(0..8) > 0).then(|| pick(random, &FIELDS));
    let several = random.usize(1..7);
    let patterns: Vec<_> = (0..several).map(|_| text(pick(random, &PATTERNS))).collect();
    let regexes = vec![text(pick(random, &REGEXES))];
    let number = vec![Scalar::Int(pick(random, &[0, 1, 2, 5, 22]))];
    let (modifiers, values): (&[&str], _) = match random.u8(0..24) {
        0..4 => (&[], patterns),
        4 => (&["cased"], patterns),
        5 => (&["contains"], patterns),
        6 => (&["contains", "all"], patterns),
        7 => (&["contains", "cased"], patterns),
        8 => (&["startswith"], patterns),
        9 => (&["endswith"], patterns),
        10 => (&["contains", "windash"], patterns),
        11 => (&["neq"], patterns),
        12 => (&["re"], regexes),
        13 => (&["re", "i"], regexes),
        14 => {
            (&["cidr"], vec![text(pick(random, &["10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0"]))])
        }
        15 => (&[], vec![Scalar::Bool(random.bool())]),
        16 => (&[], vec![pick(random, &[Scalar::Null, Scalar::Int(22)].each_ref()).clone()]),
        17 => (&["exists"], vec![Scalar::Bool(random.bool())]),
        18 => (&["gt"], number),
        19 => (&["hour", "gte"], number),
        20 => (&["fieldref", "contains"], vec![text(pick(random, &FIELDS))]),
        21 => (&["fieldref", "neq"], vec![text(pick(random, &FIELDS))]),
        22 if random.bool() => (&["windash"], patterns),
        22 => (&["base64offset", "contains"], vec![text("needle")]),
        _ => (&[], vec![Scalar::Float(2.5), Scalar::Int(22), Scalar::Int(1)]),
    };
    let lowered = item(field, modifiers, &values, &std::collections::BTreeMap::new());
    match lowered {
        Ok(it) => it.expr,
        // Wildcards where none may be, or a keyword of a kind that there is not.
        Err(_) => random_item(random),
    }
}

fn random_expr(random: &mut Rng, depth: u8) -> Expr {
    let several = |random: &mut Rng| -> Vec<Expr> {
        (0..random.usize(0..4)).map(|_| random_expr(random, depth - 1)).collect()
    };
    match if depth == 0 { 0 } else { random.u8(0..8) } {
        0..3 => random_item(random),
        3..5 => Expr::All(several(random)),
        5..7 => Expr::Any(several(random)),
        _ => Expr::Not(Box::new(random_expr(random, depth - 1))),
    }
}

fn source(category: Option<&str>, product: Option<&str>, service: Option<&str>) -> LogSource {
    let arc = |it: Option<&str>| it.map(Arc::from);
    LogSource { category: arc(category), product: arc(product), service: arc(service) }
}

fn random_source(random: &mut Rng) -> LogSource {
    let category = pick(random, &[None, Some("webserver"), Some("application")]);
    let product = pick(random, &[None, Some("opencanary")]);
    source(category, product, pick(random, &[None, None, Some("ssh")]))
}

fn rule(source: LogSource, expr: Expr) -> Rule {
    Rule { meta: crate::rule::Meta::default(), source, expr, told: true }
}

fn random_value(random: &mut Rng, depth: u8) -> Value<'static> {
    match random.u8(0..16) {
        0 => Value::Null,
        1 => Value::Bool(random.bool()),
        2 | 3 => Value::Int(pick(random, &[0, 1, 2, 22, -22, 1_795_296_991])),
        4 => Value::Float(pick(random, &[22.0, 2.5, -0.0, 1.0, 1e300])),
        5 if depth > 0 => {
            Value::List((0..random.usize(0..4)).map(|_| random_value(random, depth - 1)).collect())
        }
        6..8 => {
            let words: Vec<_> = (0..random.usize(1..4)).map(|_| pick(random, &WORDS)).collect();
            Value::Text(words.concat().into())
        }
        8 => Value::Text("bmVlZGxl".into()),
        _ => Value::Text(pick(random, &WORDS).into()),
    }
}

fn random_fields(random: &mut Rng) -> Fields<'static> {
    let mut fields = Fields::new();
    for _ in 0..random.usize(0..6) {
        // Some names come twice: the first counts.
        fields.push(pick(random, &FIELDS), random_value(random, 2));
    }
    fields
}

/// What asking every rule gives.
fn scanned(rules: &[Rule], event: &Event<'_>) -> Vec<Hit> {
    let first = |rule: &Rule| {
        event.views.iter().position(|it| rule.source.covers(it.source) && rule.expr.holds(&it.fields))
    };
    rules.iter().enumerate().filter_map(|(rule, it)| Some(Hit { rule, view: first(it)? })).collect()
}

#[track_caller]
fn check(rules: &[Rule], event: &Event<'_>, hits: &[Hit]) {
    let expected = scanned(rules, event);
    let differs = |it: &&Hit| !(hits.contains(it) && expected.contains(it));
    if let Some(odd) = hits.iter().chain(&expected).find(differs) {
        panic!("{odd:?} of {:?}\nin {event:#?}", rules[odd.rule].expr);
    }
    assert_eq!(hits, expected);
}

fn event<'a>(views: Vec<(&'a LogSource, Fields<'a>)>) -> Event<'a> {
    let views = views.into_iter().map(|(source, fields)| View { source, fields }).collect();
    Event { id: 1, time: 0, sensor: Cow::Borrowed("s"), views }
}

#[test]
fn hits_are_those_of_the_full_scan() {
    let mut random = Rng::with_seed(11);
    let mut scratch = Scratch::default();
    let mut hits = Vec::new();
    let mut total = 0_usize;
    for _ in 0..60 {
        let rules: Vec<_> = (0..random.usize(1..60))
            .map(|_| rule(random_source(&mut random), random_expr(&mut random, 3)))
            .collect();
        let matcher = Matcher::new(&rules);
        for _ in 0..60 {
            let sources: Vec<_> = (0..random.usize(0..4)).map(|_| random_source(&mut random)).collect();
            let event = event(sources.iter().map(|it| (it, random_fields(&mut random))).collect());
            matcher.hits(&event, &mut scratch, &mut hits);
            check(&rules, &event, &hits);
            total += hits.len();
        }
    }
    assert!(total > 10_000, "{total}");
}

/// Every item by itself, so that the one sign it has must be found.
#[test]
fn single_items_are_found_by_their_signs() {
    let mut random = Rng::with_seed(12);
    let all = source(None, Some("opencanary"), None);
    let events: Vec<_> = (0..300).map(|_| random_fields(&mut random)).collect();
    let rules: Vec<_> = (0..1500).map(|_| rule(all.clone(), random_item(&mut random))).collect();
    let matcher = Matcher::new(&rules);
    let (mut scratch, mut hits, mut signless) = (Scratch::default(), Vec::new(), 0);
    for fields in &events {
        let event = event(vec![(&all, fields.clone())]);
        matcher.hits(&event, &mut scratch, &mut hits);
        check(&rules, &event, &hits);
    }
    for rule in &rules {
        signless += usize::from(witness::signs(&rule.expr, false, None).is_none());
    }
    // Only negations, questions of absence and keywords without letters have none.
    assert!(signless < rules.len() / 4, "{signless} of {} rules have no sign", rules.len());
}

fn asks(key: &str, values: &[&str]) -> Expr {
    let mut parts = key.split('|');
    let field = parts.next().filter(|it| !it.is_empty());
    let values: Vec<_> = values.iter().map(|it| text(it)).collect();
    item(field, &parts.collect::<Vec<_>>(), &values, &std::collections::BTreeMap::new()).unwrap().expr
}

/// The rules, by number, that match an event of the source with one field `A`.
fn matching(rules: &[Expr], value: Value<'static>) -> Vec<usize> {
    let all = source(Some("application"), None, None);
    let rules: Vec<_> = rules.iter().map(|it| rule(all.clone(), it.clone())).collect();
    let mut fields = Fields::new();
    fields.push("A", value);
    let mut hits = Vec::new();
    let event = event(vec![(&all, fields)]);
    Matcher::new(&rules).hits(&event, &mut Scratch::default(), &mut hits);
    assert_eq!(hits, scanned(&rules, &event));
    hits.into_iter().map(|it| it.rule).collect()
}

/// What prefilters of other engines lost.
#[test]
fn nothing_is_lost_that_others_lost() {
    let not = |it| Expr::Not(Box::new(it));
    let negated = [
        not(asks("A", &["x"])),
        Expr::Any(vec![asks("A|contains", &["zzz"]), not(asks("A|contains", &["yyy"]))]),
        not(Expr::All(vec![asks("A", &["x"]), asks("B", &["y"])])),
        not(not(asks("A", &["q"]))),
    ];
    assert_eq!(matching(&negated, Value::Text("q".into())), [0, 1, 2, 3]);
    let cased =
        [asks("A|contains|cased", &["NeedLe"]), asks("A|cased", &["aNeedLe"]), asks("A|re", &["N.edLe"])];
    assert_eq!(matching(&cased, Value::Text("aNeedLe".into())), [0, 1, 2]);
    assert_eq!(matching(&cased, Value::Text("aneedle".into())), [0_usize; 0]);
    let short = [asks("A|contains", &["a"]), asks("A|endswith", &["b"]), asks("A|startswith", &["?"])];
    assert_eq!(matching(&short, Value::Text("ab".into())), [0, 1, 2]);
    let shaped = [asks("A|contains", &["2"]), asks("A", &["22"]), asks("A|re", &["^2.$"]), asks("", &["22"])];
    for value in [Value::Int(22), Value::Float(22.0), Value::List(vec![Value::Null, Value::Int(22)])] {
        assert_eq!(matching(&shaped, value), [0, 1, 2, 3]);
    }
    let sigma = [asks("A", &["ΟΔΟΣ"]), asks("A|contains", &["ΟΣ"]), asks("A|re|i", &["οδος"])];
    assert_eq!(matching(&sigma[..2], Value::Text("οδος".into())), [0, 1]);
    assert_eq!(matching(&sigma, Value::Text("ΟΔΟΣ".into())), [0, 1, 2]);
}

/// Lists are asked as one test; where a sign has shown one already, and where none can.
#[test]
fn lists_of_values_and_of_parts_are_asked_as_one() {
    for (key, negated) in [("A|contains", true), ("A", true), ("A|contains", false), ("A", false)] {
        let list = asks(key, &["Q", "ws", "x y", "need", "22"]);
        let rules =
            [if negated { Expr::Not(Box::new(list)) } else { Expr::All(vec![list, asks("A|re", &["."])]) }];
        for (text, is_part, is_whole) in
            [("q", true, true), ("a Need b", true, false), ("22", true, true), ("a", false, false)]
        {
            let expected = if key == "A" { is_whole } else { is_part } != negated;
            assert_eq!(
                !matching(&rules, Value::Text(text.into())).is_empty(),
                expected,
                "{key} {negated} {text}"
            );
        }
        assert_eq!(matching(&rules, Value::Int(22)).is_empty(), negated);
    }
}

/// Where all keywords share a byte that has no case, events without it are passed over.
#[test]
fn keywords_with_a_common_byte_are_found() {
    let rules = [asks("", &["${JNDI:", "x$"]), asks("|re", &[r"\$\{[a-z]+"])];
    for (value, expected) in [("a ${jNdI:ldap", &[0, 1][..]), ("aX$", &[0]), ("$", &[]), ("jndi", &[])] {
        assert_eq!(matching(&rules, Value::Text(value.into())), expected, "{value}");
        let list = Value::List(vec![Value::Int(1), Value::List(vec![Value::Text(value.into())])]);
        assert_eq!(matching(&rules, list), expected, "{value}");
    }
}

#[test]
fn a_rule_meets_the_views_that_it_is_for() {
    let rules = [
        rule(source(None, Some("opencanary"), None), asks("A|startswith", &["x"])),
        rule(source(Some("webserver"), None, None), asks("A", &["x"])),
        rule(source(Some("webserver"), Some("opencanary"), None), asks("A", &["x"])),
        rule(LogSource::default(), asks("A", &["x"])),
    ];
    let matcher = Matcher::new(&rules);
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    let mut fields = Fields::new();
    fields.push("A", Value::Text("X".into()));
    let (canary, web) =
        (source(Some("application"), Some("opencanary"), None), source(Some("webserver"), None, None));
    matcher.hits(&event(vec![(&canary, fields.clone()), (&web, fields.clone())]), &mut scratch, &mut hits);
    let at = |rule, view| Hit { rule, view };
    assert_eq!(hits, [at(0, 0), at(1, 1), at(3, 0)]);
    matcher.hits(&event(vec![(&web, fields.clone()), (&canary, fields)]), &mut scratch, &mut hits);
    assert_eq!(hits, [at(0, 1), at(1, 0), at(3, 0)]);
    matcher.hits(&event(Vec::new()), &mut scratch, &mut hits);
    assert_eq!(hits, []);
}

#[test]
fn scratch_serves_one_matcher_after_the_other() {
    let all = source(Some("application"), None, None);
    let mut scratch = Scratch::default();
    let mut hits = Vec::new();
    for (asked, expected) in [("x", 1), ("y", 0), ("x", 1)] {
        let matcher = Matcher::new(&[rule(all.clone(), asks("A", &[asked]))]);
        let mut fields = Fields::new();
        fields.push("A", Value::Text("x".into()));
        matcher.hits(&event(vec![(&all, fields)]), &mut scratch, &mut hits);
        assert_eq!(hits.len(), expected);
    }
}

#[test]
fn counters_that_run_over_forget_nothing_wrongly() {
    let all = source(Some("application"), None, None);
    let rules = [rule(all.clone(), asks("A|contains", &["x"])), rule(all.clone(), asks("A|re", &["x"]))];
    let matcher = Matcher::new(&rules);
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for number in 0..8 {
        let mut fields = Fields::new();
        fields.push("A", Value::Text(if number % 2 == 0 { "aX x" } else { "bbbb" }.into()));
        if number == 2 {
            (scratch.memo.view, scratch.marks.view, scratch.marks.event) =
                (u32::MAX - 3, u32::MAX - 3, u32::MAX - 1);
            scratch.texts.near_the_end();
        }
        let event = event(vec![(&all, fields)]);
        matcher.hits(&event, &mut scratch, &mut hits);
        assert_eq!(hits, scanned(&rules, &event), "{number}");
    }
}

#[test]
fn equal_tests_are_asked_once() {
    let all = source(Some("application"), None, None);
    let rules: Vec<_> = (0..10).map(|_| rule(all.clone(), asks("A|contains", &["x", "y*z"]))).collect();
    assert_eq!(Matcher::new(&rules).predicates.len(), 2);
}

#[test]
fn signs_are_the_cheapest_that_are_needed() {
    let list = |expr: &Expr| -> Vec<String> {
        let signs = witness::signs(expr, false, Some("logtype"));
        signs.map(|it| it.list.iter().map(|it| format!("{:?}", it.0)).collect()).unwrap_or_default()
    };
    let both = Expr::All(vec![asks("A|contains", &["needle"]), asks("logtype", &["4002"])]);
    assert_eq!(list(&both), [r#"Exact("logtype", "4002")"#]);
    assert_eq!(
        list(&asks("A|re", &["(?i)^x{0,3}Need(le|ed)+[0-9]"])),
        [r#"Needle(Some("A"), "need", Within)"#]
    );
    assert_eq!(list(&asks("A|re", &["(abc|xyzzy)?[def]"])), [r#"Present("A")"#]);
    assert_eq!(list(&asks("A", &["ab*wxyz"])), [r#"Needle(Some("A"), "wxyz", End)"#]);
    assert_eq!(list(&asks("A|windash|contains", &["-enc "])).len(), 5);
    let never = Expr::Test(Test { field: None, ask: Ask::Text(Pattern::parse("*", false)) });
    assert!(list(&never).is_empty());
}
