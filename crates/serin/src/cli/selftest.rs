//! `serin selftest`: the running sensor tries itself and tells how it went.

use std::io::{self, Write};
use std::process::ExitCode;

use super::{Sensor, fail};
use crate::runtime::control::{Request, ask};
use crate::selftest::Report;

/// Asks the running sensor for a self-test. Exit status 1 when something needs somebody.
pub(super) fn selftest(sensor: &Sensor, services: Vec<String>, json: bool, out: &mut dyn Write) -> ExitCode {
    let report = ask(sensor.state().path(), &Request::Selftest { services }).and_then(|answer| {
        serde_json::from_value::<Report>(answer)
            .map_err(|error| format!("the sensor is of another version: {error}"))
    });
    let report = match report {
        Ok(report) => report,
        Err(why) => return fail(&why),
    };
    let written = if json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        report.print(out)
    };
    match written {
        Err(error) => fail(&error),
        Ok(()) if report.is_well() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}
