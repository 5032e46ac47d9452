//! From events to detections that are told: a state machine without a clock, a store or a task.

use std::collections::{BTreeMap, VecDeque};

use serin_detect::rule::Ref;
use serin_detect::{Detection, Detector, Meta, Options, Pack};
use serin_event::{Record, Timestamp};

use super::files::RuleFile;
use super::quiet::Quiet;
use super::report::{self, Report, Subject};
use super::settings::Settings;
use super::views;
use crate::ignore;

/// Rules at work.
pub(super) struct Engine {
    detector: Detector,
    repeat: i64,
    quiet: Quiet,
    /// The last events, for what is told of correlations.
    recent: VecDeque<Record>,
    reports: Vec<Report>,
    /// How often rules fired, told or not.
    fired: u64,
}

/// The rules of these files, as the operator wants them.
pub(crate) fn pack(files: &[RuleFile], settings: &Settings) -> Pack {
    let texts = files.iter().map(|it| (it.name.as_str(), it.text.as_slice()));
    let mut pack = Pack::read(texts, &Options { placeholders: placeholders(settings) });
    let is_off = |meta: &Meta| {
        let names = [meta.id.as_deref(), Some(meta.title.as_str())];
        // A checkout of SigmaHQ's rules has those as well, in folders of their own.
        let given_up = matches!(meta.status.as_deref(), Some("deprecated" | "unsupported"));
        given_up || settings.disable.0.iter().any(|it| names.contains(&Some(it.as_str())))
    };
    // A correlation may still be made of one that is off.
    pack.rules.iter_mut().filter(|it| is_off(&it.meta)).for_each(|it| it.told = false);
    pack.correlations.iter_mut().filter(|it| is_off(&it.meta)).for_each(|it| it.told = false);
    pack
}

/// `NAME=value,value`.
fn placeholders(settings: &Settings) -> BTreeMap<String, Vec<String>> {
    let pair = |it: &String| {
        let (name, values) = it.split_once('=')?;
        Some((name.trim().to_owned(), values.split(',').map(|it| it.trim().to_owned()).collect()))
    };
    settings.placeholders.0.iter().filter_map(pair).collect()
}

impl Engine {
    /// One that has seen nothing.
    pub(super) fn new(pack: Pack, settings: &Settings) -> Self {
        let limits = limits(settings, pack.correlations.len());
        Self {
            detector: Detector::new(pack, limits),
            repeat: micros(settings),
            quiet: Quiet::default(),
            recent: VecDeque::new(),
            reports: Vec::new(),
            fired: 0,
        }
    }

    /// Other rules from now on. What unchanged correlations have seen is kept.
    pub(super) fn set(&mut self, pack: Pack, settings: &Settings) {
        self.repeat = micros(settings);
        self.detector.reload(pack);
    }

    /// Takes in what happened before, and tells nothing of it.
    pub(super) fn remember(&mut self, record: &Record) {
        if record.kind.is_detection() {
            if let Some((key, at)) = report::told_by(record) {
                self.quiet.told(key, at);
            }
            return;
        }
        self.observe(record);
    }

    /// Takes in the next record.
    pub(super) fn take(&mut self, record: &Record) {
        let found = self.observe(record);
        self.sort(&found);
    }

    fn observe(&mut self, record: &Record) -> Vec<Detection> {
        let mut found = Vec::new();
        let own = record.kind.is_detection() || record.kind.is_incident() || record.is_selftest();
        if own || ignore::is_suppressed(record) {
            return found;
        }
        self.recent.push_back(record.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let line = views::line_of(record);
        if let Ok(event) = views::of_line(line.as_bytes(), record.seq, record.time.0) {
            self.detector.observe(&event, record.time.0, &mut found);
        }
        found
    }

    /// It is this late, and everything stored was taken in.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let mut found = Vec::new();
        self.detector.advance(now.0, &mut found);
        self.sort(&found);
    }

    /// Decides what of it is told.
    fn sort(&mut self, found: &[Detection]) {
        for detection in found {
            self.fired = self.fired.saturating_add(1);
            let pack = self.detector.pack();
            let correlation = match detection.rule {
                Ref::Rule(_) => None,
                Ref::Correlation(at) => pack.correlations.get(at),
            };
            let Some(meta) = pack.meta(detection.rule) else { continue };
            let last = detection.evidence.last();
            let record = last.and_then(|seq| self.recent.iter().rfind(|it| it.seq == *seq));
            let key = report::key(meta, detection, record);
            if let Some(count) = self.quiet.fired(key, detection.time, self.repeat) {
                self.reports.push(Report::new(meta, correlation, detection, count, record.map(Subject::of)));
            }
        }
    }

    /// What is to be told since the last call.
    pub(super) fn reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Whether anything is to be told.
    pub(super) fn has_news(&self) -> bool {
        !self.reports.is_empty()
    }

    /// How far back correlations look, in microseconds.
    pub(super) fn memory(&self) -> i64 {
        let pack = self.detector.pack();
        let longest = pack.correlations.iter().map(|it| it.timespan).max().unwrap_or(0);
        longest.max(self.repeat)
    }

    pub(super) fn detector(&self) -> &Detector {
        &self.detector
    }

    /// How often rules fired, told or not.
    pub(super) fn fired(&self) -> u64 {
        self.fired
    }
}

/// Each correlation has an equal share of the memory.
fn limits(settings: &Settings, correlations: usize) -> serin_detect::Settings {
    let total = usize::try_from(settings.memory).unwrap_or(usize::MAX).saturating_mul(1 << 20);
    let bytes = total.checked_div(correlations).unwrap_or(total);
    serin_detect::Settings { bytes, lateness: LATENESS, ..serin_detect::Settings::default() }
}

fn micros(settings: &Settings) -> i64 {
    i64::try_from(settings.repeat.as_micros()).unwrap_or(i64::MAX)
}

/// One sensor's events are stored in the order of their times but for what several threads do at once.
const LATENESS: i64 = 100_000;
const RECENT: usize = 4096;

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};
    use serin_event::{Endpoint, Event, SELFTEST, Tainted, kinds};

    use super::*;

    const SPRAY: &str = "
title: Same password
id: 3a0f2e61-5a1f-4d0e-9f5e-0d7a2f0f6c11
name: login
logsource: {product: opencanary}
detection:
    selection: {logtype: 2000}
    condition: selection
level: low
---
title: Spray
logsource: {product: opencanary}
correlation:
    type: value_count
    rules: [login]
    group-by: [logdata.PASSWORD]
    timespan: 1h
    condition: {field: logdata.USERNAME, gte: 2}
    generate: true
level: high
";

    fn engine(text: &str, settings: &Settings) -> Engine {
        let file = RuleFile { name: "own.yml".to_owned(), text: text.as_bytes().to_vec() };
        let pack = pack(&[file], settings);
        assert_eq!(pack.refused, []);
        Engine::new(pack, settings)
    }

    fn login(seq: u64, user: &str) -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(user.as_bytes(), 64))
            .with("PASSWORD", Tainted::new(b"s3cret-pw", 64));
        let source = Endpoint { host: "10.0.0.5".parse().ok(), port: Some(1024) };
        let time = Timestamp(1_795_296_000_000_000 + i64::try_from(seq).unwrap() * 1_000_000);
        Record { seq, source, ..Record::of(&event, time, 0, "node") }
    }

    /// What is told, as it is stored.
    fn told(engine: &mut Engine) -> Vec<(Record, Json)> {
        let records = engine.reports().into_iter().map(|it| it.record(&"node".into(), Timestamp(0)));
        records.map(|it| (it.clone(), serde_json::from_str(&it.logdata).unwrap())).collect()
    }

    #[test]
    fn a_rule_is_told_once_per_source_and_a_correlation_with_its_evidence_and_without_passwords() {
        let mut engine = engine(SPRAY, &Settings::default());
        for (seq, user) in [(1, "root"), (2, "admin"), (3, "admin")] {
            engine.take(&login(seq, user));
        }
        engine.tick(Timestamp(1_795_296_100_000_000));
        let told = told(&mut engine);
        let titles: Vec<_> = told.iter().map(|it| it.1["TITLE"].as_str().unwrap()).collect();
        assert_eq!(titles, ["Same password", "Spray"]);
        assert_eq!(engine.fired(), 5, "three logins, and two that made two users");
        let (record, data) = &told[1];
        assert_eq!(record.kind.name, "detection.high");
        assert_eq!(data["EVENTS"], json!([1, 2]));
        assert_eq!(data["FIGURE"], 2);
        assert_eq!(
            data["SENTENCE"], "Spray: 2 within 1 hour for one logdata.PASSWORD",
            "a password is no part of a sentence"
        );
        assert!(!record.concealed(&|_| None).line().contains("s3cret-pw"), "{}", record.line());
        assert_eq!((data["RAISES"].clone(), told[0].1["RAISES"].clone()), (json!(true), json!(true)));
        assert_eq!(told[0].0.source.host, "10.0.0.5".parse().ok());
    }

    #[test]
    fn what_alarms_nobody_fires_nothing() {
        let mut engine = engine(SPRAY, &Settings::default());
        let mut trial = login(1, "root");
        trial.add_detail(SELFTEST, json!(1));
        let mut ignored = login(2, "admin");
        ignored.add_detail("IGNORED", json!({ "rule": "scanner", "action": "suppress" }));
        let incident =
            Record { seq: 3, ..Record::of(&Event::new(&kinds::INCIDENT_HIGH), Timestamp(0), 0, "node") };
        for record in [&trial, &ignored, &incident] {
            engine.take(record);
        }
        assert_eq!((engine.fired(), told(&mut engine).len()), (0, 0));
    }

    #[test]
    fn rules_that_are_off_or_given_up_are_not_told() {
        let disable = |name: &str| Settings {
            disable: crate::outputs::delivery::Names(vec![name.to_owned()]),
            ..Settings::default()
        };
        let given_up = SPRAY.replacen("level: low", "level: low\nstatus: deprecated", 1);
        for (text, settings) in [
            (SPRAY, disable("Same password")),
            (SPRAY, disable("3a0f2e61-5a1f-4d0e-9f5e-0d7a2f0f6c11")),
            (&given_up, Settings::default()),
        ] {
            let mut engine = engine(text, &settings);
            for (seq, user) in [(1, "root"), (2, "admin")] {
                engine.take(&login(seq, user));
            }
            engine.tick(Timestamp(1_795_296_100_000_000));
            let titles: Vec<_> = told(&mut engine).into_iter().map(|it| it.1["TITLE"].clone()).collect();
            assert_eq!(titles, ["Spray"], "which still counts them");
        }
    }

    #[test]
    fn what_was_told_before_a_restart_is_not_told_again() {
        let mut before = engine(SPRAY, &Settings::default());
        before.take(&login(1, "root"));
        let stored: Vec<_> = told(&mut before).into_iter().map(|it| it.0).collect();
        let mut after = engine(SPRAY, &Settings::default());
        for record in &stored {
            after.remember(record);
        }
        after.remember(&login(1, "root"));
        after.take(&login(2, "admin"));
        after.tick(Timestamp(1_795_296_100_000_000));
        let titles: Vec<_> = told(&mut after).into_iter().map(|it| it.1["TITLE"].clone()).collect();
        assert_eq!(titles, ["Spray"], "made of an event from before and one from after");
    }

    #[test]
    fn the_programs_own_rules_can_all_be_used() {
        let pack = pack(&super::super::library::built_in(), &Settings::default());
        assert_eq!((pack.refused, pack.warnings), (vec![], vec![]));
        assert!(pack.rules.len() > 50 && pack.correlations.len() > 5);
    }
}
