//! What the fuzz targets do, in small and always the same, on the stable toolchain: every recorded
//! session cut, spliced and overwritten at random places, and played at every service; configurations,
//! rules and events likewise.

use std::path::Path;
use std::{fs, io};

use serin::config::{Catalogue, Config, Environment};
use serin_detect::rule::Ref;
use serin_detect::{Event, LogSource, Matcher, Options, Pack, Rule, Scratch, View, json};
use serin_services::replay::{client_bytes, drive, sessions_of};

/// Changed sessions played at each service; `SERIN_FUZZ_RUNS` asks for more.
const RUNS: u32 = 6000;
/// Changed rule files read.
const RULES: u32 = 2000;
/// Longest input.
const LONGEST: usize = 4096;

/// xorshift64*: small, seeded, and good enough to choose places with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let wide = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(wide).unwrap_or(0) % sides.max(1)
    }
}

#[test]
fn no_changed_session_breaks_what_must_hold_of_every_service() {
    let runs = std::env::var("SERIN_FUZZ_RUNS").ok().and_then(|it| it.parse().ok()).unwrap_or(RUNS);
    let everything: Vec<Vec<u8>> = serin_services::ALL
        .iter()
        .flat_map(|it| sessions_of(it.name))
        .map(|(_, text)| client_bytes(&text))
        .collect();
    for (at, service) in serin_services::ALL.iter().enumerate() {
        let own: Vec<Vec<u8>> =
            sessions_of(service.name).iter().map(|(_, text)| client_bytes(text)).collect();
        assert!(!own.is_empty(), "{} has no sessions", service.name);
        let mut dice = Dice(0x5e41_0000 + at as u64 + 1);
        for _ in 0..runs {
            // Mostly the service's own words; now and then another's, as scanners do.
            let pool = if dice.roll(8) == 0 { &everything } else { &own };
            let mut bytes = pool[dice.roll(pool.len())].clone();
            for _ in 0..=dice.roll(4) {
                change(&mut bytes, pool, &mut dice);
            }
            bytes.truncate(LONGEST);
            drive(service, &bytes);
        }
    }
}

#[test]
fn no_changed_configuration_is_refused_without_a_word() {
    const NATIVE: &str = "[ftp]\nenabled = true\nport = 2121\nbanner = \"x\"\n\n[store]\nkeep_days = 3\n";
    let sample = include_str!("../crates/serin/opencanary.conf");
    let pool: Vec<Vec<u8>> = vec![sample.into(), NATIVE.into()];
    let no_folders = |_: &Path| Err(io::Error::other("no folders here"));
    let (catalogue, environment) = (Catalogue::whole(), Environment::default());
    let mut dice = Dice(0x5e41_c0f1);
    let mut refused = 0;
    for run in 0..RUNS {
        let mut bytes = pool[dice.roll(pool.len())].clone();
        if run >= 2 {
            for _ in 0..=dice.roll(3) {
                change(&mut bytes, &pool, &mut dice);
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let read = Config::parse(catalogue, Path::new("x.conf"), &text, &environment, &no_folders);
        if let Err(complaints) = read {
            refused += 1;
            assert!(!complaints.to_string().trim().is_empty(), "refused without a word: {text}");
        }
    }
    assert!(refused > RUNS / 4 && refused < RUNS, "{refused} of {RUNS} refused");
}

#[test]
fn no_changed_rule_is_refused_without_a_word() {
    let pool = rules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/sigma"));
    assert!(pool.len() > 50, "{} rule files", pool.len());
    let mut dice = Dice(0x5e41_5167);
    let mut refused = 0;
    for run in 0..RULES {
        // Two files, so that correlations and filters find something.
        let mut bytes = pool[dice.roll(pool.len())].clone();
        bytes.extend_from_slice(b"---\n");
        bytes.extend_from_slice(&pool[dice.roll(pool.len())]);
        for _ in 0..=dice.roll(3) {
            change(&mut bytes, &pool, &mut dice);
        }
        let pack = Pack::read([("x.yml", bytes.as_slice())], &Options::default());
        refused += u32::from(!pack.refused.is_empty());
        for it in &pack.refused {
            assert!(
                !it.why.trim().is_empty() && it.place.line > 0,
                "run {run}: refused without a word: {it}"
            );
        }
        for (at, correlation) in pack.correlations.iter().enumerate() {
            let known = |it: &Ref| pack.meta(*it).is_some() && *it < Ref::Correlation(at);
            assert!(correlation.rules.iter().all(known), "run {run}: refers to nothing before it");
        }
    }
    assert!(refused > RULES / 4 && refused < RULES, "{refused} of {RULES} refused");
}

#[test]
fn no_changed_event_is_matched_otherwise_than_by_asking_every_rule() {
    let rules = include_bytes!("../fuzz/events.yml").as_slice();
    let pack = Pack::read([("events.yml", rules)], &Options::default());
    assert!(pack.refused.is_empty(), "{:?}", pack.refused);
    let matcher = Matcher::new(&pack.rules);
    let pool: Vec<Vec<u8>> = include_str!("../fuzz/events.jsonl").lines().map(Into::into).collect();
    let source =
        LogSource { category: Some("application".into()), product: Some("opencanary".into()), service: None };
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    let mut dice = Dice(0x5e41_e7e2);
    let mut counts = vec![0_u32; pack.rules.len()];
    for run in 0..RUNS {
        let mut bytes = pool[dice.roll(pool.len())].clone();
        for _ in 0..dice.roll(4) {
            change(&mut bytes, &pool, &mut dice);
        }
        let Ok(line) = json::read(&bytes) else { continue };
        let views = vec![View { source: &source, fields: line.fields }];
        let event = Event { id: 0, time: 0, sensor: "".into(), views };
        matcher.hits(&event, &mut scratch, &mut hits);
        let holds = |it: &Rule| it.expr.holds(&event.views[0].fields);
        let scanned: Vec<usize> = (0..pack.rules.len()).filter(|it| holds(&pack.rules[*it])).collect();
        assert_eq!(hits.iter().map(|it| it.rule).collect::<Vec<_>>(), scanned, "run {run}: {event:#?}");
        for rule in scanned {
            counts[rule] += 1;
        }
    }
    assert!(counts.iter().all(|it| *it > RUNS / 100), "matches of each rule: {counts:?}");
}

/// All rule files in a folder and those in it.
fn rules(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(rules(&path));
        } else if path.extension().is_some_and(|it| it == "yml") {
            found.push(fs::read(&path).unwrap());
        }
    }
    found
}

fn change(bytes: &mut Vec<u8>, pool: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(bytes.len() + 1);
    match dice.roll(6) {
        0 => bytes.truncate(at),
        1 => {
            let other = &pool[dice.roll(pool.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[dice.roll(other.len() + 1)..]);
        }
        2 => {
            let filler = [0x00, 0xff, b'A', b' ', b'\n', b'%', 0x80][dice.roll(7)];
            let many = vec![filler; 1 << dice.roll(12)];
            bytes.splice(at..at, many);
        }
        3 => {
            let end = bytes.len().min(at + dice.roll(16));
            bytes.drain(at..end);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(dice.roll(256)).unwrap_or(0);
            }
        }
    }
}
