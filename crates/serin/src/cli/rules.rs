//! `serin rules`: which detection rules there are, what is wrong with some, and what they would find.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Map, Value as Json, json};
use serin_detect::rule::Ref;
use serin_detect::{Detection, Detector, Meta, Pack};
use serin_event::{Tainted, Timestamp};
use serin_store::{Query, Reader};

use super::events::moment;
use super::{Sensor, fail};
use crate::detections::engine::pack;
use crate::detections::quiet::{Key, Quiet};
use crate::detections::settings::Settings;
use crate::detections::{files, library, views};
use crate::hex::hex;

/// What to do with detection rules.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// All rules in use, those that come with the program and those of the configuration.
    List {
        #[command(flatten)]
        sensor: Sensor,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell what is wrong with rules: file, line and reason of each that cannot be used.
    Check {
        /// Files or folders; without them, the rules of the configuration.
        paths: Vec<PathBuf>,
        #[command(flatten)]
        sensor: Sensor,
    },
    /// What rules would find in the stored events, or in a log file of OpenCanary or Serin.
    Test(Test),
    /// Write the rules that come with the program, queries made of them for Splunk, Elastic, Loki and
    /// Sentinel, and how sigma-cli maps their fields. docs/detection.md says what each cannot.
    Export {
        /// The folder to write to. What is there under the same names is replaced.
        folder: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// A log file, one event a line; without it, the stored events.
    file: Option<PathBuf>,
    #[command(flatten)]
    sensor: Sensor,
    /// Only the rules of this file or folder, instead of those of the configuration.
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// One object for each detection.
    #[arg(long)]
    json: bool,
    /// Show the events behind each detection.
    #[arg(long)]
    explain: bool,
    /// Show every firing, as --json does; without it, the first of each source or group and then one in
    /// `detection.repeat` seconds, as the sensor tells them.
    #[arg(long)]
    all: bool,
    /// Stored events since then: `12h`, `30d`, or a time such as `2026-11-22 14:00` (UTC).
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = moment)]
    since: Timestamp,
}

/// Does it.
pub(super) fn run(command: &Command, out: &mut dyn Write) -> ExitCode {
    let done = match command {
        Command::List { sensor, json } => list(sensor, *json, out),
        Command::Check { paths, sensor } => check(paths, sensor, out),
        Command::Test(arguments) => {
            let mut out = io::BufWriter::with_capacity(1 << 16, out);
            let done = arguments.run(&mut out);
            done.and_then(|code| out.flush().map(|()| code).map_err(|it| it.to_string()))
        }
        Command::Export { folder } => export(folder, out),
    };
    done.unwrap_or_else(|error| fail(&error))
}

/// The rules of the configuration, or of these files alone, and files that cannot be read.
fn rules(sensor: &Sensor, paths: &[PathBuf]) -> Result<(Pack, Vec<String>, Settings), String> {
    let settings = match sensor.load() {
        Ok(config) => config.detection,
        // Rules can be tried where no sensor is set up.
        Err(_) if !paths.is_empty() => Settings::default(),
        Err(complaints) => return Err(complaints.to_string()),
    };
    if paths.is_empty() {
        let (files, wrongs) = library::files(&settings);
        return Ok((pack(&files, &settings), wrongs, settings));
    }
    let mut all = Vec::new();
    let mut wrongs = Vec::new();
    for path in paths {
        let (found, wrong) = files::read(path);
        all.extend(found);
        wrongs.extend(wrong);
    }
    Ok((pack(&all, &settings), wrongs, settings))
}

fn list(sensor: &Sensor, json: bool, out: &mut dyn Write) -> Result<ExitCode, String> {
    let (pack, ..) = rules(sensor, &[])?;
    let singles = pack.rules.iter().map(|it| ("rule", &it.meta, it.told));
    let correlations = pack.correlations.iter().map(|it| ("correlation", &it.meta, it.told));
    let mut rows: Vec<_> = singles.chain(correlations).collect();
    rows.sort_by(|a, b| (b.1.level, &a.1.title).cmp(&(a.1.level, &b.1.title)));
    let written = if json {
        let row = |(kind, meta, told): &(&str, &Meta, bool)| {
            json!({
                "title": meta.title, "id": meta.id, "level": meta.level.name(), "kind": kind, "told": told,
                "author": meta.author, "tags": meta.tags, "file": meta.place.as_ref().map(ToString::to_string),
            })
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        serde_json::to_writer_pretty(&mut *out, &rows).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        rows.iter().try_for_each(|(kind, meta, told)| {
            let note = if *told { "" } else { "  (not told by itself)" };
            let id = meta.id.as_deref().unwrap_or("-");
            writeln!(out, "{:<13} {kind:<11} {id:<36}  {}{note}", meta.level.name(), shown(&meta.title))
        })
    };
    written.map_err(|it| it.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn check(paths: &[PathBuf], sensor: &Sensor, out: &mut dyn Write) -> Result<ExitCode, String> {
    let (pack, wrongs, _) = rules(sensor, paths)?;
    let mut write = || -> io::Result<()> {
        for wrong in &wrongs {
            writeln!(out, "{}", shown(wrong))?;
        }
        for refusal in &pack.refused {
            let title = refusal.rule.as_deref().map(|it| format!(" ({})", shown(it))).unwrap_or_default();
            writeln!(out, "{}: refused: {}{title}", refusal.place, shown(&refusal.why))?;
        }
        for warning in &pack.warnings {
            writeln!(out, "{}: warning: {}", warning.place, shown(&warning.why))?;
        }
        writeln!(
            out,
            "{} rules and {} correlations can be used, {} are refused, {} warnings",
            pack.rules.len(),
            pack.correlations.len(),
            pack.refused.len(),
            pack.warnings.len()
        )
    };
    write().map_err(|it| it.to_string())?;
    let good = wrongs.is_empty() && pack.refused.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn export(folder: &Path, out: &mut dyn Write) -> Result<ExitCode, String> {
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for (path, text) in library::exports() {
        let file = folder.join(&path);
        let wrote = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        wrote.and_then(|()| std::fs::write(&file, text)).map_err(|it| format!("{}: {it}", file.display()))?;
        let kind = path.split('/').next().unwrap_or_default().to_owned();
        *written.entry(kind).or_default() += 1;
    }
    for (kind, files) in &written {
        let folder = folder.join(kind);
        writeln!(out, "{:>4} files in {}", files, folder.display()).map_err(|it| it.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Test {
    fn run(&self, out: &mut dyn Write) -> Result<ExitCode, String> {
        let (pack, wrongs, settings) = rules(&self.sensor, &self.rules)?;
        let repeat = i64::try_from(settings.repeat.as_micros()).unwrap_or(i64::MAX);
        for wrong in &wrongs {
            eprintln!("{}", shown(wrong));
        }
        if !pack.refused.is_empty() {
            eprintln!("{} rules are refused; see `serin rules check`", pack.refused.len());
        }
        let mut replay = Replay {
            detector: Detector::new(pack, serin_detect::Settings::default()),
            json: self.json,
            explain: self.explain,
            seen: 0,
            unreadable: 0,
            all: self.all,
            quiet: Quiet::default(),
            repeat,
            counts: HashMap::new(),
            lines: Lines::default(),
            began: Instant::now(),
        };
        match &self.file {
            Some(file) => replay.of_file(file, out)?,
            None => replay.of_store(&self.sensor, self.since, out)?,
        }
        replay.end(out).map_err(|it| it.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Events on their way through the rules.
struct Replay {
    detector: Detector,
    json: bool,
    explain: bool,
    seen: u64,
    unreadable: u64,
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
}

struct Line {
    id: u64,
    /// Whether it has members that are neither OpenCanary's nor ours.
    says_more: bool,
    text: Box<[u8]>,
}

impl Lines {
    fn push(&mut self, line: Line) {
        self.kept.push_back(line);
        if self.kept.len() > LINES {
            self.kept.pop_front();
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

impl Replay {
    fn of_file(&mut self, file: &Path, out: &mut dyn Write) -> Result<(), String> {
        let name = file.display();
        let source = std::fs::File::open(file).map_err(|it| format!("{name}: {it}"))?;
        let size = source.metadata().map_or(0, |it| it.len());
        let mut reader = io::BufReader::with_capacity(1 << 20, source);
        let mut line = Vec::new();
        let (mut number, mut bytes, mut time) = (0_u64, 0_u64, 0);
        loop {
            line.clear();
            let read = io::Read::take(&mut reader, LONGEST).read_until(b'\n', &mut line);
            let read = read.map_err(|it| format!("{name}: {it}"))?;
            if read == 0 {
                return Ok(());
            }
            number = number.saturating_add(1);
            bytes = bytes.saturating_add(read as u64);
            self.progress(bytes, size);
            if line.trim_ascii().is_empty() {
                continue;
            }
            // A line without a time is as old as the one before.
            match self.take(&line, number, time, out).map_err(|it| it.to_string())? {
                Some(at) => time = at,
                None if self.unreadable <= COMPLAINTS => {
                    eprintln!("{name}:{number}: this is no event, and is left out");
                }
                None => {}
            }
        }
    }

    fn of_store(&mut self, sensor: &Sensor, since: Timestamp, out: &mut dyn Write) -> Result<(), String> {
        let path = sensor.state().database();
        let reader = Reader::open(&path).map_err(|it| format!("{}: {it}", path.display()))?;
        let total = reader.stats().map_or(0, |it| it.last_seq);
        let mut after = 0;
        loop {
            let query = Query { since: Some(since), after: Some(after), limit: PAGE, ..Query::default() };
            let records = reader.query(&query).map_err(|it| it.to_string())?;
            let Some(last) = records.last() else { return Ok(()) };
            after = last.seq;
            for record in &records {
                let own = record.kind.is_detection() || record.kind.is_incident() || record.is_selftest();
                if own {
                    continue;
                }
                let line = views::line_of(record);
                self.take(line.as_bytes(), record.seq, record.time.0, out).map_err(|it| it.to_string())?;
            }
            self.progress(after, total);
        }
    }

    /// Takes in one line. When it happened; `None`: it is no event.
    fn take(&mut self, line: &[u8], id: u64, time: i64, out: &mut dyn Write) -> io::Result<Option<i64>> {
        let Ok(event) = views::of_line(line, id, time) else {
            self.unreadable = self.unreadable.saturating_add(1);
            return Ok(None);
        };
        self.seen = self.seen.saturating_add(1);
        let fields = event.views.first().map(|it| &it.fields);
        let is_own = |name: &str| !KNOWN.contains(&name.split('.').next().unwrap_or(name));
        let says_more = fields.is_some_and(|it| it.iter().any(|it| is_own(it.0)));
        self.lines.push(Line { id, says_more, text: line.trim_ascii().into() });
        let mut found = Vec::new();
        self.detector.observe(&event, event.time, &mut found);
        let source = fields.and_then(|it| it.get("src_host")?.text()).unwrap_or_default();
        self.tell(&found, &source, out)?;
        Ok(Some(event.time))
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
            "figure": detection.figure, "late": detection.late, "saturated": detection.saturated,
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

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut found = Vec::new();
        self.detector.finish(&mut found);
        self.tell(&found, "", out)?;
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let total: u64 = self.counts.values().sum();
        let left_out = match self.unreadable {
            0 => String::new(),
            many => format!(", {many} lines left out"),
        };
        eprintln!("{} events in {seconds:.1} s, {total} detections{left_out}", self.seen);
        if self.json {
            return Ok(());
        }
        let pack = self.detector.pack();
        let title = |it: &Ref| pack.meta(*it).map_or("", |it| it.title.as_str());
        let mut counts: Vec<_> = self.counts.iter().map(|(rule, count)| (*count, title(rule))).collect();
        counts.sort_unstable_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
        for (count, title) in counts {
            writeln!(out, "{count:>9}  {}", shown(title))?;
        }
        Ok(())
    }

    /// Says now and then how far it is, to a person who waits.
    fn progress(&self, done: u64, size: u64) {
        const EVERY: u64 = 20_000;
        if self.seen.is_multiple_of(EVERY) && self.seen > 0 && io::stderr().is_terminal() {
            let percent = done.saturating_mul(100).checked_div(size).unwrap_or(100);
            eprint!("\r{percent:>3} %  {} events", self.seen);
        }
    }
}

/// Safe on a terminal.
fn shown(text: &str) -> String {
    Tainted::new(text.as_bytes(), text.len()).shown(SHOWN)
}

/// The longest line that is read as one.
const LONGEST: u64 = 16 << 20;
const COMPLAINTS: u64 = 5;
const PAGE: usize = 5000;
/// Characters of a line that are shown.
const SHOWN: usize = 2000;
