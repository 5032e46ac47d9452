//! Packs as files make them.

use super::*;
use crate::event::{Fields, Value};
use crate::rule::{CorrelationKind, Figure, RefExpr};

fn pack(text: &str) -> Pack {
    Pack::read([("rules.yml", text.as_bytes())], &Options::default())
}

/// A rule with this detection, of eleven lines if that has three.
fn rule(name: &str, detection: &str) -> String {
    let detection = detection.replace('\n', "\n    ");
    format!(
        "---\ntitle: {name}\nid: {}\nname: {name}\nlevel: low\nlogsource:\n    product: p\ndetection:\n    {detection}\n",
        id(name)
    )
}

fn id(name: &str) -> String {
    let digits = name.bytes().map(|it| format!("{it:02x}")).collect::<Vec<_>>().concat();
    format!("00000000-0000-4000-8000-{digits:0>12}")
}

fn simple(name: &str) -> String {
    rule(name, "s:\n    A: x\ncondition: s")
}

fn correlation(name: &str, lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    format!("---\ntitle: {name}\nid: {}\nname: {name}\nlevel: low\ncorrelation:\n    {lines}\n", id(name))
}

fn refusals(pack: &Pack) -> Vec<String> {
    pack.refused.iter().map(ToString::to_string).collect()
}

fn warnings(pack: &Pack) -> Vec<String> {
    pack.warnings.iter().map(|it| format!("{}: {}", it.place, it.why)).collect()
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let pack = pack(text);
    assert!(refusals(&pack).iter().any(|it| it.contains(why)), "{why}: {:?}\n{text}", refusals(&pack));
}

#[track_caller]
fn warned(text: &str, why: &str) {
    let pack = pack(text);
    assert_eq!(refusals(&pack), [""; 0], "{text}");
    assert!(warnings(&pack).iter().any(|it| it.contains(why)), "{why}: {:?}\n{text}", warnings(&pack));
}

#[test]
fn a_whole_rule_is_read() {
    let pack = pack(
        "title: Suspicious Agents\nid: 19AA4F58-94ca-45ff-bc34-92e533c0994a\nname: agents\nstatus: test\n\
         related:\n  - id: 19aa4f58-94ca-45ff-bc34-92e533c0994b\n    type: similar\n\
         description: Scanners.\nreferences:\n    - https://example.org/a\nauthor: A, B\ndate: 2022-07-19\n\
         modified: 2026-06-09\ntags:\n    - attack.initial-access\n    - attack.t1190\nlogsource:\n    \
         category: webserver\n    definition: prose\ndetection:\n    selection:\n        \
         cs-user-agent|contains:\n            # more\n            - 'Wfuzz/'\n            - 'gobuster/'\n    \
         filter_main_null:\n        sc-status: null\n    condition: selection and not 1 of filter_main_*\n\
         falsepositives:\n    - Unknown\nfields: [cs-uri]\nlevel: medium\nlicense: DRL-1.1\ncustom: {a: 1}\n",
    );
    assert_eq!((refusals(&pack), warnings(&pack)), (vec![], vec![]));
    let rule = &pack.rules[0];
    let meta = &rule.meta;
    assert_eq!(meta.title, "Suspicious Agents");
    assert_eq!((meta.level.name(), meta.status.as_deref()), ("medium", Some("test")));
    assert_eq!(meta.tags, ["attack.initial-access", "attack.t1190"]);
    assert_eq!(
        (meta.falsepositives.as_slice(), meta.fields.as_slice()),
        (["Unknown".into()].as_slice(), ["cs-uri".into()].as_slice())
    );
    assert_eq!(meta.place.as_ref().unwrap().to_string(), "rules.yml:1");
    assert_eq!(rule.source.category.as_deref(), Some("webserver"));
    assert!(rule.told);
    let mut fields = Fields::new();
    fields.push("cs-user-agent", Value::Text("WFUZZ/3".into()));
    assert!(!rule.expr.holds(&fields), "the status is missing");
    fields.push("sc-status", Value::Int(200));
    assert!(rule.expr.holds(&fields));
    assert_eq!(pack.find("19aa4f58-94ca-45ff-bc34-92e533c0994a"), Some(Ref::Rule(0)));
    assert_eq!(pack.find("agents"), Some(Ref::Rule(0)));
    assert_eq!(pack.meta(Ref::Rule(1)), None);
}

#[test]
fn a_bad_rule_is_refused_with_its_place_and_the_rest_load() {
    let text = format!(
        "{}{}{}---\ntitle: torn\ndetection: [\n{}",
        simple("good"),
        rule("bad", "s:\n    A|contians: x\ncondition: s"),
        rule("none", "s:\n    A: x\ncondition: t"),
        simple("last")
    );
    let pack = pack(&text);
    let titles: Vec<_> = pack.rules.iter().map(|it| it.meta.title.as_str()).collect();
    assert_eq!(titles, ["good", "last"]);
    let refused = refusals(&pack);
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused[0].starts_with("rules.yml:21: `A`: `contians` is no modifier"), "{refused:?}");
    assert_eq!(pack.refused[0].rule.as_deref(), Some("bad"));
    assert!(refused[1].contains("rules.yml:33: there is no selection `t`; there are `s`"), "{refused:?}");
    assert_eq!(pack.refused[2].rule.as_deref(), Some("torn"));
}

#[test]
fn what_a_rule_must_have_is_demanded() {
    let whole = simple("a");
    let without = |line: &str| whole.replace(line, "");
    refused(&without("title: a\n"), "there is no `title`");
    refused(&without("logsource:\n    product: p\n"), "there is no `logsource`");
    refused(&whole.replace("product: p", "definition: p"), "names no category");
    refused(&without("    condition: s\n"), "there is no `condition`");
    refused(&whole.replace("level: low", "level: info"), "`informational`");
    refused(&whole.replace("level: low", "level: hihg"), "is no level");
    refused(&whole.replace("title: a", "title: [a]"), "must be a text");
    refused(&whole.replace("    s:\n        A: x\n", "    s:\n"), "is empty");
    refused(&whole.replace("A: x", "A: {b: c}"), "is written `a.b`");
    refused(&whole.replace("A: x", "A: [[x]]"), "must be texts and numbers");
    refused(&whole.replace("condition: s", "condition: []"), "empty list");
    refused(&whole.replace("condition: s", "condition: 1 of t*"), "no selection fits `t*`");
    refused(&whole.replace("condition: s", "condition: s | count() > 5"), "correlation rule");
    refused(&format!("{whole}correlation: {{}}\n"), "make it two documents");
    refused(&format!("{whole}action: global\n"), "first version");
    refused("title: x\nlogsource: {product: p}\n", "there is no `detection`");
    warned("title: Settings of another program\na: 1\n", "no Sigma rule");
    warned("- 1\n", "no Sigma rule");
}

#[test]
fn doubtful_things_are_warnings() {
    let whole = simple("a");
    let with = |line: &str| format!("{whole}{line}\n");
    warned(&whole.replace(&format!("id: {}\n", id("a")), ""), "there is no `id`");
    warned(&whole.replace("level: low\n", ""), "there is no `level`");
    warned(&whole.replace("id: 0000", "id: x000"), "is no UUID");
    warned(&with("status: testing"), "is no status");
    warned(&with("date: 2024/03/08"), "is no date");
    warned(&with("modified: 2024-13-08"), "is no date");
    warned(&with("tags: [Attack.T1]"), "is not like");
    warned(&with("tags: {a: b}"), "must be a list of texts");
    warned(&with("falsepositives:\n    - Scanners: ours"), "with `: ` in it needs quotes");
    warned(&with("related: [{id: x, type: cousin}]"), "is no relation");
    warned(&whole.replace("title: a", &format!("title: {}", "a".repeat(257))), "longer than 256");
    warned(&whole.replace("product: p", "product: Some Thing"), "is read as `some_thing`");
    warned(&whole.replace("A: x", "A|contains|all: x"), "`all` with a single value");
    warned(
        &whole.replace("    condition", "    other:\n        B: y\n    condition"),
        "does not use `other`",
    );
    warned(&whole.replace("    condition", "    timeframe: 5m\n    condition"), "`timeframe` has no effect");
    warned(&whole.replace("A: x", "A: [1, 1.10]"), "`1.10` is read as the number 1.1; quote it");
    assert_eq!(warnings(&pack(&whole.replace("A: x", "A: [1, -1.5, '1.10']\n        B|gt: 1e3"))), [""; 0]);
    assert_eq!(warnings(&pack(&whole)), [""; 0]);
}

#[test]
fn ids_and_names_are_taken_once_and_by_the_first_file() {
    let (a, b) = (simple("a"), simple("a"));
    let files = [("z.yml", b.as_bytes()), ("b.yml", a.as_bytes())];
    let pack = Pack::read(files, &Options::default());
    assert_eq!(pack.rules[0].meta.place.as_ref().unwrap().to_string(), "b.yml:2");
    let refused = refusals(&pack);
    assert_eq!(refused, [format!("z.yml:2: `{}` already stands for the rule at b.yml:2", id("a"))]);
    assert_eq!(Pack::read(files.into_iter().rev(), &Options::default()), pack);
    // One that was refused has no claim to its name.
    let broken = rule("a", "s:\n    A|no: x\ncondition: s");
    assert_eq!(
        super::Pack::read([("a", broken.as_bytes()), ("b", a.as_bytes())], &Options::default()).rules.len(),
        1
    );
}

#[test]
fn fingerprints_tell_behaviour_and_nothing_else() {
    let one = |text: &str| pack(text).rules[0].meta.fingerprint;
    let whole = simple("a");
    let same =
        whole.replace("title: a", "title: b # other words").replace("s:\n", "sel:\n").replace(": s", ": sel");
    assert_eq!(one(&whole), one(&same));
    assert_ne!(one(&whole), one(&whole.replace("A: x", "A: y")));
    assert_ne!(one(&whole), one(&whole.replace("A: x", "A|contains: x")));
    assert_ne!(one(&whole), one(&whole.replace("product: p", "service: p")));
    assert_ne!(pack(&whole).fingerprint, pack(&same).fingerprint);
    let reordered = [format!("{}{}", simple("a"), simple("b")), format!("{}{}", simple("b"), simple("a"))];
    assert_eq!(pack(&reordered[0]).fingerprint, pack(&reordered[1]).fingerprint);
}

const COUNT: &str = "type: event_count\nrules: [a]\ngroup-by: [src]\ntimespan: 5m\ncondition: {gte: 5}";

#[test]
fn correlations_find_their_rules_and_silence_them() {
    let parent = correlation("p", "type: temporal\nrules: [c, a]\ntimespan: 1h");
    let pack = pack(&format!("{parent}{}{}{}", correlation("c", COUNT), simple("a"), simple("b")));
    assert_eq!(refusals(&pack), [""; 0]);
    let titles: Vec<_> = pack.correlations.iter().map(|it| it.meta.title.as_str()).collect();
    assert_eq!(titles, ["c", "p"], "children first");
    assert_eq!(pack.correlations[1].rules, [Ref::Correlation(0), Ref::Rule(0)]);
    assert_eq!(
        pack.correlations[1].kind,
        CorrelationKind::Temporal(vec![crate::rule::Bound { op: crate::expr::Op::Gte, number: 2.0 }])
    );
    assert_eq!(pack.correlations[0].timespan, 300_000_000);
    assert_eq!(&*pack.correlations[0].group_by[0].name, "src");
    let told: Vec<_> = pack.rules.iter().map(|it| it.told).collect();
    assert_eq!(
        (told, pack.correlations[0].told, pack.correlations[1].told),
        (vec![false, true], false, true)
    );
}

#[test]
fn generate_is_read_in_both_places_and_wins() {
    let inside = correlation("c", &format!("{COUNT}\ngenerate: true"));
    let outside = format!("{}generate: true\n", correlation("c", COUNT));
    for text in [inside, outside] {
        let other = correlation("d", COUNT);
        let pack = pack(&format!("{}{text}{other}", simple("a")));
        assert!(pack.rules[0].told, "{text}");
    }
    refused(&format!("{}{}generate: maybe\n", simple("a"), correlation("c", COUNT)), "true or false");
}

#[test]
fn references_that_lead_nowhere_are_refused_and_so_is_what_builds_on_them() {
    let c = correlation("c", &COUNT.replace("[a]", "[gone]"));
    let p = correlation("p", "type: temporal\nrules: [c, a]\ntimespan: 1h");
    let pack = pack(&format!("{}{c}{p}", simple("a")));
    assert!(pack.correlations.is_empty() && pack.rules[0].told);
    let refused = refusals(&pack);
    assert!(refused[0].contains("rules.yml:19: there is no rule with the id or name `gone`"), "{refused:?}");
    assert!(refused[1].contains("`c` was refused, so this is too"), "{refused:?}");
}

#[test]
fn circles_are_refused_with_their_way() {
    let text: String = [("k", "l"), ("l", "m"), ("m", "k"), ("n", "k"), ("o", "o")]
        .iter()
        .map(|(name, of)| correlation(name, &COUNT.replace("[a]", &format!("[{of}]"))))
        .collect();
    let pack = pack(&format!("{text}{}{}", simple("a"), correlation("c", COUNT)));
    assert_eq!(pack.correlations.len(), 1);
    let refused = refusals(&pack);
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert!(refused[0].ends_with("refers to itself, or to one that does: k → l → m → k"), "{refused:?}");
    assert!(refused[4].ends_with("o → o"), "{refused:?}");
    let mut chain = simple("a");
    for at in 0..40 {
        let below = if at == 0 { "a".to_owned() } else { format!("c{}", at - 1) };
        chain += &correlation(&format!("c{at}"), &COUNT.replace("[a]", &format!("[{below}]")));
    }
    let pack = super::tests::pack(&chain);
    assert_eq!(pack.correlations.len(), 17);
    assert!(refusals(&pack)[0].contains("build on each other"));
}

#[test]
fn aliases_name_the_field_of_each_rule() {
    let lines = "type: temporal\nrules: [a, b]\ngroup-by: [who, src]\ntimespan: 1m\naliases:\n    who:\n        a: user\n        b: name";
    let pack = pack(&format!("{}{}{}", simple("a"), simple("b"), correlation("c", lines)));
    assert_eq!((refusals(&pack), warnings(&pack)), (vec![], vec![]));
    let fields: Vec<Vec<&str>> =
        pack.correlations[0].group_by.iter().map(|it| it.fields.iter().map(|it| &**it).collect()).collect();
    assert_eq!(fields, [["user", "name"], ["src", "src"]]);
    let rules = format!("{}{}", simple("a"), simple("b"));
    let with = |from: &str, to: &str| format!("{rules}{}", correlation("c", &lines.replace(from, to)));
    warned(&with("\n        b: name", ""), "says nothing of one of the rules");
    warned(&with("[who, src]", "[src]"), "`group-by` does not use `who`");
    refused(&with("b: name", "z: name"), "no rule with the id or name `z`");
    refused(&with("[a, b]", "[a]"), "which `rules` does not list");
}

#[test]
fn every_type_of_correlation_is_read() {
    let kind = |lines: &str| {
        let text = format!("{}{}{}", simple("a"), simple("b"), correlation("c", lines));
        let pack = pack(&text);
        assert_eq!(refusals(&pack), [""; 0], "{lines}");
        pack.correlations[0].kind.clone()
    };
    let rest = "rules: [a, b]\ntimespan: 1m\ncondition:";
    let count = kind(&format!("type: value_count\n{rest} {{field: [u, v], gt: 3}}"));
    assert!(matches!(count, CorrelationKind::ValueCount(fields, _) if fields.len() == 2));
    let ordered = kind("type: temporal_ordered\nrules: [a, b]\ntimespan: 1m");
    assert!(matches!(ordered, CorrelationKind::TemporalOrdered(it) if it[0].number > 1.5));
    for (word, figure) in
        [("sum", Figure::Sum), ("avg", Figure::Average), ("median", Figure::Percentile(50.0))]
    {
        let read = kind(&format!("type: value_{word}\n{rest} {{field: n, gte: 1.5}}"));
        assert!(matches!(read, CorrelationKind::Figure(it, _, _) if it == figure), "{word}");
    }
    let read = kind(&format!("type: value_percentile\n{rest} {{field: n, gte: 1, percentile: 95}}"));
    assert!(matches!(read, CorrelationKind::Figure(Figure::Percentile(95.0), _, _)));
    for text in [
        "type: temporal\ntimespan: 1m\ncondition: b and not a",
        "type: temporal\nrules: [b, a]\ntimespan: 1m\ncondition: b and not a",
    ] {
        let CorrelationKind::TemporalExpr { expr, ordered: false } = kind(text) else { panic!("{text}") };
        assert_eq!(expr, RefExpr::All(vec![RefExpr::Seen(0), RefExpr::Not(Box::new(RefExpr::Seen(1)))]));
    }
    let bound = kind(&format!("type: event_count\n{rest} {{gt: 100, lte: 200}}"));
    assert!(matches!(bound, CorrelationKind::EventCount(it) if it.len() == 2));
}

#[test]
fn mistakes_in_correlations_are_explained() {
    let with = |from: &str, to: &str| {
        format!("{}{}{}", simple("a"), simple("b"), correlation("c", &COUNT.replace(from, to)))
    };
    warned(&with("{gte: 5}", "{gte: 5, lt: 9}"), "not portable");
    warned(&with("5m", "2w"), "not portable");
    warned(&with("[a]", "[a, a]"), "listed twice");
    warned(&with("{gte: 5}", "{gte: 5, field: x}"), "no effect");
    warned(&with("event_count", "temporal"), "can never hold");
    warned(&with("timespan", "windw: 1\ntimespan"), "`windw` means nothing");
    refused(&with("event_count", "event_cuont"), "there are event_count");
    refused(&with("{gte: 5}", "{gte: 5, gt: 6}"), "one comparison");
    refused(&with("{gte: 5}", "{gte: '5'}"), "without quotes");
    refused(&with("{gte: 5}", "{gte: 5.5}"), "whole number");
    refused(&with("{gte: 5}", "{gte: -1}"), "whole number");
    refused(&with("{gte: 5}", "{min: 5}"), "no part of a condition");
    refused(&with("{gte: 5}", "{}"), "compares with nothing");
    refused(&with("{gte: 5}", "a and b"), "temporal");
    refused(&with("\ncondition: {gte: 5}", ""), "has no `condition`");
    refused(&with("\ntimespan: 5m", ""), "has no `timespan`");
    refused(&with("\nrules: [a]", ""), "has no `rules`");
    refused(&with("[a]", "[]"), "is empty");
    for span in
        ["5", "m", "0s", "-5m", "5 m", "5min", "9223372036854775807d", "99999999999999999999s", "200y"]
    {
        refused(&with("5m", span), "time span");
    }
    let temporal = |condition: &str| {
        format!(
            "{}{}{}",
            simple("a"),
            simple("b"),
            correlation("c", &format!("type: temporal\nrules: [a, b]\ntimespan: 1m\ncondition: {condition}"))
        )
    };
    refused(&temporal("a and z"), "which `rules` does not list");
    refused(&temporal("a"), "does not use `b`");
    refused(&temporal("1 of them"), "without `of`");
    refused(&temporal("a AND b"), "must be written `and`");
    refused(&temporal("a and b").replace("temporal", "event_count"), "in words");
    refused(&with("event_count", "temporal_ordered").replace("[a]", "[a, a]"), "listed twice");
    refused(&with("event_count", "value_count"), "has no `field`");
    refused(&with("event_count", "value_percentile").replace("{gte", "{field: n, gte"), "no `percentile`");
}

fn filter(lines: &str) -> String {
    let lines = lines.replace('\n', "\n    ");
    format!("---\ntitle: f\nid: {}\nlogsource:\n    product: p\nfilter:\n    {lines}\n", id("f"))
}

#[test]
fn filters_are_added_as_they_stand() {
    let rules = format!("{}{}{}", simple("a"), simple("b"), simple("c").replace("product: p", "product: q"));
    let holds = |pack: &Pack, rule: usize, z: &str| {
        let mut fields = Fields::new();
        fields.push("A", Value::Text("x".into()));
        fields.push("Z", Value::Text(z.to_owned().into()));
        pack.rules[rule].expr.holds(&fields)
    };
    let any = pack(&format!("{rules}{}", filter("rules: any\ns:\n    Z: no\ncondition: not s")));
    assert_eq!((refusals(&any), warnings(&any)), (vec![], vec![]));
    assert_eq!([0, 1, 2].map(|it| holds(&any, it, "no")), [false, false, true]);
    assert_eq!([0, 1, 2].map(|it| holds(&any, it, "yes")), [true, true, true]);
    assert_ne!(any.rules[0].meta.fingerprint, pack(&rules).rules[0].meta.fingerprint);
    assert_eq!(any.rules[2].meta.fingerprint, pack(&rules).rules[2].meta.fingerprint);
    for named in [format!("rules: [{}]", id("b").to_uppercase()), "rules: b".to_owned()] {
        let one = pack(&format!(
            "{rules}{}",
            filter(&format!("{named}\ns:\n    Z: no\n_h:\n    Z: yes\ncondition: not all of them"))
        ));
        assert_eq!([0, 1].map(|it| holds(&one, it, "no")), [true, false], "{:?}", refusals(&one));
    }
    warned(
        &format!("{rules}{}", filter("rules: [c]\ns:\n    Z: no\ncondition: not s")),
        "another log source",
    );
    warned(
        &format!("{rules}{}", filter("rules: [z]\ns:\n    Z: no\ncondition: not s")),
        "no rule with the id",
    );
    refused(&format!("{rules}{}", filter("s:\n    Z: no\ncondition: not s")), "`rules: any`");
    refused(&format!("{rules}{}", filter("rules: any\ns:\n    Z: no\ncondition: [s, s]")), "one condition");
}

#[test]
fn conditions_that_come_to_too_much_are_refused() {
    let values = "x".repeat(1000);
    let text = rule("a", &format!("s:\n    A: {values}\ncondition: {}s", "s or ".repeat(3000)));
    assert_eq!(pack(&text).rules.len(), 1);
    let list = vec![values.as_str(); 400].join(", ");
    let text = rule("a", &format!("s:\n    A: [{list}]\ncondition: {}s", "s or ".repeat(300)));
    refused(&text, "too many tests");
    let many: Vec<String> = (0..1001).map(|it| format!("s{it}:\n    A: x\n")).collect();
    let text = rule("a", &format!("{}condition: s0", many.concat()));
    refused(&text, "over 1000 selections");
}

#[test]
fn files_that_are_no_text_are_refused() {
    let good = simple("a");
    let files: [(&str, &[u8]); 4] =
        [("a", b"title: \xff\n"), ("b", b"\xff\xfet\0i\0"), ("c", b"\0"), ("d", good.as_bytes())];
    let pack = Pack::read(files, &Options::default());
    assert_eq!(pack.rules.len(), 1);
    assert_eq!(pack.refused.len(), 3);
    assert!(refusals(&pack)[0].contains("a:1: not UTF-8"));
}
