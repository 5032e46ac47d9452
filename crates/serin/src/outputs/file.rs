//! Events in a file, a line each, as OpenCanary's users' tools read them.
//!
//! The file is appended to with one write a batch, made durable before the cursor moves on, and
//! opened anew when it was moved away, deleted or emptied by somebody else's rotation. It can
//! rotate itself, too. `logging.FileHandler` and its rotating kin become this.

use std::path::PathBuf;

use serde_json::{Value, json};
use serin_event::Record;
use serin_services::conf::{Complaint, Conf, Setting};
use serin_services::settings;

pub(crate) use super::rotation::{ClockTime, Every};

use super::formatter::Style;
use super::line::{Form, Line};
use super::rotation::Schedule;
use super::target::{Failure, Rotation, Target};
use super::worker::{NoResult, Worker};
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Owner, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "file",
    about: "Lines in a file, rotated if wanted",
    keys: &[Settings::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 4096, bytes: 1024 * 1024, linger: std::time::Duration::ZERO },
    build,
};

settings! { "file" {
    /// Path of the file.
    path: String = String::new();
    /// What a line looks like: OpenCanary's JSON, or a sentence for a person.
    form: Form = Form::Json;
    /// A line format as in Python's logging, instead of `form`.
    format: String = String::new();
    /// How `asctime` looks in the format, in strftime's directives.
    datefmt: String = String::new();
    /// The notation of the format: %, { or $.
    style: Style = Style::Percent;
    /// Permissions of the file, in octal. A file that more people may read is narrowed down to them.
    mode: Mode = Mode(0o640);
    /// Rotate before the file grows beyond so many bytes; 0 means never.
    max_size: Size = Size(0);
    /// Rotate by time: hourly, daily, weekly, or as Python's `when`.
    every: Every = Every::Never;
    /// Rotate each so many periods of `every`.
    interval: u32 = 1;
    /// Rotate at this time of day instead of midnight, when `every` is a matter of days.
    at_time: ClockTime = ClockTime(0);
    /// Reckon in UTC instead of the host's zone.
    utc: bool = false;
    /// How many rotated files are kept; 0 means all of them.
    keep: u32 = 7;
    /// Compress rotated files with gzip.
    compress: bool = false;
    /// Empty the file at each start.
    truncate: bool = false;
    /// Create the file with the first event instead of at the start.
    delay: bool = false;
} }

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mode(u32);

impl Setting for Mode {
    const WANTS: &'static str = "permissions in octal, such as \"0640\"";

    fn read(value: &Value) -> Result<Self, ()> {
        let bits = u32::from_str_radix(value.as_str().ok_or(())?, 8).map_err(|_| ())?;
        (bits <= 0o777).then_some(Self(bits)).ok_or(())
    }

    fn show(&self) -> Value {
        json!(format!("{:04o}", self.0))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^0?[0-7]{1,3}$" })
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Size(u64);

impl Setting for Size {
    const WANTS: &'static str = "a number of bytes";

    fn read(value: &Value) -> Result<Self, ()> {
        value.as_u64().map(Self).ok_or(())
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    if settings.path.is_empty() || settings.path.contains('\0') {
        complaints.push(Complaint { key: "file.path".into(), text: "wants the path of a file".into() });
    }
    let format = (settings.format.as_str(), settings.datefmt.as_str(), settings.style);
    match Line::from_settings("file", settings.form, format) {
        Ok(line) if complaints.is_empty() => Ok(Box::new(LogFile::new(line, settings))),
        Ok(_) => Err(complaints),
        Err(more) => Err([complaints, more].concat()),
    }
}

#[derive(Debug)]
struct LogFile {
    line: Line,
    settings: Settings,
    owner: Option<Owner>,
    worker: Worker<Target>,
    /// Whether the result of the last call never came, so that its batch may be written already.
    unsure: bool,
    warning: Option<String>,
}

impl LogFile {
    fn new(line: Line, settings: Settings) -> Self {
        let worker = Worker::new("output-file", target(&settings));
        Self { line, settings, owner: None, worker, unsure: false, warning: None }
    }

    /// Starts over after the thread has ended; the file is not emptied once more.
    fn revive(&mut self) {
        self.settings.truncate = false;
        let mut target = target(&self.settings);
        target.owner = self.owner;
        self.worker = Worker::new("output-file", target);
    }
}

fn target(settings: &Settings) -> Target {
    let rotation = Rotation {
        max_size: settings.max_size.0,
        schedule: Schedule::new(settings.every, settings.interval, settings.at_time, settings.utc),
        keep: settings.keep,
        compress: settings.compress,
    };
    Target::new(PathBuf::from(&settings.path), settings.mode.0, settings.truncate, rotation)
}

impl Output for LogFile {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(self.line.encode(record))
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        let lines: Vec<_> = batch.iter().map(|it| it.body.clone()).collect();
        Box::pin(async move {
            let unsure = std::mem::replace(&mut self.unsure, true);
            let written = self.worker.call(move |it| it.append(&lines, unsure)).await;
            self.unsure = unsure && matches!(written, Err(NoResult::Busy));
            match written {
                Ok(appended) => {
                    self.warning = appended.warning;
                    let mut outcomes = vec![Outcome::Delivered; appended.lines];
                    if let Some(failure) = appended.failure {
                        outcomes.resize(batch.len(), failure.into());
                    }
                    Delivery::Each(outcomes)
                }
                Err(NoResult::Busy) => Delivery::Whole(Outcome::retry("the disk does not answer")),
                Err(NoResult::Dead) => {
                    self.revive();
                    Delivery::Whole(Outcome::retry("the file's thread has ended"))
                }
            }
        })
    }

    fn prepare(&mut self, owner: Option<Owner>) -> Result<(), String> {
        self.owner = owner;
        let delay = self.settings.delay;
        let Some(target) = self.worker.idle() else { return Ok(()) };
        target.owner = owner;
        if delay { Ok(()) } else { target.ready().map_err(|it| it.to_string()) }
    }

    fn identity(&self, record: &Record) -> Option<Vec<u8>> {
        self.line.identity(record)
    }

    fn latest(&mut self) -> Later<'_, Vec<Vec<u8>>> {
        Box::pin(async move {
            let lines = self.worker.call(Target::last_lines).await.unwrap_or_default();
            lines.iter().map(|it| self.line.recognise(it).to_vec()).collect()
        })
    }

    fn sync(&mut self) -> Later<'_, Result<(), String>> {
        Box::pin(async move {
            match self.worker.call(Target::sync).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("the disk does not answer".to_owned()),
            }
        })
    }

    fn reopen(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            // Busy: the next batch looks for a moved file anyway.
            let _ = self.worker.call(Target::reopen).await;
        })
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "written to the file and synced to the disk"
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry(why) => Self::retry(why),
            Failure::Hold(why) => Self::Hold(why),
        }
    }
}
