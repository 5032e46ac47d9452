//! From events to detections that are told: a state machine without a clock, a store or a task.

use std::collections::{BTreeMap, VecDeque};

use serin_detect::rule::Ref;
use serin_detect::{Detection, Detector, Meta, Options, Pack};
use serin_event::{Record, Timestamp};

use super::files::RuleFile;
use super::quiet::Quiet;
use super::report::{self, Brief, Report};
use super::settings::Settings;
use super::{scope, views};
use crate::incidents::Clock;

/// Rules at work.
pub(super) struct Engine {
    detector: Detector,
    limits: serin_detect::Settings,
    /// Makes of the times of events one time that never goes back, which correlations need.
    clock: Clock,
    repeat: i64,
    quiet: Quiet,
    /// The last events, for what is told of correlations.
    recent: VecDeque<Brief>,
    reports: Vec<Report>,
    /// How often rules fired, told or not.
    fired: u64,
    /// Groups that correlations forgot for want of memory, as far as that was told, and when.
    told_forgotten: (u64, i64),
}

/// The rules of these files, as the operator wants them.
pub(crate) fn pack(files: &[RuleFile], settings: &Settings) -> Pack {
    let texts = files.iter().map(|it| (it.name.as_str(), it.text.as_slice()));
    let mut pack = Pack::read(texts, &Options { placeholders: placeholders(settings) });
    let is_off = |meta: &Meta| {
        let names = [meta.id.as_deref(), Some(meta.title.as_str())];
        // A checkout of SigmaHQ's rules has those as well, in folders of their own.
        let given_up = matches!(meta.status.as_deref(), Some("deprecated" | "unsupported"));
        let is_it = |it: &String| names.iter().flatten().any(|name| name.eq_ignore_ascii_case(it));
        given_up || settings.disable.0.iter().any(is_it)
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
            limits,
            clock: Clock::default(),
            repeat: micros(settings),
            quiet: Quiet::default(),
            recent: VecDeque::new(),
            reports: Vec::new(),
            fired: 0,
            told_forgotten: (0, 0),
        }
    }

    /// Other rules from now on. What unchanged correlations have seen is kept.
    pub(super) fn set(&mut self, pack: Pack, settings: &Settings) {
        self.repeat = micros(settings);
        let limits = limits(settings, pack.correlations.len());
        if limits == self.limits {
            self.detector.reload(pack);
            return;
        }
        let seen = self.detector.snapshot();
        self.limits = limits;
        self.detector = Detector::new(pack, limits);
        if let Err(why) = self.detector.restore(&seen) {
            tracing::warn!(%why, "correlations begin anew");
        }
    }

    /// Takes in what happened before `now`, and tells nothing of it.
    pub(super) fn remember(&mut self, record: &Record, now: Timestamp) {
        if record.kind.is_detection() {
            if let Some((key, at)) = report::told_by(record) {
                self.quiet.told(key, at);
            }
        } else if record.time <= now {
            self.observe(record);
        }
    }

    /// Takes in the next record.
    pub(super) fn take(&mut self, record: &Record) {
        let found = self.observe(record);
        self.sort(&found, Some(record));
    }

    fn observe(&mut self, record: &Record) -> Vec<Detection> {
        let mut found = Vec::new();
        if !scope::has_record(record) {
            return found;
        }
        self.recent.push_back(Brief::of(record));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.clock.event(record.time);
        let line = views::line_of(record);
        if let Ok(mut event) = views::of_line(line.as_bytes(), record.seq, record.time.0) {
            event.time = self.clock.of_past(record.time);
            self.detector.observe(&event, event.time, &mut found);
        }
        found
    }

    /// It is this late, and everything stored was taken in.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.clock.tick(now);
        let mut found = Vec::new();
        self.detector.advance(self.clock.now(), &mut found);
        self.sort(&found, None);
    }

    /// Decides what of it is told. Rules for single events fire with the record that is at hand.
    fn sort(&mut self, found: &[Detection], record: Option<&Record>) {
        let pack = self.detector.pack();
        for detection in found {
            self.fired = self.fired.saturating_add(1);
            let time = self.clock.as_told(detection.time);
            let report = match detection.rule {
                Ref::Rule(at) => pack.rules.get(at).zip(record).and_then(|(rule, record)| {
                    let key = report::key_of_event(&rule.meta, record);
                    let count = self.quiet.fired(key, time.0, self.repeat)?;
                    Some(Report::of_event(&rule.meta, detection, time, count, record))
                }),
                Ref::Correlation(at) => pack.correlations.get(at).and_then(|correlation| {
                    let key = report::key_of_window(correlation, detection);
                    let count = self.quiet.fired(key, time.0, self.repeat)?;
                    let events: Vec<_> =
                        detection.evidence.iter().filter_map(|it| find(&self.recent, *it)).collect();
                    Some(Report::of_window(correlation, detection, time, count, &events))
                }),
            };
            self.reports.extend(report);
        }
    }

    /// A word on correlations that forget for want of memory, now and then while they do.
    pub(super) fn complaint(&mut self) -> Option<String> {
        let stats = self.detector.stats();
        let forgotten =
            stats.correlations.iter().fold(stats.forced, |all, it| all.saturating_add(it.evicted));
        let (told, at) = self.told_forgotten;
        let now = self.clock.now();
        if forgotten <= told || (at != 0 && now < at.saturating_add(COMPLAIN_EVERY)) {
            return None;
        }
        self.told_forgotten = (forgotten, now);
        Some(format!(
            "correlations forget for want of memory, {forgotten} groups so far: some may not fire; \
             detection.memory can be raised"
        ))
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
    // There is one sensor, and what it does not say is not under way.
    serin_detect::Settings { bytes, lateness: LATENESS, idle: LATENESS, ..serin_detect::Settings::default() }
}

fn micros(settings: &Settings) -> i64 {
    i64::try_from(settings.repeat.as_micros()).unwrap_or(i64::MAX)
}

/// One sensor's events are stored in the order of their times but for what several threads do at once.
const LATENESS: i64 = 100_000;
const RECENT: usize = 4096;
/// Microseconds.
const COMPLAIN_EVERY: i64 = 600_000_000;

/// What is remembered of an event.
fn find(recent: &VecDeque<Brief>, seq: u64) -> Option<Brief> {
    let at = recent.binary_search_by_key(&seq, |it| it.seq).ok()?;
    recent.get(at).copied()
}

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

    const NOW: Timestamp = Timestamp(1_795_296_100_000_000);

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
        // Soon: nothing more comes, and nobody waits for it.
        engine.tick(Timestamp(1_795_296_003_300_000));
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
    fn a_secret_stays_one_under_any_alias_and_in_any_view() {
        let aliased = SPRAY.replace(
            "group-by: [logdata.PASSWORD]",
            "group-by: [pw]\n    aliases: {pw: {login: logdata.PASSWORD}}",
        );
        let mut engine = engine(&aliased, &Settings::default());
        for (seq, user) in [(1, "root"), (2, "admin")] {
            engine.take(&login(seq, user));
        }
        engine.tick(NOW);
        let (record, data) = told(&mut engine).pop().unwrap();
        assert_eq!(data["SENTENCE"], "Spray: 2 within 1 hour for one pw:logdata.PASSWORD");
        assert!(!record.concealed(&|_| None).line().contains("s3cret-pw"), "{}", record.line());
        for path in ["cs-uri-query", "c-uri", "details.HEADERS.Cookie", "logdata.ARGS", "x.QUERY"] {
            assert!(serin_event::is_secret(path), "{path}");
        }
    }

    #[test]
    fn without_groups_there_is_one_for_all_also_after_a_restart() {
        let global = SPRAY.replace("    group-by: [logdata.PASSWORD]\n", "");
        let other = |seq, user| {
            let source = Endpoint { host: "10.0.0.6".parse().ok(), port: None };
            Record { source, ..login(seq, user) }
        };
        let mut before = engine(&global, &Settings::default());
        for record in [login(1, "root"), login(2, "admin"), other(3, "guest")] {
            before.take(&record);
        }
        before.tick(NOW);
        let sprays = |told: &[(Record, Json)]| told.iter().filter(|it| it.1["TITLE"] == "Spray").count();
        let stored = told(&mut before);
        assert_eq!(sprays(&stored), 1);
        let mut after = engine(&global, &Settings::default());
        for (record, _) in &stored {
            after.remember(record, NOW);
        }
        for record in [login(4, "root"), other(5, "admin")] {
            after.take(&record);
        }
        after.tick(NOW);
        assert_eq!(sprays(&told(&mut after)), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_blinds_nothing() {
        let mut engine = engine(SPRAY, &Settings::default());
        let at =
            |record: Record, seconds: i64| Record { time: Timestamp(NOW.0 + seconds * 1_000_000), ..record };
        engine.tick(NOW);
        engine.take(&at(login(1, "root"), 1));
        engine.tick(Timestamp(NOW.0 + 2_000_000));
        let _ = told(&mut engine);
        // Two hours back.
        engine.tick(Timestamp(NOW.0 - 7_200_000_000));
        engine.take(&at(login(2, "admin"), -7199));
        engine.tick(Timestamp(NOW.0 - 7_190_000_000));
        let told = told(&mut engine);
        let spray = told.iter().find(|it| it.1["TITLE"] == "Spray").expect("a correlation");
        assert_eq!(spray.1["EVENTS"], json!([1, 2]));
        assert_eq!(spray.1["TIME"], Timestamp(NOW.0 - 7_199_000_000).rfc3339(), "as the clock says it now");
    }

    #[test]
    fn what_an_ignore_rule_makes_less_of_raises_nothing() {
        let mut engine = engine(SPRAY, &Settings::default());
        let mut lowered = login(1, "root");
        lowered.add_detail("IGNORED", json!({ "rule": "scanner", "action": "lower" }));
        engine.take(&lowered);
        assert_eq!(told(&mut engine)[0].1["RAISES"], false);
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
            engine.tick(NOW);
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
            after.remember(record, NOW);
        }
        after.remember(&login(1, "root"), NOW);
        after.take(&login(2, "admin"));
        after.tick(NOW);
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
