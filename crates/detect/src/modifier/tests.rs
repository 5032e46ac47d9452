//! Items asked of events with few fields: mostly the rows of the language's probe table.

use super::*;
use crate::event::{Fields, Value};

fn text(it: &str) -> Scalar {
    Scalar::Text(it.to_owned())
}

fn texts(them: &[&str]) -> Vec<Scalar> {
    them.iter().map(|it| text(it)).collect()
}

fn lowered(key: &str, values: &[Scalar]) -> Result<Lowered, String> {
    let mut parts = key.split('|');
    let field = parts.next().filter(|it| !it.is_empty());
    let known = BTreeMap::from([
        ("admins".to_owned(), vec!["root".to_owned(), "adm*".to_owned()]),
        ("many".to_owned(), (0..EXPANSIONS_MAX).map(|it| it.to_string()).collect()),
        ("empty".to_owned(), Vec::new()),
    ]);
    item(field, &parts.collect::<Vec<_>>(), values, &known)
}

/// Whether the item holds for an event whose field `A` has this value.
#[track_caller]
fn holds(key: &str, values: &[Scalar], value: impl Into<Option<Value<'static>>>) -> bool {
    with(key, values, value.into().into_iter().map(|it| ("A", it)).collect())
}

#[track_caller]
fn with(key: &str, values: &[Scalar], members: Vec<(&'static str, Value<'static>)>) -> bool {
    let mut fields = Fields::new();
    for (name, value) in members {
        fields.push(name, value);
    }
    lowered(key, values).unwrap_or_else(|why| panic!("{key}: {why}")).expr.holds(&fields)
}

fn t(it: &'static str) -> Value<'static> {
    Value::Text(it.into())
}

/// An item, and for each value of `A` whether it holds.
type Row = (&'static str, &'static str, &'static [(&'static str, bool)]);

#[track_caller]
fn rows(rows: &[Row]) {
    for (key, value, events) in rows {
        for (event, expected) in *events {
            assert_eq!(holds(key, &[text(value)], t(event)), *expected, "{key}: {value} / {event}");
        }
    }
}

fn why(key: &str, values: &[Scalar]) -> String {
    lowered(key, values).expect_err(key)
}

#[test]
fn places_widen_without_being_escaped() {
    rows(&[
        ("A|contains", r"foo\", &[(r"xfoo\y", true), ("xfooy", false)]),
        ("A|endswith", r"foo\", &[(r"xfoo\", true), ("xfoo", false)]),
        ("A|startswith", r"foo\", &[(r"foo\x", true), (r"xfoo\", false)]),
        ("A|contains", "a*b", &[("xxaZZbyy", true), ("xxaZZ", false)]),
        ("A|contains", "50%_x", &[("a50%_xb", true), ("a50ZZxb", false)]),
        ("A|contains", "", &[("", true), ("x", true)]),
        ("A", "", &[("", true), (" ", false)]),
        ("A|contains|cased", "Foo", &[("xFoox", true), ("xfoox", false)]),
        ("A|cased|contains", "Foo", &[("xFoox", true), ("xfoox", false)]),
        ("A|cased", "F?o*", &[("Foobar", true), ("foobar", false)]),
    ]);
    assert!(!holds("A|contains", &[text("")], Value::Null) && !holds("A|contains", &[text("")], None));
}

#[test]
fn numbers_are_compared_by_their_one_text() {
    let number = [Scalar::Int(22)];
    let is = |it| holds("A", &number, it);
    assert!(is(Value::Int(22)) && is(t("22")) && is(Value::Float(22.0)) && !is(t("022")) && !is(t("22.0")));
    assert!(holds("A", &[text("22")], Value::Int(22)) && holds("A", &[Scalar::Float(22.0)], t("22")));
    assert!(
        holds("A", &[Scalar::Float(1.5)], t("1.5")) && holds("A", &[Scalar::Float(1.5)], Value::Float(1.5))
    );
    assert!(
        holds("A", &[Scalar::Float(-0.0)], Value::Int(0))
            && holds("A", &[Scalar::Int(0)], Value::Float(-0.0))
    );
    assert!(
        holds("A|contains", &[Scalar::Int(2)], Value::Int(122)) && holds("A|neq", &[Scalar::Int(5)], t("6"))
    );
    let yes = [Scalar::Bool(true)];
    for value in [Value::Bool(true), t("true"), t("TRUE"), Value::Int(1)] {
        assert!(holds("A", &yes, value.clone()), "{value:?}");
    }
    assert!(!holds("A", &yes, Value::Bool(false)) && !holds("A", &yes, Value::Int(2)));
}

#[test]
fn missing_null_and_empty_differ() {
    let null = [Scalar::Null];
    assert!(holds("A", &null, Value::Null) && holds("A", &null, None) && !holds("A", &null, t("")));
    assert!(holds("A", &[], None) && !holds("A", &[], t("x")) && holds("A|neq", &null, t("")));
    assert!(!holds("A", &[text("")], Value::Null) && !holds("A", &[text("")], None));
    let exists = |asked, value| holds("A|exists", &[Scalar::Bool(asked)], value);
    assert!(exists(true, Some(Value::Null)) && exists(true, Some(t(""))) && !exists(true, None));
    assert!(
        exists(false, None)
            && !exists(false, Some(Value::Null))
            && exists(true, Some(Value::List(Vec::new())))
    );
    let member = vec![("A.B", t("x"))];
    assert!(with("A|exists", &[Scalar::Bool(true)], member.clone()) && !with("A", &null, member));
    for values in [&[text("yes")][..], &[], &[Scalar::Bool(true), Scalar::Bool(false)]] {
        assert!(why("A|exists", values).contains("true or false"));
    }
    assert!(why("A|exists|neq", &[Scalar::Bool(true)]).contains("no other modifier"));
    assert!(why("|exists", &[Scalar::Bool(true)]).contains("needs a field"));
}

#[test]
fn lists_are_or_and_with_all_and() {
    let both = texts(&["x", "y"]);
    assert!(holds("A", &both, t("x")) && !holds("A", &both, t("z")));
    for key in ["A|contains|all", "A|all|contains"] {
        assert!(holds(key, &both, t("ayx")) && !holds(key, &both, t("ax")));
        assert!(holds(key, &both, Value::List(vec![t("ax"), Value::List(vec![t("by")])])));
    }
    assert!(
        holds("A", &both, Value::List(vec![t("q"), t("y")])) && !holds("A", &both, Value::List(Vec::new()))
    );
    assert!(!holds("A|neq", &both, t("X")) && holds("A|neq", &both, t("z")) && holds("A|neq", &both, None));
    assert!(holds("A|neq", &both, Value::Null) && !holds("A|contains|neq", &both, t("axc")));
    assert_eq!(lowered("A|all", &both[..1]).unwrap().warnings.len(), 1);
    assert_eq!(lowered("A|contains|all", &both).unwrap().warnings, [""; 0]);
}

#[test]
fn keywords_search_every_value() {
    let needle = texts(&["needle", "ha*ck"]);
    assert!(
        with("", &needle, vec![("A.B", t("a NEEDLE b"))]) && with("", &needle, vec![("A", t("haystack!"))])
    );
    assert!(!with("", &needle, vec![("needle", t("x"))]));
    assert!(with("", &[Scalar::Int(4624)], vec![("A", Value::Int(14_624))]));
    let all = texts(&["abc", "def"]);
    assert!(
        with("|all", &all, vec![("A", t("abc")), ("B", t("def"))])
            && !with("|all", &all, vec![("A", t("abc"))])
    );
    assert!(
        with("|re", &[text("^a.c$")], vec![("B", t("abc"))])
            && !with("|re", &[text("^b")], vec![("B", t("abc"))])
    );
    assert!(with("|startswith", &[text("ab")], vec![("B", t("abc"))]));
    assert!(!with("|startswith", &[text("bc")], vec![("B", t("abc"))]));
    assert!(with("|cidr", &[text("10.0.0.0/8")], vec![("B", t("10.2.3.4"))]));
    assert!(
        why("", &[Scalar::Null]).contains("name a field")
            && why("|gt", &[Scalar::Int(1)]).contains("name a field")
    );
    assert!(why("", &[]).contains("empty list"));
}

#[test]
fn comparisons_take_numbers_and_their_texts() {
    let above = |value| holds("A|gt", &[Scalar::Int(5)], value);
    assert!(
        above(Value::Int(6))
            && !above(Value::Int(5))
            && above(t("6"))
            && !above(t("x"))
            && !above(Value::Null)
    );
    assert!(!above(t("inf")) && !above(t("")) && !above(Value::Bool(true)) && above(t("1e3")));
    assert!(
        holds("A|lte", &[Scalar::Float(1.5)], Value::Float(1.5))
            && !holds("A|lt", &[Scalar::Int(1000)], t("22000"))
    );
    assert!(holds("A|gte|neq", &[Scalar::Int(5)], None));
    assert!(why("A|gt", &[text("5")]).contains("without quotes"));
}

#[test]
fn regular_expressions_search_and_are_bounded() {
    rows(&[
        ("A|re", "fo+", &[("xxfooyy", true), ("FOO", false)]),
        ("A|re|i", "fo+", &[("FOO", true)]),
        ("A|re|ignorecase", "a|fo+", &[("FOO", true)]),
        ("A|re", "a.b", &[("a\nb", false)]),
        ("A|re|s", "a.b", &[("a\nb", true)]),
        ("A|re|m", "^b", &[("a\nb", true)]),
        ("A|re|multiline|dotall", "^b.c", &[("a\nb\nc", true)]),
        ("A|re|contains", "fo+$", &[("xfoo", true), ("foox", false)]),
    ]);
    assert!(
        holds("A|re", &[text("^2.$")], Value::Int(22)) && holds("A|re", &[Scalar::Int(2)], Value::Int(22))
    );
    for refused in [
        "a(?!b)",
        r"(a)\1",
        "(",
        "x{1000}{1000}",
        &"(".repeat(100),
        &format!("{}x{}", "(".repeat(99), ")".repeat(99)),
    ] {
        assert!(why("A|re", &[text(refused)]).contains("no regular expression"), "{refused}");
    }
    assert!(
        why("A|re|cased", &[text("x")]).contains("cased")
            && why("A|contains|re", &[text("x")]).contains("first")
    );
    assert!(
        why("A|i", &[text("x")]).contains("behind") && why("A|re|startswith", &[text("x")]).contains('^')
    );
    let regex = |key| lowered(key, &[text("x")]).unwrap().expr;
    assert_ne!(regex("A|re|i"), regex("A|re"));
    let long = Value::Text(format!("{}needle", "x".repeat(crate::evaluate::REGEX_SEES)).into());
    assert!(!holds("A|re", &[text("needle")], long.clone()) && holds("A|contains", &[text("needle")], long));
}

#[test]
fn encodings_are_of_the_value_as_written() {
    rows(&[
        ("A|base64", "foobar", &[("Zm9vYmFy", true), ("zm9vymfy", true)]),
        ("A|base64|cased", "foobar", &[("Zm9vYmFy", true), ("zm9vymfy", false)]),
        ("A|base64|contains", "foobar", &[("xxZm9vYmFyxx", true)]),
        (
            "A|base64offset|contains",
            "foobar",
            &[("eGZvb2Jhcnh4", true), ("eHhmb29iYXJ4", true), ("Zm9vYmFy", true), ("nothing", false)],
        ),
        ("A|wide|base64offset|contains", "ping", &[("cABpAG4AZwA=", true), ("cGluZw==", false)]),
        ("A|utf16le|base64offset|contains", "ping", &[("cABpAG4AZwA=", true)]),
        ("A|utf16|base64", "hi", &[("//5oAGkA", true), ("77u/aABpAA==", false)]),
        ("A|utf16be|base64", "hi", &[("AGgAaQ==", true)]),
        ("A|wide", "hi", &[("h\0i\0", true), ("hi", false)]),
        ("A|base64", r"a\*", &[("YSo=", true)]),
    ]);
    assert!(why("A|base64", &[text("fo*")]).contains("wildcards"));
    assert!(why("A|utf16", &[text("hi")]).contains("base64"));
    assert!(why("A|wide|contains", &[text("hi")]).contains("base64"));
    assert!(why("A|base64offset|contains", &[text("x")]).contains("short"));
    assert_eq!(lowered("A|base64offset", &[text("xyz")]).unwrap().warnings.len(), 1);
}

#[test]
fn every_offset_of_every_length_is_found() {
    for length in 2..9 {
        let needle = "needle!+x".get(..length).unwrap();
        for (before, after) in (0..4).flat_map(|it| (0..4).map(move |other| (it, other))) {
            let hay = STANDARD.encode(format!(
                "{}{needle}{}",
                "ab~d".get(..before).unwrap(),
                "xy#z".get(..after).unwrap()
            ));
            let expr = lowered("A|base64offset|contains|cased", &[text(needle)]).unwrap().expr;
            let mut fields = Fields::new();
            fields.push("A", Value::Text(hay.clone().into()));
            assert!(expr.holds(&fields), "{needle} in {hay}");
        }
    }
}

#[test]
fn a_dash_before_a_word_is_any_dash() {
    rows(&[
        (
            "A|contains|windash",
            " -f ",
            &[("x -f y", true), ("x /f y", true), ("x \u{2013}f y", true), ("x f y", false)],
        ),
        (
            "A|windash|contains",
            "-param-name",
            &[("/param-name", true), ("/param/name", false), ("-param/name", false)],
        ),
        ("A|windash|contains", " /s ", &[("x -s y", true), ("x /s y", true)]),
        ("A|windash|contains", " \u{2013}s ", &[("x -s y", true), ("x \u{2013}s y", true)]),
        ("A|windash|contains", "-", &[("-", true), ("/", false)]),
        ("A|windash|contains", "-ä", &[("\u{2015}Ä", true)]),
        ("A|windash", "-a -b -c -d -e -f -g -h -i", &[("/a -b \u{2014}c /d -e /f -g /h -i", true)]),
    ]);
}

#[test]
fn networks_hold_addresses() {
    rows(&[
        (
            "A|cidr",
            "192.168.0.0/16",
            &[("192.168.3.4", true), ("10.0.0.1", false), ("not-an-ip", false), ("", false)],
        ),
        ("A|cidr", "192.168.0.0/16", &[("192.168.3.4:80", false), ("::ffff:192.168.1.1", false)]),
        ("A|cidr", "2001:db8::/32", &[("2001:db8::1", true), ("2001:0DB8:0:0::1", true), ("::1", false)]),
        ("A|cidr", "10.0.0.1", &[("10.0.0.1", true), ("10.0.0.2", false)]),
    ]);
    assert!(holds("A|cidr", &texts(&["10.0.0.0/8", "172.16.0.0/12"]), t("172.20.1.1")));
    assert!(why("A|cidr", &[text("192.168.1.1/24")]).contains("192.168.1.0/24"));
    assert!(why("A|cidr", &[text("10.0.0.*")]).contains("wildcards"));
    assert!(why("A|cidr", &[text("here")]).contains("no network"));
}

#[test]
fn another_field_of_the_same_event() {
    let other = [text("B")];
    let ask = |key, a, b| with(key, &other, vec![("A", a), ("B", b)]);
    assert!(ask("A|fieldref", t("x"), t("X")) && !ask("A|fieldref", t("x"), t("y")));
    assert!(!holds("A|fieldref", &other, t("x")) && !with("A|fieldref", &other, vec![("B", t("x"))]));
    assert!(ask("A|fieldref", Value::Int(1), t("1")) && !ask("A|fieldref|cased", t("x"), t("X")));
    assert!(
        ask("A|fieldref|endswith", t("foobar"), t("bar"))
            && !ask("A|fieldref|endswith", t("foobar"), t("foo"))
    );
    assert!(
        ask("A|fieldref|startswith", t("foobar"), t("FOO"))
            && ask("A|fieldref|contains", t("foobar"), t("ob"))
    );
    assert!(ask("A|fieldref|neq", t("x"), t("y")) && !ask("A|fieldref|neq", t("x"), t("x")));
    assert!(holds("A|fieldref|neq", &other, t("x")) && !ask("A|fieldref", Value::Null, Value::Null));
    assert!(why("A|contains|fieldref", &other).contains("before `contains`"));
}

#[test]
fn parts_of_a_time() {
    let hour = |value| holds("A|hour", &[Scalar::Int(3)], value);
    assert!(
        hour(t("2026-08-01T03:04:05Z"))
            && hour(t("2026-08-01 03:04:05.123456"))
            && !hour(t("2026-08-01T04:04:05Z"))
    );
    assert!(hour(t("2026-08-01T05:04:05+02:00")) && !hour(t("03")) && !hour(Value::Null));
    // 2026-08-01 03:04:05, a Saturday of week 31.
    for number in [1_785_553_445, 1_785_553_445_000, 1_785_553_445_000_000, 1_785_553_445_000_000_000] {
        assert!(hour(Value::Int(number)), "{number}");
    }
    assert!(
        hour(Value::Float(1_785_553_445.5)) && !hour(Value::Float(f64::MAX)) && !hour(Value::Int(i64::MIN))
    );
    for (part, is) in [("minute", 4), ("day", 1), ("week", 31), ("month", 8), ("year", 2026)] {
        assert!(holds(&format!("A|{part}"), &[Scalar::Int(is)], t("2026-08-01 03:04:05")), "{part}");
    }
    assert!(holds("A|hour|gte", &[Scalar::Int(3)], t("2026-08-01T05:04:05Z")));
    assert!(!holds("A|hour|lt", &[Scalar::Int(3)], t("2026-08-01T05:04:05Z")));
    assert!(why("A|hour", &[text("3")]).contains("number"));
}

#[test]
fn placeholders_only_with_their_modifier() {
    rows(&[
        ("A", "%admins%", &[("%admins%", true), ("root", false)]),
        ("A|expand", "%admins%", &[("root", true), ("admin", true), ("%admins%", false)]),
        ("A|contains|expand", "u=%admins%;", &[("x u=ROOT; y", true), ("u=adm1;", true), ("u=bob;", false)]),
        ("A|expand", r"50% \%admins%", &[("50% %admins%", true)]),
        ("A|expand", r"a\\%admins%", &[(r"a\root", true)]),
        ("A|expand", "%admins%%admins%", &[("rootadmin", true), ("root", false)]),
    ]);
    assert!(why("A|expand", &[text("%nobody%")]).contains("%nobody%"));
    assert!(why("A|expand", &[text("%empty%")]).contains("%empty%"));
    assert!(why("A|expand", &[text("%many%%many%")]).contains("more than"));
    assert!(why("A|re|expand", &[text("%admins%")]).contains("write them out"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(why("A|foo", &[text("x")]).contains("`foo` is no modifier"));
    for (key, value) in [
        ("A|contains|cidr", text("10.0.0.0/8")),
        ("A|cidr|contains", text("10.0.0.0/8")),
        ("A|contains", Scalar::Null),
        ("A|lt|contains", Scalar::Int(1)),
        ("A|base64|re", text("x")),
        ("A|wide|wide", text("x")),
    ] {
        assert!(!why(key, &[value]).ends_with('.'), "{key}");
    }
    assert!(why("A", &vec![Scalar::Null; VALUES_MAX + 1]).contains("split"));
    assert!(why("A", &[text(&"x".repeat(VALUE_BYTES + 1))]).contains("bytes"));
    let many: Vec<_> = (0..200).map(|_| text("%many%")).collect();
    assert!(why("A|expand", &many).contains("tests"));
}
