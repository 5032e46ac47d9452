//! `serin events --why SEQ`: what was decided about one event, and by what.

use std::io::{self, Write};
use std::process::ExitCode;

use serin_event::{Record, kinds};
use serin_store::{Query, Reader};

use super::events::readable;
use super::{Sensor, fail};
use crate::config::Config;
use crate::ignore::{self, Action};
use crate::incidents::Notice;

/// Prints the event of this number and why it alerted or did not.
pub(super) fn why(sensor: &Sensor, seq: u64, out: &mut dyn Write) -> ExitCode {
    let found =
        Reader::open(sensor.state().database()).and_then(|it| Ok((it.get(seq)?, incident(&it, seq)?)));
    let (record, incident) = match found {
        Ok((Some(record), incident)) => (record, incident),
        Ok((None, _)) => {
            let text = "was too old and is gone, or never was; events that a rule drops get no number";
            return fail(&format!("there is no event {seq}: it {text}"));
        }
        Err(error) => return fail(&error),
    };
    // Without a configuration, what was decided at the time can still be told.
    let config = sensor.load().ok();
    match print(&record, incident.as_ref(), config.as_ref(), out) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn print(
    record: &Record,
    incident: Option<&Notice>,
    config: Option<&Config>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{}  {}", record.seq, readable(record))?;
    let labels = record.detail(ignore::LABEL);
    if let Some(labels) = labels.as_ref().and_then(|it| it.as_array()) {
        let labels: Vec<_> = labels.iter().filter_map(|it| it.as_str()).collect();
        writeln!(out, "labels: {}", labels.join(", "))?;
    }
    match ignore::decision(record) {
        Some((rule, action)) => {
            let meaning = match action {
                Action::Suppress => "nobody was alerted",
                Action::Lower => "it counted one step less severe",
                Action::Drop => "it was not to be kept",
            };
            writeln!(
                out,
                "the ignore rule {rule:?} decided when it was recorded ({}): {meaning}",
                action.name()
            )?;
        }
        None => writeln!(out, "no ignore rule touched it when it was recorded")?,
    }
    let told = incident.map_or_else(
        || "no incident names it".to_owned(),
        |it| format!("it belongs to the incident {} ({}): {}", it.id, it.severity.name(), it.sentence),
    );
    writeln!(out, "{told}")?;
    let Some(config) = config else { return Ok(()) };
    if config.ignore.drops(record.source.host, record.kind.logtype) {
        return writeln!(out, "today, ip.ignorelist or logtype.ignorelist would drop it");
    }
    match config.rules.decide(record) {
        Some(rule) => {
            writeln!(
                out,
                "today, the ignore rule {:?} would decide about it: {}",
                rule.name,
                rule.action.name()
            )
        }
        None => writeln!(out, "today, no ignore rule would touch it"),
    }
}

/// The incident that names this event, as it was told last.
fn incident(reader: &Reader, seq: u64) -> Result<Option<Notice>, serin_store::Error> {
    let kinds = kinds::ALL.iter().filter(|it| it.is_incident()).map(|it| it.name.to_owned()).collect();
    let query = Query { kinds, after: Some(seq), limit: INCIDENTS_MAX, ..Query::default() };
    let notices = reader.query(&query)?;
    Ok(notices.iter().map(Notice::of).rfind(|it| it.events.contains(&seq)))
}

/// What is told of incidents after the event that is looked through.
const INCIDENTS_MAX: usize = 2000;
