//! A replay: what rules find in a log, or in what is stored.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value as Json, json};
use serin_detect::rule::Ref;
use serin_detect::{Detection, Detector, Event, Meta, Pack};
use serin_event::{Tainted, Timestamp};
use serin_store::{Query, Reader};

use super::log::{self, Log};
use super::{SHOWN, Sensor, Stopped, Test, count, say, shown};
use crate::detections::quiet::{Key, Quiet};
use crate::detections::settings::Settings;
use crate::detections::{scope, views};
use crate::hex::hex;

/// Events on their way through the rules.
pub(super) struct Replay {
    detector: Detector,
    json: bool,
    explain: bool,
    seen: u64,
    unreadable: u64,
    /// Records of Serin itself, and others that rules are not asked about.
    passed_over: u64,
    /// Every firing is shown, not only the first of a source or group.
    all: bool,
    quiet: Quiet,
    repeat: i64,
    counts: HashMap<Ref, u64>,
    lines: Lines,
    began: Instant,
}

/// The lines of the last events.
#[derive(Default)]
struct Lines {
    kept: VecDeque<Line>,
    bytes: usize,
}

struct Line {
    id: u64,
    /// Whether it has members that are neither OpenCanary's nor ours.
    says_more: bool,
    text: Box<[u8]>,
}

impl Lines {
    fn push(&mut self, line: Line) {
        self.bytes = self.bytes.saturating_add(line.text.len());
        self.kept.push_back(line);
        while self.kept.len() > LINES || self.bytes > BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.text.len());
        }
    }

    fn find(&self, id: u64) -> Option<&Line> {
        let at = self.kept.binary_search_by_key(&id, |it| it.id).ok()?;
        self.kept.get(at)
    }
}

/// The members of OpenCanary's line and of ours; others are somebody's own.
const KNOWN: &[&str] = &[
    "details",
    "dst_host",
    "dst_port",
    "honeycred",
    "local_time",
    "local_time_adjusted",
    "logdata",
    "logtype",
    "node_id",
    "selftest",
    "src_host",
    "src_port",
    "utc_time",
];
/// Lines that can still be shown as evidence.
const LINES: usize = 10_000;
/// What they may take together: as much as the longest of them.
const BYTES: usize = 16 << 20;

impl Replay {
    pub(super) fn new(pack: Pack, settings: &Settings, test: &Test) -> Self {
        Self {
            detector: Detector::new(pack, serin_detect::Settings::default()),
            json: test.json,
            explain: test.explain,
            seen: 0,
            unreadable: 0,
            passed_over: 0,
            all: test.all,
            quiet: Quiet::default(),
            repeat: i64::try_from(settings.repeat.as_micros()).unwrap_or(i64::MAX),
            counts: HashMap::new(),
            lines: Lines::default(),
            began: Instant::now(),
        }
    }

    /// Events so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn of_file(&mut self, file: &Path, out: &mut dyn Write) -> Result<(), Stopped> {
        let wrong = |error: io::Error| Stopped::Because(format!("{}: {error}", file.display()));
        let mut log = Log::open(file).map_err(wrong)?;
        let (mut line, mut time) = (Vec::new(), 0);
        while let Some(what) = log.next(&mut line).map_err(wrong)? {
            self.progress(log.bytes, log.size);
            if what == log::Line::TooLong {
                self.leave_out(&log, "this line is too long");
                continue;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            // A line without a time is as old as the one before.
            match views::of_line(&line, log.number, time) {
                Ok(event) => {
                    time = event.time;
                    if event.views.first().is_some_and(|it| scope::has_line(&it.fields)) {
                        self.take(&event, &line, out)?;
                    } else {
                        self.passed_over = self.passed_over.saturating_add(1);
                    }
                }
                Err(_) => self.leave_out(&log, "this is no event"),
            }
        }
        Ok(())
    }

    /// Counts a line that is not used, and names the first of them.
    fn leave_out(&mut self, log: &Log, why: &str) {
        self.unreadable = self.unreadable.saturating_add(1);
        if self.unreadable <= COMPLAINTS {
            say(&format!("{}:{}: {why}, and is left out", log.name, log.number));
        }
    }

    pub(super) fn of_store(
        &mut self,
        sensor: &Sensor,
        since: Timestamp,
        out: &mut dyn Write,
    ) -> Result<(), Stopped> {
        let path = sensor.state().database();
        let reader = Reader::open(&path).map_err(|it| format!("{}: {it}", path.display()))?;
        let total = reader.stats().ok().map(|it| it.last_seq);
        let mut after = 0;
        loop {
            let query = Query { since: Some(since), after: Some(after), limit: PAGE, ..Query::default() };
            let records = reader.query(&query).map_err(|it| it.to_string())?;
            let Some(last) = records.last() else { return Ok(()) };
            after = last.seq;
            for record in &records {
                if !scope::has_record(record) {
                    self.passed_over = self.passed_over.saturating_add(1);
                    continue;
                }
                let line = views::line_of(record);
                match views::of_line(line.as_bytes(), record.seq, record.time.0) {
                    Ok(event) => self.take(&event, line.as_bytes(), out)?,
                    Err(_) => self.unreadable = self.unreadable.saturating_add(1),
                }
            }
            self.progress(after, total);
        }
    }

    /// Takes in one event, and the line that it was.
    fn take(&mut self, event: &Event<'_>, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.seen = self.seen.saturating_add(1);
        let fields = event.views.first().map(|it| &it.fields);
        let is_own = |name: &str| !KNOWN.contains(&name.split('.').next().unwrap_or(name));
        let says_more = fields.is_some_and(|it| it.iter().any(|it| is_own(it.0)));
        self.lines.push(Line { id: event.id, says_more, text: line.trim_ascii().into() });
        let mut found = Vec::new();
        self.detector.observe(event, event.time, &mut found);
        let source = fields.and_then(|it| it.get("src_host")?.text()).unwrap_or_default();
        self.tell(&found, &source, out)
    }

    /// Writes what fired at an event of this source; without one, what had waited.
    fn tell(&mut self, found: &[Detection], source: &str, out: &mut dyn Write) -> io::Result<()> {
        for detection in found {
            let Some(meta) = self.detector.pack().meta(detection.rule) else { continue };
            let count = self.counts.entry(detection.rule).or_default();
            *count = count.saturating_add(1);
            if self.json {
                self.write_object(detection, meta, out)?;
                continue;
            }
            let group = detection.group.iter().map(|(name, value)| format!("{name}={}", shown(value)));
            let group = group.collect::<Vec<_>>().join(" ");
            let whom = if group.is_empty() { shown(source) } else { group };
            let key = Key { rule: meta.title.clone(), whom: whom.clone() };
            if !self.all && self.quiet.fired(key, detection.time, self.repeat).is_none() {
                continue;
            }
            let time = Timestamp(detection.time).rfc3339();
            writeln!(out, "{time}  {:<13} {}  {whom}", meta.level.name(), shown(&meta.title))?;
            if self.explain {
                self.explain(detection, meta, out)?;
            }
        }
        Ok(())
    }

    fn write_object(&self, detection: &Detection, meta: &Meta, out: &mut dyn Write) -> io::Result<()> {
        let group: Map<String, Json> =
            detection.group.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        let mut object = json!({
            "id": hex(&detection.id), "rule_id": meta.id, "title": meta.title,
            "level": meta.level.name(), "time": Timestamp(detection.time).rfc3339(), "group": group,
            "event_ids": detection.evidence, "author": meta.author, "tags": meta.tags,
            "correlation": matches!(detection.rule, Ref::Correlation(_)),
            "figure": detection.figure.map(figure), "late": detection.late, "saturated": detection.saturated,
        });
        self.carry(detection, &mut object);
        writeln!(out, "{object}")
    }

    /// Adds what the line of the last event says beyond OpenCanary's members.
    fn carry(&self, detection: &Detection, object: &mut Json) {
        let line = detection.evidence.last().and_then(|it| self.lines.find(*it)).filter(|it| it.says_more);
        let more = line.and_then(|it| serde_json::from_slice::<Map<String, Json>>(&it.text).ok());
        if let (Some(more), Some(object)) = (more, object.as_object_mut()) {
            for (name, value) in more.into_iter().filter(|it| !KNOWN.contains(&it.0.as_str())) {
                object.entry(name).or_insert(value);
            }
        }
    }

    fn explain(&self, detection: &Detection, meta: &Meta, out: &mut dyn Write) -> io::Result<()> {
        if let Some(place) = &meta.place {
            writeln!(out, "    rule {place}")?;
        }
        if let Some(figure) = detection.figure {
            writeln!(out, "    counted {figure} in its window")?;
        }
        for id in &detection.evidence {
            match self.lines.find(*id) {
                Some(Line { text: line, .. }) => {
                    writeln!(out, "    event {id}: {}", Tainted::new(line, line.len()).shown(SHOWN))?;
                }
                None => writeln!(out, "    event {id}")?,
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut found = Vec::new();
        self.detector.finish(&mut found);
        self.tell(&found, "", out)?;
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        self.sum_up();
        if self.json {
            return Ok(());
        }
        let mut counts: Vec<_> =
            self.counts.iter().map(|(rule, count)| (*count, self.title(*rule))).collect();
        counts.sort_unstable_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
        for (count, title) in counts {
            writeln!(out, "{count:>9}  {}", shown(title))?;
        }
        Ok(())
    }

    fn title(&self, rule: Ref) -> &str {
        self.detector.pack().meta(rule).map_or("", |it| it.title.as_str())
    }

    /// Says how much it was, and what may be missing.
    fn sum_up(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let (events, found) =
            (count(self.seen, "event"), count(self.counts.values().sum::<u64>(), "detection"));
        let left_out = match self.unreadable {
            0 => String::new(),
            many => format!(", {} left out", count(many, "line")),
        };
        let passed_over = match self.passed_over {
            0 => String::new(),
            many => {
                format!(", {} of Serin itself, of self-tests or ignored passed over", count(many, "record"))
            }
        };
        say(&format!("{events} in {seconds:.1} s, {found}{left_out}{passed_over}"));
        let stats = self.detector.stats();
        if stats.late > 0 {
            let late = count(stats.late, "event");
            say(&format!("{late} came after others that are more than 5 seconds younger"));
        }
        for (at, each) in stats.correlations.iter().enumerate() {
            let title = shown(self.title(Ref::Correlation(at)));
            if each.too_late > 0 {
                let events = count(each.too_late, "event");
                say(&format!("{title}: {events} too late for any window that was still open"));
            }
            if each.evicted > 0 {
                let groups = count(each.evicted, "group");
                say(&format!("{title}: {groups} forgotten for want of memory; it may have missed something"));
            }
        }
    }

    /// Says now and then how far it is, to a person who waits.
    fn progress(&self, done: u64, size: Option<u64>) {
        const EVERY: u64 = 20_000;
        if self.seen.is_multiple_of(EVERY) && self.seen > 0 && io::stderr().is_terminal() {
            let percent = size.and_then(|it| done.saturating_mul(100).checked_div(it));
            let percent = percent.map(|it| format!("{it:>3} %  ")).unwrap_or_default();
            let _ = write!(io::stderr(), "\r{percent}{} events", self.seen);
        }
    }
}

/// A whole number as one.
fn figure(it: f64) -> Json {
    it.to_string().parse::<i64>().map_or_else(|_| json!(it), Json::from)
}

const COMPLAINTS: u64 = 5;
const PAGE: usize = 5000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_whole_where_they_can_be() {
        let texts = [5.0, 2.5, -3.0, 0.0].map(|it| figure(it).to_string());
        assert_eq!(texts, ["5", "2.5", "-3", "0"]);
    }

    #[test]
    fn lines_are_kept_within_bounds_of_number_and_bytes() {
        let line = |id, bytes: usize| Line { id, says_more: false, text: vec![b'x'; bytes].into() };
        let mut lines = Lines::default();
        (0..=LINES as u64).for_each(|id| lines.push(line(id, 1)));
        assert_eq!((lines.kept.len(), lines.bytes), (LINES, LINES));
        assert!(lines.find(0).is_none() && lines.find(1).is_some());
        lines.push(line(20_000, BYTES - 10));
        assert_eq!((lines.kept.len(), lines.bytes), (11, BYTES));
        lines.push(line(20_001, BYTES));
        assert_eq!((lines.kept.len(), lines.bytes), (1, BYTES), "the longest has room");
    }
}
