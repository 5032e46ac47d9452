//! Our own rules, `rules/sigma/`: each reads, each fires at the events beside it that it must fire at
//! and at none of the others, and every kind of event that deserves a rule has one.
//!
//! The cases' format is described in `docs/detection.md`; `tests/oracle/pack.py` plays the same cases to
//! another implementation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, str};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json};
use serin_detect::rule::Ref;
use serin_detect::{Detector, Event, LogSource, Options, Pack, Settings, View, json};

/// OpenCanary's and Serin's numbers that need no rule, and why.
const EXEMPT: &[(u32, &str)] = &[
    (1002, "notes for whoever develops the sensor"),
    (1004, "a sign of life; its absence is what matters, and an output tells of that"),
    (1006, "the example for module authors"),
    (22001, "an incident: made of events that have rules"),
    (22101, "a detection: what a rule said"),
];

/// OpenCanary's form of a time.
const FORM: &str = "%Y-%m-%d %H:%M:%S%.f";
const CLOCKS: [&str; 3] = ["local_time", "local_time_adjusted", "utc_time"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules/sigma")
}

/// The files below `rules/sigma` with this ending, by name.
fn files(ending: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == ending) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn pack() -> Pack {
    let files = files("yml");
    Pack::read(files.iter().map(|it| (it.0.as_str(), it.1.as_slice())), &Options::default())
}

/// Some events, and how often the rule beside them fires.
struct Case {
    rule: String,
    why: String,
    fires: usize,
    events: Vec<Map<String, Json>>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, bytes) in files("jsonl") {
        let rule = Path::new(&file).file_stem().unwrap().to_str().unwrap().to_owned();
        let mut like = None;
        for text in str::from_utf8(&bytes).unwrap().lines() {
            let entry: Map<String, Json> =
                serde_json::from_str(text).unwrap_or_else(|it| panic!("{file}: {it}"));
            if let Some(Json::Object(event)) = entry.get("like") {
                like = Some(event.clone());
                continue;
            }
            let like = like.as_ref().unwrap_or_else(|| panic!("{file}: a case before the event it is like"));
            let changes = entry["events"].as_array().unwrap().iter().map(|it| it.as_object().unwrap());
            cases.push(Case {
                rule: rule.clone(),
                why: entry["why"].as_str().unwrap().to_owned(),
                fires: usize::try_from(entry["fires"].as_u64().unwrap()).unwrap(),
                events: changes.map(|it| changed(like, it)).collect(),
            });
        }
    }
    assert!(cases.len() > 200, "{} cases", cases.len());
    cases
}

/// The event with these changes: a dotted name reaches into an object, `at` is seconds.
fn changed(like: &Map<String, Json>, changes: &Map<String, Json>) -> Map<String, Json> {
    let mut event = like.clone();
    for (name, value) in changes {
        if name == "at" {
            let later = SignedDuration::from_secs_f64(value.as_f64().unwrap());
            for clock in CLOCKS {
                let time = time_of(&event, clock).checked_add(later).unwrap();
                event[clock] =
                    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S.%6f").to_string().into();
            }
        } else {
            set(&mut event, name, value);
        }
    }
    event
}

fn set(event: &mut Map<String, Json>, name: &str, value: &Json) {
    if let Some((first, rest)) = name.split_once('.')
        && let Some(Json::Object(members)) = event.get_mut(first)
    {
        return set(members, rest, value);
    }
    event.insert(name.to_owned(), value.clone());
}

fn time_of(event: &Map<String, Json>, clock: &str) -> Timestamp {
    let time = DateTime::strptime(FORM, event[clock].as_str().unwrap()).unwrap();
    TimeZone::UTC.to_timestamp(time).unwrap()
}

/// The events of a case as lines of OpenCanary's log.
fn lines(case: &Case, extra: Option<(&str, bool)>) -> Vec<(i64, String)> {
    let mut lines = Vec::new();
    for event in &case.events {
        let mut event = event.clone();
        if let Some((name, value)) = extra {
            event.insert(name.to_owned(), value.into());
        }
        lines.push((time_of(&event, "utc_time").as_microsecond(), Json::Object(event).to_string()));
    }
    lines
}

/// What the rules are for.
fn source() -> LogSource {
    LogSource { category: Some("application".into()), product: Some("opencanary".into()), service: None }
}

/// How often this rule or correlation fires.
fn firings(pack: &Pack, of: Ref, lines: &[(i64, String)]) -> usize {
    let source = source();
    let mut pack = pack.clone();
    // Building blocks are told through correlations alone; here they are asked themselves.
    pack.rules.iter_mut().for_each(|it| it.told = true);
    let mut detector = Detector::new(pack, Settings::default());
    let mut found = Vec::new();
    for ((time, line), id) in lines.iter().zip(1..) {
        let fields = json::read(line.as_bytes()).unwrap().fields;
        let event =
            Event { id, time: *time, sensor: "".into(), views: vec![View { source: &source, fields }] };
        detector.observe(&event, *time, &mut found);
    }
    detector.finish(&mut found);
    found.iter().filter(|it| it.rule == of).count()
}

#[test]
fn every_rule_reads_and_says_who_and_what_it_is() {
    let pack = pack();
    assert!(pack.refused.is_empty(), "{:#?}", pack.refused);
    assert!(pack.warnings.is_empty(), "{:#?}", pack.warnings);
    let mut names = BTreeSet::new();
    for at in pack.refs() {
        let meta = pack.meta(at).unwrap();
        let title = meta.title.as_str();
        let slug = title.to_lowercase().replace(|it: char| !it.is_ascii_alphanumeric(), "_");
        let slug = slug.split('_').filter(|it| !it.is_empty()).collect::<Vec<_>>().join("_");
        assert_eq!(meta.name.as_deref(), Some(slug.as_str()), "{title}");
        let file = meta.place.as_ref().unwrap().file.to_string();
        assert!(file.ends_with(&format!("/{slug}.yml")), "{title} stands in {file}");
        assert_eq!(meta.author.as_deref(), Some("Serin contributors"), "{title}");
        assert_eq!(meta.license.as_deref(), Some("Apache-2.0"), "{title}");
        assert!(meta.id.is_some() && meta.status.is_some() && !meta.references.is_empty(), "{title}");
        assert!(!meta.falsepositives.is_empty() && meta.description.is_some(), "{title}");
        assert!(names.insert(slug), "{title} is there twice");
    }
    assert!(names.len() > 70, "{} rules", names.len());
}

#[test]
fn the_named_rules_are_there() {
    let pack = pack();
    for (title, level) in [
        ("OpenCanary - SSH New Connection Attempt", "high"),
        ("OpenCanary - Multiple SSH connection attempts from single IP", "medium"),
        ("OpenCanary HTTPPROXY Login Attempt", "high"),
        ("OpenCanary HTTPPROXY Service Started", "informational"),
    ] {
        let found: Vec<_> =
            pack.refs().filter_map(|it| pack.meta(it)).filter(|it| it.title == title).collect();
        assert_eq!(found.iter().map(|it| it.level.name()).collect::<Vec<_>>(), [level], "{title}");
    }
}

#[test]
fn every_case_fires_as_often_as_it_says() {
    let pack = pack();
    let mut wrong = Vec::new();
    for case in cases() {
        let of = pack.find(&case.rule).unwrap_or_else(|| panic!("no rule is called {}", case.rule));
        let fires = firings(&pack, of, &lines(&case, None));
        if fires != case.fires {
            wrong.push(format!("{}: {}: fires {fires} times, not {}", case.rule, case.why, case.fires));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_fires_at_a_self_test() {
    let pack = pack();
    for case in cases() {
        let of = pack.find(&case.rule).unwrap();
        let case_as = |value| firings(&pack, of, &lines(&case, Some(("selftest", value))));
        assert_eq!(case_as(true), 0, "{}: {}", case.rule, case.why);
        assert_eq!(case_as(false), case.fires, "{}: {}", case.rule, case.why);
    }
}

#[test]
fn every_rule_has_a_case_that_fires_and_one_that_does_not() {
    let pack = pack();
    let mut seen: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for case in cases() {
        let entry = seen.entry(case.rule).or_default();
        if case.fires > 0 { entry.0 = true } else { entry.1 = true }
    }
    for at in pack.refs() {
        let name = pack.meta(at).unwrap().name.as_deref().unwrap();
        assert_eq!(seen.remove(name), Some((true, true)), "{name}: (fires, does not fire)");
    }
    assert!(seen.is_empty(), "cases of no rule: {seen:?}");
}

/// By what the cases show: a number has a rule if a rule that is told fires at an event with it.
#[test]
fn every_kind_of_event_has_a_rule_or_a_reason() {
    let pack = pack();
    let told: BTreeSet<_> =
        pack.rules.iter().filter(|it| it.told).filter_map(|it| it.meta.name.as_deref()).collect();
    let mut covered = BTreeSet::new();
    for case in cases().iter().filter(|it| it.fires > 0 && told.contains(it.rule.as_str())) {
        covered.extend(case.events.iter().filter_map(|it| it["logtype"].as_u64()));
    }
    for kind in serin_event::kinds::ALL {
        let exempt = EXEMPT.iter().any(|it| it.0 == kind.logtype);
        let has = covered.contains(&u64::from(kind.logtype));
        assert!(has != exempt, "{} {}: has a rule: {has}, exempt: {exempt}", kind.logtype, kind.name);
    }
}

/// The rules are for OpenCanary's log and for nothing else that might be read beside it.
#[test]
fn all_rules_are_for_opencanarys_log() {
    let source =
        LogSource { category: Some("application".into()), product: Some("opencanary".into()), service: None };
    assert!(pack().rules.iter().all(|it| it.source == source));
}
