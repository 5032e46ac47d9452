//! `serin events`: what is stored, filtered, as sentences, JSON lines or CSV.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use serin_event::{Intent, Record, Severity, Timestamp};
use serin_store::{IpNet, Query, Reader};

use super::{Sensor, fail};
use crate::ignore::{self, Action};
use crate::incidents::labels;
use crate::runtime::clock;

/// Which events, and how they are printed.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag that a person types")]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
    /// Not before: `10m`, `2h`, `3d`, or a time such as `2026-11-22 14:00` (UTC).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Before; written like --since.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// From this address or network; may be repeated.
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    source: Vec<IpNet>,
    /// To this service; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = service)]
    service: Vec<String>,
    /// Of this kind, such as ftp.login; may be repeated.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<String>,
    /// With this OpenCanary number; may be repeated.
    #[arg(long, value_name = "NUMBER")]
    logtype: Vec<u32>,
    /// To this port of ours; may be repeated.
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    /// With this text in any field.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// With bait credentials.
    #[arg(long)]
    bait: bool,
    /// At least this severe: informational, low, medium, high, critical.
    #[arg(long, value_name = "LEVEL", value_parser = severity)]
    severity: Option<Severity>,
    /// Only the event of this number, and which rule decided about it.
    #[arg(long, value_name = "SEQ")]
    why: Option<u64>,
    /// Housekeeping of the sensor too: starts, stops, errors.
    #[arg(long)]
    all: bool,
    /// At most so many, the newest of them.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// One OpenCanary-shaped record a line.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values with a heading.
    #[arg(long)]
    csv: bool,
}

/// Prints the events asked for, oldest first.
pub(super) fn events(arguments: &Arguments, out: &mut dyn Write) -> ExitCode {
    if let Some(seq) = arguments.why {
        return super::why::why(&arguments.sensor, seq, out);
    }
    let records =
        match Reader::open(arguments.sensor.state().database()).and_then(|it| it.query(&query(arguments))) {
            Ok(records) => records,
            Err(error) => return fail(&error),
        };
    let written = if arguments.csv {
        print_csv(records.iter().rev(), out)
    } else {
        records.iter().rev().try_for_each(|it| {
            let line = if arguments.json { it.line() } else { readable(it) };
            writeln!(out, "{line}")
        })
    };
    match written.and_then(|()| out.flush()) {
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn query(arguments: &Arguments) -> Query {
    // Whoever asks for a number or a kind gets it, housekeeping or not.
    let everything =
        arguments.all || arguments.json || !arguments.logtype.is_empty() || !arguments.kind.is_empty();
    Query {
        since: arguments.since,
        until: arguments.until,
        sources: arguments.source.clone(),
        services: arguments.service.clone(),
        kinds: arguments.kind.clone(),
        logtypes: arguments.logtype.clone(),
        target_ports: arguments.port.clone(),
        honeycred: arguments.bait.then_some(true),
        min_severity: arguments.severity,
        min_intent: (!everything).then_some(Intent::Connect),
        text: arguments.text.clone(),
        newest_first: true,
        limit: arguments.limit,
        ..Query::default()
    }
}

/// Time, severity and sentence: one line for a person.
pub(super) fn readable(record: &Record) -> String {
    let time = record.time.civil(record.utc_offset);
    let time = time.get(..19).unwrap_or(&time);
    let bait = if record.honeycred == Some(true) { " with bait credentials" } else { "" };
    let labels = labels(record);
    let labels = if labels.is_empty() { String::new() } else { format!(" [{}]", labels.join(", ")) };
    let ignored = match ignore::decision(record) {
        Some((rule, Action::Lower)) => format!(" (lowered by {rule})"),
        Some((rule, _)) => format!(" (kept quiet by {rule})"),
        None => String::new(),
    };
    format!("{time}  {:<13} {}{bait}{labels}{ignored}", record.severity().name(), record.sentence())
}

fn print_csv<'a>(records: impl Iterator<Item = &'a Record>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "seq,time,kind,logtype,severity,src_host,src_port,dst_host,dst_port,honeycred,sentence,logdata"
    )?;
    for record in records {
        let port = |it: Option<u16>| it.map(|it| it.to_string()).unwrap_or_default();
        let fields = [
            record.seq.to_string(),
            record.time.rfc3339(),
            record.kind.name.to_owned(),
            record.kind.logtype.to_string(),
            record.severity().name().to_owned(),
            record.source.host_text(),
            port(record.source.port),
            record.target.host_text(),
            port(record.target.port),
            record.honeycred.map(|it| it.to_string()).unwrap_or_default(),
            record.sentence(),
            record.logdata.to_string(),
        ];
        writeln!(out, "{}", fields.map(|it| csv_field(&it)).join(","))?;
    }
    Ok(())
}

/// One field of RFC 4180; what a spreadsheet would take for a formula is made plain text.
pub(super) fn csv_field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guarded = if formula { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

/// `10m`, `2h`, `3d` before now, or a civil time in UTC.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    const SECOND: i64 = 1_000_000;
    let wants = || {
        format!("wants a span such as 10m, 2h or 3d, or a time such as \"2026-11-22 14:00\", got {text:?}")
    };
    if let Some((at, unit)) = text.char_indices().next_back()
        && let Some(number) = text.get(..at).and_then(|it| it.parse::<i64>().ok())
    {
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wants()),
        };
        let back = number.checked_mul(seconds * SECOND).ok_or_else(wants)?;
        return Ok(Timestamp(clock::now().0.saturating_sub(back)));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(instant.as_microsecond()));
    }
    let civil: jiff::civil::DateTime = text.parse().map_err(|_| wants())?;
    let instant = jiff::tz::Offset::UTC.to_timestamp(civil).map_err(|_| wants())?;
    Ok(Timestamp(instant.as_microsecond()))
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpAddr>()
        .map(IpNet::from)
        .or_else(|_| text.parse())
        .map_err(|_| format!("wants an address or a network such as 10.0.0.0/8, got {text:?}"))
}

fn kind(text: &str) -> Result<String, String> {
    match serin_event::kinds::by_name(text) {
        Some(kind) => Ok(kind.name.to_owned()),
        None => Err(format!("no such kind of event; they are {}", known_kinds())),
    }
}

fn known_kinds() -> String {
    serin_event::kinds::ALL.iter().map(|it| it.name).collect::<Vec<_>>().join(", ")
}

fn service(text: &str) -> Result<String, String> {
    let mut known: Vec<_> = serin_event::kinds::ALL.iter().map(|it| it.service).collect();
    known.dedup();
    if known.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("no such service; they are {}", known.join(", ")))
    }
}

pub(super) fn severity(text: &str) -> Result<Severity, String> {
    let all = [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    let names = all.map(Severity::name).join(", ");
    all.into_iter().find(|it| it.name() == text).ok_or_else(|| format!("wants one of {names}, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_or_civil_times() {
        let now = clock::now().0;
        let hour_ago = moment("1h").unwrap().0;
        assert!((now - hour_ago - 3_600_000_000).abs() < 5_000_000);
        assert_eq!(moment("1970-01-02").unwrap(), Timestamp(86_400_000_000));
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), Timestamp(1_000_000));
        assert!(moment("yesterday").unwrap_err().contains("wants a span"));
        assert!(moment("9223372036854775807w").is_err());
    }

    #[test]
    fn csv_cannot_smuggle_formulas_or_rows() {
        assert_eq!(csv_field("=cmd()"), "'=cmd()");
        assert_eq!(csv_field("a\"b,c\r\n"), "\"a\"\"b,c\r\n\"");
        assert_eq!(csv_field("plain"), "plain");
    }
}
