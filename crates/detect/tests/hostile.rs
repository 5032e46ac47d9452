//! Rule files that nobody should load: whatever they hold, reading ends soon, says what is wrong, and
//! keeps what is good.

use std::iter::repeat_n;

use serin_detect::rule::{Ref, Rule};
use serin_detect::{Options, Pack};

/// One of each kind, with something of everything that the language has.
const SEEDS: [&str; 4] = [
    "title: Agents\nid: 19aa4f58-94ca-45ff-bc34-92e533c0994a\nname: agents\nstatus: test\nlogsource:\n    \
     category: webserver\n    product: p\ndetection:\n    selection_a:\n        c-useragent|contains|all:\n            \
     - 'Wf*zz/\\?'\n            - \"go\\tbuster\"\n        sc-status: [200, 0x1f, 1.5e3, null, true]\n    \
     selection_b:\n        - A|re|i: '^a(b|c)+$'\n        - needle\n        - C|windash|contains: ' -f /g '\n    \
     _hidden:\n        '|all': [x, y]\n    filter_main: &f\n        B|cidr: 10.0.0.0/8\n        D|base64offset|contains: \
     foobar\n    filter_other: *f\n    condition: (1 of selection_* or _hidden) and not all of filter_*\nlevel: high\n",
    "title: Many\nid: 29aa4f58-94ca-45ff-bc34-92e533c0994a\nname: many\ncorrelation:\n    type: value_count\n    \
     rules: [agents, 19aa4f58-94ca-45ff-bc34-92e533c0994a]\n    group-by: [who, src]\n    aliases:\n        who: {agents: \
     user}\n    timespan: 5m\n    condition: {gte: 5, lt: 1000, field: dst}\n    generate: true\nlevel: low\n",
    "title: Both\nname: both\ncorrelation:\n    type: temporal_ordered\n    timespan: 1d\n    condition: agents and \
     (many or not agents)\nlevel: critical\ngenerate: false\n",
    "title: Not us\nid: 39aa4f58-94ca-45ff-bc34-92e533c0994a\nlogsource:\n    category: webserver\nfilter:\n    rules: \
     any\n    ours:\n        src|startswith: '192.0.2.'\n    condition: not ours\n",
];

/// What changes insert: what YAML and Sigma give a meaning to.
const WORDS: [&str; 40] = [
    "\n",
    "\r",
    "\t",
    "  ",
    "    ",
    ": ",
    "- ",
    "---\n",
    "...\n",
    "'",
    "\"",
    "\\",
    "|",
    "|-\n",
    ">\n",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "%TAG ! a:\n",
    "%YAML 1.2\n",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "? ",
    "<<: ",
    "#",
    "\u{feff}",
    "\0",
    "é\u{2028}",
    "null",
    "~",
    "|all",
    "|re",
    "1 of ",
    "not ",
    "them",
    "99999999999999999999",
];

/// How many changed files are read.
const RUNS: usize = 1500;

/// Reads them as one file, and checks what holds of every pack.
fn read(bytes: &[u8]) -> Pack {
    let pack = Pack::read([("x.yml", bytes)], &Options::default());
    let lines = bytes.iter().filter(|it| matches!(it, b'\n' | b'\r')).count() + 1;
    let told = pack.refused.iter().map(|it| (&it.place, &it.why));
    for (place, why) in told.chain(pack.warnings.iter().map(|it| (&it.place, &it.why))) {
        assert!(!why.trim().is_empty() && why.len() < 2000, "{why}");
        assert!(!why.chars().any(char::is_control), "{why:?}");
        assert!(
            &*place.file == "x.yml" && (1..=lines).contains(&(place.line as usize)),
            "{place}: {why}\n{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    for (at, correlation) in pack.correlations.iter().enumerate() {
        assert!(!correlation.rules.is_empty() && correlation.timespan > 0);
        for it in &correlation.rules {
            assert!(pack.meta(*it).is_some() && *it < Ref::Correlation(at));
        }
        assert!(correlation.group_by.iter().all(|it| it.fields.len() == correlation.rules.len()));
    }
    assert!(pack.rules.iter().all(|it| !it.meta.title.is_empty() && it.meta.fingerprint != [0; 32]));
    pack
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let pack = read(text.as_bytes());
    assert!(pack.refused.iter().any(|it| it.why.contains(why)), "{why}: {:?}", pack.refused.first());
}

/// A rule with this detection.
fn rule(detection: &str) -> String {
    format!("title: x\nlogsource: {{product: p}}\ndetection:\n{detection}\n")
}

#[test]
fn the_seeds_are_good() {
    let pack = read(SEEDS.join("---\n").as_bytes());
    assert_eq!(pack.refused, []);
    assert_eq!((pack.rules.len(), pack.correlations.len()), (1, 2));
}

#[test]
fn bombs_do_not_go_off() {
    let lists = (1..30).map(|it| format!("    a{it}: &a{it} [*a{}, *a{}]\n", it - 1, it - 1));
    let bomb: String = lists.fold("    a0: &a0 [x, x]\n".to_owned(), |all, it| all + &it);
    refused(&rule(&format!("{bomb}    condition: a29")), "aliases included");
    let maps = (1..30).map(|it| format!("    a{it}: &a{it} {{a: *a{}, b: *a{}}}\n", it - 1, it - 1));
    let bomb: String = maps.fold("    a0: &a0 {a: x}\n".to_owned(), |all, it| all + &it);
    refused(&rule(&format!("{bomb}    condition: a29")), "aliases included");
    refused("a: &a [*a]\ntitle: x\n", "refers to itself");
    let tags = format!("%TAG !x! {}\n---\n{}", "y".repeat(1 << 20), "- !x!a b\n".repeat(100_000));
    refused(&tags, "%TAG");
    let shared =
        format!("    s: {{A: &long {}}}\n    t: {{A: [{}]}}\n", "y".repeat(16_000), "*long, ".repeat(3000));
    refused(&rule(&format!("{shared}    condition: s or t")), "aliases included");
    let repeated = format!("    s: {{A: {}}}\n    condition: {}s", "y".repeat(16_000), "s or ".repeat(3200));
    refused(&rule(&repeated), "too many tests");
    let dashes =
        format!("    s: {{A|windash|contains|expand: '%a%{}'}}\n    condition: s", " -a".repeat(3000));
    assert!(read(rule(&dashes).as_bytes()).rules.is_empty());
}

#[test]
fn deep_things_end() {
    for (open, close) in
        [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("&a ", ""), ("!!str ", ""), ("a: ", "")]
    {
        for depth in [63, 64, 65, 254, 255, 256, 257, 10_000, 300_000] {
            read((open.repeat(depth) + "x" + &close.repeat(depth)).as_bytes());
        }
    }
    let stairs: String = (0..2000).map(|it| " ".repeat(it) + "a:\n").collect::<Vec<_>>().concat();
    refused(&stairs, "deep");
    let stairs: String = (0..2000).map(|it| " ".repeat(it) + "-\n").collect::<Vec<_>>().concat();
    refused(&stairs, "deep");
    for words in ["(", "not ", "not (", ")", "(s) and ", "1 of ", "s* "] {
        let condition = format!("    s: {{A: x}}\n    condition: {}s", words.repeat(2000));
        assert_eq!(
            read(rule(&condition).as_bytes()).refused.len(),
            usize::from(words != "(s) and "),
            "{words}"
        );
    }
    let regex = format!("    s: {{A|re: '{}x{}'}}\n    condition: s", "(".repeat(3000), ")".repeat(3000));
    assert_eq!(read(rule(&regex).as_bytes()).refused.len(), 1);
    for regex in
        ["(a{1000}){1000}", "(((a{100}){100}){100}){100}", "\\pL{60000}", "[", "(?P<", "(?i)(?u)\\w{9999}"]
    {
        let regex = format!("    s: {{A|re: '{regex}'}}\n    condition: s");
        assert_eq!(read(rule(&regex).as_bytes()).refused.len(), 1, "{regex}");
    }
}

#[test]
fn huge_things_are_taken_or_refused_whole() {
    let list =
        |count| rule(&format!("    s:\n        A:\n{}    condition: s", "            - x\n".repeat(count)));
    assert_eq!(read(list(10_000).as_bytes()).rules.len(), 1);
    assert_eq!(read(list(50_000).as_bytes()).refused.len(), 1);
    refused(&list(250_000), "values in a document");
    refused(&"a".repeat(5 << 20), "bytes");
    let keys: Vec<String> = (0..100_000).map(|it| format!("k{it}: v\n")).collect();
    read(keys.concat().as_bytes());
    let many =
        "---\ntitle: x\nlogsource: {product: p}\ndetection: {s: {A: x}, condition: s}\n".repeat(12_000);
    let pack = read(many.as_bytes());
    assert!(pack.rules.len() == 10_000 && pack.refused.len() == 1, "{}", pack.refused.len());
    let pack = read("---\n\"\n".repeat(200_000).as_bytes());
    assert!(pack.refused.len() <= 10_001);
}

#[test]
fn correlations_in_a_knot_are_untied() {
    let correlation = |name: usize, of: &str| {
        format!(
            "---\ntitle: c{name}\nname: c{name}\ncorrelation: {{type: event_count, rules: [{of}], timespan: 1m, \
             condition: {{gte: 1}}}}\n"
        )
    };
    let ring: Vec<String> = (0..3000).map(|it| correlation(it, &format!("c{}", (it + 1) % 3000))).collect();
    assert_eq!(read(ring.concat().as_bytes()).refused.len(), 3000);
    let all = (0..300).map(|it| format!("c{it}")).collect::<Vec<_>>().join(", ");
    let knot: Vec<String> = (0..300).map(|it| correlation(it, &all)).collect();
    assert_eq!(read(knot.concat().as_bytes()).refused.len(), 300);
    let rule = "---\ntitle: r\nname: r\nlogsource: {product: p}\ndetection: {s: {A: x}, condition: s}\n";
    let chain: Vec<String> = (0..3000)
        .map(|it| correlation(it, &if it == 0 { "r".to_owned() } else { format!("c{}", it - 1) }))
        .collect();
    let pack = read((chain.concat() + rule).as_bytes());
    assert!(pack.correlations.len() < 20 && pack.correlations.len() + pack.refused.len() == 3000);
}

#[test]
fn bytes_that_are_no_text_are_refused_whole() {
    for bytes in [
        &b"title: \xff"[..],
        b"\xff\xfea\0:\0",
        b"\0",
        b"title: a\0b",
        b"\xed\xa0\x80",
        b"\x1b[2J: \x1b]0;x\x07",
    ] {
        let pack = read(bytes);
        assert_eq!(pack.refused.len() + pack.warnings.len(), 1, "{bytes:?}");
    }
    // Control characters are not repeated in messages.
    refused(&rule("    s: {\"A|\\e[2J\\u202e\": x}\n    condition: s"), "u{1b}");
}

#[test]
fn random_bytes_and_changed_rules_are_read_to_the_end() {
    let mut random = fastrand::Rng::with_seed(0x5e41_0005);
    let pool = SEEDS.join("---\n").into_bytes();
    let mut good = 0;
    for run in 0..RUNS {
        let mut bytes: Vec<u8> = if run % 8 == 0 {
            repeat_n((), random.usize(..600)).map(|()| random.u8(..)).collect()
        } else {
            pool.clone()
        };
        for _ in 0..random.usize(1..6) {
            change(&mut bytes, &pool, &mut random);
        }
        let pack = read(&bytes);
        good += usize::from(!pack.rules.is_empty());
        if run % 16 == 0 {
            assert_eq!(read(&bytes), pack, "the same input gives the same pack");
        }
        drop(pack.rules.iter().map(|it: &Rule| it.expr.clone()).collect::<Vec<_>>());
    }
    assert!((RUNS / 20..RUNS).contains(&good), "{good} of {RUNS} have a good rule");
}

fn change(bytes: &mut Vec<u8>, pool: &[u8], random: &mut fastrand::Rng) {
    let at = random.usize(..=bytes.len());
    let end = bytes.len().min(at + random.usize(..40));
    match random.u8(..6) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let from = random.usize(..pool.len());
            let until = pool.len().min(from + random.usize(..200));
            bytes.splice(at..at, pool[from..until].iter().copied());
        }
        2 => bytes.truncate(at.max(40)),
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.u8(..);
            }
        }
        _ => {
            let word = WORDS[random.usize(..WORDS.len())];
            let many = if random.u8(..20) == 0 { 300 } else { 1 };
            bytes.splice(at..at, word.repeat(many).into_bytes());
        }
    }
}
