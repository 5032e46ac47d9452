//! `serin tail`: events and incidents as they happen, read from the store beside the running sensor.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use serin_event::{Intent, Record, Severity, kinds};
use serin_store::{Query, Reader};

use super::events::readable;
use super::{Sensor, fail};
use crate::incidents::Notice;

/// Prints the last events and then each new one, until interrupted.
pub(super) fn tail(sensor: &Sensor, json: bool, last: usize, out: &mut dyn Write) -> ExitCode {
    let coloured = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match follow(sensor, json, last, coloured, out) {
        // The reader of a pipe has seen enough.
        Err(Stopped::Written(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stopped::Written(error)) => fail(&error),
        Err(Stopped::Store(error)) => fail(&error),
        Ok(never) => match never {},
    }
}

enum Stopped {
    Store(serin_store::Error),
    Written(io::Error),
}

enum Never {}

fn follow(
    sensor: &Sensor,
    json: bool,
    last: usize,
    coloured: bool,
    out: &mut dyn Write,
) -> Result<Never, Stopped> {
    let path = sensor.state().database();
    let mut reader = Reader::open(&path).map_err(Stopped::Store)?;
    let min_intent = (!json).then_some(Intent::Connect);
    let query = Query { newest_first: true, limit: last, min_intent, ..Query::default() };
    let mut seen = reader.stats().map_err(Stopped::Store)?.last_seq;
    let mut before = reader.query(&query).map_err(Stopped::Store)?;
    if !json {
        let of_incidents = Query { logtypes: vec![kinds::INCIDENT_LOW.logtype], min_intent: None, ..query };
        before.extend(reader.query(&of_incidents).map_err(Stopped::Store)?);
        before.sort_unstable_by_key(|it| std::cmp::Reverse(it.seq));
        before.truncate(last);
    }
    print(before.iter().rev().filter(|it| it.seq <= seen), json, coloured, out)?;
    loop {
        let Ok(records) = reader.after(seen, PAGE) else {
            // The sensor may just have replaced a damaged database.
            std::thread::sleep(Duration::from_secs(1));
            reader = Reader::open(&path).map_err(Stopped::Store)?;
            continue;
        };
        let Some(newest) = records.last() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        seen = newest.seq;
        let is_wanted =
            |it: &Record| it.kind.is_incident() || min_intent.is_none_or(|least| it.intent() >= least);
        let wanted = records.iter().filter(|it| is_wanted(it));
        print(wanted, json, coloured, out)?;
    }
}

fn print<'a>(
    records: impl Iterator<Item = &'a Record>,
    json: bool,
    coloured: bool,
    out: &mut dyn Write,
) -> Result<(), Stopped> {
    for record in records {
        let line = match (json, record.kind.is_incident()) {
            (true, _) => record.line(),
            (false, true) => told(record),
            (false, false) => readable(record),
        };
        let (begin, end) = if coloured { (colour(record.severity()), "\x1b[0m") } else { ("", "") };
        writeln!(out, "{begin}{line}{end}").map_err(Stopped::Written)?;
    }
    out.flush().map_err(Stopped::Written)
}

/// What is told of an incident: one line for a person.
fn told(record: &Record) -> String {
    let notice = Notice::of(record);
    let line = readable(record);
    let (test, change) = (if notice.test { "test " } else { "" }, notice.change.name());
    line.replacen(&record.sentence(), &format!("[{test}incident {change}] {}", record.sentence()), 1)
}

/// The terminal's own colours, which its owner has chosen to be readable.
fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "\x1b[2m",
        Severity::Low => "",
        Severity::Medium => "\x1b[33m",
        Severity::High => "\x1b[31m",
        Severity::Critical => "\x1b[1;97;41m",
    }
}

/// Records of one read.
const PAGE: usize = 1000;
/// Between two looks when nothing is new: short enough to feel live.
const PAUSE: Duration = Duration::from_millis(200);
