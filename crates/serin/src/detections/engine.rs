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
