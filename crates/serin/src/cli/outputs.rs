//! provisional
use super::Sensor;
use std::io::Write;
use std::process::ExitCode;
pub(super) fn status(_s: &Sensor, _json: bool, _out: &mut dyn Write) -> ExitCode {
    ExitCode::SUCCESS
}
pub(super) fn test(_s: &Sensor, _name: &str, _out: &mut dyn Write) -> ExitCode {
    ExitCode::SUCCESS
}
