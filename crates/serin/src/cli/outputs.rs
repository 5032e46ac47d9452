//! `serin outputs`: whether events get through.

use std::io::{self, Write};
use std::process::ExitCode;

use serin_store::Reader;

use super::{Sensor, fail};
use crate::config::Dialect;
use crate::detections::READER as DETECTIONS;
use crate::incidents::READER as INCIDENTS;
use crate::outputs::{self, OutputStatus, State};

/// Prints how each configured output is doing. Exit status 1 when one of them needs somebody.
pub(super) fn status(sensor: &Sensor, json: bool, out: &mut dyn Write) -> ExitCode {
    let statuses = match read(sensor) {
        Ok(statuses) => statuses,
        Err(error) => return fail(&format!("{error:#}")),
    };
    let written = if json {
        serde_json::to_writer_pretty(&mut *out, &statuses)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&statuses, out)
    };
    match written {
        Err(error) => fail(&error),
        Ok(()) if statuses.iter().all(OutputStatus::is_well) => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}

/// What the running (or last) sensor saved of each configured output. Where no configuration is
/// found, of whatever outputs the sensor of this state folder had.
fn read(sensor: &Sensor) -> anyhow::Result<Vec<OutputStatus>> {
    let config = sensor.load()?;
    let reader = Reader::open(sensor.state().database())?;
    let last = reader.stats()?.last_seq;
    let mut saved = reader.readers()?;
    // No output.
    saved.retain(|it| it.name != INCIDENTS && it.name != DETECTIONS);
    let status = |name: &str, fresh: OutputStatus| {
        let Some(state) = saved.iter().find(|it| it.name == name) else { return fresh };
        let status = serde_json::from_str::<OutputStatus>(&state.status).unwrap_or(fresh);
        OutputStatus {
            cursor: state.cursor,
            lag_events: last.saturating_sub(state.cursor),
            memory: None,
            ahead: None,
            ..status
        }
    };
    if config.dialect == Dialect::Demo && !saved.is_empty() {
        return Ok(saved
            .iter()
            .map(|it| status(&it.name, OutputStatus { name: it.name.clone(), ..OutputStatus::default() }))
            .collect());
    }
    let configured = config.outputs.iter().map(|it| {
        let output = it.output.name.to_owned();
        status(&it.name, OutputStatus { name: it.name.clone(), output, ..OutputStatus::default() })
    });
    Ok(configured.collect())
}

fn print(statuses: &[OutputStatus], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<16} {:<10} {:<12} {:>8} {:>10} {:>8}  last success",
        "output", "type", "state", "behind", "sent", "rejected"
    )?;
    for status in statuses {
        let state = match status.state {
            State::Ok => "ok",
            State::BackingOff => "backing off",
            State::Hold => "hold",
            State::Disabled => "disabled",
        };
        writeln!(
            out,
            "{:<16} {:<10} {state:<12} {:>8} {:>10} {:>8}  {}",
            status.name,
            status.output,
            status.lag_events,
            status.sent,
            status.rejected,
            status.last_success.as_deref().unwrap_or("never")
        )?;
        for trouble in status.last_error.iter().filter(|_| status.state != State::Ok).chain(&status.warning) {
            writeln!(out, "    {trouble}")?;
        }
        if let Some(receipt) = &status.receipt {
            writeln!(out, "    {receipt}")?;
        }
    }
    Ok(())
}

/// Asks ISC whether it knows the account of a DShield output, and when it last got reports.
pub(super) fn dshield_check(sensor: &Sensor, name: &str, out: &mut dyn Write) -> ExitCode {
    let config = match sensor.load() {
        Ok(config) => config,
        Err(complaints) => return fail(&complaints),
    };
    let of_dshield = config.outputs.iter().filter(|it| it.output.name == "dshield");
    let Some(conf) = of_dshield.clone().find(|it| it.name == name) else {
        let known: Vec<_> = of_dshield.map(|it| it.name.as_str()).collect();
        return fail(&format!("no DShield output is called {name:?}; configured are: {}", known.join(", ")));
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(outputs::dshield_account(&conf.conf)) {
        Ok(told) => match writeln!(out, "{name}: {told}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Err(why) => fail(&format!("{name}: {why}")),
    }
}

/// Sends one labelled event through an output and tells whether the receiver confirmed it.
pub(super) fn test(sensor: &Sensor, name: &str, out: &mut dyn Write) -> ExitCode {
    let config = match sensor.load() {
        Ok(config) => config,
        Err(complaints) => return fail(&complaints),
    };
    let Some(conf) = config.outputs.iter().find(|it| it.name == name) else {
        let known: Vec<_> = config.outputs.iter().map(|it| it.name.as_str()).collect();
        return fail(&format!("no output is called {name:?}; configured are: {}", known.join(", ")));
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(outputs::test(conf, sensor.state().path())) {
        Ok(confirmed) => match writeln!(out, "{name}: {confirmed}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Err(why) => fail(&format!("{name}: not delivered: {why}")),
    }
}
