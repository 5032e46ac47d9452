//! `serin incidents`: what people were told, with its events, and who has looked at it.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use serin_event::{Record, Severity, Timestamp, python_json};
use serin_store::{Acknowledged, Incident, IncidentQuery, IpNet, Reader};

use super::events::{csv_field, moment, network, readable, severity};
use super::{Sensor, fail};
use crate::runtime::clock;

/// Which incidents, and how they are printed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show one incident with its events.
    Show {
        /// Its id, as in the list.
        id: String,
        #[command(flatten)]
        sensor: Sensor,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Note that somebody has looked at an incident.
    Ack {
        /// Its id, as in the list.
        id: String,
        /// What to remember of it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// Who has looked; without it, the user who runs this.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        #[command(flatten)]
        sensor: Sensor,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    sensor: Sensor,
    /// With events not before: `10m`, `2h`, `3d`, or a time such as `2026-11-22 14:00` (UTC).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those that are going on.
    #[arg(long)]
    open: bool,
    /// At least this severe: informational, low, medium, high, critical.
    #[arg(long, value_name = "LEVEL", value_parser = severity)]
    severity: Option<Severity>,
    /// On this service, or on `several`; may be repeated.
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// From this address or network; may be repeated.
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    source: Vec<IpNet>,
    /// At most so many, the newest of them.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// One JSON object a line.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values with a heading.
    #[arg(long)]
    csv: bool,
}

/// Lists incidents, shows one, or notes that somebody has looked at it.
pub(super) fn incidents(arguments: &Arguments, out: &mut dyn Write) -> ExitCode {
    match &arguments.command {
        None => list(&arguments.list, out),
        Some(Command::Show { id, sensor, json }) => show(sensor, id, *json, out),
        Some(Command::Ack { id, note, by, sensor }) => acknowledge(sensor, id, note, by.as_deref(), out),
    }
}

fn list(arguments: &List, out: &mut dyn Write) -> ExitCode {
    let query = IncidentQuery {
        since: arguments.since,
        open: arguments.open.then_some(true),
        min_severity: arguments.severity,
        services: arguments.service.clone(),
        sources: arguments.source.clone(),
        limit: arguments.limit,
        ..IncidentQuery::default()
    };
    let found = Reader::open(arguments.sensor.state().database()).and_then(|it| it.incidents(&query));
    let found = match found {
        Ok(found) => found,
        Err(error) => return fail(&error),
    };
    let oldest_first = found.iter().rev();
    written(
        if arguments.csv {
            print_csv(oldest_first, out)
        } else if arguments.json {
            oldest_first.map(|it| python_json(&as_json(it))).try_for_each(|it| writeln!(out, "{it}"))
        } else {
            oldest_first.map(line).try_for_each(|it| writeln!(out, "{it}"))
        }
        .and_then(|()| out.flush()),
    )
}

fn written(result: io::Result<()>) -> ExitCode {
    match result {
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error),
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// One line for a person.
fn line(it: &Incident) -> String {
    let time = it.opened.civil(clock::utc_offset(it.opened));
    let time = time.get(..19).unwrap_or(&time);
    let state = match (&it.closed, &it.acknowledged) {
        (_, Some(_)) => "seen",
        (None, None) => "open",
        (Some(_), None) => "closed",
    };
    format!("{time}  {:<13} {state:<7} {:<20} {}", it.severity.name(), it.id, it.sentence)
}

fn as_json(it: &Incident) -> Json {
    let notice: Json = serde_json::from_str(&it.notice).unwrap_or_default();
    let seen = it.acknowledged.as_ref();
    json!({
        "id": it.id,
        "opened": it.opened.rfc3339(),
        "updated": it.updated.rfc3339(),
        "closed": it.closed.map(Timestamp::rfc3339),
        "severity": it.severity.name(),
        "intent": it.intent.name(),
        "service": it.service,
        "rule": it.rule,
        "source": it.source.map(|it| it.to_string()),
        "count": it.count,
        "sentence": it.sentence,
        "test": it.test,
        "acknowledged_by": seen.map(|it| it.by.as_str()),
        "acknowledged_at": seen.map(|it| it.at.rfc3339()),
        "note": seen.map(|it| it.note.as_str()),
        "notice": notice,
    })
}

fn print_csv<'a>(list: impl Iterator<Item = &'a Incident>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "id,opened,updated,closed,severity,intent,service,rule,source,count,acknowledged_by,sentence"
    )?;
    for it in list {
        let fields = [
            it.id.clone(),
            it.opened.rfc3339(),
            it.updated.rfc3339(),
            it.closed.map(Timestamp::rfc3339).unwrap_or_default(),
            it.severity.name().to_owned(),
            it.intent.name().to_owned(),
            it.service.clone(),
            it.rule.clone(),
            it.source.map(|it| it.to_string()).unwrap_or_default(),
            it.count.to_string(),
            it.acknowledged.as_ref().map(|it| it.by.clone()).unwrap_or_default(),
            it.sentence.clone(),
        ];
        writeln!(out, "{}", fields.map(|it| csv_field(&it)).join(","))?;
    }
    Ok(())
}

fn show(sensor: &Sensor, id: &str, json: bool, out: &mut dyn Write) -> ExitCode {
    let read = || -> Result<Option<(Incident, Vec<Record>)>, serin_store::Error> {
        let reader = Reader::open(sensor.state().database())?;
        let Some(incident) = reader.incident(id)? else { return Ok(None) };
        let notice: Json = serde_json::from_str(&incident.notice).unwrap_or_default();
        let seqs = notice["EVENTS"].as_array().into_iter().flatten().filter_map(Json::as_u64);
        // Some may be too old to be kept.
        let mut events = Vec::new();
        for seq in seqs {
            events.extend(reader.get(seq)?);
        }
        Ok(Some((incident, events)))
    };
    match read() {
        Ok(Some((incident, events))) if json => {
            let mut object = as_json(&incident);
            let lines = events.iter().map(|it| serde_json::from_str::<Json>(&it.line()).unwrap_or_default());
            object["events"] = lines.collect();
            written(writeln!(out, "{object:#}"))
        }
        Ok(Some((incident, events))) => written(print(&incident, &events, out)),
        Ok(None) => fail(&unknown(id)),
        Err(error) => fail(&error),
    }
}

fn print(it: &Incident, events: &[Record], out: &mut dyn Write) -> io::Result<()> {
    let notice: Json = serde_json::from_str(&it.notice).unwrap_or_default();
    let listed = |name: &str| {
        let list = notice[name].as_array().into_iter().flatten();
        let texts = list.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        let text = texts.collect::<Vec<_>>().join(", ");
        serin_event::Tainted::new(text.as_bytes(), 2000).shown(500)
    };
    writeln!(out, "{}\n", it.sentence)?;
    let mut row = |label: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { writeln!(out, "{label:<12} {value}") }
    };
    let time = |it: Timestamp| {
        let time = it.civil(clock::utc_offset(it));
        time.get(..19).unwrap_or(&time).to_owned()
    };
    row("id", &it.id)?;
    row("severity", it.severity.name())?;
    row("intent", it.intent.name())?;
    row("rule", &it.rule)?;
    row("service", &it.service)?;
    row("source", &it.source.map(|it| it.to_string()).unwrap_or_default())?;
    row("targets", &listed("TARGETS"))?;
    row("ports", &listed("PORTS"))?;
    row("users", &listed("USERS"))?;
    row("labels", &listed("LABELS"))?;
    row("events", &it.count.to_string())?;
    row("first", &time(it.opened))?;
    row("last", &time(it.updated))?;
    row("closed", &it.closed.map(time).unwrap_or_default())?;
    row("test", if it.test { "yes, nothing happened" } else { "" })?;
    if let Some(seen) = &it.acknowledged {
        row("seen by", &format!("{} at {}", seen.by, time(seen.at)))?;
        row("note", &seen.note)?;
    }
    writeln!(out)?;
    for event in events {
        writeln!(out, "{}", readable(event))?;
    }
    let more = it.count.saturating_sub(events.len() as u64);
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    out.flush()
}

fn acknowledge(sensor: &Sensor, id: &str, note: &str, by: Option<&str>, out: &mut dyn Write) -> ExitCode {
    let by = by.map_or_else(user, str::to_owned);
    let seen = Acknowledged { by, at: clock::now(), note: note.to_owned() };
    match serin_store::acknowledge(&sensor.state().database(), id, &seen) {
        Ok(true) => written(writeln!(out, "{id} is acknowledged by {}", seen.by)),
        Ok(false) => fail(&unknown(id)),
        Err(error) => fail(&error),
    }
}

fn unknown(id: &str) -> String {
    format!("there is no incident {id:?}; `serin incidents` lists them")
}

/// Who runs this.
fn user() -> String {
    let named = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).ok();
    named.filter(|it| !it.is_empty()).unwrap_or_else(|| nix::unistd::getuid().to_string())
}
