//! `serin rules`: which detection rules there are, what is wrong with some, and what they would find.

mod log;
mod replay;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use serin_detect::{Meta, Pack};
use serin_event::{Tainted, Timestamp};

use self::replay::Replay;
use super::events::moment;
use super::{Sensor, fail};
use crate::detections::engine::pack;
use crate::detections::settings::Settings;
use crate::detections::{files, library};

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
    /// A log file, one event a line, also compressed with gzip; `-` is the standard input. Without it,
    /// the stored events.
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
            done.and_then(|code| Ok(out.flush().map(|()| code)?))
        }
        Command::Export { folder } => export(folder, out),
    };
    match done {
        Ok(code) => code,
        // Whoever reads it has seen enough.
        Err(Stopped::Written(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stopped::Written(error)) => fail(&error),
        Err(Stopped::Because(text)) => fail(&text),
    }
}

/// Why a command ends early.
enum Stopped {
    /// In words.
    Because(String),
    /// What it says cannot be written.
    Written(io::Error),
}

impl From<String> for Stopped {
    fn from(text: String) -> Self {
        Self::Because(text)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Written(error)
    }
}

/// Says something beside the result. Nobody may be there to hear it.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `1 rule`, `2 rules`.
fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
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

fn list(sensor: &Sensor, json: bool, out: &mut dyn Write) -> Result<ExitCode, Stopped> {
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
    written?;
    Ok(ExitCode::SUCCESS)
}

fn check(paths: &[PathBuf], sensor: &Sensor, out: &mut dyn Write) -> Result<ExitCode, Stopped> {
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
            "{} and {} can be used, {}, {}",
            count(pack.rules.len(), "rule"),
            count(pack.correlations.len(), "correlation"),
            refused(&pack),
            count(pack.warnings.len(), "warning")
        )
    };
    write()?;
    let good = wrongs.is_empty() && pack.refused.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `1 is refused`.
fn refused(pack: &Pack) -> String {
    match pack.refused.len() {
        1 => "1 is refused".to_owned(),
        many => format!("{many} are refused"),
    }
}

fn export(folder: &Path, out: &mut dyn Write) -> Result<ExitCode, Stopped> {
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
        writeln!(out, "{:>4} files in {}", files, folder.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Test {
    fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Stopped> {
        for path in &self.rules {
            std::fs::metadata(path).map_err(|it| format!("{}: {it}", path.display()))?;
        }
        let (pack, wrongs, settings) = rules(&self.sensor, &self.rules)?;
        for wrong in &wrongs {
            say(&shown(wrong));
        }
        let none_left = pack.rules.is_empty() && pack.correlations.is_empty();
        if let Some(first) = pack.refused.first() {
            let first =
                if none_left { format!(", the first: {}", shown(&first.to_string())) } else { String::new() };
            say(&format!("of the rules {}{first}; see `serin rules check`", refused(&pack)));
        }
        if none_left {
            return Err("there is no rule that can be used".to_owned().into());
        }
        let mut replay = Replay::new(pack, &settings, self);
        let read = match &self.file {
            Some(file) => replay.of_file(file, out),
            None => replay.of_store(&self.sensor, self.since, out),
        };
        if let Err(Stopped::Written(error)) = read {
            return Err(error.into());
        }
        // What came before a log broke off counts nevertheless.
        if read.is_ok() || replay.seen() > 0 {
            replay.end(out)?;
        }
        read.map(|()| ExitCode::SUCCESS)
    }
}

/// Safe on a terminal.
fn shown(text: &str) -> String {
    Tainted::new(text.as_bytes(), text.len()).shown(SHOWN)
}

/// Characters of a line that are shown.
const SHOWN: usize = 2000;
